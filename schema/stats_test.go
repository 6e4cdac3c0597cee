package schema

import (
	"sync"
	"testing"
	"time"
)

func TestABucketHoldsTheTimesUpToItsBound(t *testing.T) {
	for _, tc := range []struct {
		took time.Duration
		want int
	}{
		{0, 0}, {249 * time.Microsecond, 0}, {250 * time.Microsecond, 1}, {499 * time.Microsecond, 1}, {500 * time.Microsecond, 2},
		{time.Millisecond, 3}, {800 * time.Millisecond, 12}, {17 * time.Second, LatencyBuckets - 1}, {time.Hour, LatencyBuckets - 1}, {-time.Second, 0},
	} {
		if got := LatencyBucket(tc.took); got != tc.want {
			t.Errorf("%s is in bucket %d; want %d", tc.took, got, tc.want)
		}
	}
}

func TestAQuantileLiesWithinItsBucket(t *testing.T) {
	var p Period
	if p.Quantile(0.5) != 0 {
		t.Error("the median of nothing is not 0")
	}
	for range 99 {
		p.Took[LatencyBucket(3*time.Millisecond)]++ // 2 to 4 ms
	}
	p.Took[LatencyBucket(time.Second)]++ // 512 to 1024 ms
	for _, tc := range []struct {
		part      float64
		low, high time.Duration
	}{
		{0.5, 2 * time.Millisecond, 4 * time.Millisecond}, {0.99, 3 * time.Millisecond, 4 * time.Millisecond},
		{0.999, 512 * time.Millisecond, 1024 * time.Millisecond}, {1, 1024 * time.Millisecond, 1024 * time.Millisecond},
	} {
		if got := p.Quantile(tc.part); got < tc.low || got > tc.high {
			t.Errorf("quantile %v is %s; want %s to %s", tc.part, got, tc.low, tc.high)
		}
	}
}

func TestASeriesForgetsWhatIsPast(t *testing.T) {
	s := NewSeries(time.Minute, 3)
	at := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
	for minute := range 5 {
		for range minute + 1 {
			s.Count(at.Add(time.Duration(minute)*time.Minute), SourceHook, ReasonOK, time.Millisecond)
		}
	}
	last := s.Last(at.Add(4*time.Minute), 10)
	if len(last) != 3 {
		t.Fatalf("got %d periods; want 3", len(last))
	}
	for i, want := range []uint64{3, 4, 5} {
		if got := last[i].Total(); got != want || !last[i].At.Equal(at.Truncate(time.Minute).Add(time.Duration(i+2)*time.Minute)) {
			t.Errorf("period %d, of %s, counts %d; want %d", i, last[i].At, got, want)
		}
	}
	if sum := Sum(s.Last(at.Add(time.Hour), 3)); sum.Total() != 0 {
		t.Errorf("%d are counted an hour later; want none", sum.Total())
	}
}

func TestACountWithoutATimeLeavesTheTimesAlone(t *testing.T) {
	s, now := NewSeries(time.Minute, 2), time.Now()
	s.Count(now, SourceHook, ReasonBreakerOpen, -1)
	if sum := Sum(s.Last(now, 2)); sum.Total() != 1 || sum.Quantile(1) != 0 || sum.Took != [LatencyBuckets]uint64{} {
		t.Errorf("got %+v; want one outcome without a time", sum)
	}
}

func TestNoCountIsLostBetweenThoseWhoCountAtOnce(t *testing.T) {
	s, now := NewSeries(time.Hour, 2), time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				s.Count(now, SourceFallback, ReasonTimeout, time.Second)
			}
		})
	}
	wg.Wait()
	sum := Sum(s.Last(now, 1))
	if sum.Total() != 8000 || sum.Sources[SourceFallback] != 8000 {
		t.Errorf("%d are counted; want 8000", sum.Total())
	}
}

func TestNumbersAreMasked(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"380501112233", "380*******33"}, {"call +380 (50) 111-22-33 now", "call +380 (**) ***-**-33 now"},
		{"12345 is short", "12345 is short"}, {"", ""}, {"no number", "no number"},
	} {
		if got := MaskNumbers(tc.text); got != tc.want {
			t.Errorf("%q is shown as %q; want %q", tc.text, got, tc.want)
		}
	}
	for _, tc := range []struct{ number, want string }{{"380501112233", "380***33"}, {"12345", "***"}, {"", "***"}} {
		if got := MaskNumber(tc.number); got != tc.want {
			t.Errorf("%q is shown as %q; want %q", tc.number, got, tc.want)
		}
	}
}
