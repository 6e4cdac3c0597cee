package schema

import (
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// National is how a country writes its numbers within itself.
type National struct {
	Region   string // ISO 3166; "" is no country, of which nothing is a number
	Country  string // the digits of its calling code
	Trunk    string // what stands before a number called from within: 0, 8, 06; "" for nothing
	Shortest int    // the fewest digits of a number without what stands before it
}

// NewNational returns the country's ways.
func NewNational(region string) National {
	if region == "" { // before the library loads every country's
		return National{}
	}
	code := phonenumbers.GetCountryCodeForRegion(region)
	if code == 0 {
		return National{}
	}
	n := National{Region: region, Country: strconv.Itoa(code), Trunk: phonenumbers.GetNddPrefixForRegion(region, true), Shortest: shortestNumber}
	for n.Shortest < longestNumber && !possibleLength(int32(code), n.Shortest) {
		n.Shortest++
	}
	return n
}

// The lengths of what is taken for a number (ITU-T E.164, and what an extension is shorter than).
const shortestNumber, longestNumber = 7, 15

func possibleLength(code int32, length int) bool {
	one, err := strconv.ParseUint("1"+strings.Repeat("0", length-1), 10, 64)
	return err == nil && phonenumbers.IsPossibleNumberWithReason(&phonenumbers.PhoneNumber{CountryCode: &code, NationalNumber: &one}) == phonenumbers.IS_POSSIBLE
}

// International returns the digits of the international number that a trunk within the country makes of the
// digits, assigned or not and with digits too many or not; "" where they are none, as an extension is none.
// Digits that are an international number already are a national one too only as long as one is, and where
// nothing need stand before it.
func (n National) International(digits string) string {
	if n.Region == "" || len(digits) < 4 {
		return ""
	}
	if len(digits) > longestNumber+2 { // more is refused whole
		digits = digits[:longestNumber+2]
	}
	number, err := phonenumbers.Parse(digits, n.Region)
	if err != nil {
		return ""
	}
	significant := phonenumbers.GetNationalSignificantNumber(number)
	stripped := len(significant) < len(digits)
	if !stripped && Digits(digits) != "" && !n.bare() || !n.long(number, digits, stripped) {
		return ""
	}
	return strconv.Itoa(int(number.GetCountryCode())) + significant
}

// bare reports whether numbers are called as they are: in North America the 1 may be left out.
func (n National) bare() bool { return n.Trunk == "" || n.Country == "1" }

func (n National) long(number *phonenumbers.PhoneNumber, digits string, stripped bool) bool {
	if len(digits) >= shortestNumber {
		switch phonenumbers.IsPossibleNumberWithReason(number) {
		case phonenumbers.IS_POSSIBLE:
			return true
		case phonenumbers.TOO_LONG, phonenumbers.INVALID_LENGTH:
			return stripped
		}
	}
	return phonenumbers.IsValidNumber(number)
}
