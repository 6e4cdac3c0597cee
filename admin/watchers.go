package admin

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hookswitch/schema"
)

// watchers are those who see decisions as they are made.
type watchers struct {
	mu      sync.Mutex                 // guards changes of list
	list    atomic.Pointer[[]*watcher] // nil for nobody
	stories allowance
	// What fails is told in full beyond that, as far as it can be foreseen: by the numbers called that
	// failed a moment ago. Of the rest there is an outline.
	failing  suspects
	foreseen allowance
	outlines allowance
}

// watcher is one of them. What it cannot take, because it reads too slowly or there is more than a
// person could read, it loses, and is told how much.
type watcher struct {
	filter DecisionFilter
	seen   chan Decision
	lost   atomic.Uint64
	pace   allowance
}

const (
	watcherBacklog = 128
	// A second's worth: decisions shown to one watcher, and decisions that are told in full.
	shownPerSecond   = 50
	storiesPerSecond = 20
	// Failures have their own, for those told in full and for outlines.
	failuresPerSecond = 20
)

// Subscribe shows the decisions that f selects from now on until cancel, which may be called more than
// once. The channel is never closed, and nobody waits for its reader: a decision that it cannot take is
// counted in the next one's Lost.
func (ds *Decisions) Subscribe(f DecisionFilter) (decisions <-chan Decision, cancel func()) {
	w := &watcher{filter: f, seen: make(chan Decision, watcherBacklog)}
	ds.watchers.change(func(list []*watcher) []*watcher { return append(list, w) })
	return w.seen, func() {
		ds.watchers.change(func(list []*watcher) []*watcher {
			return slices.DeleteFunc(list, func(other *watcher) bool { return other == w })
		})
	}
}

// change replaces the list by what edit makes of a copy of it.
func (ws *watchers) change(edit func([]*watcher) []*watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var list []*watcher
	if old := ws.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if list = edit(list); len(list) == 0 {
		ws.list.Store(nil)
		return
	}
	ws.list.Store(&list)
}

func (ws *watchers) count() int {
	if list := ws.list.Load(); list != nil {
		return len(*list)
	}
	return 0
}

// Watching reports whether the call that is about to be decided should be explained, because somebody
// is watching who may see it and this second's allowance is not spent. While nobody watches it costs a
// look at one word.
func (ds *Decisions) Watching(call *schema.Call) bool {
	list := ds.watchers.list.Load()
	if list == nil {
		return false
	}
	for _, w := range *list {
		if w.filter.mayMatch(call) {
			return ds.watchers.stories.take(call.At, storiesPerSecond) ||
				ds.watchers.failing.has(call) && ds.watchers.foreseen.take(call.At, failuresPerSecond)
		}
	}
	return false
}

// failed reports whether something else stood in for what was asked.
func failed(d *schema.Decision) bool {
	return d.Source == schema.SourceFallback || d.Source == schema.SourceLastGood
}

// sawFailure notes that the number called is failing, and reports whether the decision should be
// outlined: it was not explained, and somebody is watching who sees it.
func (ws *watchers) sawFailure(now time.Time, call *schema.Call, d *schema.Decision) bool {
	list := ws.list.Load()
	if list == nil || d.Repeated {
		return false
	}
	ws.failing.note(call)
	for _, w := range *list {
		if !call.Explain && w.filter.matchesRaw(call, d) {
			return ws.outlines.take(now, failuresPerSecond)
		}
	}
	return false
}

// suspects remembers numbers whose calls failed, by their hashes: one forgets another now and then.
type suspects struct {
	seed  maphash.Seed
	until [256]atomic.Int64 // Unix seconds
}

// suspectFor is how long a number is a suspect after a failure.
const suspectFor = time.Minute

func (s *suspects) of(call *schema.Call) *atomic.Int64 {
	return &s.until[maphash.String(s.seed, call.Callee())%uint64(len(s.until))]
}

func (s *suspects) note(call *schema.Call) { s.of(call).Store(call.At.Add(suspectFor).Unix()) }

func (s *suspects) has(call *schema.Call) bool { return s.of(call).Load() > call.At.Unix() }

// mayMatch is matches as far as it can be told before the decision.
func (f *DecisionFilter) mayMatch(call *schema.Call) bool {
	return (f.CallID == "" || f.CallID == call.ID()) && (f.Project == "" || call.Project == "" || f.Project == call.Project) &&
		(f.Number == "" || contains(call.Caller(), f.Number) || contains(call.Callee(), f.Number))
}

// matchesRaw is matches before anything has been copied.
func (f *DecisionFilter) matchesRaw(call *schema.Call, d *schema.Decision) bool {
	return f.mayMatch(call) && (f.Project == "" || f.Project == d.Project) && (f.Hook == "" || f.Hook == d.Hook) &&
		(f.Source == "" || f.Source == d.Source.String()) && (f.Reason == "" || f.Reason == d.Reason.String())
}

func contains(number, part string) bool {
	return strings.Contains(number, strings.TrimPrefix(part, "+"))
}

// show gives the decision to all who want it and can take it.
func (ws *watchers) show(now time.Time, call *schema.Call, d *schema.Decision, masked bool) {
	list := ws.list.Load()
	if list == nil {
		return
	}
	var shown *Decision
	for _, w := range *list {
		switch {
		case !w.filter.matchesRaw(call, d):
			continue
		case !w.pace.take(now, shownPerSecond):
			w.lost.Add(1)
			continue
		case shown == nil:
			var rec record
			rec.write(call, d, masked)
			made := rec.read()
			shown = &made
		}
		w.give(*shown)
	}
}

func (w *watcher) give(d Decision) {
	d.Lost = w.lost.Swap(0)
	select {
	case w.seen <- d:
	default:
		w.lost.Add(d.Lost + 1)
	}
}

// allowance is what may be taken within a second: the second in the upper bits, what was taken in the
// lower 16.
type allowance struct{ state atomic.Uint64 }

// take takes one, and reports whether there was one left of most.
func (a *allowance) take(now time.Time, most uint64) bool {
	second := uint64(now.Unix())
	for {
		old := a.state.Load()
		next := second<<16 | 1
		if old>>16 == second {
			if old&0xffff >= most {
				return false
			}
			next = old + 1
		}
		if a.state.CompareAndSwap(old, next) {
			return true
		}
	}
}
