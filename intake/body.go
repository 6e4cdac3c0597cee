package intake

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// takeBody reads the request's body, of limit bytes at most, and leaves it with ctx. It takes memory for what has
// come and not for what is announced: a header costs a stranger nothing, memory would cost everybody's calls.
func (q *question) takeBody(ctx *fasthttp.RequestCtx, limit int) error {
	stream, announced := ctx.RequestBodyStream(), ctx.Request.Header.ContentLength()
	switch {
	case stream == nil:
		return nil
	case announced > limit:
		return fasthttp.ErrBodyTooLarge
	}
	for over := false; !over; {
		if len(q.body) == cap(q.body) {
			q.body = slices.Grow(q.body, max(minBody, len(q.body)))
		}
		n, err := stream.Read(q.body[len(q.body):cap(q.body)])
		q.body = q.body[:len(q.body)+n]
		switch over = err == io.EOF; {
		case err != nil && !over:
			return err
		case len(q.body) > limit:
			return fasthttp.ErrBodyTooLarge
		}
	}
	// fasthttp takes a connection's end for a chunked body's, too.
	if c, ok := ctx.Conn().(*conn); len(q.body) < announced || announced < 0 && ok && c.hungUp {
		return io.ErrUnexpectedEOF
	}
	ctx.Request.SetBodyRaw(q.body)
	return nil
}

// minBody is what is set aside for a body in bytes, before more has come.
const minBody = 2 << 10

// readBody reads a POST's body, whose parameters win over the query's: a JSON object, also under a
// form's Content-Type or none (OpenSIPS' rest_post sends it so), a JSON-RPC request where the asker
// named no format, or a form. A GET's body means nothing (RFC 9110, 9.3.1).
func readBody(q *question, ctx *fasthttp.RequestCtx) *fault {
	if !ctx.IsPost() {
		return nil
	}
	kind, f := bodyKind(ctx)
	if f != nil {
		return f
	}
	body := ctx.PostBody()
	switch kind {
	case bodyForm:
		return q.readForm(body)
	case bodyJSON:
		if !q.stated && isEnvelope(body) {
			q.format = formatJSONRPC
			return q.readEnvelope(body)
		}
		return q.readObject(body)
	}
	return nil
}

type kind uint8

const (
	bodyEmpty kind = iota
	bodyForm
	bodyJSON
)

// bodyKind tells how a POST's body is to be read, or that it can't be.
func bodyKind(ctx *fasthttp.RequestCtx) (kind, *fault) {
	if e := ctx.Request.Header.ContentEncoding(); len(e) > 0 && string(e) != "identity" {
		return 0, &fault{code: codeUnsupportedMedia, field: "Content-Encoding", message: "a compressed body; want it as it is"}
	}
	body := ctx.PostBody()
	if len(bytes.TrimSpace(body)) == 0 {
		return bodyEmpty, nil
	}
	looksJSON := firstByte(body) == '{' || firstByte(body) == '['
	media := mediaType(ctx.Request.Header.ContentType())
	switch {
	case len(media) == 0 || bytes.EqualFold(media, []byte("application/x-www-form-urlencoded")):
		if looksJSON {
			return bodyJSON, nil
		}
		return bodyForm, nil
	case bytes.EqualFold(media, []byte("application/json")), bytes.EqualFold(media, []byte("application/json-rpc")), bytes.HasSuffix(media, []byte("+json")):
		return bodyJSON, nil
	}
	return 0, &fault{code: codeUnsupportedMedia, field: "Content-Type",
		message: "want application/json or application/x-www-form-urlencoded"}
}

// firstByte returns the first byte that is not white space in JSON's sense, 0 where there is none.
func firstByte(text []byte) byte {
	if i := skipSpace(text, 0); i < len(text) {
		return text[i]
	}
	return 0
}

// maxNesting keeps a body of brackets alone from being walked a hundred thousand levels deep.
const maxNesting = 64

// validJSON refuses what is not JSON by RFC 8259, or doesn't begin with want.
func validJSON(text []byte, want byte) *fault {
	switch {
	case !isJSON(text):
		return noJSON()
	case firstByte(text) != want:
		return &fault{code: codeBadRequest, rpc: rpcInvalidRequest, message: "the body is not a single JSON object"}
	}
	return nil
}

func nesting(text []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = stringEnd(text, i) - 1
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}

func noJSON() *fault {
	return &fault{code: codeBadRequest, rpc: rpcParseError, message: "the body is not valid JSON"}
}

// readObject takes the members of a JSON object as parameters: strings as their text, numbers and booleans
// as they are written, objects and arrays as their JSON; null says nothing. It checks the text as it goes,
// since every pass over a large body costs a good part of a decision.
func (q *question) readObject(text []byte) *fault {
	i := skipSpace(text, 0)
	if i >= len(text) || text[i] != '{' {
		return validJSON(text, '{')
	}
	ok := true
	for first := true; ; first = false {
		i = skipSpace(text, i+1)
		if first && i < len(text) && text[i] == '}' {
			break
		}
		var name, value []byte
		q.scratch = q.scratch[:0]
		if name, i, ok = q.jsonText(text, i); !ok {
			return noJSON()
		}
		if i = skipSpace(text, i); i >= len(text) || text[i] != ':' {
			return noJSON()
		}
		if value, i, ok = q.jsonScalar(text, skipSpace(text, i+1)); !ok {
			return noJSON()
		}
		if string(value) != "null" || text[i-1] == '"' {
			if f := q.set(name, value); f != nil {
				return cmp.Or(validJSON(text, '{'), f) // what is no JSON is nothing else
			}
		}
		if i = skipSpace(text, i); i < len(text) && text[i] == '}' {
			break
		}
		if i >= len(text) || text[i] != ',' {
			return noJSON()
		}
	}
	if skipSpace(text, i+1) != len(text) {
		return noJSON()
	}
	return nil
}

// jsonText returns the text of the string at t[i], where it ends, and whether it is one. The text lives until
// scratch is emptied.
func (q *question) jsonText(t []byte, i int) (text []byte, end int, ok bool) {
	if i >= len(t) || t[i] != '"' {
		return nil, i, false
	}
	if end = schema.JSONSpecial(t, i+1); end < len(t) && t[end] == '"' {
		return t[i+1 : end], end + 1, true
	}
	if end, ok = jsonString(t, i); !ok {
		return nil, end, false
	}
	return q.unquoted(t[i:end]), end, true
}

// jsonScalar is jsonText of a member's value, which is as it is written where it is no string.
func (q *question) jsonScalar(t []byte, i int) (text []byte, end int, ok bool) {
	if i < len(t) && t[i] == '"' {
		return q.jsonText(t, i)
	}
	end, ok = jsonValue(t, i, 1)
	if !ok {
		return nil, end, false
	}
	return t[i:end], end, true
}

// member is one member of a valid JSON object, key and value as they are written.
type member struct {
	key, value []byte
	ok         bool
	rest       []byte // of the object, behind the value
}

func firstMember(object []byte) member {
	return member{rest: object[skipSpace(object, 0)+1:]}.next()
}

func (m member) next() member {
	t := m.rest
	i := skipSpace(t, 0)
	if t[i] == ',' {
		i = skipSpace(t, i+1)
	}
	if t[i] == '}' {
		return member{}
	}
	keyEnd := stringEnd(t, i)
	start := skipSpace(t, skipSpace(t, keyEnd)+1) // over the colon
	end := valueEnd(t, start)
	return member{key: t[i:keyEnd], value: t[start:end], ok: true, rest: t[end:]}
}

func skipSpace(t []byte, i int) int {
	for i < len(t) && (t[i] == ' ' || t[i] == '\n' || t[i] == '\t' || t[i] == '\r') {
		i++
	}
	return i
}

// stringEnd returns where the string that begins at t[i] ends, its closing quote included.
func stringEnd(t []byte, i int) int {
	for i++; i < len(t); i++ {
		if i = schema.JSONSpecial(t, i); i >= len(t) {
			break
		}
		switch t[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(t)
}

// valueEnd returns where the value that begins at t[i] ends, within a valid object.
func valueEnd(t []byte, i int) int {
	if t[i] == '"' {
		return stringEnd(t, i)
	}
	depth := 0
	for ; i < len(t); i++ {
		switch t[i] {
		case '"':
			i = stringEnd(t, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// unquoted returns a valid JSON string's text, or another value as it is written. Bytes that are no
// UTF-8 and halves of surrogate pairs become U+FFFD, as they do in encoding/json. The result lives
// until scratch is emptied.
func (q *question) unquoted(raw []byte) []byte {
	if raw[0] != '"' {
		return raw
	}
	t := raw[1 : len(raw)-1]
	if schema.JSONSpecial(t, 0) == len(t) || bytes.IndexByte(t, '\\') < 0 && utf8.Valid(t) {
		return t
	}
	start := len(q.scratch)
	for len(t) > 0 {
		r, n := utf8.DecodeRune(t)
		if r == '\\' {
			r, n = unescapedRune(t)
		}
		q.scratch = utf8.AppendRune(q.scratch, r)
		t = t[n:]
	}
	return q.scratch[start:]
}

// unescapedRune decodes the escape that t begins with, and says how long it is.
func unescapedRune(t []byte) (rune, int) {
	switch c := t[1]; c {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r := hexRune(t[2:6])
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(t) >= 12 && t[6] == '\\' && t[7] == 'u' {
			if pair := utf16.DecodeRune(r, hexRune(t[8:12])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	default: // a quote, a backslash or a slash
		return rune(c), 2
	}
}

func hexRune(digits []byte) (r rune) {
	for _, c := range digits {
		r = r<<4 | rune(unhex(c))
	}
	return r
}
