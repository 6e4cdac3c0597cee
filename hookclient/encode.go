package hookclient

import (
	"unicode"
	"unicode/utf8"

	"hookswitch/schema"
)

// Every escaper here appends s in a form that cannot leave the place it stands in, whatever s holds,
// and without allocating. Values come from callers and visitors: they are hostile.

const upperHex = "0123456789ABCDEF"

// byteSet says for each ASCII character whether it stands as it is.
type byteSet [utf8.RuneSelf]bool

func newByteSet(chars string) (set byteSet) {
	const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for _, c := range alphanumeric + chars {
		set[c] = true
	}
	return set
}

var (
	unreserved = newByteSet("-._~")                   // RFC 3986, 2.3
	tokenBytes = newByteSet("!#$&'*+-.^_`|~")         // RFC 9110, 5.6.2, but for "%", which escapes the others
	uriBytes   = newByteSet("-._~:/?@!$&'()*+,;=%[]") // what a configured URL's path and query keep as written
)

func appendPercent(b []byte, s string, keep *byteSet) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < utf8.RuneSelf && keep[c] {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// appendQuery escapes for a query and for a form body: RFC 3986's unreserved characters stand, a
// blank is %20, which every form decoder reads as well as "+".
func appendQuery(b []byte, s string) []byte { return appendPercent(b, s, &unreserved) }

// appendPath escapes for one segment of a path. "." and ".." would climb the path, written as %2E as
// well (RFC 3986, 6.2.2.3), so they are left out.
func appendPath(b []byte, s string) []byte {
	if s == "." || s == ".." {
		return b
	}
	return appendPercent(b, s, &unreserved)
}

// appendRaw appends s as it is.
func appendRaw(b []byte, s string) []byte { return append(b, s...) }

// appendHeader escapes for a header's value: controls become blanks, blanks at both ends are
// dropped, UTF-8 stands as it is (obs-text of RFC 9110, 5.5).
func appendHeader(b []byte, s string) []byte {
	start := len(b)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c == 0x7f {
			c = ' '
		}
		if c != ' ' || len(b) > start {
			b = append(b, c)
		}
	}
	for len(b) > start && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// appendHeaderText is appendHeader without trimming, for a value within a longer text: controls are
// dropped.
func appendHeaderText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= ' ' && c != 0x7f {
			b = append(b, c)
		}
	}
	return b
}

// appendHeaderName makes s a header's name: what a name may not hold is percent-encoded.
func appendHeaderName(b []byte, s string) []byte { return appendPercent(b, s, &tokenBytes) }

// appendJSON escapes for the inside of a JSON string (RFC 8259, 7): UTF-8 stands as it is, and what
// is not UTF-8 becomes U+FFFD.
func appendJSON(b []byte, s string) []byte {
	done := 0
	for i := 0; ; {
		if i = schema.JSONSpecial(s, i); i == len(s) {
			return append(b, s[done:]...)
		}
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[done:i]...)
		b = appendJSONEscape(b, c)
		i++
		done = i
	}
}

func appendJSONEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	if c >= utf8.RuneSelf {
		return append(b, "\uFFFD"...)
	}
	return append(b, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&15])
}

// appendXML escapes for text and for attributes in either quotes. Line ends and tabs are written as
// references, which no parser normalises away; characters that XML 1.0 cannot hold (2.2) and bytes
// that are not UTF-8 are dropped.
func appendXML(b []byte, s string) []byte {
	for i, r := range s {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&#34;"...)
		case r == '\'':
			b = append(b, "&#39;"...)
		case r == '\t':
			b = append(b, "&#x9;"...)
		case r == '\n':
			b = append(b, "&#xA;"...)
		case r == '\r':
			b = append(b, "&#xD;"...)
		case r < ' ', r == 0xFFFE, r == 0xFFFF:
		case r == utf8.RuneError && !isReplacement(s[i:]):
		case r < utf8.RuneSelf:
			b = append(b, byte(r))
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// isReplacement tells a U+FFFD that was sent from a byte that could not be read.
func isReplacement(s string) bool {
	_, size := utf8.DecodeRuneInString(s)
	return size > 1
}

// xmlLetters are the letters that the 1998 and the 2008 edition of XML 1.0 both let a name begin
// with, as far as our customers write: Latin, Cyrillic. Parsers follow the one or the other.
var xmlLetters = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 'A', Hi: 'Z', Stride: 1}, {Lo: '_', Hi: '_', Stride: 1}, {Lo: 'a', Hi: 'z', Stride: 1},
	{Lo: 0xC0, Hi: 0xD6, Stride: 1}, {Lo: 0xD8, Hi: 0xF6, Stride: 1}, {Lo: 0xF8, Hi: 0xFF, Stride: 1},
	{Lo: 0x401, Hi: 0x40C, Stride: 1}, {Lo: 0x40E, Hi: 0x44F, Stride: 1}, {Lo: 0x451, Hi: 0x45C, Stride: 1},
	{Lo: 0x45E, Hi: 0x481, Stride: 1}, {Lo: 0x490, Hi: 0x4C4, Stride: 1}, {Lo: 0x4D0, Hi: 0x4EB, Stride: 1},
}}

// appendXMLName makes s an element's name: what a name may not hold becomes "_", and so does ":",
// which would mean a namespace. A name that would begin otherwise than with a letter gets a "_".
func appendXMLName(b []byte, s string) []byte {
	start := len(b)
	for _, r := range s {
		switch {
		case unicode.Is(xmlLetters, r):
		case r >= '0' && r <= '9', r == '-', r == '.':
			if len(b) == start {
				b = append(b, '_')
			}
		default:
			r = '_'
		}
		b = utf8.AppendRune(b, r)
	}
	if len(b) == start {
		b = append(b, '_')
	}
	return b
}
