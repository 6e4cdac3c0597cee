package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// linkValues are what came through a link: the declared fields of the query, and all of the body,
// which wins where both have a name.
type linkValues struct {
	names   []string          // in the order in which they first came
	raw     map[string][]byte // each as valid JSON, a part of the request or our own
	ignored []string          // names of the query that the link does not declare
}

const (
	maxLinkValues = 200 // less than a call's custom parameters, so that the decision's own fit in
	maxIgnored    = 20  // names that an answer tells
)

// readLink reads a request for link l.
func readLink(ctx *fasthttp.RequestCtx, q *question, l *link) (*linkValues, *fault) {
	v := &linkValues{raw: map[string][]byte{}}
	declared := func(name string) bool {
		if !l.declared[name] && name != "token" && len(v.ignored) < maxIgnored {
			v.ignored = append(v.ignored, name)
		}
		return l.declared[name]
	}
	if f := v.readForm(q, ctx.URI().QueryString(), declared); f != nil {
		return nil, f
	}
	if !ctx.IsPost() { // a GET's body means nothing (RFC 9110, 9.3.1)
		return v, nil
	}
	if len(ctx.PostBody()) > l.conf.MaxBody {
		return nil, &fault{code: codeTooLarge, message: "the body is larger than the link's max_body_bytes, " + strconv.Itoa(l.conf.MaxBody)}
	}
	kind, f := bodyKind(ctx)
	if f != nil {
		return nil, f
	}
	switch kind {
	case bodyForm:
		f = v.readForm(q, ctx.PostBody(), func(string) bool { return true })
	case bodyJSON:
		f = v.readJSON(q, bytes.TrimPrefix(ctx.PostBody(), []byte("\ufeff")))
	}
	return v, f
}

// readForm takes the wanted pairs of application/x-www-form-urlencoded text.
func (v *linkValues) readForm(q *question, text []byte, wanted func(name string) bool) *fault {
	for len(text) > 0 {
		var pair []byte
		pair, text, _ = bytes.Cut(text, []byte("&"))
		rawName, rawValue, _ := bytes.Cut(pair, []byte("="))
		q.scratch = q.scratch[:0]
		name := string(q.unescaped(rawName))
		if len(name) > maxName {
			return tooLongName(name)
		}
		if name == "" || !wanted(name) {
			continue
		}
		if f := v.set(name, appendQuoted(nil, string(q.unescaped(rawValue)))); f != nil {
			return f
		}
	}
	return nil
}

// readJSON takes all members of a JSON object; null says nothing.
func (v *linkValues) readJSON(q *question, body []byte) *fault {
	if f := checkJSON(body); f != nil {
		return f
	}
	for m := firstMember(body); m.ok; m = m.next() {
		q.scratch = q.scratch[:0]
		name := string(q.unquoted(m.key))
		if name == "" || string(m.value) == "null" {
			continue
		}
		if f := v.set(name, m.value); f != nil {
			return f
		}
	}
	return nil
}

// set gives the variable a value, JSON, in the place of one that came before.
func (v *linkValues) set(name string, raw []byte) *fault {
	switch _, known := v.raw[name]; {
	case len(name) > maxName:
		return tooLongName(name)
	case isOurs(name):
		return unprocessable(name, "this name means something else in every call; send it under another, such as "+name+"1")
	case !known && len(v.names) == maxLinkValues:
		return unprocessable(name, "one value too many; want at most "+strconv.Itoa(maxLinkValues))
	case !known:
		v.names = append(v.names, name)
	}
	v.raw[name] = raw
	return nil
}

// isOurs tells the names that no variable can have: the catalogue's, the control parameters', and
// those under which a link's response finds the decision.
func isOurs(name string) bool {
	switch name {
	case "dst_phone", "reason", "decision_id", "explain":
		return true
	}
	return schema.IsReservedName(name)
}

// appendObject appends the values as one JSON object.
func (v *linkValues) appendObject(b []byte) []byte {
	b = append(b, '{')
	for i, name := range v.names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(appendQuoted(b, name), ':'), v.raw[name]...)
	}
	return append(b, '}')
}

// checkJSON refuses what is no JSON object by RFC 8259, and says where it breaks.
func checkJSON(body []byte) *fault {
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(body, new(json.RawMessage)); {
	case nesting(body) > maxNesting:
		return unprocessable("", "nested deeper than "+strconv.Itoa(maxNesting)+" levels")
	case errors.As(err, &syntax):
		return &fault{code: codeBadRequest, message: "the body is not valid JSON: " + whereBroken(body, syntax)}
	case err != nil || !gjson.ValidBytes(body):
		return &fault{code: codeBadRequest, message: "the body is not valid JSON"}
	case firstByte(body) != '{':
		return &fault{code: codeBadRequest, message: "the body is not a JSON object, {…}"}
	}
	return nil
}

// whereBroken describes the place at which a JSON text breaks, in characters, and what stands there.
func whereBroken(body []byte, err *json.SyntaxError) string {
	at := min(max(0, int(err.Offset)-1), len(body)-1) // Offset counts the byte at fault
	before := body[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	where := fmt.Sprintf("line %d, column %d: ", line, column)
	r, _ := utf8.DecodeRune(body[at:])
	switch {
	case err.Error() == "unexpected end of JSON input": // encoding/json has no other sign of it
		return where + "it ends too soon"
	case r == '“' || r == '”' || r == '„' || r == '«' || r == '»' || r == '‘' || r == '’':
		return where + fmt.Sprintf(`found the typographic quote %c; want the plain one, "`, r)
	case r == '}' || r == ']':
		return where + fmt.Sprintf("found %q; want a value before it, and no comma after the last one", r)
	case r == '{' || r == '"':
		return where + fmt.Sprintf("found %q; want a comma or a colon before it", r)
	}
	return where + fmt.Sprintf("found %q", r)
}

func unprocessable(field, message string) *fault {
	return &fault{code: codeUnprocessable, field: field, message: message}
}

func tooLongName(name string) *fault {
	return unprocessable(cutName(name), "a name of "+strconv.Itoa(len(name))+" bytes; want at most "+strconv.Itoa(maxName))
}
