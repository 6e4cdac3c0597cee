package hookclient

import (
	"errors"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"hookswitch/schema"
)

// Webhook is a subscription to call events, ready to be sent to: by many goroutines at once.
type Webhook struct {
	target  *target
	decoder *decoder
	signer  *signer // nil without a signature
	short   bool    // directions are "in" and "out"
	// apart are the custom parameters that are not sent of themselves, under their own names: a rename
	// or a constant has the name. They are there for tags.
	apart map[string]bool
}

// PrepareWebhook makes project p's webhook w ready to be sent to. It fails where w names a URL, a
// template or a PEM file that cannot be used.
func (c *Client) PrepareWebhook(p *schema.Project, w *schema.Webhook) (*Webhook, error) {
	loc, err := location(w.TZ, p.TZ)
	if err != nil {
		return nil, err
	}
	secured, err := tlsConfig(w.TLS)
	if err != nil {
		return nil, err
	}
	h, err := requestsOf(w)
	if err != nil {
		return nil, err
	}
	t, err := c.newTarget(p, h, w.URL, loc, secured)
	if err != nil {
		return nil, renamed(err, map[string]string{"body": "template", "send": "body"}) // as requestsOf has them
	}
	t.patient = true
	wh := &Webhook{target: t, decoder: newDecoder(w.MaxAnswer), short: w.TypeStyle == "short", apart: map[string]bool{}}
	// A delivery is signed under its own id, and with the time of the attempt: see Send.
	wh.signer, t.builder.signer = t.builder.signer, nil
	if t.builder.place != nowhere && onlyConstants(w.Params) {
		wh.sendKnown(t.builder, w)
	}
	t.builder.hide(secretsOf(w)...)
	return wh, nil
}

// Close lets go of the idle connections. Requests under way end as they would.
func (w *Webhook) Close() { w.target.pool.close() }

// requestsOf says what w's requests are in the words of a hook, which is what the builder reads.
func requestsOf(w *schema.Webhook) (*schema.Hook, error) {
	template := templateOf(w)
	h := &schema.Hook{
		Method: w.Method, Send: w.Body, Body: template, ContentType: w.ContentType, RPCMethod: w.RPCMethod,
		Params: w.Params, DateFormat: w.DateFormat, TZ: w.TZ, Headers: make(map[string]schema.Secret, len(w.Headers)),
		Auth: w.Auth, Sign: w.Sign, Sign2: w.Sign2, TLS: w.TLS, MaxAnswer: w.MaxAnswer, MaxInFlight: w.MaxInFlight,
	}
	for _, header := range w.Headers {
		h.Headers[header.Name] = header.Value
	}
	if template == "" {
		if w.Method == "GET" && w.Body != "json-rpc" && w.Body != "raw" {
			h.Send = "query" // "GET: the parameters are in the address", whatever the format
		}
		return h, nil
	}
	switch w.Body {
	case "json":
		if _, err := readJSONBody(template); err != nil {
			if strings.HasPrefix(strings.TrimSpace(template), "{") || strings.HasPrefix(strings.TrimSpace(template), "[") {
				return nil, at("template", err)
			}
			h.Send = "raw"
		}
	case "xml":
		if _, err := readXMLBody(template); err != nil {
			return nil, at("template", err)
		}
	}
	return h, nil
}

// templateOf is the text of w's template. The documented monitoring API has a word there, "quos", beside
// fields and params, and null where none is used: a template's name, of which we have none. Such a word
// takes the place of nothing, but where body is raw and it is all that there is to send.
func templateOf(w *schema.Webhook) string {
	word := !strings.ContainsFunc(w.Template, func(r rune) bool { return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if word && w.Body != "raw" {
		return ""
	}
	return w.Template
}

// onlyConstants reports that params are but names and values, which are added to what is known. One
// that is anything else makes them the whole of what is sent.
func onlyConstants(params []schema.ParamRule) bool {
	return !slices.ContainsFunc(params, func(r schema.ParamRule) bool { return r.Value == nil })
}

// eventTags are the names of what an event and its delivery are, in tags and params: event (create,
// answer or destroy), direction, event_id, delivery_id, and attempt, from 1.
var eventTags = []string{"event", "direction", "event_id", "delivery_id", "attempt"}

// standardAliases are other usual names of the fields that are sent, by which fields may rename them.
var standardAliases = map[string]string{
	"call_id": "callid", "from": "caller", "to": "callee", "time": "date", "talk_time": "talktime",
	"wait_time": "waittime", "user_agent": "useragent", "recording": "recording_wav",
}

// sendKnown has b send the event's known values: event, direction, callid and the catalogue, then b's
// constants, then the custom parameters. A name is sent once: for a constant, else for the field that
// was renamed to it, else for the field that is called so.
func (w *Webhook) sendKnown(b *builder, conf *schema.Webhook) {
	var constants []field
	for _, rule := range conf.Params {
		w.apart[rule.Name] = true
	}
	if len(conf.Params) > 0 {
		constants = b.params.fields
	}
	names := []string{"event", "direction", "callid"}
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		if p != schema.ParamCallID {
			names = append(names, p.Name())
		}
	}
	renamed := make(map[string]string, len(conf.Fields))
	for _, f := range conf.Fields {
		before := f.Before
		if ours, ok := standardAliases[before]; ok {
			before = ours
		}
		if renamed[before] != "" || w.apart[f.After] {
			continue // the name is taken, and nothing is to be lost
		}
		renamed[before], w.apart[f.After] = f.After, true
		if !slices.Contains(names, before) {
			names, w.apart[before] = append(names, before), true
		}
	}
	c := compiler{style: b.params.style, layout: b.layout}
	b.params.fields, b.params.customs = nil, true
	for _, name := range names {
		as := renamed[name]
		if as == "" && !w.apart[name] {
			as = name
		}
		if as == "" {
			continue
		}
		f := c.field(c.style.open, as, value{tag: schema.NamedTag(name), layout: b.layout})
		f.optional = true
		b.params.fields = append(b.params.fields, f)
	}
	b.params.fields = append(b.params.fields, constants...)
}

// calls are for events to be filled in from.
var calls = sync.Pool{New: func() any { return new(schema.Call) }}

// Send makes one request: attempt, from 1, at the delivery of that id, of event e. variables is a JSON
// object of what is known of the caller, or "". It returns by the deadline. A request that may have
// been read is not sent a second time; a redirect is an answer like another and is not followed.
//
// Dates are those of the event; webhook-id, where requests are signed, is deliveryID, and
// webhook-timestamp is now. An answer of any status has ReasonOK, also one that is larger than
// max_answer_bytes, which then is not read.
func (w *Webhook) Send(e *schema.Event, deliveryID string, attempt int, variables string, deadline time.Time) schema.Sent {
	began := time.Now()
	req := w.build(e, deliveryID, attempt, variables)
	defer req.release()
	signature := w.sign(req, deliveryID, began)
	var a schema.Answer // the memory of what is read
	resp, err := w.target.exchange(w.target.pool, req, &a, began, deadline)
	defer func() { w.target.release(&resp, a.At, false) }()
	sent := schema.Sent{Took: a.At.Sub(began), Request: w.target.builder.describe(req.raw)}
	w.read(&sent, &resp, err)
	for one := range strings.FieldsSeq(signature) { // a receiver may quote it
		sent.Answer = strings.ReplaceAll(sent.Answer, one, masked)
	}
	return sent
}

func (w *Webhook) build(e *schema.Event, deliveryID string, attempt int, variables string) *request {
	call := calls.Get().(*schema.Call)
	w.fill(call, e, deliveryID, attempt)
	call.Variables = variables
	req := w.target.builder.build(call, e.At, rpcID(deliveryID))
	call.Reset()
	calls.Put(call)
	return req
}

// fill gives call what tags and params may ask for, and none of what is assumed of a call that is only
// just coming in: here, what was not said is not known.
func (w *Webhook) fill(call *schema.Call, e *schema.Event, deliveryID string, attempt int) {
	direction, kind := e.Direction, "in"
	if e.Direction == "outbound" {
		kind = "out"
	}
	if w.short {
		direction = kind
	}
	for i, v := range []string{e.Kind, direction, e.ID, deliveryID, strconv.Itoa(attempt)} {
		call.SetChannel([]byte(eventTags[i]), []byte(v))
	}
	for _, v := range e.Values {
		switch {
		case slices.Contains(eventTags, v.Name):
		case w.apart[v.Name] && !inCatalogue(v.Name), strings.HasPrefix(v.Name, channelVariable):
			call.SetChannel([]byte(v.Name), []byte(v.Value))
		default:
			call.SetNamed([]byte(v.Name), []byte(v.Value))
		}
	}
	call.Project = e.Project
	call.SetString(schema.ParamCallID, e.CallID)
	if !call.Said(schema.ParamType) {
		call.SetString(schema.ParamType, kind)
	}
	if !call.Said(schema.ParamProjectID) {
		call.SetString(schema.ParamProjectID, e.Project)
	}
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		if p != schema.ParamDate && !call.Said(p) { // the builder knows what date it is
			call.SetString(p, "")
		}
	}
}

// channelVariable begins the names of FreeSWITCH's channel variables: a call has a hundred and more, so
// they are sent only where they are asked for.
const channelVariable = "variable_"

func inCatalogue(name string) bool {
	_, known := schema.ParamNamedString(name)
	return known
}

// rpcID is the id of a delivery's JSON-RPC requests: one that every JSON reader keeps exactly.
func rpcID(deliveryID string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(deliveryID)) // a hash takes everything
	return h.Sum64() & (1<<53 - 1)
}

// sign adds the Standard Webhooks headers, where the webhook has a secret, and returns the signature.
func (w *Webhook) sign(req *request, deliveryID string, now time.Time) (signature string) {
	if w.signer == nil {
		return ""
	}
	signature = string(w.signer.appendSignatures(nil, deliveryID, now, req.body()))
	req.setHeader(headerWebhookID, deliveryID)
	req.setHeader(headerWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.setHeader(headerWebhookSignature, signature)
	return signature
}

// read tells what came back.
func (w *Webhook) read(sent *schema.Sent, resp *response, err error) {
	b := w.target.builder
	if err != nil && !errors.Is(err, errBodyTooLarge) {
		sent.Reason, sent.Detail = classify(err)
		sent.Detail = b.hideConstants(sent.Detail)
		return
	}
	sent.Reason, sent.Status = schema.ReasonOK, resp.status
	sent.RetryAfter = retryAfter(string(resp.header("Retry-After")), time.Now())
	if err != nil {
		sent.Detail = "the answer is larger than max_answer_bytes and was not read"
	} else {
		var a schema.Answer
		text, refused := w.decoder.decode(&a, resp.body, resp.contentType, resp.contentEncoding)
		if refused != nil {
			sent.Detail = b.hideConstants(refused.detail)
		}
		sent.Body = text
	}
	sent.Answer = b.describeAnswer(resp, sent.Body)
}
