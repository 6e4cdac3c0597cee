package router

import (
	"time"

	"hookswitch/schema"
)

// ask asks hook h and takes up its answer; where that fails, what may stand in for it. False means
// that the walk has to go on without.
func (w *walk) ask(h *hook) bool {
	w.d.Hook = h.conf.ID
	if !w.note(h) {
		w.fail(schema.ReasonLoop, "hook "+h.conf.ID+" has been asked about this call before")
		return w.standIn(h)
	}
	w.fill(schema.ParamCallRoute, h.route)
	a := &w.d.Answer
	a.Schema, a.Destinations = "", a.Destinations[:0]
	w.since = w.now
	w.consult(h, a)
	if a.Reason != schema.ReasonOK {
		w.countAsked(h, a.Reason, a.Detail)
		w.fail(a.Reason, a.Detail)
		return w.standIn(h)
	}
	if w.take(h, a) {
		return true
	}
	return w.standIn(h)
}

// note records that h is being asked; false means that it was, or that enough others were.
func (w *walk) note(h *hook) bool {
	for _, before := range w.asked[:w.hooks] {
		if before == h {
			return false
		}
	}
	if w.hooks == maxHooks {
		return false
	}
	w.asked[w.hooks] = h
	w.hooks++
	return true
}

// consult has the hook asked, if its breaker and its bulkhead let it and there is time.
func (w *walk) consult(h *hook, a *schema.Answer) {
	now := w.now
	deadline := w.deadline(now, h.conf.RequestTimeout)
	if !now.Before(deadline) {
		a.Reason, a.Detail = schema.ReasonTimeout, "the PBX's own patience was over before the hook was asked"
		return
	}
	if w.rehearsal != nil {
		w.rehearse(h, deadline, a)
		return
	}
	if !h.bulkhead.enter() {
		a.Reason, a.Detail = schema.ReasonOverloaded, "max_in_flight calls are waiting for this hook already"
		return
	}
	defer h.bulkhead.leave()
	before := len(a.Attempts)
	asked := h.breaker.run(now, func() error {
		w.recall(h)
		a.At = w.now
		h.asker.Ask(w.call, deadline, a)
		if a.At == w.now { // it did not say
			a.At = time.Now()
		}
		w.now = a.At
		took := w.now.Sub(now)
		h.metrics.asked(a.Reason, len(a.Attempts)-before, took)
		switch {
		case a.Reason == schema.ReasonTimeout && h.breaker.hurried(deadline.Sub(now)):
			return errHurried
		case ailing(a.Reason, a.Attempts) || h.breaker.slow(took):
			return errAiling
		}
		return nil
	})
	if !asked {
		a.Reason, a.Detail = schema.ReasonBreakerOpen, leftAlone
	}
	w.sayAttempts(a)
}

const leftAlone = "the hook has failed too often, and is being left alone for a while"

// ailing tells the failures that speak against the hook's health from answers that are merely of
// no use: a 4xx other than 408 and 429 comes from a webhook that is well and was asked wrongly.
func ailing(reason schema.Reason, attempts []schema.Attempt) bool {
	switch reason {
	case schema.ReasonTimeout, schema.ReasonConnectError, schema.ReasonTLSError, schema.ReasonDNSError, schema.ReasonBadAnswer:
		return true
	case schema.ReasonBadStatus:
		if len(attempts) == 0 {
			return true
		}
		status := attempts[len(attempts)-1].Status
		return status < 400 || status >= 500 || status == 408 || status == 429
	}
	return false
}

// take makes the decision of a good answer: the scheme that it names, or the destinations that the
// policy lets pass.
func (w *walk) take(h *hook, a *schema.Answer) bool {
	if a.Schema != "" {
		s := w.project.schemes[a.Schema]
		if s == nil {
			return w.refuse(h, schema.ReasonUnknownSchema, "the answer names schema "+a.Schema+", which the project does not have")
		}
		w.countAsked(h, schema.ReasonOK, "")
		w.d.Source, w.d.Reason, w.d.Detail = schema.SourceHook, schema.ReasonOK, ""
		return w.follow(s, schema.SourceHook)
	}
	kept, reason, detail := w.project.policy.check(a.Destinations, w.call.Callee(), w.call.Dialect, &w.d.Warnings)
	if reason != schema.ReasonOK {
		return w.refuse(h, reason, detail)
	}
	w.countAsked(h, schema.ReasonOK, "")
	w.dial(h, kept, schema.SourceHook)
	w.d.Reason, w.d.Detail = schema.ReasonOK, ""
	if h.conf.LastGood > 0 && w.rehearsal == nil {
		w.keepGood(h, kept)
	}
	return true
}

// refuse has no use for what h answered.
func (w *walk) refuse(h *hook, reason schema.Reason, detail string) bool {
	w.countAsked(h, reason, detail)
	w.fail(reason, detail)
	return false
}

// dial makes the decision's one step: the destinations ring together for the hook's ring timeout.
func (w *walk) dial(h *hook, list []schema.Destination, source schema.Source) {
	w.d.Source, w.d.Schema = source, ""
	w.d.Steps = append(w.d.Steps[:0], schema.DecidedStep{Dial: list, Strategy: schema.All, Timeout: h.conf.RingTimeout})
}
