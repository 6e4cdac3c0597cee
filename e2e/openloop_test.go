package e2e

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// outcome is what came of one call of a series.
type outcome struct {
	took time.Duration // from the instant at which the call was due, not from when it was sent
	late time.Duration // how long after that instant the caller came to send it
	decision
	status int
	err    error
}

// openLoop makes n calls at a steady rate a second, whether earlier ones have been answered or not,
// as callers do: a service that stalls is charged for every call that was due meanwhile.
func (s *service) openLoop(n int, rate float64, params func(i int) url.Values) []outcome {
	outcomes := make([]outcome, n)
	var calls sync.WaitGroup
	begin := time.Now().Add(10 * time.Millisecond)
	for i := range n {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		asked := params(i)
		sleepUntil(due)
		calls.Go(func() {
			o := &outcomes[i]
			o.late = time.Since(due)
			o.decision, o.status, o.err = s.tryRoute(asked)
			o.took = time.Since(due)
		})
	}
	calls.Wait()
	return outcomes
}

// sleepUntil sleeps to a tenth of a millisecond. time.Sleep wakes up to a whole one late where the
// program is otherwise idle (epoll's grain), which would be charged to the service.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) { // a signal may interrupt it
		ts := syscall.NsecToTimespec(int64(left))
		_ = syscall.Nanosleep(&ts, nil)
	}
}

// latencies are the times of a series, ascending.
type latencies []time.Duration

func latenciesOf(outcomes []outcome) latencies {
	return timesOf(outcomes, func(o *outcome) time.Duration { return o.took })
}

// lateness is how late the caller itself was, in a series.
func lateness(outcomes []outcome) latencies {
	return timesOf(outcomes, func(o *outcome) time.Duration { return o.late })
}

// timesOf is one time of each outcome, ascending.
func timesOf(outcomes []outcome, of func(*outcome) time.Duration) latencies {
	l := make(latencies, len(outcomes))
	for i := range outcomes {
		l[i] = of(&outcomes[i])
	}
	slices.Sort(l)
	return l
}

// at returns the nearest-rank percentile, of per mille: at(999) is p99.9.
func (l latencies) at(perMille int) time.Duration {
	rank := (len(l)*perMille + 999) / 1000
	return l[max(rank, 1)-1]
}

// worstLateness is the caller's own part in the longest times: milliseconds.
func worstLateness(outcomes []outcome) float64 {
	var worst time.Duration
	for i := range outcomes {
		worst = max(worst, outcomes[i].late)
	}
	return milliseconds(worst)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// String is p50, p99, p99.9 and the maximum in milliseconds, in columns.
func (l latencies) String() string {
	return fmt.Sprintf("%9.2f %9.2f %9.2f %9.2f", milliseconds(l.at(500)), milliseconds(l.at(990)), milliseconds(l.at(999)), milliseconds(l[len(l)-1]))
}

func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	l := make(latencies, 1000)
	for i := range l {
		l[i] = time.Duration(i + 1)
	}
	for perMille, want := range map[int]time.Duration{0: 1, 1: 1, 500: 500, 990: 990, 999: 999, 1000: 1000} {
		if got := l.at(perMille); got != want {
			t.Errorf("at(%d) = %d; want %d", perMille, got, want)
		}
	}
	if got := l[:30].at(999); got != 30 {
		t.Errorf("p99.9 of 30 is %d; want the largest", got)
	}
}

// footprint is what a process holds.
type footprint struct {
	goroutines, files int
	rss               int // MiB
}

func (f footprint) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, %d MiB", f.goroutines, f.files, f.rss)
}

// footprint counts what the service holds now, the test's own idle connections let go.
func (s *service) footprint() footprint {
	s.t.Helper()
	client.CloseIdleConnections()
	var f footprint
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rss, found := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rss, &f.rss); !found || err != nil {
		s.t.Fatalf("no VmRSS in /proc: %v", err)
	}
	f.rss /= 1 << 10
	f.files, f.goroutines = len(files), int(s.metric("go_goroutines"))
	return f
}

// What a service may hold beyond what it held before: a pool's growth, not a share of the calls.
// Memory is the coarsest: the Go runtime keeps what a burst took until a later collection.
const (
	spareGoroutines = 5
	spareFiles      = 3
	spareRSS        = 24 // MiB
)

// settles waits until the service holds what it held before: connections to webhooks are kept for 4
// seconds, the listener's own goroutines for 10 to 20.
func (s *service) settles(t *testing.T, before footprint) {
	t.Helper()
	var now footprint
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		now = s.footprint()
		if now.goroutines <= before.goroutines+spareGoroutines && now.files <= before.files+spareFiles && now.rss <= before.rss+spareRSS {
			t.Logf("before: %s; after: %s", before, now)
			return
		}
	}
	t.Errorf("the service holds %s; before, %s", now, before)
}
