package schema

import "time"

// Reason says why a decision is what it is. The set is closed, so that it can label a metric.
type Reason uint8

// The reasons, in the order of DESIGN's list.
const (
	ReasonOK Reason = iota
	ReasonTimeout
	ReasonConnectError
	ReasonTLSError
	ReasonDNSError
	ReasonBadStatus
	ReasonBadAnswer
	ReasonNoDestination
	ReasonInvalidDestination
	ReasonForbiddenDestination
	ReasonUnknownSchema
	ReasonLoop
	ReasonBreakerOpen
	ReasonOverloaded
	ReasonHookBlocked
	ReasonClosed
	ReasonUnknownNumber
	ReasonBadCursor
	ReasonInternal

	// ReasonCount is the number of reasons, not a reason.
	ReasonCount
)

var reasonNames = [ReasonCount]string{
	"ok", "timeout", "connect_error", "tls_error", "dns_error", "bad_status", "bad_answer", "no_destination",
	"invalid_destination", "forbidden_destination", "unknown_schema", "loop", "breaker_open", "overloaded",
	"hook_blocked", "closed", "unknown_number", "bad_cursor", "internal",
}

// String returns the reason as it stands in an answer, a log and a metric.
func (r Reason) String() string { return reasonNames[r] }

// Source says where a decision's destinations came from.
type Source uint8

// The sources.
const (
	SourceHook     Source = iota // a hook gave them, or the id of the scheme that was followed
	SourceSchema                 // no hook was needed
	SourceLastGood               // the hook's last good answer stood in
	SourceFallback               // a fallback scheme stood in

	// SourceCount is the number of sources, not a source.
	SourceCount
)

var sourceNames = [SourceCount]string{"hook", "schema", "last_good", "fallback"}

// String returns the source as it stands in an answer, a log and a metric.
func (s Source) String() string { return sourceNames[s] }

// Decision is the answer to a Call: what the PBX is to do, and why. There is exactly one for every
// call. A Decision is reused: its strings are valid until its Reset or the Call's, whichever comes
// first.
type Decision struct {
	ID      [26]byte // a ULID
	CallID  string
	Project string
	// Version is the project's: the whole decision was made by that one version of it.
	Version uint64
	Source  Source
	Reason  Reason
	// Schema is the id of the scheme that produced the steps; empty when the hook gave the
	// destinations itself. Hook is the id of the hook that was asked last; empty for none.
	Schema, Hook string
	Steps        []DecidedStep
	// Next is the signed cursor to go on with when nobody answers; empty for none.
	Next string
	// Repeated marks a lookup that the PBX sent again.
	Repeated bool
	// NotFound: neither the number nor any default is known; there are no steps. The PBX is told
	// so in its own dialect, and falls through to its own dialplan.
	NotFound bool
	Elapsed  time.Duration
	// Warnings name destinations that were dropped, and why.
	Warnings []string
	// Dialing is the project's own templates for writing destinations, or the installation's.
	Dialing *Dialing

	// Detail is the failure behind a fallback, in words; for the log and the explain output.
	Detail string
	// Attempts are the requests made, in order; Answer owns the memory of what was read.
	Answer Answer
	// Trail is the story of the walk, one line an event; only where the call asks to Explain.
	Trail []string
}

// DecidedStep is one step of a decision: a scheme's step with everything settled.
type DecidedStep struct {
	Dial                        []Destination
	Strategy                    Strategy
	Timeout                     time.Duration
	MOH, Announce               string
	Voicemail, Playback, Hangup string
}

// Reset empties the decision for reuse.
func (d *Decision) Reset() {
	answer := d.Answer
	answer.Reset()
	*d = Decision{Steps: d.Steps[:0], Warnings: d.Warnings[:0], Trail: d.Trail[:0], Answer: answer}
}

// FirstDial returns the destinations of the first dial step, nil where there is none.
func (d *Decision) FirstDial() *DecidedStep {
	for i := range d.Steps {
		if len(d.Steps[i].Dial) > 0 {
			return &d.Steps[i]
		}
	}
	return nil
}

// Answer is what came of asking a hook: destinations, or a scheme's id, or a named failure. Its
// strings live until Reset.
type Answer struct {
	// Destinations are grammatical, and not yet checked against any policy.
	Destinations []Destination
	Schema       string
	// Reason is ReasonOK, or the failure; Detail says in words what was wrong.
	Reason Reason
	Detail string
	// Attempts tells of every request that was sent or tried.
	Attempts []Attempt
	// At is when the last request ended, where the Asker tells.
	At time.Time
	// Buf is scratch that the answer's strings may point into.
	Buf []byte
}

// Reset empties the answer for reuse.
func (a *Answer) Reset() {
	buf := a.Buf[:0]
	if cap(buf) > maxKeptArena {
		buf = nil
	}
	*a = Answer{Destinations: a.Destinations[:0], Attempts: a.Attempts[:0], Buf: buf}
}

// Attempt is one request to a webhook.
type Attempt struct {
	URL     string        // as configured; as sent where the call asks to Explain; secrets removed
	Began   time.Duration // after the question was read
	Took    time.Duration
	Status  int // HTTP status; 0 when there was none
	Reason  Reason
	Error   string // what went wrong, in words; empty for an answer that could be read
	Request string // as sent, secrets removed; only for Explain
	Body    string // an excerpt of the answer; only for Explain
}
