package intake

import (
	"context"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// Events takes call events. notify.Notify is the one there is.
type Events interface {
	// Accept returns EventAccepted or EventRepeated once the event and its deliveries are durable, and by
	// ctx's deadline in any case. It gives the event its ID, a repeated one the first's. key is the
	// asker's own name for the event, "" for none.
	Accept(ctx context.Context, e *schema.Event, key string) schema.Acceptance
}

const eventsPath = "/v1/events"

const (
	maxCallID = 256 // bytes of a call's id
	maxKey    = 255 // of an Idempotency-Key
	// retrySoon is after how many seconds an event that was not kept may be sent again.
	retrySoon = "1"
)

// event answers one call event: 202 once it is durable (FreeSWITCH's CDR gets 200), in JSON, or a
// JSON-RPC result.
func (s *Server) event(ctx *fasthttp.RequestCtx, q *question) {
	q.call.At = s.now()
	q.event, q.fixed = true, true // no parameter names another dialect
	e, key, f := s.readEvent(ctx, q)
	repeated := false
	if f == nil {
		repeated, f = s.accept(ctx, q, e, key)
	}
	switch {
	case q.rpc.notification && (f == nil || statusRPC(f) == fasthttp.StatusOK):
		ctx.SetStatusCode(fasthttp.StatusNoContent) // JSON-RPC 2.0 section 4.1: it is never answered
	case f != nil:
		s.refuse(ctx, q, f)
	default:
		s.confirm(ctx, q, e, repeated)
	}
}

// confirm says that the event is durable.
func (s *Server) confirm(ctx *fasthttp.RequestCtx, q *question, e *schema.Event, repeated bool) {
	out := q.out[:0]
	if q.format == formatJSONRPC {
		out = append(out, `{"jsonrpc":"2.0","result":`...)
	}
	out = appendQuoted(append(out, `{"success":true,"event_id":`...), e.ID)
	if repeated {
		out = append(out, `,"repeated":true`...)
	}
	q.tellBeyond()
	out = append(appendWarnings(out, q.dropped), '}')
	switch {
	case q.format == formatJSONRPC:
		out = q.rpc.appendID(out)
	case q.cdr: // mod_json_cdr takes any 2xx for success, older ones 200 alone
		out = append(out, '\n')
	default:
		out = append(out, '\n')
		ctx.SetStatusCode(fasthttp.StatusAccepted)
	}
	q.out = out
	ctx.SetContentType("application/json")
	ctx.SetBody(q.out)
}

// accept has the event made durable.
func (s *Server) accept(ctx *fasthttp.RequestCtx, q *question, e *schema.Event, key string) (repeated bool, f *fault) {
	until, cancel := context.WithDeadline(context.Background(), q.call.At.Add(patience(s.settings.Load().budget, q.budget)))
	defer cancel()
	switch s.events.Accept(until, e, key) {
	case schema.EventAccepted:
		return false, nil
	case schema.EventRepeated:
		return true, nil
	case schema.EventNoProject:
		return false, noProject(e.Project)
	case schema.EventKeyReused:
		return false, &fault{code: codeUnprocessable, field: "Idempotency-Key", message: "this key came with another event before; want one for each event"}
	case schema.EventNoSpace:
		return false, &fault{code: codeNoSpace, message: "the store is full, so the event was not kept; make room, or shorten events.log_for, and send it again"}
	}
	ctx.Response.Header.Set("Retry-After", retrySoon)
	return false, &fault{code: codeUnavailable, message: "the store did not take the event; send it again"}
}

func noProject(id string) *fault {
	if id == "" {
		return &fault{code: codeUnknownProject, field: "project", message: "missing, and neither callee nor caller is a number of a project's; want a project's id"}
	}
	return &fault{code: codeUnknownProject, field: "project", message: "no such project; want the id of one that is configured"}
}

// readEvent reads an event and the asker's name for it, at the door first. Nothing of either is ctx's
// or q's.
func (s *Server) readEvent(ctx *fasthttp.RequestCtx, q *question) (e *schema.Event, key string, f *fault) {
	if f := s.allowed(ctx, &s.settings.Load().door, q); f != nil {
		return nil, "", f
	}
	if !ctx.IsPost() {
		return nil, "", notAllowed(ctx, "POST")
	}
	if f := q.readForm(ctx.URI().QueryString()); f != nil {
		return nil, "", f
	}
	document, f := cdrOf(q, ctx)
	if f != nil {
		return nil, "", f
	}
	var channel []schema.Custom
	if q.cdr = document != nil; q.cdr {
		channel = q.readCDR(document)
	} else if f := readBody(q, ctx); f != nil {
		return nil, "", f
	}
	if e, f = q.asEvent(); f != nil {
		return nil, "", f
	}
	e.Values = append(e.Values, channel...)
	if key = string(ctx.Request.Header.Peek("Idempotency-Key")); len(key) > maxKey || !visible(key) {
		return nil, "", badField("Idempotency-Key", "want at most "+strconv.Itoa(maxKey)+" printable ASCII characters")
	}
	if e.Project == "" {
		e.Project = s.projectOf(e, q.call.Callee(), q.call.Caller())
	}
	if e.Project == "" {
		return nil, "", noProject("")
	}
	return e, key, nil
}

// asEvent makes an event of the parameters read. What is not given is inbound.
func (q *question) asEvent() (*schema.Event, *fault) {
	named, _ := q.call.CustomValue("event")
	kind, ok := schema.EventKind(named)
	if !ok {
		return nil, badField("event", "want create, answer or destroy (or before_call, after_call)")
	}
	direction, ok := schema.CallDirection(&q.call)
	if !ok {
		return nil, badField("direction", "want inbound or outbound (or in, out)")
	}
	id := q.call.ID()
	switch {
	case id == "":
		return nil, badField("callid", "missing; want the call's id, the same in all of its events")
	case len(id) > maxCallID || !printable(id):
		return nil, badField("callid", "want at most "+strconv.Itoa(maxCallID)+" bytes of printable text")
	case hasControl(q.call.Callee()):
		return nil, badField("callee", "holds a control character; want the number that was called")
	case hasControl(q.call.Caller()):
		return nil, badField("caller", "holds a control character; want the number or name that calls")
	}
	return &schema.Event{
		Project: strings.Clone(q.call.Project), Kind: kind, Direction: direction, CallID: strings.Clone(id), At: q.call.At,
		Values: q.eventValues(),
	}, nil
}

// eventValues copies what was said of the call, but for what the event itself is.
func (q *question) eventValues() []schema.Custom {
	var values []schema.Custom
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		if p != schema.ParamCallID && q.call.Said(p) && q.call.Get(p) != "" {
			values = append(values, schema.Custom{Name: p.Name(), Value: owned(q.call.Get(p))})
		}
	}
	for _, c := range q.call.Customs() {
		said := c.Name == "event" || c.Name == "direction" || q.cdr && c.Name == "uuid" // FreeSWITCH puts that behind its URL
		if c.Value != "" && !said {
			values = append(values, schema.Custom{Name: owned(c.Name), Value: owned(c.Value)})
		}
	}
	return values
}

// owned copies text, in which what is not UTF-8 becomes U+FFFD: an event is kept as JSON.
func owned(text string) string { return strings.ToValidUTF8(strings.Clone(text), "\uFFFD") }

// projectOf finds the project by the number that is its own: the one called, or in an outbound call
// the one that calls.
func (s *Server) projectOf(e *schema.Event, callee, caller string) string {
	numbers := [2]string{callee, caller}
	if e.Direction == "outbound" {
		numbers = [2]string{caller, callee}
	}
	for _, number := range numbers {
		if id, ok := s.projects(number); ok {
			return id
		}
	}
	return ""
}

// visible reports whether text is printable ASCII.
func visible(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
