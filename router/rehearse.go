package router

import (
	"sync/atomic"
	"time"

	"hookswitch/schema"
)

// Ask asks hook h of project p about call, or whoever is to stand in for it, and fills a by the
// deadline.
type Ask = func(p *schema.Project, h *schema.Hook, call *schema.Call, deadline time.Time, a *schema.Answer)

// Rehearse puts into d, which has been reset, the decision that Decide would make of call now, and its
// story: for somebody who tries something out. ask is asked in the place of every hook, whatever its
// breaker says; where it is nil, the webhooks are asked, but for those whose breakers are open.
//
// Nothing of it is counted, logged, observed or remembered: no breaker learns from it, no last good
// answer comes of it, no round robin turns, and it takes no place in max_in_flight. It keeps to the
// call's deadline and to each hook's request timeout, as ever.
func (r *Router) Rehearse(call *schema.Call, d *schema.Decision, ask Ask) {
	now := time.Now()
	if call.At.IsZero() {
		call.At = now
	}
	call.Explain = true
	newDecisionID(&d.ID, call.At)
	w := walk{r: r, t: r.table.Load(), call: call, d: d, now: now, rehearsal: &rehearsal{ask}}
	w.decide()
	d.Elapsed = time.Since(call.At)
}

// rehearsal is a walk's that is nobody's call.
type rehearsal struct{ ask Ask }

// rehearse has h asked without a trace.
func (w *walk) rehearse(h *hook, deadline time.Time, a *schema.Answer) {
	w.recall(h)
	w.say("asking hook %s", h.conf.ID)
	switch ask := w.rehearsal.ask; {
	case ask != nil:
		ask(w.project.conf, h.conf, w.call, deadline, a)
	case h.breaker.state(w.now) == "open":
		a.Reason, a.Detail = schema.ReasonBreakerOpen, leftAlone
	default:
		a.At = w.now
		h.asker.Ask(w.call, deadline, a)
	}
	w.now = time.Now()
	w.sayAttempts(a)
}

// turn is a step's place in its round robin, which a rehearsal leaves as it is.
func (w *walk) turn(st *step) *atomic.Uint32 {
	if w.rehearsal == nil {
		return st.turn
	}
	var copied atomic.Uint32
	copied.Store(st.turn.Load())
	return &copied
}
