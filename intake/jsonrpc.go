package intake

import (
	"bytes"
	"strconv"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// jsonRPCDialect is JSON-RPC 2.0 (jsonrpc.org/specification): method "route", params an object,
// the result being the JSON answer. One request at a time; batches are refused.
var jsonRPCDialect = dialect{
	contentType: "application/json",
	read:        readJSONRPC,
	decision: func(dst []byte, q *question, d *schema.Decision) []byte {
		dst = append(dst, `{"jsonrpc":"2.0","result":`...)
		return q.rpc.appendID(appendDecisionJSON(dst, d))
	},
	fault:  appendFaultRPC,
	status: statusRPC,
}

// envelope is what stands around the parameters of a JSON-RPC request.
type envelope struct {
	// id is the request's, as it is written there; nil before it is known.
	id []byte
	// notification: the request has no id, so it gets no answer.
	notification bool
}

func (e *envelope) appendID(dst []byte) []byte {
	dst = append(dst, `,"id":`...)
	if e.id == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, e.id...)
	}
	return append(dst, "}\n"...)
}

// isEnvelope reports whether a body that came without a format speaks JSON-RPC: an object with a
// member of that name (or what would be one, were it valid), or an array, which is a batch and
// nothing else.
func isEnvelope(body []byte) bool {
	if firstByte(body) == '[' {
		return true
	}
	if !bytes.Contains(body, []byte(`jsonrpc"`)) { // without the first quote: most bodies are full of them
		return false
	}
	if validJSON(body, '{') != nil {
		return true
	}
	for m := firstMember(body); m.ok; m = m.next() {
		if string(m.key) == `"jsonrpc"` {
			return true
		}
	}
	return false
}

func readJSONRPC(q *question, ctx *fasthttp.RequestCtx) *fault {
	if !ctx.IsPost() {
		return nil // check tells that no request came
	}
	kind, f := bodyKind(ctx)
	switch {
	case f != nil || kind == bodyEmpty:
		return f
	case kind != bodyJSON:
		return &fault{code: codeBadRequest, rpc: rpcParseError, message: "the body is not valid JSON"}
	}
	return q.readEnvelope(ctx.PostBody())
}

// readEnvelope reads a JSON-RPC request, its params as parameters.
func (q *question) readEnvelope(body []byte) *fault {
	q.fixed = true
	if f := validJSON(body, '{'); f != nil {
		return f
	}
	var version, method, params, id []byte
	for m := firstMember(body); m.ok; m = m.next() {
		q.scratch = q.scratch[:0]
		switch string(q.unquoted(m.key)) {
		case "jsonrpc":
			version = m.value
		case "method":
			method = m.value
		case "params":
			params = m.value
		case "id":
			id = m.value
		}
	}
	if id != nil && !validID(id) {
		return invalidRequest("id: want a string, a number or null")
	}
	q.rpc = envelope{id: id, notification: id == nil}
	switch {
	case string(version) != `"2.0"`:
		return invalidRequest(`jsonrpc: want "2.0"`)
	case len(method) == 0 || method[0] != '"':
		return invalidRequest("method: want a string")
	case string(q.unquoted(method)) != q.method():
		return &fault{code: codeBadRequest, rpc: rpcNoMethod, field: "method", message: "no such method; want " + strconv.Quote(q.method())}
	case len(params) == 0:
		return nil
	case params[0] != '{':
		return badField("params", "want an object of named parameters")
	}
	return q.readObject(params)
}

// method is the one that can be called where the question came to.
func (q *question) method() string {
	if q.event {
		return "event"
	}
	return "route"
}

// validID takes what the specification lets an id be, at most as long as any value.
func validID(id []byte) bool {
	c := id[0]
	return len(id) <= maxValue && (c == '"' || c == '-' || c >= '0' && c <= '9' || string(id) == "null")
}

func invalidRequest(message string) *fault {
	return &fault{code: codeBadRequest, rpc: rpcInvalidRequest, message: message}
}

// appendFaultRPC appends a JSON-RPC error; its data carries our own code and the field.
func appendFaultRPC(dst []byte, q *question, f *fault) []byte {
	number := f.rpc
	if number == 0 {
		number = codes[f.code].rpc
	}
	dst = append(dst, `{"jsonrpc":"2.0","error":{"code":`...)
	dst = strconv.AppendInt(dst, int64(number), 10)
	dst = appendQuoted(append(dst, `,"message":`...), f.message)
	dst = appendQuoted(append(dst, `,"data":{"code":`...), f.code.String())
	if f.field != "" {
		dst = appendQuoted(append(dst, `,"field":`...), f.field)
	}
	return q.rpc.appendID(append(dst, "}}"...))
}

// statusRPC is 200 for what went wrong inside JSON-RPC, since its clients read the body only then.
// What HTTP itself refused keeps HTTP's status.
func statusRPC(f *fault) int {
	switch f.code {
	case codeBadRequest, codeUnknownNumber, codeUnknownProject, codeUnprocessable:
		return fasthttp.StatusOK
	}
	return httpStatus(f)
}
