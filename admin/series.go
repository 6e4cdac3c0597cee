package admin

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hookswitch/schema"
)

// projectSeries are the counts of each project by itself, for those who may see only one.
type projectSeries struct {
	mu sync.Mutex                                // guards changes of by
	by atomic.Pointer[map[string]*schema.Series] // copied for every change, so that counting takes no lock
}

// A project's hour, coarser than the installation's: there may be a thousand.
const (
	projectPeriod  = 2 * time.Minute
	projectPeriods = 30
)

func (ps *projectSeries) count(now time.Time, d *schema.Decision) {
	if d.Project == "" {
		return
	}
	s := ps.find(d.Project)
	if s == nil {
		s = ps.add(d.Project, now)
	}
	s.Count(now, d.Source, d.Reason, d.Elapsed)
}

// find returns a project's series; nil where none of its calls has been decided.
func (ps *projectSeries) find(project string) *schema.Series {
	if by := ps.by.Load(); by != nil {
		return (*by)[project]
	}
	return nil
}

// add makes a project's series, and forgets those without a call for an hour: a project may be gone.
func (ps *projectSeries) add(project string, now time.Time) *schema.Series {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s := ps.find(project); s != nil {
		return s
	}
	next := map[string]*schema.Series{}
	if by := ps.by.Load(); by != nil {
		for id, s := range *by {
			if sum := schema.Sum(s.Last(now, projectPeriods)); sum.Total() > 0 {
				next[id] = s
			}
		}
	}
	s := schema.NewSeries(projectPeriod, projectPeriods)
	next[strings.Clone(project)] = s
	ps.by.Store(&next)
	return s
}
