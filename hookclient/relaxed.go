package hookclient

import (
	"bytes"
	"fmt"

	"github.com/tidwall/gjson"
)

// maxDepth bounds how deep an answer's objects and arrays may nest.
const maxDepth = 64

// appendStrict appends the relaxed JSON object in src to dst, as strict JSON. Relaxed is what the
// documented handlers answer, { dst_phone: '380441111111' }, and what JavaScript programmers write
// by habit; beyond RFC 8259 it allows
//
//   - keys without quotes, of 0-9 A-Z a-z _ $, not beginning with a digit
//   - strings in single quotes, and \' in any string
//   - one comma after the last member
//   - // and /* */ comments
//   - a + before a number, which is dropped
//
// Everything else is refused, and nothing is repaired: a text that was cut short never becomes a
// shorter number, and a number that begins with 0 is neither octal nor quietly decimal. An error
// says what was found where, in bytes from 0, and what was wanted.
func appendStrict(dst, src []byte) ([]byte, error) {
	t := translator{in: src, out: dst}
	t.skip()
	if t.peek() != '{' {
		return nil, t.wrong("an object, {…}")
	}
	if err := t.group('}'); err != nil {
		return nil, err
	}
	if t.skip(); t.at < len(t.in) {
		return nil, t.wrong("nothing after the object")
	}
	return t.out, nil
}

// translator reads relaxed JSON in one pass. Each method reads one construct, from its first byte.
type translator struct {
	in    []byte
	at    int // the next byte of in
	out   []byte
	depth int
}

// peek returns the next byte, 0 at the end; a NUL in the text is nowhere legal either.
func (t *translator) peek() byte {
	if t.at == len(t.in) {
		return 0
	}
	return t.in[t.at]
}

func (t *translator) value() error {
	switch c := t.peek(); {
	case c == '{':
		return t.group('}')
	case c == '[':
		return t.group(']')
	case c == '"' || c == '\'':
		return t.text(c)
	case isDigit(c) || c == '-' || c == '+':
		return t.number()
	}
	return t.word()
}

// group reads an object or an array, which closing tells apart.
func (t *translator) group(closing byte) error {
	if t.depth++; t.depth > maxDepth {
		return t.wrong(fmt.Sprintf("at most %d levels of nesting", maxDepth))
	}
	t.out = append(t.out, t.in[t.at])
	t.at++
	for first := true; ; first = false {
		if t.skip(); t.peek() == closing {
			t.out = append(t.out, closing)
			t.at++
			t.depth--
			return nil
		}
		if !first {
			t.out = append(t.out, ',') // not before it is known to be followed by a member
		}
		if closing == '}' {
			if err := t.key(); err != nil {
				return err
			}
		}
		if err := t.value(); err != nil {
			return err
		}
		switch t.skip(); t.peek() {
		case ',':
			t.at++
		case closing:
		default:
			return t.wrong(fmt.Sprintf("a comma or %c", closing))
		}
	}
}

// key reads a member's name and the colon after it.
func (t *translator) key() error {
	if c := t.peek(); c == '"' || c == '\'' {
		if err := t.text(c); err != nil {
			return err
		}
	} else {
		start := t.at
		for isKeyByte(t.peek()) {
			t.at++
		}
		if name := t.in[start:t.at]; len(name) == 0 || isDigit(name[0]) {
			t.at = start
			return t.wrong("a key, in plain quotes or of letters, digits, _ and $")
		}
		t.out = append(t.out, '"')
		t.out = append(t.out, t.in[start:t.at]...)
		t.out = append(t.out, '"')
	}
	if t.skip(); t.peek() != ':' {
		return t.wrong("a colon after the key")
	}
	t.out = append(t.out, ':')
	t.at++
	t.skip()
	return nil
}

// text reads a string in quotes of either kind.
func (t *translator) text(quote byte) error {
	start := t.at
	t.out = append(t.out, '"')
	for t.at++; t.at < len(t.in); t.at++ {
		switch c := t.in[t.at]; {
		case c == quote:
			t.out = append(t.out, '"')
			t.at++
			return nil
		case c < ' ':
			return t.wrong("no control character in a string, unless escaped")
		case c == '"':
			t.out = append(t.out, '\\', '"')
		case c == '\\':
			n := escapeLength(t.in[t.at:])
			if n == 0 {
				return t.wrong(`one of the escapes \" \' \\ \/ \b \f \n \r \t \uXXXX`)
			}
			if escape := t.in[t.at : t.at+n]; escape[1] == '\'' {
				t.out = append(t.out, '\'') // strict JSON knows no \'
			} else {
				t.out = append(t.out, escape...)
			}
			t.at += n - 1
		default:
			t.out = append(t.out, c)
		}
	}
	t.at = start
	return t.wrong("a string with an end")
}

// escapeLength measures the escape sequence at the beginning of b; 0 for one that is not allowed.
func escapeLength(b []byte) int {
	if len(b) >= 2 && bytes.IndexByte([]byte(`"'\/bfnrt`), b[1]) >= 0 {
		return 2
	}
	if len(b) < 6 || b[1] != 'u' {
		return 0
	}
	for _, c := range b[2:6] {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0
		}
	}
	return 6
}

// number reads all that stands there until a separator, so that 380-44 and 0x1F are no numbers.
func (t *translator) number() error {
	start := t.at
	for t.at < len(t.in) && bytes.IndexByte([]byte(blanks+",]}/"), t.in[t.at]) < 0 {
		t.at++
	}
	number := t.in[start:t.at]
	digits := number
	if number[0] == '+' || number[0] == '-' {
		digits = number[1:]
	}
	if number[0] == '+' {
		number = digits
	}
	switch {
	case len(digits) > 1 && digits[0] == '0' && isDigit(digits[1]):
		t.at = start
		return t.wrong("quotes around a number that begins with 0, which some would read as octal")
	case len(digits) == 0 || !isDigit(digits[0]) || !gjson.ValidBytes(digits):
		t.at = start
		return t.wrong("a decimal number, or quotes around it")
	}
	t.out = append(t.out, number...)
	return nil
}

// word reads one of the three words that are values.
func (t *translator) word() error {
	start := t.at
	for isKeyByte(t.peek()) {
		t.at++
	}
	switch word := t.in[start:t.at]; string(word) {
	case "true", "false", "null":
		t.out = append(t.out, word...)
		return nil
	}
	t.at = start
	return t.wrong("a value: a string in plain quotes, a number, true, false, null, […] or {…}")
}

// skip passes blanks and whole comments. It stops at a comment that doesn't end, which then is not
// what its caller wants.
func (t *translator) skip() {
	for t.at < len(t.in) {
		rest := t.in[t.at:]
		switch {
		case bytes.IndexByte([]byte(blanks), rest[0]) >= 0:
			t.at++
		case bytes.HasPrefix(rest, []byte("//")):
			n := bytes.IndexAny(rest, "\r\n")
			if n < 0 {
				n = len(rest)
			}
			t.at += n
		case bytes.HasPrefix(rest, []byte("/*")):
			n := bytes.Index(rest[2:], []byte("*/"))
			if n < 0 {
				return
			}
			t.at += n + 4
		default:
			return
		}
	}
}

// wrong tells what stands at the next byte, and what should.
func (t *translator) wrong(want string) error {
	if t.at == len(t.in) {
		return fmt.Errorf("it ends at byte %d; want %s", t.at, want)
	}
	return fmt.Errorf("found %s at byte %d; want %s", excerpt(t.in[t.at:], maxExcerpt/2), t.at, want)
}

func isKeyByte(c byte) bool {
	return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c == '$'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
