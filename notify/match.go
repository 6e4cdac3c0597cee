package notify

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hookswitch/schema"
)

// table is one immutable view of the webhooks of a configuration.
type table struct {
	projects map[string]*project
	targets  map[string]*target  // by queue
	ordered  map[string][]string // queues, by the order that they share
}

// project is what a project's events are sent to, by the event's kind.
type project struct {
	conf   *schema.Project
	events map[string][]*subscription
}

// subscription says which events a webhook wants.
type subscription struct {
	webhook *schema.Webhook
	queue   string
	order   string    // that its deliveries keep with those of others; "" for none
	when    condition // nil for always
}

// condition is true of some events.
type condition func(*schema.Call) bool

// setup is everything that, changed, makes an endpoint another one.
type setup struct {
	Webhook      schema.Webhook
	AllowPrivate bool
	Region, TZ   string
}

// build makes a table of cfg, taking over from old the targets that have not changed. It returns those
// that it made, in any case.
func (n *Notify) build(cfg *schema.Config, old *table) (t *table, made []*target, err error) {
	t = &table{projects: make(map[string]*project, len(cfg.Projects)), targets: map[string]*target{}, ordered: map[string][]string{}}
	for _, conf := range cfg.Projects {
		p := &project{conf: conf, events: map[string][]*subscription{}}
		t.projects[conf.ID] = p
		for i := range conf.Webhooks {
			w := &conf.Webhooks[i]
			queue := queueOf(conf.ID, w.ID)
			same := setup{*w, conf.AllowPrivateHooks, conf.Destinations.Region, conf.TZ}
			known := old.targets[queue]
			if known == nil || !reflect.DeepEqual(known.setup, same) {
				if known, err = n.newTarget(conf, w, same); err != nil {
					return nil, made, faulty(conf, w, err)
				}
				made = append(made, known)
			}
			t.targets[queue] = known
			if o := orderOf(conf.ID, w); o != "" {
				t.ordered[o] = append(t.ordered[o], queue)
			}
			when, err := compile(w)
			if err != nil {
				return nil, made, faulty(conf, w, err)
			}
			if !w.Disabled {
				p.events[w.Event] = append(p.events[w.Event], &subscription{w, queue, orderOf(conf.ID, w), when})
			}
		}
	}
	return t, made, nil
}

// faulty says whose webhook can't be used, so that the others' can be loaded without that project.
func faulty(p *schema.Project, w *schema.Webhook, err error) error {
	return &schema.ProjectError{ID: p.ID, Err: fmt.Errorf("webhook %d: %w", w.ID, err)}
}

// orderOf names the order that a webhook keeps, "" where it keeps none. It shares that with the project's
// other ordered webhooks at its host: a CRM hears of a call's end by another webhook than of its beginning,
// and after it.
func orderOf(project string, w *schema.Webhook) string {
	if !w.Ordered {
		return ""
	}
	_, rest, _ := strings.Cut(w.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	return project + "/" + strings.ToLower(host)
}

// calls are for conditions to look into.
var calls = sync.Pool{New: func() any { return new(schema.Call) }}

// wanted returns the subscriptions that want the event.
func (p *project) wanted(e *schema.Event) (wanted []*subscription) {
	var call *schema.Call
	for _, s := range p.events[e.Kind] {
		if s.webhook.TypeCall != "all" && s.webhook.TypeCall != e.Direction {
			continue
		}
		if s.when != nil && call == nil {
			call = calls.Get().(*schema.Call)
			fill(call, e)
		}
		if s.when == nil || s.when(call) {
			wanted = append(wanted, s)
		}
	}
	if call != nil {
		call.Reset()
		calls.Put(call)
	}
	return wanted
}

// fill gives call what a condition may ask for: the event's values, and what it is.
func fill(call *schema.Call, e *schema.Event) {
	e.Fill(call)
	for _, v := range []schema.Custom{{Name: "event", Value: e.Kind}, {Name: "direction", Value: e.Direction}} {
		if _, said := call.CustomValue(v.Name); !said {
			call.SetNamed([]byte(v.Name), []byte(v.Value))
		}
	}
	if !call.Said(schema.ParamCallID) {
		call.Set(schema.ParamCallID, []byte(e.CallID))
	}
	call.SetString(schema.ParamProjectID, e.Project)
}

// compile returns what is true of the events that the webhook's conditions are all true of, nil where it
// has none.
func compile(w *schema.Webhook) (condition, error) {
	if len(w.When) == 0 {
		return nil, nil
	}
	all, err := compileAll(w.When)
	if err != nil {
		return nil, fmt.Errorf("when: %w", err)
	}
	return every(all), nil
}

func compileAll(list []schema.Condition) ([]condition, error) {
	compiled := make([]condition, len(list))
	for i := range list {
		c, err := compileOne(&list[i])
		if err != nil {
			return nil, err
		}
		compiled[i] = c
	}
	return compiled, nil
}

func every(all []condition) condition {
	return func(call *schema.Call) bool {
		return !slices.ContainsFunc(all, func(c condition) bool { return !c(call) })
	}
}

func some(any []condition) condition {
	return func(call *schema.Call) bool {
		return slices.ContainsFunc(any, func(c condition) bool { return c(call) })
	}
}

func compileOne(c *schema.Condition) (condition, error) {
	switch {
	case c.All != nil:
		all, err := compileAll(c.All)
		return every(all), err
	case c.Any != nil:
		any, err := compileAll(c.Any)
		return some(any), err
	}
	compare, err := comparison(c.Op, c.Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Param, err)
	}
	tag := schema.NamedTag(c.Param)
	return func(call *schema.Call) bool { return compare(tag.Value(call)) }, nil
}

// comparison returns what op says of a value and want.
func comparison(op, want string) (func(string) bool, error) {
	switch op {
	case "eq":
		return func(v string) bool { return v == want }, nil
	case "ne":
		return func(v string) bool { return v != want }, nil
	case "contains":
		return func(v string) bool { return strings.Contains(v, want) }, nil
	case "prefix":
		return func(v string) bool { return strings.HasPrefix(v, want) }, nil
	case "suffix":
		return func(v string) bool { return strings.HasSuffix(v, want) }, nil
	case "empty":
		return func(v string) bool { return v == "" }, nil
	case "filled":
		return func(v string) bool { return v != "" }, nil
	case "in":
		list := strings.Split(want, ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return func(v string) bool { return slices.Contains(list, v) }, nil
	case "matches":
		pattern, err := regexp.Compile(want)
		if err != nil {
			return nil, err
		}
		return pattern.MatchString, nil
	}
	return numeric(op, want)
}

// numeric compares numbers; nothing is true of a value that is none.
func numeric(op, want string) (func(string) bool, error) {
	compare := map[string]func(v, bound float64) bool{
		"lt": func(v, bound float64) bool { return v < bound },
		"le": func(v, bound float64) bool { return v <= bound },
		"gt": func(v, bound float64) bool { return v > bound },
		"ge": func(v, bound float64) bool { return v >= bound },
	}[op]
	if compare == nil {
		return nil, fmt.Errorf("found op %q; want eq, ne, contains, prefix, suffix, matches, in, lt, le, gt, ge, empty or filled", op)
	}
	bound, err := strconv.ParseFloat(want, 64)
	if err != nil {
		return nil, fmt.Errorf("op %s: found %q; want a number", op, want)
	}
	return func(v string) bool {
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		return err == nil && compare(f, bound)
	}, nil
}
