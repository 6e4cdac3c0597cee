package admin

import (
	"strings"
	"time"

	"hookswitch/schema"
)

// HookTest is how a webhook answered a call that nobody makes, and what would come of that.
type HookTest struct {
	// OK: the answer could be read, and the project's destinations let it pass.
	OK bool `json:"ok"`
	// Read is the answer before any check.
	Read struct {
		Reason       string   `json:"reason"`
		Detail       string   `json:"detail"`
		Destinations []string `json:"destinations"`
		Schema       string   `json:"schema"`
	} `json:"read"`
	// Verdict is after it: ok, or why the answer is of no use.
	Verdict struct {
		Reason   string   `json:"reason"`
		Detail   string   `json:"detail"`
		DstPhone string   `json:"dst_phone"`
		Warnings []string `json:"warnings"`
	} `json:"verdict"`
	Times    HookTimes      `json:"times"`
	Attempts []StoryAttempt `json:"attempts"`
	// Decision is what the PBX would be told, the fallback where the hook failed.
	Decision Explanation `json:"decision"`
}

// HookTimes are how long the stages of the last connection took, and the whole question; null for a
// stage that it did not come to.
type HookTimes struct {
	DNSMS       *float64 `json:"dns_ms"`
	ConnectMS   *float64 `json:"connect_ms"`
	TLSMS       *float64 `json:"tls_ms"`
	FirstByteMS *float64 `json:"first_byte_ms"`
	TotalMS     float64  `json:"total_ms"`
}

// testHook asks one hook about a call that nobody makes. It keeps to the guard and to the deadlines; no
// breaker stands in its way, or learns from it.
func testHook(r *request) error {
	if r.live.Rehearse == nil || r.live.Webhook == nil {
		return errNotLive
	}
	id := r.arg("id")
	if !hasHook(r.project, id) {
		return behind(notFound("such hook"))
	}
	var ask rehearsal
	if err := r.decode(&ask); err != nil {
		return err
	}
	call, err := r.rehearsedCall(&ask)
	if err != nil {
		return err
	}
	call.Project, call.Hook, call.Dialect = r.project.ID, id, "json"
	var t HookTest
	d := &schema.Decision{}
	r.live.Rehearse.Rehearse(call, d, func(p *schema.Project, h *schema.Hook, call *schema.Call, deadline time.Time, a *schema.Answer) {
		times, err := r.live.Webhook.Test(p, h, call, deadline, a)
		if err != nil {
			a.Reason, a.Detail = schema.ReasonInternal, "the hook cannot be made ready: "+err.Error()
		}
		if h.ID == id { // and not one that a scheme of its answer leads to
			t.answered(times, a, d)
		}
	})
	t.judged(d)
	t.Decision = explained(call, d)
	return r.answer(t)
}

func hasHook(p *schema.Project, id string) bool {
	for i := range p.Hooks {
		if p.Hooks[i].ID == id {
			return true
		}
	}
	return false
}

// answered notes the answer as it was read.
func (t *HookTest) answered(times schema.Times, a *schema.Answer, d *schema.Decision) {
	t.Read.Reason, t.Read.Detail, t.Read.Schema = a.Reason.String(), strings.Clone(a.Detail), strings.Clone(a.Schema)
	t.Read.Destinations = []string{}
	for _, dst := range a.Destinations {
		t.Read.Destinations = append(t.Read.Destinations, dst.String())
	}
	t.Times = HookTimes{
		DNSMS: stage(times.DNS), ConnectMS: stage(times.Connect), TLSMS: stage(times.TLS), FirstByteMS: stage(times.FirstByte),
		TotalMS: milliseconds(times.Total),
	}
	t.Attempts = newStory(&schema.Call{}, d, false).Attempts
}

// stage returns a stage's time; null for none.
func stage(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	ms := milliseconds(d)
	return &ms
}

// judged notes what the decision made of it.
func (t *HookTest) judged(d *schema.Decision) {
	t.OK = d.Source == schema.SourceHook
	t.Verdict.Reason, t.Verdict.Detail, t.Verdict.Warnings = d.Reason.String(), strings.Clone(d.Detail), append([]string{}, d.Warnings...)
	if t.OK {
		t.Verdict.DstPhone = firstDial(d)
	}
	if t.Attempts == nil { // it was not even asked: no time was left
		t.Read.Reason, t.Read.Detail, t.Read.Destinations, t.Attempts = d.Reason.String(), t.Verdict.Detail, []string{}, []StoryAttempt{}
	}
}
