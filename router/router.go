// Package router decides where a call goes: it finds the project and number, walks the forwarding
// scheme, has a hook asked through that hook's own breaker and bulkhead, checks what came back
// against the owner's policy, and falls back where anything is amiss. It speaks no PBX's dialect
// and opens no connection; both are its callers' and its Askers' business.
package router

import (
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"hookswitch/schema"
)

// Asker asks one hook. hookclient.Hook is the one there is; the interface keeps the router off the
// network. Many calls may ask at once.
type Asker interface {
	// Ask fills a with the hook's answer or a named failure, by the deadline. a.At is the present
	// instant, and then the one at which the outcome was known.
	Ask(call *schema.Call, deadline time.Time, a *schema.Answer)
	// Probe asks the hook's probe_url; nil means that the hook is well.
	Probe(deadline time.Time) error
	// Close lets go of what the Asker holds while idle.
	Close()
}

// Options are what a Router depends on.
type Options struct {
	// Prepare makes a hook ready to be asked.
	Prepare func(*schema.Project, *schema.Hook) (Asker, error)
	Log     *zap.Logger
	Metrics prometheus.Registerer
	// Tracer makes a span of each decision; nil for none.
	Tracer trace.Tracer
	// Observe is called once after every decision, repeats included, before Decide returns; nil for
	// none. Neither the call nor the decision is its to keep or to change.
	Observe func(*schema.Call, *schema.Decision)
	// Memory knows callers from before; nil for none.
	Memory Memory
	// Now is the clock of the working hours.
	Now func() time.Time
	// Repeats says how lookups that are sent again are remembered.
	Repeats schema.Repeats
}

// Router holds the current table and decides by it. It is safe for use by many calls at once.
type Router struct {
	opts    Options
	metrics *metrics
	recalls *recallMetrics
	table   atomic.Pointer[table]
	repeats *repeats // nil where none are remembered
	ownKey  []byte   // of cursors, where none is configured

	loading sync.Mutex // one Load at a time
	version uint64     // of the table; guarded by loading
}

// New returns a Router that knows no number until Load.
func New(opts Options) *Router {
	r := &Router{opts: opts, repeats: newRepeats(opts.Repeats.Window, opts.Repeats.Memory), ownKey: make([]byte, 32)}
	rand.Read(r.ownKey) // never fails
	r.table.Store(&table{})
	r.metrics = newMetrics(opts.Metrics, r)
	r.recalls = newRecallMetrics(opts.Metrics)
	return r
}

// Load builds a table from the whole of cfg and, when all of it is sound, swaps it in; on an error
// the running table stays. Calls under way finish by the table that they began with. A hook whose
// settings have not changed keeps its connections, its breaker and its calls in flight.
func (r *Router) Load(cfg *schema.Config) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	old := r.table.Load()
	next, err := r.build(cfg, old)
	if err != nil {
		return err
	}
	r.version++
	next.version = r.version
	r.table.Store(next)
	old.retire(next)
	r.metrics.forget(old, next)
	return nil
}

// Close stops the background probes and lets go of idle connections.
func (r *Router) Close() {
	r.loading.Lock()
	defer r.loading.Unlock()
	r.table.Swap(&table{}).retire(&table{})
}

// Decide makes the one decision about call and puts it into d, which has been reset. It never
// fails: what went wrong on the way is the decision's reason, and the caller gets the fallback. A
// lookup that was sent before gets the decision made then.
func (r *Router) Decide(call *schema.Call, d *schema.Decision) {
	if call.At.IsZero() {
		call.At = time.Now()
	}
	r.answer(r.table.Load(), call, d)
	if r.opts.Observe != nil {
		r.opts.Observe(call, d)
	}
}

// answer decides, or remembers.
func (r *Router) answer(t *table, call *schema.Call, d *schema.Decision) {
	if r.repeats == nil || call.ID() == "" {
		r.decideAnew(t, call, d, call.At)
		return
	}
	key, now := r.repeats.key(call), call.At
	known, waited := r.repeats.begin(key, call, d)
	if known {
		r.finishRepeat(t, call, d)
		return
	}
	if waited {
		now = time.Now()
	}
	r.decideAnew(t, call, d, now)
	r.repeats.end(key, call.At.Add(d.Elapsed), d)
}

// decideAnew decides; now is the instant at which it begins.
func (r *Router) decideAnew(t *table, call *schema.Call, d *schema.Decision, now time.Time) {
	newDecisionID(&d.ID, call.At)
	span := r.startSpan(call, d)
	d.Elapsed = r.decide(t, call, d, now).Sub(call.At)
	r.metrics.count(d)
	r.log(t, call, d)
	if span != nil {
		endSpan(t, span, d)
	}
}

// finishRepeat completes a decision that was remembered.
func (r *Router) finishRepeat(t *table, call *schema.Call, d *schema.Decision) {
	d.Repeated, d.CallID = true, call.ID()
	d.Dialing = t.dialing(d.Project)
	d.Elapsed = time.Since(call.At)
	r.metrics.repeats.Inc()
	r.log(t, call, d)
}

// decide walks, and turns a fault of our own into a fallback. It returns the present instant: where a
// hook was asked, the one at which its answer was there; checking that takes less than telling the time.
func (r *Router) decide(t *table, call *schema.Call, d *schema.Decision, now time.Time) time.Time {
	w := walk{r: r, t: t, call: call, d: d, now: now}
	w.decide()
	if w.hooks == 0 {
		return time.Now()
	}
	return w.now
}

func (w *walk) decide() {
	r, d := w.r, w.d
	defer func() {
		if fault := recover(); fault != nil {
			r.metrics.panics.Inc()
			r.opts.Log.Error("a fault of our own became a fallback; please report it",
				zap.String("fault", fmt.Sprint(fault)), zap.ByteString("stack", debug.Stack()))
			d.Steps, d.Next, d.Source = d.Steps[:0], "", schema.SourceFallback
			w.fail(schema.ReasonInternal, "a fault of our own")
			w.lastResort()
		}
	}()
	w.run()
}

// ForceBreaker sets a hook's breaker to open, closed or auto until the next change of the hook's
// configuration. It reports whether there is such a hook.
func (r *Router) ForceBreaker(project, hook, state string) bool {
	p := r.table.Load().projects[project]
	if p == nil || p.hooks[hook] == nil {
		return false
	}
	p.hooks[hook].breaker.force(state)
	return true
}

// Version returns the number of the current table: 1 after the first Load, one more after each.
func (r *Router) Version() uint64 { return r.table.Load().version }
