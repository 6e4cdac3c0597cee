package load

import (
	"testing"
	"time"
)

func TestATimelineKeepsEachStepApart(t *testing.T) {
	line := newTimeline(100 * time.Millisecond)
	for _, a := range []struct{ at, took time.Duration }{
		{10 * time.Millisecond, time.Millisecond}, {90 * time.Millisecond, 3 * time.Millisecond},
		{350 * time.Millisecond, 250 * time.Millisecond},
	} {
		line.add(a.at, a.took)
	}
	line.flush()
	want := []struct {
		count int64
		max   time.Duration
	}{{2, 3 * time.Millisecond}, {0, 0}, {0, 0}, {1, 250 * time.Millisecond}}
	if len(line.buckets) != len(want) {
		t.Fatalf("got %d steps; want %d", len(line.buckets), len(want))
	}
	for i, w := range want {
		b := line.buckets[i]
		if b.Count != w.count || (b.Max-w.max).Abs() > w.max/50 || b.From != time.Duration(i)*100*time.Millisecond {
			t.Errorf("step %d: got %+v; want %d answers, the slowest %v", i, b, w.count, w.max)
		}
	}
}

func TestResultsOfRoundsAddUp(t *testing.T) {
	one := func(took time.Duration, reason string) Result {
		r := Result{Offered: 3, Answered: 1, Refused: 1, Lost: 1, Latency: NewHistogram(), Reasons: map[string]uint64{reason: 1}}
		_ = r.Latency.RecordValue(clamp(took))
		return r
	}
	var sum Result
	sum.Add(one(time.Millisecond, "ok"))
	sum.Add(one(9*time.Millisecond, "ok"))
	sum.Add(one(2*time.Hour, "timeout")) // over what a histogram holds
	if sum.Offered != 9 || sum.Answered != 3 || sum.Refused != 3 || sum.Lost != 3 || sum.Reasons["ok"] != 2 || sum.Reasons["timeout"] != 1 {
		t.Errorf("got %+v", sum)
	}
	if p := Percentile(sum.Latency, 50); p < 8*time.Millisecond || p > 10*time.Millisecond {
		t.Errorf("the middle is %v; want 9ms", p)
	}
	if p := Percentile(sum.Latency, 100); p < 59*time.Second {
		t.Errorf("the slowest is %v; want a minute, the most that is told apart", p)
	}
}

func TestChoicesStayWithinTheNumbersAndRepeatWithTheirSeed(t *testing.T) {
	for name, choose := range map[string]func(uint64) func() uint64{
		"uniform": func(seed uint64) func() uint64 { return Uniform(100, 10, seed) },
		"zipf":    func(seed uint64) func() uint64 { return Zipf(100, 10, seed) },
	} {
		a, b, counts := choose(7), choose(7), map[uint64]int{}
		for range 10000 {
			n := a()
			if n != b() || n < 100 || n > 109 {
				t.Fatalf("%s: %d is out of range, or not what the same seed gave", name, n)
			}
			counts[n]++
		}
		if zipf := counts[100] > 2*counts[101]*9/10 && counts[100] > 5*counts[109]; len(counts) != 10 || zipf != (name == "zipf") {
			t.Errorf("%s: the choices are spread as %v", name, counts)
		}
	}
}

func TestNumbersInTurnComeRoundAgain(t *testing.T) {
	next := InTurn(5, 3)
	for i, want := range []uint64{5, 6, 7, 5, 6} {
		if got := next(); got != want {
			t.Errorf("choice %d: got %d; want %d", i, got, want)
		}
	}
}
