package router

import (
	"slices"
	"strings"
	"sync"
	"time"

	"hookswitch/schema"
)

// What is kept of each hook: the last hour in periods, and the last failures.
const (
	statsPeriod  = 2 * time.Minute
	statsPeriods = 30
	keptFailures = 8
)

// hookStats is how a hook has been answering. It is the hook's own, so no two hooks meet in it, and
// goes on when the hook's settings change.
type hookStats struct {
	series *schema.Series

	mu       sync.Mutex // guards all below; a call that finds it taken goes on without
	failures [keptFailures]schema.HookFailure
	failed   int // so many in all: the latest stands before that, modulo keptFailures
}

// statsOf returns what is kept of the project's hook of that id, be its settings others now; old is nil
// for a new project.
func statsOf(old *project, id string) *hookStats {
	if old != nil && old.hooks[id] != nil {
		return old.hooks[id].stats
	}
	return &hookStats{series: schema.NewSeries(statsPeriod, statsPeriods)}
}

// countAsked counts what came of asking h, the policy's verdict on it included.
func (w *walk) countAsked(h *hook, reason schema.Reason, detail string) {
	if w.rehearsal != nil {
		return
	}
	switch reason {
	case schema.ReasonBreakerOpen, schema.ReasonOverloaded: // not asked, and what led to it is there already
		h.stats.series.Count(w.now, schema.SourceHook, reason, -1)
		return
	}
	h.stats.series.Count(w.now, schema.SourceHook, reason, w.now.Sub(w.since))
	if reason != schema.ReasonOK {
		h.stats.keep(w, reason, detail)
	}
}

// pauseBetween is how close together two failures are kept: of a hook that fails at every call, the
// last ones tell no more, and copying each would make a bad time worse.
const pauseBetween = 20 * time.Millisecond

func (s *hookStats) keep(w *walk, reason schema.Reason, detail string) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.failed > 0 && w.now.Sub(s.failures[(s.failed-1)%keptFailures].At) < pauseBetween {
		return
	}
	f := schema.HookFailure{
		At: w.now, DecisionID: string(w.d.ID[:]), CallID: strings.Clone(w.call.ID()),
		Reason: reason, Detail: w.t.shown(strings.Clone(detail)), Took: w.now.Sub(w.since),
	}
	if n := len(w.d.Answer.Attempts); n > 0 {
		f.Status = w.d.Answer.Attempts[n-1].Status
	}
	s.failures[s.failed%keptFailures] = f
	s.failed++
}

// last returns the failures kept, newest first.
func (s *hookStats) last() []schema.HookFailure {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]schema.HookFailure, 0, keptFailures)
	for i := s.failed - 1; i >= max(0, s.failed-keptFailures); i-- {
		list = append(list, s.failures[i%keptFailures])
	}
	return list
}

// HookStats tells how a hook has been answering during the last hour; false where there is no such hook.
func (r *Router) HookStats(project, id string) (schema.HookStats, bool) {
	p := r.table.Load().projects[project]
	if p == nil || p.hooks[id] == nil {
		return schema.HookStats{}, false
	}
	stats := p.hooks[id].tell(project, time.Now(), statsPeriods)
	stats.Failures = p.hooks[id].stats.last()
	return stats, true
}

// AllHookStats tells of every hook of a project, "" for all projects, in the order of their ids: of the
// periods of the time lately alone, and not of the failures.
func (r *Router) AllHookStats(project string, lately time.Duration) []schema.HookStats {
	now, periods := time.Now(), int((lately+statsPeriod-1)/statsPeriod)
	var list []schema.HookStats
	for id, p := range r.table.Load().projects {
		if project != "" && id != project {
			continue
		}
		for _, h := range p.hooks {
			list = append(list, h.tell(id, now, periods))
		}
	}
	slices.SortFunc(list, func(a, b schema.HookStats) int {
		if byProject := strings.Compare(a.Project, b.Project); byProject != 0 {
			return byProject
		}
		return strings.Compare(a.Hook, b.Hook)
	})
	return list
}

func (h *hook) tell(project string, now time.Time, periods int) schema.HookStats {
	return schema.HookStats{
		Project: project, Hook: h.conf.ID, Breaker: h.breaker.state(now),
		InFlight: int(h.bulkhead.inFlight.Load()), MaxInFlight: int(h.bulkhead.limit),
		PeriodLength: statsPeriod, Periods: h.stats.series.Last(now, periods),
	}
}
