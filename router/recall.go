package router

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
)

// Memory is what is known of callers from before, and of what hooks answered elsewhere. history.History
// is the one there is; the interface keeps the router off the store. Many calls may ask at once.
type Memory interface {
	// Recall fills r with what it knows by the deadline, and never takes longer.
	Recall(r *schema.Recall, deadline time.Time)
	// Called counts a call of the caller, as schema.CallerKey spells it; a call id only once. It never
	// waits, and keeps no string.
	Called(project, caller, callID string)
	// Answered tells a hook's new good answer, or that the old one still holds. It never waits, keeps
	// the list, which nobody changes, and no string.
	Answered(project, hook, callee string, list []schema.Destination, at time.Time)
}

// callHistory are the parameters that tell of a caller's earlier calls.
var callHistory = [...]schema.Param{schema.ParamCallnum, schema.ParamUniqueFirst, schema.ParamRepeatedFlag}

// recall finds out, before h is asked, what it is told of the caller and the PBX has not said. It asks
// once for each decision, and costs nothing where neither the hook nor its project has any use for it.
func (w *walk) recall(h *hook) {
	if !h.tellsHistory && !w.project.hasVariables {
		return
	}
	r := schema.Recall{
		Project: w.project.conf.ID, CallID: w.call.ID(), Continued: w.call.Cursor != "",
		WantCalls:     h.tellsHistory && !w.recalledCalls && !w.saidHistory(h),
		WantVariables: w.project.hasVariables && !w.recalledVariables,
	}
	if !r.WantCalls && !r.WantVariables {
		return
	}
	if r.Caller = w.caller(); r.Caller == "" {
		return
	}
	w.r.opts.Memory.Recall(&r, w.deadline(w.now, h.conf.RequestTimeout))
	w.now = time.Now()
	if r.WantCalls {
		w.recalledCalls = true
		w.r.recalls.count(w, recallCalls, r.CallsResult)
		w.tellHistory(r.Callnum)
	}
	if r.WantVariables {
		w.recalledVariables = true
		w.r.recalls.count(w, recallVariables, r.VariablesResult)
		w.call.Variables = w.call.Keep(r.Variables)
	}
}

// caller is how the project's callers are remembered; "" for one that is not.
func (w *walk) caller() string {
	return schema.CallerKey(w.call.Caller(), w.project.conf.Destinations.Region)
}

// saidHistory reports whether the PBX has said all that h is told of earlier calls.
func (w *walk) saidHistory(h *hook) bool {
	for i, p := range callHistory {
		if h.history[i] && !w.call.Said(p) {
			return false
		}
	}
	return true
}

// tellHistory says which call of this caller it is, 0 for not known.
func (w *walk) tellHistory(callnum uint64) {
	if callnum == 0 {
		return
	}
	first, repeated := "1", "0"
	if callnum > 1 {
		first, repeated = "0", "1"
	}
	var digits [20]byte
	w.fill(schema.ParamCallnum, w.call.Keep(strconv.AppendUint(digits[:0], callnum, 10)))
	w.fill(schema.ParamUniqueFirst, first)
	w.fill(schema.ParamRepeatedFlag, repeated)
}

// called has the call counted, where a hook of the project is told how often its caller called.
func (w *walk) called() {
	if w.project == nil || !w.project.tellsHistory || w.call.Cursor != "" || w.call.Inquiry || w.rehearsal != nil {
		return
	}
	if caller := w.caller(); caller != "" {
		w.r.opts.Memory.Called(w.project.conf.ID, caller, w.call.ID())
	}
}

// keepGood remembers h's good answer, here and elsewhere.
func (w *walk) keepGood(h *hook, list []schema.Destination) {
	told := h.lastGood.keep(w.call.Callee(), list, w.now, h.conf.LastGood)
	if told != nil && w.r.opts.Memory != nil {
		w.r.opts.Memory.Answered(w.project.conf.ID, h.conf.ID, w.call.Callee(), told, w.now)
	}
}

// Learn takes up the good answer that a hook gave another instance, or this one before it was started,
// at that time; a newer one stays. Like every last good answer it stands in only where the policy
// still lets it, and no longer than the hook's last_good. What names no such hook is passed over. The
// list is not changed by anyone any more.
func (r *Router) Learn(project, hook, callee string, list []schema.Destination, at time.Time) {
	p := r.table.Load().projects[project]
	if p == nil || p.hooks[hook] == nil || p.hooks[hook].conf.LastGood <= 0 {
		return
	}
	if now := time.Now(); at.After(now) { // another machine's clock
		at = now
	}
	p.hooks[hook].lastGood.learn(callee, list, at)
}

// namesHistory finds the parameters of callHistory that are named anywhere in what is sent to h.
func namesHistory(h *schema.Hook) (named [len(callHistory)]bool, any bool) {
	note := func(name string) {
		for i, p := range callHistory {
			if name == p.Name() {
				named[i], any = true, true
			}
		}
	}
	text := func(s string) {
		t, err := schema.ParseTemplate(s)
		if err != nil {
			return // refused when it was loaded
		}
		for _, part := range t.Parts() {
			if part.Tag == nil {
				continue
			}
			if p, known := part.Tag.Param(); known {
				note(p.Name())
			}
		}
	}
	var rules func([]schema.ParamRule)
	rules = func(list []schema.ParamRule) {
		for i := range list {
			note(list[i].Param)
			if list[i].Value != nil {
				text(*list[i].Value)
			}
			for _, name := range list[i].List {
				note(name)
			}
			rules(list[i].Object)
		}
	}
	rules(h.Params)
	text(h.URL)
	text(h.FallbackURL)
	text(h.Body)
	for _, value := range h.Headers {
		text(value.Reveal())
	}
	return named, any
}

// getsVariables reports whether others tell of the project's callers: through a link, or by what they
// answer to an event.
func getsVariables(p *schema.Project) bool {
	for i := range p.Webhooks {
		if len(p.Webhooks[i].Save) > 0 {
			return true
		}
	}
	return len(p.Incoming) > 0
}

// recallMetrics count looks into the Memory.
type recallMetrics [recallWhats][schema.RecallResultCount]prometheus.Counter

const (
	recallCalls = iota
	recallVariables
	recallWhats
)

func newRecallMetrics(reg prometheus.Registerer) *recallMetrics {
	looks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hookswitch_recall_total",
		Help: "Looks at what is remembered of a caller, by what and result: ok, skipped, late or error.",
	}, []string{"what", "result"})
	reg.MustRegister(looks)
	m := &recallMetrics{}
	for what, name := range [recallWhats]string{recallCalls: "calls", recallVariables: "variables"} {
		for r := range schema.RecallResultCount {
			m[what][r] = looks.WithLabelValues(name, r.String())
		}
	}
	return m
}

func (m *recallMetrics) count(w *walk, what int, r schema.RecallResult) {
	if w.rehearsal == nil {
		m[what][r].Inc()
	}
	if r != schema.RecallOK {
		w.say("what is remembered of the caller is left out: %s", r)
	}
}
