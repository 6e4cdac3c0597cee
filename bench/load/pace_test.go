package load

import (
	"math"
	"testing"
	"time"
)

func TestASendIsDueWhenThePlanSaysSo(t *testing.T) {
	ramp := Phases(Phase{0, 100, time.Second}, Phase{100, 100, time.Second}, Phase{100, 0, 2 * time.Second})
	for _, c := range []struct {
		name string
		pace Pace
		i    int
		want time.Duration
		ok   bool
	}{
		{"the first of a steady plan is due at once", Steady(500, time.Second), 0, 0, true},
		{"the second a five-hundredth of a second later", Steady(500, time.Second), 1, 2 * time.Millisecond, true},
		{"the last just before the end", Steady(500, time.Second), 499, 998 * time.Millisecond, true},
		{"and there is none after it", Steady(500, time.Second), 500, 0, false},
		{"a rate below one a second", Steady(0.5, 10*time.Second), 4, 8 * time.Second, true},
		{"half of the area of a ramp from nothing is under its last third", ramp, 25, 707107 * time.Microsecond, true},
		{"a level phase after a ramp of 50 sends", ramp, 60, 1100 * time.Millisecond, true},
		{"a falling phase's middle", ramp, 225, 3 * time.Second, true},
		{"the end of a falling phase", ramp, 250, 0, false},
		{"no phase, no send", Phases(), 0, 0, false},
		{"a phase without sends is passed over", Phases(Phase{0, 0, time.Second}, Phase{10, 10, time.Second}), 1, 1100 * time.Millisecond, true},
	} {
		got, ok := c.pace.Moment(c.i)
		if c.name == "a falling phase's middle" { // 75 of its 100 sends are made in its first half
			got = got.Round(time.Millisecond)
		}
		if ok != c.ok || (got-c.want).Abs() > time.Microsecond {
			t.Errorf("%s: send %d is due at %v, %v; want %v, %v", c.name, c.i, got, ok, c.want, c.ok)
		}
	}
}

// The number of sends due by a moment is the area under the rate until then, whatever the phases.
func TestThePlanKeepsToTheAreaUnderItsRate(t *testing.T) {
	for _, ph := range []Phase{{0, 1000, time.Second}, {1000, 0, time.Second}, {300, 301, 3 * time.Second}, {50, 2000, 2 * time.Second}, {700, 700, time.Second}} {
		pace := Phases(ph)
		last := time.Duration(-1)
		for i := 0; ; i++ {
			at, ok := pace.Moment(i)
			if !ok {
				if want := (ph.From + ph.To) / 2 * ph.For.Seconds(); math.Abs(float64(i)-want) > 1 {
					t.Errorf("%+v: %d sends; want %.1f", ph, i, want)
				}
				break
			}
			if at < last || at > ph.For {
				t.Fatalf("%+v: send %d at %v comes before the one at %v, or after the end", ph, i, at, last)
			}
			last = at
			s := at.Seconds()
			area := ph.From*s + (ph.To-ph.From)/(2*ph.For.Seconds())*s*s
			if math.Abs(area-float64(i)) > 1e-3 {
				t.Fatalf("%+v: send %d is due at %v, where the area is %.4f", ph, i, at, area)
			}
		}
	}
}

func TestAPlanLastsAsLongAsItsPhases(t *testing.T) {
	if got := Phases(Phase{1, 2, time.Second}, Phase{2, 2, 3 * time.Second}).Duration(); got != 4*time.Second {
		t.Errorf("got %v; want 4s", got)
	}
}
