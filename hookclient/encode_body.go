package hookclient

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"hookswitch/schema"
)

// piece is a literal and the value after it, with the escape that fits where the value stands; tag
// is nil where the text ends with the literal.
type piece struct {
	literal string
	tag     *schema.Tag
	escape  func(b []byte, s string) []byte
}

// pieces is text with tags, ready to be filled in.
type pieces []piece

// pieceTogether reads text with tags, all of them to be escaped alike.
func pieceTogether(text string, escape func(b []byte, s string) []byte) (pieces, error) {
	t, err := schema.ParseTemplate(text)
	if err != nil {
		return nil, err
	}
	var ps pieces
	for _, part := range t.Parts() {
		ps = append(ps, piece{part.Literal, part.Tag, escape})
	}
	return ps, nil
}

// literal returns the text where it has no tags, and whether that is so.
func (ps pieces) literal() (string, bool) {
	switch {
	case len(ps) == 0:
		return "", true
	case len(ps) == 1 && ps[0].tag == nil:
		return ps[0].literal, true
	}
	return "", false
}

// append appends the text; layout is for dates.
func (ps pieces) append(b []byte, f *filling, layout string) []byte {
	for i := range ps {
		p := &ps[i]
		b = append(b, p.literal...)
		if p.tag != nil {
			b = p.escape(b, f.tag(p.tag, layout))
		}
	}
	return b
}

// readBody reads a body's template. Its tags are escaped for the content type that it is sent under:
// JSON, XML, a form, or anything else, where they stand as they are.
func readBody(text, contentType string) (pieces, error) {
	contentType = strings.ToLower(contentType)
	switch {
	case strings.Contains(contentType, "json"):
		return readJSONBody(text)
	case strings.Contains(contentType, "xml"):
		return readXMLBody(text)
	case strings.Contains(contentType, "x-www-form-urlencoded"):
		return pieceTogether(text, appendQuery)
	}
	return pieceTogether(text, appendRaw)
}

// readJSONBody tells tags inside a string, "to {{callee}}", from tags that are a value of their own,
// {"sum": {{payment.sum}}}.
func readJSONBody(text string) (pieces, error) {
	ps, err := pieceTogether(text, nil)
	if err != nil {
		return nil, err
	}
	inString := false
	for i := range ps {
		inString = endsInString(ps[i].literal, inString)
		if ps[i].escape = appendJSONValue; inString {
			ps[i].escape = appendJSON
		}
	}
	if !gjson.ValidBytes(ps.sample()) {
		return nil, errors.New("text that is not JSON once its tags are filled in")
	}
	return ps, nil
}

func endsInString(literal string, inString bool) bool {
	for i := 0; i < len(literal); i++ {
		switch {
		case literal[i] == '"':
			inString = !inString
		case literal[i] == '\\' && inString:
			i++
		}
	}
	return inString
}

// appendJSONValue appends s as a JSON value of its own: a number, true, false, a list or an object
// as it is, nothing as null, all else as a string.
func appendJSONValue(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	if s[0] > ' ' && s[0] != '"' && gjson.Valid(s) && utf8.ValidString(s) {
		return append(b, s...)
	}
	b = append(b, '"')
	b = appendJSON(b, s)
	return append(b, '"')
}

// readXMLBody wants every tag to stand in text or in a quoted attribute, where escaping holds it.
func readXMLBody(text string) (pieces, error) {
	ps, err := pieceTogether(text, appendXML)
	if err != nil {
		return nil, err
	}
	d := xml.NewDecoder(strings.NewReader(string(ps.sample())))
	for {
		switch _, err := d.Token(); {
		case err == io.EOF:
			return ps, nil
		case err != nil:
			return nil, fmt.Errorf("text that is not XML once its tags are filled in: %w", err)
		}
	}
}

// sample fills every tag with a 1, which is a word in a string and a value outside.
func (ps pieces) sample() []byte {
	var b []byte
	for i := range ps {
		b = append(b, ps[i].literal...)
		if ps[i].tag != nil {
			b = append(b, '1')
		}
	}
	return b
}
