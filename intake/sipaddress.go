package intake

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// readSIPBody reads a JSON body that tells of an INVITE, its headers under "headers" (RustPBX) or
// under "sip" (jambonz). The session description is passed over, and so is any member too long to
// keep: what a caller's phone writes into an INVITE must not cost the caller the call.
func readSIPBody(q *question, ctx *fasthttp.RequestCtx) *fault {
	if !ctx.IsPost() {
		return nil
	}
	body := ctx.PostBody()
	switch kind, f := bodyKind(ctx); {
	case f != nil:
		return f
	case kind == bodyForm:
		return q.readForm(body)
	case kind == bodyEmpty:
		return nil
	}
	if f := validJSON(body, '{'); f != nil {
		return f
	}
	for m := firstMember(body); m.ok; m = m.next() {
		q.scratch = q.scratch[:0]
		name := q.unquoted(m.key)
		switch {
		case string(name) == "body", string(m.value) == "null":
		case string(name) == "headers":
			q.readSIPHeaders(m.value)
		case string(name) == "sip":
			q.readSIPHeaders(memberNamed(m.value, "headers"))
		default:
			value := q.unquoted(m.value)
			if q.tooLong(name, value) {
				continue
			}
			if f := q.set(name, value); f != nil {
				return f
			}
		}
	}
	return nil
}

// memberNamed returns the raw value of a member of object, nil where there is none.
func memberNamed(object []byte, name string) []byte {
	if firstByte(object) != '{' {
		return nil
	}
	for m := firstMember(object); m.ok; m = m.next() {
		if string(m.key) == `"`+name+`"` {
			return m.value
		}
	}
	return nil
}

// keptHeaders are the SIP headers that say who called whom before this call came here, and the
// parameters that keep them.
var keptHeaders = [...]struct{ header, param string }{
	{"diversion", "diversion"},                     // RFC 5806
	{"history-info", "history_info"},               // RFC 7044
	{"p-asserted-identity", "p_asserted_identity"}, // RFC 3325
}

// readSIPHeaders keeps those of an object of SIP headers, the first value of each. Names are
// compared without case (RFC 3261, section 7.3.1).
func (q *question) readSIPHeaders(object []byte) {
	if firstByte(object) != '{' {
		return
	}
	for m := firstMember(object); m.ok; m = m.next() {
		q.scratch = q.scratch[:0]
		name := q.unquoted(m.key)
		for _, h := range keptHeaders {
			if !bytes.EqualFold(name, []byte(h.header)) || m.value[0] != '"' {
				continue
			}
			value := firstInList(q.unquoted(m.value))
			if _, have := q.call.CustomValue(h.param); !have && !q.tooLong([]byte(h.param), value) {
				q.setNamed([]byte(h.param), value)
			}
		}
	}
}

// firstInList returns the first of a header's comma-separated values. A comma inside quotes or
// angle brackets separates nothing.
func firstInList(values []byte) []byte {
	quoted, angled := false, false
	for i := 0; i < len(values); i++ {
		switch c := values[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !angled:
			quoted = !quoted
		case quoted:
		case c == '<':
			angled = true
		case c == '>':
			angled = false
		case c == ',' && !angled:
			return bytes.TrimSpace(values[:i])
		}
	}
	return bytes.TrimSpace(values)
}

// adoptAddress gives a parameter that the question did not name the user of the first address, as
// the PBX's own parameters of these names have it, that has one.
func (q *question) adoptAddress(p schema.Param, names ...string) {
	for _, name := range names {
		if q.call.Get(p) != "" && q.call.Said(p) {
			return
		}
		if v, ok := q.call.CustomValue(name); ok {
			if user := q.addressUser(v); user != "" {
				q.call.SetString(p, user)
			}
		}
	}
}

// adoptCaller is adoptAddress for the caller. Behind an anonymous From, or none, stands the network's
// own word of who calls, where it gives one (RFC 3325, section 9.1).
func (q *question) adoptCaller(name string) {
	q.adoptAddress(schema.ParamCaller, name)
	if caller := q.call.Caller(); caller != "" && !strings.EqualFold(caller, "anonymous") {
		return
	}
	if v, ok := q.call.CustomValue("p_asserted_identity"); ok {
		if user := q.addressUser(v); user != "" {
			q.call.SetString(schema.ParamCaller, user)
		}
	}
}

// addressUser returns who is meant by text: a name-addr or addr-spec as in From and To (RFC 3261,
// sections 20.10 and 25.1), or a bare number or name, which is returned as it is. Empty where the
// address names nobody or can't be read.
func (q *question) addressUser(text string) string {
	uri, ok := addressURI(text)
	if !ok {
		return ""
	}
	scheme, rest, found := strings.Cut(uri, ":")
	switch {
	case found && strings.EqualFold(scheme, "tel"):
		number, _, _ := strings.Cut(rest, ";")
		return q.decoded(number, "-.()") // RFC 3966's visual separators
	case found && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")):
		user, _, found := strings.Cut(rest, "@") // a literal one is in no other part of a SIP URI
		if !found {
			return ""
		}
		user, _, _ = strings.Cut(user, ":") // the password
		user, _, _ = strings.Cut(user, ";") // a telephone number's parameters, RFC 3261, section 19.1.6
		return q.decoded(user, "")
	case !printable(uri):
		return ""
	}
	return uri
}

// addressURI returns the URI of a name-addr, what is between its angle brackets, or of an addr-spec,
// what is before its header parameters. ok is false for a quote or bracket that doesn't end.
func addressURI(text string) (uri string, ok bool) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, `"`) {
		end := 1
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(text) {
			return "", false
		}
		text = strings.TrimSpace(text[end+1:])
		if !strings.HasPrefix(text, "<") {
			return "", false
		}
	}
	if _, after, found := strings.Cut(text, "<"); found {
		uri, _, ok = strings.Cut(after, ">")
		return strings.TrimSpace(uri), ok
	}
	if i := strings.IndexAny(text, " \t,"); i >= 0 {
		text = text[:i]
	}
	// Without brackets, what follows a ";" belongs to the header, but for one in the user part.
	at := max(strings.IndexByte(text, '@'), 0)
	if i := strings.IndexByte(text[at:], ';'); i >= 0 {
		text = text[:at+i]
	}
	return text, true
}

// decoded undoes a URI's percent escapes and drops the bytes of skip. Text that then is not
// printable is no one's name: it becomes empty.
func (q *question) decoded(text, skip string) string {
	if strings.IndexByte(text, '%') >= 0 || skip != "" && strings.ContainsAny(text, skip) {
		buf := make([]byte, 0, 64)
		for i := 0; i < len(text); i++ {
			switch c := text[i]; {
			case c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
				buf = append(buf, unhex(text[i+1])<<4|unhex(text[i+2]))
				i += 2
			case strings.IndexByte(skip, c) < 0:
				buf = append(buf, c)
			}
		}
		text = q.call.Keep(buf)
	}
	if !printable(text) {
		return ""
	}
	return text
}
