package router

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"hookswitch/schema"
)

// walk is one decision in the making.
type walk struct {
	r    *Router
	t    *table
	call *schema.Call
	d    *schema.Decision
	// now is the latest instant known: of the question, then of each hook's answer. Whatever else
	// takes time sets it anew.
	now time.Time
	// since is when it came to the hook that is being asked.
	since time.Time
	// rehearsal is nil for a call.
	rehearsal *rehearsal

	project *project
	number  *number
	// visited are the schemes entered, asked the hooks; both so that no answer can send the walk
	// in circles.
	visited   [maxSchemes]*scheme
	schemes   int
	asked     [maxHooks]*hook
	hooks     int
	told      int                     // attempts that the story has told of
	filled    [schema.ParamCount]bool // parameters that fill gave the call, and not the PBX
	continued int                     // times that the call has been continued
	// What has been recalled of the caller, or tried in vain.
	recalledCalls, recalledVariables bool

	fallback bool // a fallback scheme is being followed: hooks are passed over, hours too
}

// A decision enters at most maxSchemes schemes and asks at most maxHooks hooks; more is a loop. The
// loader lets no scheme lead through more without a hook, so that a fallback never is one.
const (
	maxSchemes = schema.MaxSchemeChain
	maxHooks   = 8
)

// run finds where the call begins, or goes on, and walks from there.
func (w *walk) run() {
	w.d.CallID = w.call.ID()
	start, lone := w.begin()
	w.describe()
	good := false
	switch {
	case w.call.Cursor != "":
		good = w.resume()
	case start != nil:
		good = w.follow(start, schema.SourceSchema)
	case lone:
		good = w.ask(w.project.hooks[w.call.Hook])
	}
	if !good {
		w.lastResort()
	}
	w.called()
}

// begin settles the project, and the scheme to follow; or reports that a single hook is to be
// asked. Where neither is known it names the failure.
func (w *walk) begin() (start *scheme, hook bool) {
	n := w.t.lookup(w.call.Callee())
	if w.call.Project != "" {
		w.project = w.t.projects[w.call.Project]
		if n != nil && n.project != w.project {
			n = nil // another customer's number
		}
	} else if n != nil {
		w.project = n.project
	} else {
		w.project = w.t.only
	}
	w.number = n
	switch {
	case w.project == nil:
		w.fail(schema.ReasonUnknownNumber, "the number called belongs to no project")
	case w.call.Hook != "":
		if w.project.hooks[w.call.Hook] != nil {
			return nil, true
		}
		w.fail(schema.ReasonUnknownSchema, "the project has no hook with the id that was asked for")
	case w.call.Schema != "":
		if s := w.project.schemes[w.call.Schema]; s != nil {
			return s, false
		}
		w.fail(schema.ReasonUnknownSchema, "the project has no schema with the id that was asked for")
	case n == nil:
		w.fail(schema.ReasonUnknownNumber, "the number called is not in the project")
	default:
		return n.scheme, false
	}
	return nil, false
}

// describe fills in what the router knows of the call and the PBX has not said.
func (w *walk) describe() {
	if w.project == nil {
		return
	}
	w.d.Project, w.d.Version, w.d.Dialing = w.project.conf.ID, w.project.conf.Version, w.project.dialing
	c := w.call
	w.rename()
	c.SetString(schema.ParamProjectID, w.project.conf.ID)
	if n := w.number; n != nil {
		setUnsaid(c, schema.ParamPool, n.conf.Pool)
		setUnsaid(c, schema.ParamReplaceType, n.conf.Replacement)
	}
	setUnsaid(c, schema.ParamRecord, c.ID())
	if digits := schema.Digits(c.Caller()); digits != "" {
		var buf [16]byte
		e164 := append(append(buf[:0], '+'), digits...)
		if !c.Said(schema.ParamE164) {
			c.Set(schema.ParamE164, e164)
		}
		setUnsaid(c, schema.ParamFullNum, c.Get(schema.ParamE164))
	}
}

// rename puts what the PBX said under names of its own in the place of our parameters.
func (w *walk) rename() {
	for i := range w.project.conf.Intakes {
		in := &w.project.conf.Intakes[i]
		if in.Format != w.call.Dialect {
			continue
		}
		for name, theirs := range in.Rename {
			p, known := schema.ParamNamedString(name)
			if v, said := w.call.CustomValue(theirs); known && said && v != "" {
				w.call.SetString(p, v)
			}
		}
	}
}

func setUnsaid(c *schema.Call, p schema.Param, v string) {
	if v != "" && !c.Said(p) {
		c.SetString(p, v)
	}
}

// fill gives the hook that is asked next a parameter of its own, unless the PBX has said it.
func (w *walk) fill(p schema.Param, v string) {
	if w.filled[p] || v != "" && !w.call.Said(p) {
		w.call.SetString(p, v)
		w.filled[p] = true
	}
}

// follow walks scheme s. It reports whether the decision now holds something that the PBX can do.
func (w *walk) follow(s *scheme, source schema.Source) bool {
	if !w.enter(s) {
		w.fail(schema.ReasonLoop, "schema "+s.conf.ID+" leads back to itself")
		return false
	}
	if s.conf.Hours != nil && !s.conf.Hours.IsOpen(w.r.opts.Now()) {
		w.say("schema %s is closed at this hour", s.conf.ID)
		if s.closed != nil {
			if !w.fallback {
				w.d.Reason = schema.ReasonClosed
			}
			return w.follow(s.closed, source)
		}
		if !w.fallback { // a fallback without a closed scheme of its own knows no closing time
			w.fail(schema.ReasonClosed, "outside the working hours of schema "+s.conf.ID)
			return false
		}
	}
	if w.call.Explain {
		w.say("following schema %s %q", s.conf.ID, s.conf.Name)
	}
	return w.followFrom(s, 0, source)
}

// followFrom takes the steps of s from the given one on.
func (w *walk) followFrom(s *scheme, from int, source schema.Source) bool {
	for i := from; i < len(s.steps); i++ {
		if done, good := w.step(s, i, source); done {
			return good
		}
	}
	if len(w.d.Steps) == 0 {
		return false
	}
	w.settle(s, source)
	return true
}

// settle records which scheme gave the steps.
func (w *walk) settle(s *scheme, source schema.Source) {
	w.d.Schema = s.conf.ID
	switch {
	case w.fallback || w.d.Source == schema.SourceFallback:
		w.d.Source = schema.SourceFallback
	default:
		w.d.Source = source
	}
}

// step takes step i of s; done ends the walk of s, good tells how.
func (w *walk) step(s *scheme, i int, source schema.Source) (done, good bool) {
	st := &s.steps[i]
	switch {
	case st.hook != nil:
		if w.fallback {
			w.say("hook %s is passed over: a fallback asks nobody", st.hook.conf.ID)
			return false, false
		}
		if len(w.d.Steps) > 0 {
			return true, w.pause(s, i, source)
		}
		w.fill(schema.ParamSchemaName, s.conf.Name)
		if w.ask(st.hook) {
			return true, true
		}
	case st.scheme != nil:
		// One that gives nothing, since its hook failed or it is closed, leaves the call to the steps after it.
		good := w.join(s, i, st.scheme, source)
		return good, good
	default:
		if w.call.OneStep && len(w.d.Steps) > 0 {
			return true, w.pause(s, i, source)
		}
		w.d.Steps = append(w.d.Steps, w.decided(st))
		if st.conf.Hangup != "" {
			w.settle(s, source)
			return true, true
		}
	}
	return false, false
}

// join goes on with scheme next from the step of s that names it. Where s has given steps already they stay, and
// those of next come after, if it has any at this hour.
func (w *walk) join(s *scheme, at int, next *scheme, source schema.Source) bool {
	if len(w.d.Steps) == 0 {
		return w.follow(next, source)
	}
	if w.call.OneStep {
		return w.pause(s, at, source)
	}
	reason, detail, from := w.d.Reason, w.d.Detail, w.d.Source
	if !w.follow(next, source) {
		w.d.Reason, w.d.Detail, w.d.Source = reason, detail, from
	}
	w.settle(s, source)
	return true
}

// decided turns a scheme's step into a decision's.
func (w *walk) decided(st *step) schema.DecidedStep {
	c := st.conf
	return schema.DecidedStep{
		Dial: ordered(c.Destinations, c.Strategy, w.turn(st)), Strategy: c.Strategy, Timeout: c.Timeout,
		MOH: c.MOH, Announce: c.Announce, Voicemail: c.Voicemail, Playback: c.Playback, Hangup: c.Hangup,
	}
}

// ordered returns the destinations in the order in which they are to be tried. Configured lists are
// shared by all calls, so another order is a copy.
func ordered(list []schema.Destination, by schema.Strategy, turn *atomic.Uint32) []schema.Destination {
	if len(list) < 2 || by != schema.Random && by != schema.RoundRobin {
		return list
	}
	first := 0
	if by == schema.RoundRobin {
		first = int((turn.Add(1) - 1) % uint32(len(list)))
	}
	turned := append(append(make([]schema.Destination, 0, len(list)), list[first:]...), list[:first]...)
	if by == schema.Random {
		rand.Shuffle(len(turned), func(i, j int) { turned[i], turned[j] = turned[j], turned[i] })
	}
	return turned
}

// enter notes that s is being followed; false means that it has been before.
func (w *walk) enter(s *scheme) bool {
	for _, v := range w.visited[:w.schemes] {
		if v == s {
			return false
		}
	}
	if w.schemes == maxSchemes {
		return false
	}
	w.visited[w.schemes] = s
	w.schemes++
	return true
}

// fail records why the decision will be a fallback; the last failure counts.
func (w *walk) fail(reason schema.Reason, detail string) {
	w.d.Reason, w.d.Detail = reason, detail
	w.d.Source = schema.SourceFallback
	w.say("%s: %s", reason, detail)
}

// deadline returns the instant by which a hook must have answered.
func (w *walk) deadline(now time.Time, patience time.Duration) time.Time {
	own := now.Add(patience)
	if !w.call.Deadline.IsZero() && w.call.Deadline.Before(own) {
		return w.call.Deadline
	}
	return own
}
