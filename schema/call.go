// Package schema holds the nouns of call routing: the call, its parameters, destinations,
// forwarding schemes, hooks, projects and the decision, and the loader that turns a configuration
// file into them, validated. It imports nothing of ours; it asks nobody, stores nothing and knows
// no PBX's dialect.
package schema

import (
	"math"
	"time"
	"unsafe"
)

// Call is one question of a PBX: who calls whom, and everything else it said. A Call is reused:
// every string read from it is valid until its Reset, so what must live longer is cloned.
//
// A Call is not safe for concurrent use.
type Call struct {
	// given are the catalogue's values in the order they were given, and place where each parameter's stands
	// in it, from 1: what a call has lies close together, and little is to be emptied after it.
	place  [ParamCount]uint8
	given  [ParamCount]string
	count  int // of given
	custom []Custom
	// places are where each of custom stands by its name; nil until there are MaxCustom.
	places map[string]int
	// channel is what a PBX sends of itself, in the order it came; a name may be there twice.
	channel []Custom
	arena   []byte

	// Project, Hook and Schema are the control parameters of the same names: the project asked
	// for, and a hook or scheme to use in place of the number table. Empty where not given.
	Project, Hook, Schema string
	// Cursor continues a call that was answered before, when nobody picked up.
	Cursor string
	// Traceparent is the W3C Trace Context header to pass on to the webhook; empty for none.
	Traceparent string

	// Variables is a JSON object of what is known of the caller from before, through incoming
	// webhooks: tags that name no parameter of the call look here. Empty for none.
	Variables string

	// At is the moment the question was read. Deadline is the one instant by which the PBX must
	// have its answer; every room spends from it and none sets a second one.
	At, Deadline time.Time

	// Dialect is the name of the dialect that the question came in. OneStep says that a PBX of that
	// dialect does one dial step and then asks again, so that the steps after it go behind a cursor.
	Dialect string
	OneStep bool

	// Inquiry: nobody is calling. Who asks wants to know where a call would go, through an incoming link
	// for example; it is decided as a call is, and counts as none.
	Inquiry bool

	// Explain asks every room to record what it did in words, for a person. Off on the hot path.
	Explain bool
}

// Custom is a parameter outside the catalogue. A value that came as a JSON object or array is kept
// as its JSON text, so that {{payment.name}} can look inside.
type Custom struct{ Name, Value string }

// Reset empties the call for reuse and ends the life of every string read from it.
func (c *Call) Reset() {
	clear(c.given[:c.count])
	c.place, c.count = [ParamCount]uint8{}, 0
	c.custom, c.channel, c.arena, c.places = c.custom[:0], c.channel[:0], c.arena[:0], nil
	if cap(c.arena) > maxKeptArena {
		c.arena = nil
	}
	c.Project, c.Hook, c.Schema, c.Cursor, c.Traceparent, c.Variables = "", "", "", "", "", ""
	c.At, c.Deadline = time.Time{}, time.Time{}
	c.Dialect, c.OneStep, c.Inquiry, c.Explain = "", false, false, false
}

// maxKeptArena bounds what one unusually large question leaves behind in a pool.
const maxKeptArena = 64 << 10

// Keep copies b into the call's own memory and returns it as a string that lives until Reset.
func (c *Call) Keep(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(c.arena)+len(b) > cap(c.arena) {
		// A fresh block, not a grown copy: strings handed out before stay on the old one.
		c.arena = make([]byte, 0, max(2*cap(c.arena), len(b), 1024))
	}
	start := len(c.arena)
	c.arena = append(c.arena, b...)
	return unsafe.String(&c.arena[start], len(b))
}

// Set gives a catalogue parameter the value b, which is copied.
func (c *Call) Set(p Param, b []byte) { c.SetString(p, c.Keep(b)) }

// SetString gives a catalogue parameter a value that outlives the call's use.
func (c *Call) SetString(p Param, v string) {
	at := c.place[p]
	if at == 0 {
		c.count++
		at = uint8(c.count)
		c.place[p] = at
	}
	c.given[at-1] = v
}

// SetNamed gives the parameter called name the value b: a catalogue parameter where the name is
// one, else a custom parameter; the last value given counts. Both are copied. It reports false where that
// would be one custom parameter more than MaxCustom, which is left out.
func (c *Call) SetNamed(name, b []byte) bool { return c.setNamed(name, b, MaxCustom) }

// SetNeeded is SetNamed for a parameter that a call can be decided by, whatever else came before it: it is
// kept beyond MaxCustom too. There must be few such names.
func (c *Call) SetNeeded(name, b []byte) { c.setNamed(name, b, math.MaxInt) }

func (c *Call) setNamed(name, b []byte, limit int) bool {
	if p, ok := ParamNamed(name); ok {
		c.Set(p, b)
		return true
	}
	if i := c.customNamed(name); i >= 0 {
		c.custom[i].Value = c.Keep(b)
		return true
	}
	if len(c.custom) >= limit {
		return false
	}
	c.custom = append(c.custom, Custom{c.Keep(name), c.Keep(b)})
	return true
}

// customNamed finds a custom parameter's place, -1 where there is none. Looking them all through is quick as
// long as they are few; of a call that has its fill, thousands may be still to come.
func (c *Call) customNamed(name []byte) int {
	if len(c.custom) < MaxCustom {
		for i := range c.custom {
			if c.custom[i].Name == string(name) {
				return i
			}
		}
		return -1
	}
	if c.places == nil {
		c.places = make(map[string]int, len(c.custom))
	}
	for i := len(c.places); i < len(c.custom); i++ {
		c.places[c.custom[i].Name] = i
	}
	if i, ok := c.places[string(name)]; ok {
		return i
	}
	return -1
}

// MaxCustom bounds the custom parameters of one call, so that finding one stays cheap.
const MaxCustom = 256

// SetChannel keeps what a PBX sends of itself about every call, a channel variable for example, name
// and value copied: a custom parameter that is found by its name, and not among Customs. It reports false
// where the call has as many as it may, and leaves this one out.
func (c *Call) SetChannel(name, b []byte) bool {
	if len(c.channel) >= maxChannel {
		return false
	}
	c.channel = append(c.channel, Custom{c.Keep(name), c.Keep(b)})
	return true
}

// maxChannel bounds them; a FreeSWITCH call was seen with 138.
const maxChannel = 512

// Get returns a catalogue parameter's value: what was said, else what the source document sends
// for a value not known before the call (empty, "0", or "in").
func (c *Call) Get(p Param) string {
	if at := c.place[p]; at != 0 {
		return c.given[at-1]
	}
	return catalogue[p].unknown
}

// Said reports whether the parameter was given a value, be it an empty one.
func (c *Call) Said(p Param) bool { return c.place[p] != 0 }

// CustomValue returns the custom parameter called name, and whether there is one.
func (c *Call) CustomValue(name string) (string, bool) {
	for i := range c.custom {
		if c.custom[i].Name == name {
			return c.custom[i].Value, true
		}
	}
	for i := len(c.channel) - 1; i >= 0; i-- {
		if c.channel[i].Name == name {
			return c.channel[i].Value, true
		}
	}
	return "", false
}

// Customs returns the custom parameters in the order they were first given, those of SetChannel
// left out. The slice is the call's own: read it, don't keep it.
func (c *Call) Customs() []Custom { return c.custom }

// Caller, Callee and ID are the three parameters that everyone asks for.
func (c *Call) Caller() string { return c.Get(ParamCaller) }
func (c *Call) Callee() string { return c.Get(ParamCallee) }
func (c *Call) ID() string     { return c.Get(ParamCallID) }
