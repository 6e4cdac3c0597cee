package schema

import "time"

// Pace makes room for calls in long work, such as reading a large configuration while calls are decided.
// Go's scheduler looks at the network when a core has nothing else to do: with every core at work, a
// question may lie there for 10 ms, until the scheduler's watchdog looks (runtime/proc.go, sysmon), and
// yielding alone does not change that. So whoever works for long leaves its core idle now and then.
//
// The zero Pace is ready. It is one goroutine's own. A nil one makes no pauses.
type Pace struct{ since time.Time }

const (
	paceWork  = 2 * time.Millisecond
	pacePause = 100 * time.Microsecond // which the system may make a millisecond of
)

// Breathe pauses, where the last pause is long enough ago. Call it every few microseconds of work.
func (p *Pace) Breathe() {
	if p == nil {
		return
	}
	switch now := time.Now(); {
	case p.since.IsZero():
		p.since = now
	case now.Sub(p.since) >= paceWork:
		time.Sleep(pacePause)
		p.since = time.Now()
	}
}
