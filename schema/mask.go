package schema

import "strings"

// MaskNumber hides all of a number but its first three and last two characters, where
// log.mask_numbers asks for it.
func MaskNumber(number string) string {
	if len(number) < 6 {
		return "***"
	}
	return number[:3] + "***" + number[len(number)-2:]
}

// MaskNumbers hides, within a text that may quote a webhook's answer, all of each number but its first
// three and last two digits: of each run of six or more, be it broken by blanks, dashes or brackets.
func MaskNumbers(text string) string {
	b := []byte(text)
	MaskBytes(b)
	return string(b)
}

// MaskBytes is MaskNumbers in place.
func MaskBytes(b []byte) {
	for i := 0; i < len(b); i++ {
		end, digits := i, 0
		for j := i; j < len(b) && (isDigit(b[j]) || digits > 0 && strings.IndexByte(" -()", b[j]) >= 0); j++ {
			if isDigit(b[j]) {
				end, digits = j, digits+1
			}
		}
		for j, n := i, 0; digits >= 6 && j <= end; j++ {
			if !isDigit(b[j]) {
				continue
			}
			if n++; n > 3 && n <= digits-2 {
				b[j] = '*'
			}
		}
		i = end
	}
}
