package router

import (
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"

	"hookswitch/schema"
)

// table is one immutable view of the configuration, with every reference resolved.
type table struct {
	version  uint64
	projects map[string]*project
	numbers  map[string]*number // of all projects, by digits
	// fallback is the installation's default scheme; nil for none.
	fallback *scheme
	only     *project // the project, where there is just one
	mask     bool     // numbers are masked in logs
	cursors  cursors
}

type project struct {
	conf     *schema.Project
	dialing  *schema.Dialing
	schemes  map[string]*scheme
	hooks    map[string]*hook
	policy   policy
	fallback *scheme // the project's default scheme, else the installation's
}

type number struct {
	conf    *schema.Number
	project *project
	scheme  *scheme
}

type scheme struct {
	conf    *schema.Scheme
	project *project
	steps   []step
	closed  *scheme // followed outside working hours; nil for the default
}

// step is a scheme's step with its references resolved.
type step struct {
	conf   *schema.Step
	hook   *hook
	scheme *scheme
	turn   *atomic.Uint32 // of a round robin
}

// hook is one hook with what it keeps between calls.
type hook struct {
	conf     *schema.Hook
	setup    hookSetup
	asker    Asker
	breaker  *breaker
	bulkhead bulkhead
	lastGood lastGood
	route    string // the callroute parameter: "webhookNumber:90"
	metrics  *hookMetrics
}

// hookSetup is everything that, changed, makes a hook a new one.
type hookSetup struct {
	Hook         schema.Hook
	AllowPrivate bool
	Region, TZ   string
}

// build makes a table of cfg, taking over from old the hooks that have not changed.
func (r *Router) build(cfg *schema.Config, old *table) (*table, error) {
	t := &table{projects: make(map[string]*project, len(cfg.Projects)), mask: cfg.Log.MaskNumbers, cursors: newCursors(&cfg.Continuation, r.ownKey)}
	total := 0
	for i := range cfg.Projects {
		total += len(cfg.Projects[i].Numbers)
	}
	t.numbers = make(map[string]*number, total)
	for i := range cfg.Projects {
		p, err := r.buildProject(&cfg.Projects[i], cfg, old)
		if err != nil {
			t.retire(old)
			return nil, fmt.Errorf("project %s: %w", cfg.Projects[i].ID, err)
		}
		t.projects[p.conf.ID] = p
		t.only = p
		p.indexNumbers(t.numbers)
	}
	if len(cfg.Projects) != 1 {
		t.only = nil
	}
	if pid, sid, ok := strings.Cut(cfg.DefaultSchema, "/"); ok && t.projects[pid] != nil {
		t.fallback = t.projects[pid].schemes[sid]
	}
	for _, p := range t.projects {
		if p.fallback == nil {
			p.fallback = t.fallback
		}
	}
	return t, nil
}

func (r *Router) buildProject(conf *schema.Project, cfg *schema.Config, old *table) (*project, error) {
	p := &project{
		conf:    conf,
		dialing: conf.Dial,
		schemes: make(map[string]*scheme, len(conf.Schemas)),
		hooks:   make(map[string]*hook, len(conf.Hooks)),
		policy:  newPolicy(&conf.Destinations),
	}
	if p.dialing == nil {
		p.dialing = &cfg.Dial
	}
	for i := range conf.Hooks {
		h, err := r.buildHook(conf, &conf.Hooks[i], old.projects[conf.ID])
		if err != nil {
			return nil, err
		}
		p.hooks[h.conf.ID] = h
	}
	for i := range conf.Schemas {
		p.schemes[conf.Schemas[i].ID] = &scheme{conf: &conf.Schemas[i], project: p}
	}
	for _, s := range p.schemes {
		if err := s.resolve(); err != nil {
			return nil, err
		}
	}
	p.fallback = p.schemes[conf.DefaultSchema]
	return p, nil
}

// resolve finds what the scheme's steps name. The loader has checked that it is there; a
// configuration from elsewhere is refused here.
func (s *scheme) resolve() error {
	if s.conf.Hours != nil {
		s.closed = s.project.schemes[s.conf.Hours.ClosedSchema]
	}
	s.steps = make([]step, len(s.conf.Steps))
	for i := range s.conf.Steps {
		conf := &s.conf.Steps[i]
		st := step{conf: conf, turn: new(atomic.Uint32), hook: s.project.hooks[conf.Hook], scheme: s.project.schemes[conf.Schema]}
		if conf.Hook != "" && st.hook == nil || conf.Schema != "" && st.scheme == nil {
			return fmt.Errorf("schema %s: step %d names a hook or schema that is not there", s.conf.ID, i+1)
		}
		s.steps[i] = st
	}
	return nil
}

func (r *Router) buildHook(p *schema.Project, conf *schema.Hook, old *project) (*hook, error) {
	setup := hookSetup{Hook: *conf, AllowPrivate: p.AllowPrivateHooks, Region: p.Destinations.Region, TZ: p.TZ}
	if old != nil {
		// PEM files may have changed under the same name, so such a hook is made anew.
		if was := old.hooks[conf.ID]; was != nil && conf.TLS == (schema.TLS{}) && reflect.DeepEqual(was.setup, setup) {
			return was, nil
		}
	}
	asker, err := r.opts.Prepare(p, conf)
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", conf.ID, err)
	}
	h := &hook{conf: conf, setup: setup, asker: asker, metrics: r.metrics.hook(p.ID, conf.ID)}
	h.route = fmt.Sprintf("webhookNumber:%d", int(conf.RingTimeout.Seconds()))
	h.bulkhead.limit = int64(conf.MaxInFlight)
	h.breaker = newBreaker(conf, asker.Probe, h.metrics.opened.Inc)
	return h, nil
}

func (p *project) indexNumbers(all map[string]*number) {
	backing := make([]number, len(p.conf.Numbers))
	for i := range p.conf.Numbers {
		n := &backing[i]
		*n = number{conf: &p.conf.Numbers[i], project: p, scheme: p.schemes[p.conf.Numbers[i].Schema]}
		all[n.conf.Number] = n
	}
}

// lookup finds the number that was called, as it stands in the configuration, or written with a "+"
// or 00 before it.
func (t *table) lookup(callee string) *number {
	if n := t.numbers[callee]; n != nil {
		return n
	}
	if digits := schema.Digits(strings.TrimPrefix(callee, "00")); digits != "" {
		return t.numbers[digits]
	}
	return nil
}

// dialing returns how destinations of a project are written, or of the installation's default.
func (t *table) dialing(project string) *schema.Dialing {
	if p := t.projects[project]; p != nil {
		return p.dialing
	}
	if t.fallback != nil {
		return t.fallback.project.dialing
	}
	return nil
}

// retire ends the background work of the hooks that next did not take over.
func (t *table) retire(next *table) {
	kept := map[*hook]bool{}
	for _, p := range next.projects {
		for _, h := range p.hooks {
			kept[h] = true
		}
	}
	for _, p := range t.projects {
		for _, h := range p.hooks {
			if !kept[h] {
				h.breaker.close()
				h.asker.Close()
			}
		}
	}
}
