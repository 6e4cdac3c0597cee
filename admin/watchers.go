package admin

import (
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
			return ds.watchers.stories.take(call.At, storiesPerSecond)
		}
	}
	return false
}

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
