package schema

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// Tag names one value of a call: a catalogue parameter ("caller"), a custom parameter ("city"), or
// something inside a value that is JSON ("payment.name", "payment[0].name"). The zero Tag names a
// custom parameter without a name, which no call has.
type Tag struct {
	name  string
	param Param
	known bool // param is meant, and not a custom parameter
	// whole is the name in gjson's spelling; where it has dots or brackets, base is what stands
	// before the first of them and path the rest.
	whole, base, path string
}

// NamedTag finds what name stands for. Any text is a name: one that is no catalogue parameter is a
// custom parameter's, since those are open-ended.
func NamedTag(name string) Tag {
	if p, ok := ParamNamedString(name); ok {
		return Tag{name: name, param: p, known: true}
	}
	t := Tag{name: name}
	if checkTag(name) != nil {
		return t
	}
	t.whole = strings.NewReplacer("[", ".", "]", "").Replace(name)
	if i := strings.IndexAny(name, ".["); i > 0 {
		t.base, t.path = name[:i], t.whole[i+1:]
	}
	return t
}

// ParseTag is NamedTag for what stands between {{ and }}: letters, digits, "_" and "-", then any
// number of ".name" and "[0]". Anything else is an error.
func ParseTag(name string) (Tag, error) {
	if err := checkTag(name); err != nil {
		return Tag{}, err
	}
	return NamedTag(name), nil
}

// Param returns the catalogue parameter that the tag names, and whether it names one.
func (t *Tag) Param() (Param, bool) { return t.param, t.known }

// Value returns what the call holds under the tag's name, "" where it holds nothing. A custom
// parameter whose whole name is the tag's comes before a look inside a JSON value, and what the call
// says before its variables. From JSON a string comes decoded, an object or a list as its JSON text,
// a number as it was written, null as "". The result lives as long as the call's own strings.
func (t *Tag) Value(c *Call) string {
	if t.known {
		return c.Get(t.param)
	}
	if v, ok := c.CustomValue(t.name); ok {
		return v
	}
	if t.path != "" {
		if v := lookInside(t.json(c), t.path); v != "" {
			return v
		}
	}
	return lookInside(c.Variables, t.whole)
}

// json returns the call's value that the tag looks into.
func (t *Tag) json(c *Call) string {
	if v, ok := c.CustomValue(t.base); ok {
		return v
	}
	if p, known := ParamNamedString(t.base); known {
		return c.Get(p)
	}
	return ""
}

// lookInside returns what stands at path in the JSON text.
func lookInside(text, path string) string {
	// gjson answers from broken JSON too, and wrongly.
	if text == "" || path == "" || !gjson.Valid(text) {
		return ""
	}
	found := gjson.Get(text, path)
	if found.Type == gjson.String {
		return found.Str
	}
	if found.Type == gjson.Null {
		return ""
	}
	return found.Raw // not String(), which prints a long number as 3.8e+11
}

func checkTag(name string) error {
	rest, wantName := name, true
	for {
		if wantName {
			n := tagNameLength(rest)
			if n == 0 {
				return fmt.Errorf("bad name %q; want letters, digits, _ and -, then .name or [0]", name)
			}
			rest = rest[n:]
		}
		switch {
		case rest == "":
			return nil
		case rest[0] == '.':
			rest, wantName = rest[1:], true
		case rest[0] == '[':
			digits, after, closed := strings.Cut(rest[1:], "]")
			if !closed || digits == "" || !allDigits(digits) {
				return fmt.Errorf("bad index in %q; want [0], [1] and so on", name)
			}
			rest, wantName = after, false
		default:
			return fmt.Errorf("bad character in name %q; want letters, digits, _ and -, then .name or [0]", name)
		}
	}
}

// tagNameLength returns how many bytes of s are a name's; letters of every script are.
func tagNameLength(s string) int {
	for i, r := range s {
		if r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) || r == utf8.RuneError {
			return i
		}
	}
	return len(s)
}

// Template is text in which {{tags}} stand for values of a call. It is read once and used by many
// calls at a time.
type Template struct {
	text  string
	parts []TemplatePart
}

// TemplatePart is a literal and the tag after it; Tag is nil where the text ends with the literal.
type TemplatePart struct {
	Literal string
	Tag     *Tag
}

// ParseTemplate reads text with tags. Blanks just inside the braces are dropped, braces that stand
// alone are text. An unclosed or empty tag and a name that ParseTag refuses are errors that name
// the tag. An unknown name is none: it is a custom parameter's, empty where a call has no such one.
func ParseTemplate(text string) (*Template, error) {
	t := &Template{text: text}
	rest := text
	for {
		literal, after, found := strings.Cut(rest, "{{")
		if !found {
			if rest != "" {
				t.parts = append(t.parts, TemplatePart{Literal: rest})
			}
			return t, nil
		}
		inner, tail, closed := strings.Cut(after, "}}")
		if !closed || strings.Contains(inner, "{{") {
			return nil, fmt.Errorf("unclosed tag %q; want {{name}}", "{{"+excerpt(after))
		}
		name := trimBlanks(inner)
		if name == "" {
			return nil, fmt.Errorf("empty tag %q; want {{name}}", "{{"+inner+"}}")
		}
		tag, err := ParseTag(name)
		if err != nil {
			return nil, fmt.Errorf("tag %q: %w", "{{"+excerpt(inner)+"}}", err)
		}
		t.parts = append(t.parts, TemplatePart{Literal: literal, Tag: &tag})
		rest = tail
	}
}

// excerpt shortens text for an error, at a character's border.
func excerpt(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Literal returns the text where it has no tags, and whether that is so.
func (t *Template) Literal() (string, bool) {
	for i := range t.parts {
		if t.parts[i].Tag != nil {
			return "", false
		}
	}
	return t.text, true
}

// Parts returns literals and tags in order, for who fills tags in a way of his own. The slice is
// the template's: read it, don't change it.
func (t *Template) Parts() []TemplatePart { return t.parts }

// String returns the text as it was read.
func (t *Template) String() string { return t.text }

// Append appends the text with every tag filled in from c. Literals are appended as they are; escape
// appends a value in the form that is safe where it stands, nil leaves values as they are. Literals
// and catalogue tags cost no allocation.
func (t *Template) Append(b []byte, c *Call, escape func(b []byte, s string) []byte) []byte {
	for i := range t.parts {
		part := &t.parts[i]
		b = append(b, part.Literal...)
		switch {
		case part.Tag == nil:
		case escape == nil:
			b = append(b, part.Tag.Value(c)...)
		default:
			b = escape(b, part.Tag.Value(c))
		}
	}
	return b
}
