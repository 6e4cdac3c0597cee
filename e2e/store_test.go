package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// updates is what is known of a run of updates while calls are decided.
type updates struct {
	t         *testing.T
	instances []*service

	mu       sync.Mutex     // guards what follows
	version  map[int]uint64 // that the API gave an edition
	at       []time.Time    // when the API had confirmed the editions, by number
	decided  map[uint64]int // versions that decisions named, and by which edition they were
	late     latencies      // of decisions by an edition: how long ago the next one had been confirmed
	times    latencies      // of decisions, from when they were due
	failures int
}

// confirm notes that an update has been made.
func (u *updates) confirm(n int, tag string) {
	var version uint64
	if _, err := fmt.Sscanf(tag, `"managed.%d"`, &version); err != nil {
		u.t.Errorf("update %d: the ETag is %s; want the version in it", n, tag)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.version[n] = version
	u.at = append(u.at, time.Now())
}

// decide asks one instance about one number, and holds the decision against what is known.
func (u *updates) decide(i int, due time.Time) {
	called := []string{dialledNumber, askedNumber}[i/len(u.instances)%2]
	asked := time.Now()
	d, status, err := u.instances[i%len(u.instances)].tryRoute(call(called))
	took := time.Since(due)
	n, wrong := editionOf(called, &d, status, err)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.times = append(u.times, took)
	if was, known := u.decided[d.Version]; wrong == "" && known && was != n {
		wrong = fmt.Sprintf("version %d is both edition %d and edition %d", d.Version, was, n)
	}
	if wrong != "" {
		if u.failures++; u.failures <= 10 {
			u.t.Errorf("decision %d: %s", i, wrong)
		}
		return
	}
	u.decided[d.Version] = n
	if next := n + 1; next < len(u.at) && asked.After(u.at[next]) {
		u.late = append(u.late, asked.Sub(u.at[next]))
	}
}

// maxCallers bounds the connections of a load, as client keeps so many. On a machine that can't keep up
// calls are asked about later than they are due, and charged for that.
const maxCallers = 900

// load asks at a steady rate a second, whether earlier ones were answered or not, until stopped.
func (u *updates) load(rate float64, stop <-chan struct{}) {
	var calls sync.WaitGroup
	callers := make(chan struct{}, maxCallers)
	defer calls.Wait()
	for begun, i := time.Now(), 0; ; i++ {
		due := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		sleepUntil(due)
		select {
		case <-stop:
			return
		case callers <- struct{}{}:
		}
		calls.Go(func() {
			u.decide(i, due)
			<-callers
		})
	}
}

// Three instances share a Redis. A project is updated again and again through the API of one, then of
// another, while calls to its numbers are decided by all three.
func TestUpdatesUnderLoadAreFollowedByAllAndTearNoDecision(t *testing.T) {
	count, rate, every := 300, 300.0, 10*time.Millisecond
	if full {
		count, rate, every = 10_000, 3000, 0
	}
	hook := startEditionHook(t)
	redis := startRedis(t)
	u := &updates{t: t, version: map[int]uint64{}, decided: map[uint64]int{}}
	var doors []string
	for range 3 {
		s := start(t, storeConfig("redis://127.0.0.1:"+redis.port+"/0"))
		u.instances, doors = append(u.instances, s), append(doors, s.adminURL())
	}
	made := ask("POST", doors[0]+"/api/v1/projects", wholeEdition(0, hook.URL()))
	if !made.ok() {
		t.Fatalf("making the project: got %s", made)
	}
	u.confirm(0, made.header.Get("ETag"))
	for _, s := range u.instances {
		s.follows(0)
	}

	stop := make(chan struct{})
	var loading sync.WaitGroup
	loading.Go(func() { u.load(rate, stop) })
	begun := time.Now()
	for n := 1; n <= count; n++ {
		through := n * 6 / (count + 1) % len(doors) // each instance's door, twice, many updates at a time
		updated := ask("PUT", doors[through]+"/api/v1/projects/managed", wholeEdition(n, hook.URL()))
		if !updated.ok() {
			t.Errorf("update %d: got %s", n, updated)
			break
		}
		u.confirm(n, updated.header.Get("ETag"))
		time.Sleep(every)
	}
	took := time.Since(begun)
	close(stop)
	loading.Wait()
	for i, s := range u.instances {
		t.Logf("instance %d decides by the last update after %s", i, s.follows(len(u.at)-1).Round(time.Millisecond))
	}
	u.report(took, rate)
}

// report checks what can be known only at the end, and prints the figures. rate is what was offered a
// second: a load that fell behind would show little of what three instances bear.
func (u *updates) report(took time.Duration, rate float64) {
	for version, n := range u.decided {
		if confirmed, known := u.version[n]; known && confirmed != version {
			u.t.Errorf("edition %d was decided by as version %d; the API says %d", n, version, confirmed)
		}
	}
	slices.Sort(u.late)
	slices.Sort(u.times)
	if len(u.late) == 0 {
		u.late = latencies{0}
	}
	if slowest := u.late[len(u.late)-1]; full && slowest > time.Second {
		u.t.Errorf("an update was %s old when a call was decided by the one before; want a second at most", slowest)
	}
	if achieved := float64(len(u.times)) / took.Seconds(); full && achieved < 0.95*rate {
		u.t.Errorf("%.0f decisions a second were made; want 0.95 of the %.0f that were due at least", achieved, rate)
	}
	u.t.Logf("%d updates in %s, %.0f/s; %d decisions, %.0f/s, %d failed or torn, by %d of the versions", len(u.at)-1, took.Round(time.Millisecond),
		float64(len(u.at)-1)/took.Seconds(), len(u.times), float64(len(u.times))/took.Seconds(), u.failures, len(u.decided))
	u.t.Logf("ms                                  p50       p99     p99.9       max")
	u.t.Logf("decisions, from when due      %s", u.times)
	u.t.Logf("by an update that was old for %s (%d of %d)", u.late, len(u.late), len(u.times))
	for i, s := range u.instances {
		u.t.Logf("instance %d: %s", i, strings.TrimSpace(s.footprint().String()))
	}
}
