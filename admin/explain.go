package admin

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// rehearsal is what somebody who tries something out asks for.
type rehearsal struct {
	// Params are the call's, by the catalogue's names or names of one's own; objects and arrays are
	// kept as their JSON.
	Params map[string]json.RawMessage `json:"params"`
	// BudgetMS is the PBX's patience, 0 for the configured budget.
	BudgetMS int `json:"budget_ms"`
}

// explainRequest asks for a whole decision.
type explainRequest struct {
	rehearsal
	Hook   string `json:"hook"`
	Schema string `json:"schema"`
	Cursor string `json:"cursor"`
	Format string `json:"format"`
	// Answer stands in for that of every hook; null asks the hooks.
	Answer *pastedAnswer `json:"answer"`
}

// pastedAnswer is an HTTP answer as somebody has it before them.
type pastedAnswer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// Explanation is a rehearsed decision: as a PBX would be told of it in JSON, and why.
type Explanation struct {
	Decision Decision  `json:"decision"`
	Story    *Story    `json:"story"`
	Answer   pbxAnswer `json:"answer"`
	Rendered *rendered `json:"rendered"` // in the format asked for; null for none
}

type rendered struct {
	Format      string `json:"format"`
	ContentType string `json:"content_type"`
	Body        string `json:"body"`
}

// pbxAnswer is the JSON answer of /v1/route.
type pbxAnswer struct {
	DecisionID string      `json:"decision_id"`
	CallID     string      `json:"callid"`
	Project    string      `json:"project"`
	Version    uint64      `json:"version,omitempty"`
	Source     string      `json:"source"`
	Reason     string      `json:"reason"`
	Schema     *string     `json:"schema"`
	DstPhone   string      `json:"dst_phone"`
	Steps      []StoryStep `json:"steps"`
	Hook       *string     `json:"hook"`
	ElapsedMS  float64     `json:"elapsed_ms"`
	Next       string      `json:"next,omitempty"`
	Warnings   []string    `json:"warnings,omitempty"`
}

// explain decides a call that nobody makes, and says how.
func explain(r *request) error {
	project, err := r.onlyProject()
	if err != nil {
		return err
	}
	if r.live.Rehearse == nil {
		return errNotLive
	}
	var ask explainRequest
	if err := r.decode(&ask); err != nil {
		return err
	}
	call, err := r.rehearsedCall(&ask.rehearsal)
	if err != nil {
		return err
	}
	call.Project, call.Hook, call.Schema, call.Cursor, call.Dialect = project, ask.Hook, ask.Schema, ask.Cursor, ask.Format
	if call.Callee() == "" && call.Hook == "" && call.Schema == "" {
		return invalid("params.callee", "found none; want the number called, or a hook, or a schema")
	}
	if call.Dialect == "" {
		call.Dialect = "json"
	}
	standIn, err := r.standIn(ask.Answer)
	if err != nil {
		return err
	}
	d := &schema.Decision{}
	r.live.Rehearse.Rehearse(call, d, standIn)
	told := explained(call, d)
	if ask.Format != "" {
		if told.Rendered, err = r.render(ask.Format, call, d); err != nil {
			return err
		}
	}
	return r.answer(told)
}

// maxParams bounds what is tried out, as a lookup is.
const maxParams = 256

// rehearsedCall makes the call that was asked for.
func (r *request) rehearsedCall(ask *rehearsal) (*schema.Call, error) {
	call := &schema.Call{At: time.Now(), Explain: true}
	budget := r.config.Intake.Budget
	if ask.BudgetMS < 0 || ask.BudgetMS > int(budget/time.Millisecond) {
		return nil, invalid("budget_ms", fmt.Sprintf("found %d; want 0 to %d (intake.budget)", ask.BudgetMS, budget/time.Millisecond))
	} else if ask.BudgetMS > 0 {
		budget = time.Duration(ask.BudgetMS) * time.Millisecond
	}
	call.Deadline = call.At.Add(budget)
	if len(ask.Params) > maxParams {
		return nil, invalid("params", fmt.Sprintf("found %d; want at most %d", len(ask.Params), maxParams))
	}
	for name, value := range ask.Params {
		text := value
		if s := ""; json.Unmarshal(value, &s) == nil {
			text = []byte(s) // null is ""
		}
		call.SetNamed([]byte(name), text)
	}
	if call.ID() == "" {
		call.SetString(schema.ParamCallID, "try-"+hex.EncodeToString(r.random("call", idBytes)))
	}
	return call, nil
}

// standIn returns what is asked in the hooks' place: a pasted answer, or nil for the hooks themselves.
func (r *request) standIn(pasted *pastedAnswer) (func(*schema.Project, *schema.Hook, *schema.Call, time.Time, *schema.Answer), error) {
	switch {
	case pasted == nil:
		return nil, nil
	case r.live.Webhook == nil:
		return nil, errNotLive
	case pasted.Status == 0:
		pasted.Status = fasthttp.StatusOK
	}
	if pasted.Status < 100 || pasted.Status > 599 {
		return nil, invalid("answer.status", fmt.Sprintf("found %d; want an HTTP status", pasted.Status))
	}
	return func(p *schema.Project, h *schema.Hook, _ *schema.Call, _ time.Time, a *schema.Answer) {
		r.live.Webhook.Read(p, h, pasted.Status, pasted.Headers, []byte(pasted.Body), a)
	}, nil
}

// explained puts a rehearsed decision into words. Nothing in it is masked: who asks has said the
// numbers.
func explained(call *schema.Call, d *schema.Decision) Explanation {
	var rec record
	rec.write(call, d, false)
	e := Explanation{Decision: rec.read(), Story: newStory(call, d, false)}
	e.Decision.Detail = strings.Clone(d.Detail)
	e.Answer = pbxAnswer{
		DecisionID: string(d.ID[:]), CallID: d.CallID, Project: d.Project, Version: d.Version, Source: d.Source.String(), Reason: d.Reason.String(),
		Schema: orNull(d.Schema), DstPhone: firstDial(d), Steps: e.Story.Steps, Hook: orNull(d.Hook),
		ElapsedMS: milliseconds(d.Elapsed), Next: d.Next, Warnings: d.Warnings,
	}
	return e
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// firstDial returns the first dial step's destinations, comma-separated.
func firstDial(d *schema.Decision) string {
	step := d.FirstDial()
	if step == nil {
		return ""
	}
	list := make([]string, len(step.Dial))
	for i := range step.Dial {
		list[i] = step.Dial[i].String()
	}
	return strings.Join(list, ",")
}

// render writes the decision as the PBX of that dialect would get it.
func (r *request) render(format string, call *schema.Call, d *schema.Decision) (*rendered, error) {
	if r.live.Render == nil {
		return nil, unavailable("decisions cannot be written in a PBX's format here")
	}
	contentType, body, known := r.live.Render(format, call, d)
	if !known {
		return nil, invalid("format", fmt.Sprintf("found %.20q; want %s", format, strings.Join(schema.IntakeFormats, ", ")))
	}
	return &rendered{Format: format, ContentType: contentType, Body: string(body)}, nil
}
