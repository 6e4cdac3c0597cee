// Package load asks one or several servers over HTTP, as fast as they answer or at a planned pace,
// and measures. One thread drives every connection through epoll, so that the generator costs a
// fraction of what it measures. It knows nothing of routing calls.
package load

import (
	"math"
	"time"
)

// Pace is a plan of sends: which one is due when. It is pure arithmetic; the clock is the caller's.
type Pace struct{ phases []Phase }

// Phase is a part of a plan in which the rate goes evenly from From to To sends a second.
type Phase struct {
	From, To float64
	For      time.Duration
}

// Steady plans rate sends a second for d.
func Steady(rate float64, d time.Duration) Pace { return Phases(Phase{rate, rate, d}) }

// Phases plans one phase after another.
func Phases(phases ...Phase) Pace { return Pace{phases} }

// Moment returns when send i is due, counted from the plan's start and from 0, and false when the
// plan holds no such send. The first of each phase is due at the phase's start.
func (p Pace) Moment(i int) (time.Duration, bool) {
	start, n := time.Duration(0), float64(i)
	for _, ph := range p.phases {
		// A send is in the phase during which the count reaches its number.
		if count := ph.count(); n < count {
			return start + ph.moment(n), true
		}
		n -= math.Ceil(ph.count())
		start += ph.For
	}
	return 0, false
}

// Duration is how long the plan lasts.
func (p Pace) Duration() time.Duration {
	var d time.Duration
	for _, ph := range p.phases {
		d += ph.For
	}
	return d
}

// count is the phase's area: the rate over time.
func (ph Phase) count() float64 { return (ph.From + ph.To) / 2 * ph.For.Seconds() }

// moment is when the area reaches n: From·t + (To-From)/(2·For)·t² = n, solved in the form that
// neither divides by zero on a level phase nor loses digits on a nearly level one.
func (ph Phase) moment(n float64) time.Duration {
	if n <= 0 {
		return 0
	}
	slope := (ph.To - ph.From) / ph.For.Seconds()
	root := math.Sqrt(math.Max(0, ph.From*ph.From+2*slope*n))
	return time.Duration(2 * n / (ph.From + root) * float64(time.Second))
}
