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
	numbers  *index          // of all projects; nil before the first Load
	dial     *schema.Dialing // the installation's templates
	// fallback is the installation's default scheme; nil for none. defaultSchema is how it is named.
	fallback      *scheme
	defaultSchema string
	only          *project // the project, where there is just one
	mask          bool     // numbers are masked in logs
	cursors       cursors
}

type project struct {
	conf     *schema.Project
	dialing  *schema.Dialing
	schemes  map[string]*scheme
	hooks    map[string]*hook
	numbers  []number
	policy   policy
	fallback *scheme // the project's default scheme, else the installation's

	tellsHistory bool // a hook of it is told how often its caller called
	hasVariables bool // there may be variables of its callers
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

	tellsHistory bool                   // it is told of the caller's earlier calls,
	history      [len(callHistory)]bool // by these parameters
	metrics      *hookMetrics
	stats        *hookStats
}

// hookSetup is everything that, changed, makes a hook a new one, the contents of its PEM files included.
type hookSetup struct {
	Hook         schema.Hook
	AllowPrivate bool
	Region, TZ   string
}

// build makes a table of cfg. A project that is the very same as in old, and in the same surroundings,
// is taken over as it is; of one that has changed, the hooks that have not.
func (r *Router) build(cfg *schema.Config, old *table) (*table, error) {
	t := &table{
		projects: make(map[string]*project, len(cfg.Projects)), defaultSchema: cfg.DefaultSchema,
		mask: cfg.Log.MaskNumbers, cursors: newCursors(&cfg.Continuation, r.ownKey),
	}
	if t.dial = old.dial; t.dial == nil || *t.dial != cfg.Dial {
		dial := cfg.Dial
		t.dial = &dial
	}
	b := building{router: r, old: old, next: t}
	// The project with the installation's default scheme comes first: the others may lead to that.
	holder, id, _ := strings.Cut(cfg.DefaultSchema, "/")
	for _, conf := range cfg.Projects {
		if conf.ID == holder {
			if err := b.add(conf); err != nil {
				return nil, err
			}
			t.fallback = t.projects[holder].schemes[id]
			if p := t.projects[holder]; p.fallback == nil {
				p.fallback = t.fallback
			}
		}
	}
	for _, conf := range cfg.Projects {
		if conf.ID != holder {
			if err := b.add(conf); err != nil {
				return nil, err
			}
		}
	}
	if len(cfg.Projects) == 1 {
		t.only = t.projects[cfg.Projects[0].ID]
	}
	b.number()
	return t, nil
}

// building is one build at work.
type building struct {
	router    *Router
	old, next *table
	come      []*project // that are not old's
	pace      schema.Pace
}

// add takes a project over from the old table, or makes it.
func (b *building) add(conf *schema.Project) error {
	was := b.old.projects[conf.ID]
	if was != nil && was.conf == conf && b.old.dial == b.next.dial && b.settled(was) {
		b.next.projects[conf.ID] = was
		return nil
	}
	p, err := b.router.buildProject(conf, b.next.dial, b.old, &b.pace)
	b.next.projects[conf.ID] = p
	if err != nil {
		b.next.retire(b.old)
		return &schema.ProjectError{ID: conf.ID, Err: err}
	}
	if p.fallback == nil {
		p.fallback = b.next.fallback
	}
	b.come = append(b.come, p)
	return nil
}

// settled reports that what a project falls back on is its own, or still the installation's.
func (b *building) settled(was *project) bool {
	f := was.fallback
	if f != nil && f == was.schemes[was.conf.DefaultSchema] {
		return true
	}
	return b.old.defaultSchema == b.next.defaultSchema && (f == b.next.fallback || f != nil && f.project == was)
}

// number makes the next table's index of the old one's.
func (b *building) number() {
	var gone []*project
	for id, p := range b.old.projects {
		if b.next.projects[id] != p {
			gone = append(gone, p)
		}
	}
	if b.old.numbers != nil {
		b.next.numbers = b.old.numbers.with(gone, b.come, &b.pace)
	}
	if b.next.numbers == nil {
		b.next.numbers = newIndex(b.next.projects, &b.pace)
	}
}

// buildProject makes a project ready. On an error the project has the hooks made until then.
func (r *Router) buildProject(conf *schema.Project, dial *schema.Dialing, old *table, pace *schema.Pace) (*project, error) {
	p := &project{
		conf:    conf,
		dialing: conf.Dialing(dial),
		schemes: make(map[string]*scheme, len(conf.Schemas)),
		hooks:   make(map[string]*hook, len(conf.Hooks)),
		policy:  newPolicy(&conf.Destinations),

		hasVariables: r.opts.Memory != nil && getsVariables(conf),
	}
	for i := range conf.Hooks {
		h, err := r.buildHook(conf, &conf.Hooks[i], old.projects[conf.ID])
		if err != nil {
			return p, err
		}
		p.hooks[h.conf.ID] = h
		pace.Breathe()
		p.tellsHistory = p.tellsHistory || h.tellsHistory
	}
	for i := range conf.Schemas {
		p.schemes[conf.Schemas[i].ID] = &scheme{conf: &conf.Schemas[i], project: p}
	}
	for _, s := range p.schemes {
		if err := s.resolve(); err != nil {
			return p, err
		}
	}
	p.fallback = p.schemes[conf.DefaultSchema]
	p.numbers = make([]number, len(conf.Numbers))
	for i := range conf.Numbers {
		n := &conf.Numbers[i]
		p.numbers[i] = number{conf: n, project: p, scheme: p.schemes[n.Schema]}
	}
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
		if was := old.hooks[conf.ID]; was != nil && reflect.DeepEqual(was.setup, setup) {
			return was, nil
		}
	}
	h := &hook{setup: setup, stats: statsOf(old, conf.ID)}
	h.conf = &h.setup.Hook // its own copy, as a hook may outlive the project that it came with
	asker, err := r.opts.Prepare(p, h.conf)
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", conf.ID, err)
	}
	h.asker, h.metrics = asker, r.metrics.hook(p.ID, conf.ID)
	h.route = fmt.Sprintf("webhookNumber:%d", int(conf.RingTimeout.Seconds()))
	h.bulkhead.limit = int64(conf.MaxInFlight)
	h.history, h.tellsHistory = namesHistory(conf)
	h.tellsHistory = h.tellsHistory && r.opts.Memory != nil
	h.breaker = newBreaker(h.conf, asker.Probe, h.metrics.opened.Inc)
	return h, nil
}

// lookup finds the number that was called, as it stands in the configuration, or written with a "+"
// or 00 before it.
func (t *table) lookup(callee string) *number {
	if t.numbers == nil {
		return nil
	}
	if n := t.numbers.find(callee); n != nil {
		return n
	}
	if digits := schema.Digits(strings.TrimPrefix(callee, "00")); digits != "" {
		return t.numbers.find(digits)
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
	for id, p := range t.projects {
		q := next.projects[id]
		if q == p {
			continue
		}
		for hook, h := range p.hooks {
			if q == nil || q.hooks[hook] != h {
				h.breaker.close()
				h.asker.Close()
			}
		}
	}
}
