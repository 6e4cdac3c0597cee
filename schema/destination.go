package schema

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// DestinationKind tells the three things that can be dialled apart.
type DestinationKind uint8

// The kinds.
const (
	KindNumber DestinationKind = iota // an international number
	KindSIP                           // a SIP address
	KindLogin                         // a SIP login known to the PBX
)

// Destination is something a PBX can dial. Only the characters that the grammar allows can be in
// one, so that no PBX expands, splits or executes it:
//
//	number = ["+"] 7*15 DIGIT, not beginning with 0       ; E.164, the "+" is dropped
//	sip    = ("sip/" | "sip:") user "@" host [":" port]   ; a port only after "sip:"
//	login  = (ALPHA | DIGIT) *63 (ALPHA | DIGIT | "." | "_" | "-"), not 7 or more digits alone
//	user   = 1*64 (ALPHA | DIGIT | "+" | "*" | "#" | "." | "_" | "-")
//	host   = a DNS name, an IPv4 address of four decimal numbers, or an IPv6 address in brackets
type Destination struct {
	Kind DestinationKind
	// User is the number's digits, the SIP user, or the login.
	User string
	// Host and Port are a SIP address's; Port is 0 where none is given.
	Host string
	Port uint16
	// Slash: the address was written sip/user@host, and is printed so.
	Slash bool
}

// MaxDestinationLength bounds one destination's text: the longest user, host and port.
const MaxDestinationLength = 4 + 64 + 1 + 255 + 6

// Errors of ParseDestination that a caller may want to tell apart.
var (
	ErrEmptyDestination = errors.New("empty destination")
	ErrNationalNumber   = errors.New("a national number; want the international form, or set destinations.region")
)

// ParseDestination reads one destination. Blanks around it are dropped. Where region (ISO 3166,
// "UA") is given, a number that is not international is read as that country's national form.
// The result's strings are parts of s.
func ParseDestination(s, region string) (Destination, error) {
	s = trimBlanks(s)
	switch {
	case s == "":
		return Destination{}, ErrEmptyDestination
	case len(s) > MaxDestinationLength:
		return Destination{}, fmt.Errorf("%d characters; want at most %d", len(s), MaxDestinationLength)
	}
	if d, ok := parseNumber(s); ok {
		return d, nil
	}
	if strings.Contains(strings.ToLower(s), freeswitchDirective) {
		return Destination{}, errors.New("x-pre-process is no address; FreeSWITCH drops whatever holds the word")
	}
	if len(s) > 4 && (s[:4] == "sip:" || s[:4] == "sip/") {
		return parseSIP(s)
	}
	if region != "" && !startsWithLetter(s) {
		if d, ok := parseNational(s, region); ok {
			return d, nil
		}
	}
	return parseLogin(s)
}

// freeswitchDirective is a word that FreeSWITCH's preprocessor drops a line for, in any case: an answer with
// such a destination would leave it nothing to dial.
const freeswitchDirective = "x-pre-process"

func parseNumber(s string) (Destination, bool) {
	if s[0] == '+' {
		s = s[1:]
	}
	if len(s) < 7 || len(s) > 15 || s[0] == '0' || !allDigits(s) {
		return Destination{}, false
	}
	return Destination{Kind: KindNumber, User: s}, true
}

// parseNational reads a number as it is written within a country, (044) 111-22-33 for example.
func parseNational(s, region string) (Destination, bool) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isDigit(c) && c != ' ' && c != '-' && c != '(' && c != ')' && c != '+' {
			return Destination{}, false
		}
	}
	n, err := phonenumbers.Parse(s, region)
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return Destination{}, false
	}
	return parseNumber(phonenumbers.Format(n, phonenumbers.E164))
}

func parseSIP(s string) (Destination, error) {
	slash, rest := s[3] == '/', s[4:]
	user, address, found := strings.Cut(rest, "@")
	if !found || user == "" || len(user) > 64 || !every(user, isUserByte) {
		return Destination{}, errors.New("not a SIP address; want sip:user@host[:port] or sip/user@host, the user of 0-9 A-Z a-z + * # . _ -")
	}
	host, port := address, ""
	if !slash {
		if i := strings.LastIndexByte(address, ':'); i >= 0 && strings.IndexByte(address[i:], ']') < 0 {
			host, port = address[:i], address[i+1:]
		}
	}
	if !validHost(host) {
		return Destination{}, errors.New("a SIP address with a bad host; want a DNS name, an IPv4 address, or an IPv6 address in brackets")
	}
	d := Destination{Kind: KindSIP, User: user, Host: host, Slash: slash}
	if host != address {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
			return Destination{}, errors.New("a SIP address with a bad port; want 1 to 65535")
		}
		d.Port = uint16(n)
	}
	return d, nil
}

func parseLogin(s string) (Destination, error) {
	if allDigits(s) && len(s) >= 7 {
		if s[0] == '0' {
			return Destination{}, ErrNationalNumber
		}
		return Destination{}, fmt.Errorf("a number of %d digits; want 7 to 15", len(s))
	}
	if len(s) > 64 || !isAlphanumeric(s[0]) || !every(s, isLoginByte) {
		return Destination{}, errors.New("not a number, a SIP address or a login")
	}
	return Destination{Kind: KindLogin, User: s}, nil
}

// AppendText appends the destination as it is written to a PBX that takes it as it is: the digits,
// the address in the form in which it came, or the login.
func (d Destination) AppendText(b []byte) []byte {
	if d.Kind != KindSIP {
		return append(b, d.User...)
	}
	if d.Slash {
		b = append(b, "sip/"...)
	} else {
		b = append(b, "sip:"...)
	}
	b = append(b, d.User...)
	b = append(b, '@')
	return d.AppendHostPort(b)
}

// AppendHostPort appends a SIP address's host[:port].
func (d Destination) AppendHostPort(b []byte) []byte {
	b = append(b, d.Host...)
	if d.Port != 0 {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(d.Port), 10)
	}
	return b
}

// String is AppendText as a string.
func (d Destination) String() string { return string(d.AppendText(nil)) }

// Same reports whether two destinations ring the same thing: hosts are compared without case, and
// the two ways of writing a SIP address are one.
func (d Destination) Same(e Destination) bool {
	return d.Kind == e.Kind && d.User == e.User && d.Port == e.Port && strings.EqualFold(d.Host, e.Host)
}

// Digits returns a number's digits without its "+", or "" where s is not an international number.
func Digits(s string) string {
	if s == "" {
		return ""
	}
	if d, ok := parseNumber(s); ok {
		return d.User
	}
	return ""
}

func validHost(h string) bool {
	if h == "" || len(h) > 253 {
		return false
	}
	if h[0] == '[' {
		return validIPv6(h)
	}
	label := 0
	for i := 0; i < len(h); i++ {
		switch c := h[i]; {
		case c == '.':
			if label == 0 || h[i-1] == '-' {
				return false
			}
			label = 0
			continue
		case c == '-' && label == 0:
			return false
		case !isAlphanumeric(c) && c != '-':
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0 && h[len(h)-1] != '-' && (!endsInNumber(h) || validIPv4(h))
}

// endsInNumber tells a host that resolvers take for an IPv4 address, 3232235777 and 0xc0.1 among them
// (https://url.spec.whatwg.org/#ends-in-a-number-checker): a name's last label is not numeric.
func endsInNumber(h string) bool {
	last := h[strings.LastIndexByte(h, '.')+1:]
	if len(last) > 1 && last[0] == '0' && last[1]|0x20 == 'x' {
		return every(last[2:], func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' })
	}
	return allDigits(last)
}

func validIPv4(h string) bool {
	a, err := netip.ParseAddr(h)
	return err == nil && a.Is4()
}

func trimBlanks(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func every(s string, ok func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func allDigits(s string) bool        { return every(s, isDigit) }
func isDigit(c byte) bool            { return c >= '0' && c <= '9' }
func isLetter(c byte) bool           { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isAlphanumeric(c byte) bool     { return isDigit(c) || isLetter(c) }
func isBlank(c byte) bool            { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
func startsWithLetter(s string) bool { return isLetter(s[0]) }
func isLoginByte(c byte) bool        { return isAlphanumeric(c) || c == '.' || c == '_' || c == '-' }
func isUserByte(c byte) bool         { return isLoginByte(c) || c == '+' || c == '*' || c == '#' }

// validIPv6 accepts a bracketed IPv6 address without a zone.
func validIPv6(h string) bool {
	if len(h) < 4 || h[len(h)-1] != ']' {
		return false
	}
	a, err := netip.ParseAddr(h[1 : len(h)-1])
	return err == nil && a.Is6() && a.Zone() == ""
}
