package hookclient

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/tidwall/gjson"

	"hookswitch/schema"
)

// maxDestinations bounds the destinations read from one answer, long before any policy counts them.
const maxDestinations = 1000

// reader reads the answers of one hook. It is safe for concurrent use.
type reader struct {
	receive string // http, json or json-rpc
	region  string // ISO 3166, reads national numbers; empty to refuse them
	fields  []answerField
	decoder *decoder
}

// answerField is a place in a JSON answer that may hold what is wanted: a gjson path, and whether
// a scheme's id stands there in place of destinations.
type answerField struct {
	path   string
	schema bool
}

// newReader prepares to read the answers of h. With a region, a number that is not international
// is read as that country's.
func newReader(h *schema.Hook, region string) *reader {
	r := &reader{receive: h.Receive, region: region, decoder: newDecoder(h.MaxAnswer)}
	for _, path := range []string{h.Field, "dst_phone", "dst_callee", "schema"} {
		if path != "" && !r.reads(path) {
			r.fields = append(r.fields, answerField{path, path == "schema" || strings.HasSuffix(path, ".schema")})
		}
	}
	return r
}

func (r *reader) reads(path string) bool {
	for _, f := range r.fields {
		if f.path == path {
			return true
		}
	}
	return false
}

// refusal is why an answer can't be used: the reason that is counted, and words from which the
// handler's developer can mend it.
type refusal struct {
	reason schema.Reason
	detail string
}

func refuse(reason schema.Reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// read fills a with what the body of a 2xx answer says: Destinations or Schema and ReasonOK, else
// a failure's Reason and Detail and neither of the two. What it keeps is copied to a.Buf, after
// what is there already; body is not used after the call. An id of a JSON-RPC answer must be rpcID.
//
// The Content-Type needs not name JSON: the documented PHP handler sends text/html.
func (r *reader) read(a *schema.Answer, body, contentType, contentEncoding []byte, rpcID uint64) {
	a.Destinations, a.Schema, a.Reason, a.Detail = a.Destinations[:0], "", schema.ReasonOK, ""
	kept := len(a.Buf)
	if refused := r.fill(a, body, contentType, contentEncoding, rpcID); refused != nil {
		a.Destinations, a.Schema, a.Buf = a.Destinations[:0], "", a.Buf[:kept]
		a.Reason, a.Detail = refused.reason, refused.detail
	}
}

func (r *reader) fill(a *schema.Answer, body, contentType, contentEncoding []byte, rpcID uint64) *refusal {
	text, refused := r.decoder.decode(a, body, contentType, contentEncoding)
	if refused != nil {
		return refused
	}
	text = bytes.Trim(text, blanks)
	if len(text) == 0 {
		return refuse(schema.ReasonNoDestination, "the body is empty")
	}
	if r.receive == "http" {
		// DESIGN: in this format the body is the destination, whatever it looks like.
		return r.destinations(a, "the body (receive: http)", gjson.Result{Type: gjson.String, Str: stable(text)})
	}
	doc, refused := document(a, text)
	switch {
	case refused != nil:
		return refused
	case r.receive == "json-rpc":
		return r.response(a, doc, rpcID)
	}
	return r.object(a, doc)
}

// document returns text, which lies in a.Buf, as strict JSON with an object at its top. Relaxed
// JSON is translated. gjson may then be let loose on it: on invalid input it guesses, and its check
// recurses once for each level.
func document(a *schema.Answer, text []byte) (string, *refusal) {
	shallow := bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) <= maxDepth
	if text[0] == '{' && shallow && gjson.ValidBytes(text) {
		return stable(text), nil
	}
	start := len(a.Buf)
	strict, err := appendStrict(a.Buf, text)
	if err != nil {
		return "", refuse(schema.ReasonBadAnswer, "the body is not a JSON object: %v", err)
	}
	a.Buf = strict
	if !gjson.ValidBytes(strict[start:]) {
		return "", refuse(schema.ReasonBadAnswer, "the body is not a JSON object: %s", excerpt(text, maxExcerpt))
	}
	return stable(strict[start:]), nil
}

// response reads a JSON-RPC 2.0 response object.
func (r *reader) response(a *schema.Answer, doc string, id uint64) *refusal {
	if e := gjson.Get(doc, "error"); !vacant(e) {
		if !e.IsObject() {
			return refuse(schema.ReasonBadAnswer, "JSON-RPC error: %s", found(e))
		}
		return refuse(schema.ReasonBadAnswer, "JSON-RPC error %s: %s", found(e.Get("code")), found(e.Get("message")))
	}
	if v := gjson.Get(doc, "jsonrpc"); v.Type != gjson.String || v.Str != "2.0" {
		return refuse(schema.ReasonBadAnswer, `jsonrpc is %s; want "2.0"`, found(v))
	}
	if v := gjson.Get(doc, "id"); !isID(v, id) {
		return refuse(schema.ReasonBadAnswer, "id is %s; want the request's, %d", found(v), id)
	}
	result := gjson.Get(doc, "result")
	switch {
	case !result.Exists():
		return refuse(schema.ReasonBadAnswer, "neither result nor error in %s", excerpt(doc, maxExcerpt))
	case vacant(result):
		return refuse(schema.ReasonNoDestination, "result is %s", found(result))
	case result.IsObject():
		return r.object(a, result.Raw)
	}
	return r.destinations(a, "result", result)
}

// isID reports whether v is id, as a number or as the same number in a string.
func isID(v gjson.Result, id uint64) bool {
	var digits [20]byte
	want := strconv.AppendUint(digits[:0], id, 10)
	return v.Type == gjson.Number && v.Raw == string(want) || v.Type == gjson.String && v.Str == string(want)
}

// object reads the first field of doc that is present and not empty. Of duplicate keys the first
// counts, as it does for gjson.
func (r *reader) object(a *schema.Answer, doc string) *refusal {
	for i := range r.fields {
		f := &r.fields[i]
		v := gjson.Get(doc, f.path)
		switch {
		case vacant(v):
			continue
		case f.schema:
			return readSchema(a, f.path, v)
		}
		return r.destinations(a, f.path, v)
	}
	var wanted []string
	for _, f := range r.fields {
		wanted = append(wanted, f.path)
	}
	return refuse(schema.ReasonNoDestination, "nothing in %s; found %s", strings.Join(wanted, ", "), excerpt(doc, maxExcerpt))
}

// readSchema reads a scheme's id: 1 to 64 of 0-9 A-Z a-z _ . -
func readSchema(a *schema.Answer, name string, v gjson.Result) *refusal {
	id := v.Raw
	if v.Type == gjson.String {
		id = strings.Trim(v.Str, blanks)
	}
	ok := (v.Type == gjson.String || v.Type == gjson.Number) && len(id) <= 64
	for i := 0; ok && i < len(id); i++ {
		ok = id[i] == '.' || id[i] == '-' || isKeyByte(id[i]) && id[i] != '$'
	}
	if !ok {
		return refuse(schema.ReasonUnknownSchema, "%s is %s; want a scheme's id, 1 to 64 of 0-9 A-Z a-z _ . -", name, found(v))
	}
	a.Schema = id
	return nil
}

// destinations reads a value called name: a comma list in a string, a number, or an array of these.
func (r *reader) destinations(a *schema.Answer, name string, v gjson.Result) *refusal {
	l := list{answer: a, region: r.region, name: name}
	var refused *refusal
	if v.IsArray() {
		v.ForEach(func(_, item gjson.Result) bool {
			refused = l.value(item)
			return refused == nil
		})
	} else {
		refused = l.value(v)
	}
	if refused == nil && len(a.Destinations) == 0 {
		return refuse(schema.ReasonNoDestination, "%s holds only empty items: %s", name, found(v))
	}
	return refused
}

// list gathers the destinations of one field.
type list struct {
	answer *schema.Answer
	region string
	name   string // of the field, for a refusal
	seen   int    // items so far, empty ones included
}

func (l *list) value(v gjson.Result) *refusal {
	switch v.Type {
	case gjson.String:
		for item := range strings.SplitSeq(v.Str, ",") {
			if refused := l.add(item); refused != nil {
				return refused
			}
		}
		return nil
	case gjson.Number:
		// From the raw text: as a float64, 380443334455 is printed 3.80443334455e+11.
		if strings.Trim(v.Raw, "0123456789") == "" {
			return l.add(v.Raw)
		}
	case gjson.Null:
		return l.add("")
	}
	l.seen++
	return refuse(schema.ReasonInvalidDestination, "%s: destination %d is %s; want a string or a whole number", l.name, l.seen, found(v))
}

func (l *list) add(item string) *refusal {
	l.seen++
	d, err := schema.ParseDestination(item, l.region)
	switch {
	case errors.Is(err, schema.ErrEmptyDestination):
		return nil
	case err != nil:
		return refuse(schema.ReasonInvalidDestination, "%s: destination %d is %s: %v", l.name, l.seen, excerpt(item, maxExcerpt), err)
	case len(l.answer.Destinations) == maxDestinations:
		return refuse(schema.ReasonForbiddenDestination, "%s holds more than %d destinations", l.name, maxDestinations)
	}
	l.answer.Destinations = append(l.answer.Destinations, d)
	return nil
}

// vacant reports whether a value counts as not given: absent, null, false, a blank string, or an
// array or object without anything in it.
func vacant(v gjson.Result) bool {
	switch v.Type {
	case gjson.Null, gjson.False:
		return true
	case gjson.String:
		return strings.Trim(v.Str, blanks) == ""
	case gjson.JSON:
		return strings.Trim(v.Raw, "[]{}"+blanks) == ""
	}
	return false
}

// blanks are JSON's, RFC 8259 section 2.
const blanks = " \t\r\n"

// maxExcerpt bounds what a Detail shows of an answer, in bytes.
const maxExcerpt = 80

// found shows a value for a Detail.
func found(v gjson.Result) string {
	switch {
	case !v.Exists():
		return "missing"
	case v.Type == gjson.String:
		return excerpt(v.Str, maxExcerpt)
	case v.Type == gjson.JSON:
		return excerpt(v.Raw, maxExcerpt)
	case len(v.Raw) > maxExcerpt:
		return v.Raw[:maxExcerpt] + "…"
	}
	return v.Raw
}

// excerpt quotes the beginning of foreign text, at most this many bytes of it, with everything that
// does not print escaped. "…" after the quotes says that there was more. Text that needs no escape
// but for its double quotes, JSON for example, stands in back quotes as it is.
func excerpt[T string | []byte](foreign T, most int) string {
	text, more := string(foreign[:min(most, len(foreign))]), ""
	if len(foreign) > most {
		for text != "" && !utf8.RuneStart(foreign[len(text)]) {
			text = text[:len(text)-1]
		}
		more = "…"
	}
	quoted := strconv.Quote(text)
	if plain := strings.ReplaceAll(text, `"`, `\"`); plain != text && quoted == `"`+plain+`"` && !strings.Contains(text, "`") {
		quoted = "`" + text + "`"
	}
	return quoted + more
}

// stable gives b as a string without a copy. Only for memory that is not written again while the
// string lives: an Answer's Buf, until its Reset.
func stable(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
