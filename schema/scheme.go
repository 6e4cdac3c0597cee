package schema

import "time"

// Scheme is a forwarding scheme: what happens to a call, step by step, within its working hours.
type Scheme struct {
	ID    string `yaml:"id"`
	Name  string `yaml:"name"`
	Hours *Hours `yaml:"hours"`
	Steps []Step `yaml:"steps"`
}

// Step is one step of a scheme. Exactly one of Dial, Hook, Schema, Voicemail, Playback and Hangup
// says what it does; the rest qualify it.
type Step struct {
	// Dial rings Destinations, in the order and way that Strategy says, for Timeout.
	Dial     []string      `yaml:"dial"`
	Strategy Strategy      `yaml:"strategy"`
	Timeout  time.Duration `yaml:"timeout"`
	MOH      string        `yaml:"moh"`      // music-on-hold class while it rings
	Announce string        `yaml:"announce"` // played to the one who answers

	Hook      string `yaml:"hook"`      // asks this hook
	Schema    string `yaml:"schema"`    // goes on with this scheme
	Voicemail string `yaml:"voicemail"` // takes a message for this box
	Playback  string `yaml:"playback"`  // plays this file
	Hangup    string `yaml:"hangup"`    // ends the call with this cause: busy, no_answer, rejected, unallocated, congestion, normal

	// Destinations is Dial, parsed; the loader fills it.
	Destinations []Destination `yaml:"-"`
}

// MaxSchemeChain is through how many schemes, itself included, one may lead by schema steps and
// closed_schema. The walk of a call enters no more.
const MaxSchemeChain = 16

// Kind names what the step does, by its key: "dial", "hook", …; "" for an empty step.
func (s *Step) Kind() string {
	switch {
	case len(s.Dial) > 0 || len(s.Destinations) > 0:
		return "dial"
	case s.Hook != "":
		return "hook"
	case s.Schema != "":
		return "schema"
	case s.Voicemail != "":
		return "voicemail"
	case s.Playback != "":
		return "playback"
	case s.Hangup != "":
		return "hangup"
	}
	return ""
}

// Strategy is how several destinations of one dial step are rung.
type Strategy string

// The strategies. Random and RoundRobin are settled when the decision is made: its destinations
// stand in the order in which the PBX is to try them.
const (
	All        Strategy = "all"
	InOrder    Strategy = "in_order"
	Random     Strategy = "random"
	RoundRobin Strategy = "round_robin"
)

// HangupCauses are the causes a hangup step may name; each dialect maps them to its PBX's own
// (Q.850 17, 19, 21, 1, 34 and 16).
var HangupCauses = []string{"busy", "no_answer", "rejected", "unallocated", "congestion", "normal"}
