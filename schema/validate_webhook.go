package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxConditions = 8       // how deep they nest
	maxWebhookID  = 1 << 53 // what every JSON reader keeps exactly
)

// checkWebhook also gives the event its one name.
func (p *projectCheck) checkWebhook(w *Webhook, at *path) {
	p.checkLine(at.field("name"), w.Name)
	p.checkLine(at.field("description"), w.Description)
	p.checkLine(at.field("type"), w.Type)
	p.checkURL(at.field("url"), w.URL, true)
	if kind, ok := EventKind(w.Event); ok {
		w.Event = kind
	} else {
		p.fault(at.field("event"), "create, answer or destroy (or before_call, after_call)")
	}
	p.oneOf(at.field("type_call"), w.TypeCall, "all", "inbound", "outbound")
	p.oneOf(at.field("type_style"), w.TypeStyle, "long", "short")
	p.checkConditions(w.When, at.field("when"), 1)
	p.checkWebhookForm(w, at)
	p.checkNamedHeaders(w.Headers, at.field("headers"))
	p.checkAuth(&w.Auth, at.field("auth"))
	p.checkSigns(w.Sign, w.Sign2, at)
	p.checkHookTLS(&w.TLS, at.field("tls"))
	p.checkZone(at.field("tz"), w.TZ)
	p.checkLine(at.field("date_format"), w.DateFormat)
	p.checkWebhookDelivery(w, at)
	for i := range w.Save {
		at := at.field("save").item(i)
		p.checkName(at.field("from"), w.Save[i].From)
		p.checkPath(at.field("from"), w.Save[i].From)
		p.checkVariable(at.field("to"), w.Save[i].To)
	}
	within(p.loader, at.field("save_for"), w.SaveFor, time.Second, 365*24*time.Hour)
}

// checkWebhookForm checks what is sent.
func (l *loader) checkWebhookForm(w *Webhook, at *path) {
	l.oneOf(at.field("method"), w.Method, "GET", "POST", "PUT", "PATCH", "DELETE")
	l.oneOf(at.field("body"), w.Body, "json", "form", "xml", "json-rpc", "raw", "query")
	l.checkLine(at.field("rpc_method"), w.RPCMethod)
	switch w.Body {
	case "json-rpc", "query":
		if w.Template != "" {
			l.faultFound(at.field("template"), "a template with body "+w.Body, "one with body json, form, xml or raw only")
		}
		if w.RPCMethod == "" && w.Body == "json-rpc" {
			l.fault(at.field("rpc_method"), "a method's name, as body is json-rpc")
		}
	case "raw":
		if w.Template == "" {
			l.fault(at.field("template"), "the text to send, as body is raw")
		}
	}
	if _, err := ParseTemplate(w.Template); err != nil {
		l.fault(at.field("template"), wantTags)
	}
	if w.ContentType != "none" {
		l.checkMediaType(at.field("content_type"), w.ContentType, ", or none")
	}
	l.checkParams(w.Params, at.field("params"), w.Body)
	renamed := map[string]bool{}
	for i, f := range w.Fields {
		at := at.field("fields").item(i)
		l.checkName(at.field("before"), f.Before)
		l.checkName(at.field("after"), f.After)
		if renamed[f.Before] {
			l.fault(at.field("before"), "a field that is renamed once")
		}
		renamed[f.Before] = true
	}
}

func (l *loader) checkWebhookDelivery(w *Webhook, at *path) {
	within(l, at.field("request_timeout"), w.RequestTimeout, time.Millisecond, 2*time.Minute)
	within(l, at.field("max_answer_bytes"), w.MaxAnswer, 1, 1<<20)
	l.oneOf(at.field("success"), w.Success, "200", "2xx", "2xx-3xx")
	if _, err := ParseRetry(w.Retry); err != nil {
		l.fault(at.field("retry"), wantRetry)
	}
	within(l, at.field("max_in_flight"), w.MaxInFlight, 1, 1000)
	within(l, at.field("rate"), w.Rate, 0, 10_000)
	within(l, at.field("disable_after"), w.DisableAfter, 0, 365*24*time.Hour)
}

// checkNamedHeaders is checkHeaders for a list.
func (l *loader) checkNamedHeaders(headers []NamedSecret, at *path) {
	seen := map[string]string{}
	for i, h := range headers {
		l.checkHeaderName(at.item(i).field("name"), h.Name, seen)
		l.checkHeaderValue(at.item(i).field("value"), h.Value, true)
	}
}

func (l *loader) checkConditions(list []Condition, at *path, depth int) {
	for i := range list {
		l.checkCondition(&list[i], at.item(i), depth)
	}
}

func (l *loader) checkCondition(c *Condition, at *path, depth int) {
	var kinds []string
	for _, key := range []string{"param", "all", "any"} {
		if l.has(at.field(key)) {
			kinds = append(kinds, key)
		}
	}
	switch {
	case depth > maxConditions:
		l.faultFound(at, "deeper conditions", "at most %d levels", maxConditions)
	case len(kinds) != 1:
		found := "a condition of no kind"
		if len(kinds) > 1 {
			found = "a condition with " + list(kinds, "and")
		}
		l.faultFound(at, found, "exactly one of param, all and any")
	case kinds[0] == "param":
		l.checkComparison(c, at)
	case kinds[0] == "all":
		l.checkNotEmpty(at.field("all"), len(c.All))
		l.checkConditions(c.All, at.field("all"), depth+1)
	default:
		l.checkNotEmpty(at.field("any"), len(c.Any))
		l.checkConditions(c.Any, at.field("any"), depth+1)
	}
}

// checkComparison checks a condition on one parameter.
func (l *loader) checkComparison(c *Condition, at *path) {
	l.checkName(at.field("param"), c.Param)
	l.oneOf(at.field("op"), c.Op, "eq", "ne", "contains", "prefix", "suffix", "matches", "in", "lt", "le", "gt", "ge", "empty", "filled")
	value := at.field("value")
	switch c.Op {
	case "matches":
		if _, err := regexp.Compile(c.Value); err != nil || c.Value == "" || len(c.Value) > 1024 {
			l.fault(value, "a regular expression (RE2) of at most 1024 bytes")
		}
	case "in":
		if strings.Trim(c.Value, ", ") == "" {
			l.fault(value, "values, separated by commas")
		}
	case "lt", "le", "gt", "ge":
		if f, err := strconv.ParseFloat(c.Value, 64); err != nil || f-f != 0 { // infinite, or no number
			l.fault(value, "a number, as op is %s", c.Op)
		}
	case "empty", "filled":
		if c.Value != "" {
			l.fault(value, "none, as op is %s", c.Op)
		}
	}
}

// checkWebhookIDs gives an id to each webhook that has none, and wants every id to stand once.
func (p *projectCheck) checkWebhookIDs() {
	seen := make(map[int64]int, len(p.Webhooks))
	for i := range p.Webhooks {
		w, at := &p.Webhooks[i], p.at.field("webhooks").item(i)
		given := w.ID != 0
		if !given {
			w.ID = w.derivedID()
			p.note(at, "it has no id, and loses what waits for it when its url, event, type_call or name is edited; give it one, its present %d for example", w.ID)
		}
		first, twice := seen[w.ID]
		switch {
		case w.ID < 1 || w.ID >= maxWebhookID:
			p.fault(at.field("id"), "a whole number from 1 to %d", int64(maxWebhookID-1))
		case twice && given:
			p.fault(at.field("id"), "an id of its own; webhooks[%d] has this one", first)
		case twice:
			p.faultFound(at, "the same url, event, type_call and name as of webhooks["+strconv.Itoa(first)+"]", "an id for each, or a name")
		default:
			seen[w.ID] = i
		}
	}
}

// derivedID makes an id of what the webhook is, so that it has the same one wherever it stands in the
// file, and after every restart: its deliveries bear it.
func (w *Webhook) derivedID() int64 {
	return int64(derived(w.URL, w.Event, w.TypeCall, w.Name)>>16) | 1 // 48 bits
}

// derived is a number made of texts.
func derived(texts ...string) uint64 {
	sum := sha256.New()
	for _, t := range texts {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(t))))
		sum.Write([]byte(t))
	}
	return binary.BigEndian.Uint64(sum.Sum(nil))
}

// checkVariable checks a name under which a value is kept: one that {{tags}} can name and that means
// nothing else already.
func (l *loader) checkVariable(at *path, name string) {
	switch {
	case name == "" || len(name) > 128 || tagNameLength(name) != len(name):
		l.fault(at, "a name of letters, digits, _ and -, at most 128 bytes")
	case taken(name):
		l.fault(at, "another name: that one means something else in every call")
	}
}

// taken reports a name that the catalogue or a control parameter of a lookup has.
func taken(name string) bool {
	if _, known := ParamNamedString(name); known {
		return true
	}
	switch name {
	case "project", "hook", "schema", "cursor", "format", "budget_ms", "token", "event":
		return true
	}
	return false
}
