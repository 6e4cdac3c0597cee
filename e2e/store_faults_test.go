package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// storeFault is a way for a store to be gone.
type storeFault struct {
	name string
	// strike and heal are done to the Redis, or to the wire from the first of two instances to it.
	strike, heal func(*testing.T, *redisServer, *wire)
	// spares says that the second instance does not notice.
	spares bool
}

var storeFaults = []storeFault{
	{
		name:   "killed",
		strike: func(_ *testing.T, r *redisServer, _ *wire) { r.kill() },
		heal:   func(t *testing.T, r *redisServer, _ *wire) { r.start(t) },
	}, {
		name:   "hung",
		strike: func(t *testing.T, r *redisServer, _ *wire) { r.signal(t, syscall.SIGSTOP) },
		heal:   func(t *testing.T, r *redisServer, _ *wire) { r.signal(t, syscall.SIGCONT) },
	}, {
		name:   "partitioned",
		strike: func(_ *testing.T, _ *redisServer, w *wire) { w.sever() },
		heal:   func(_ *testing.T, _ *redisServer, w *wire) { w.mend() },
		spares: true,
	},
}

// faultRig is two instances on one Redis, the first of them at the end of a wire, and what came of its
// decisions, by the number called.
type faultRig struct {
	t          *testing.T
	fault      storeFault
	redis      *redisServer
	wire       *wire
	one, other *service
	oneAPI     string
	otherAPI   string
	hook       string
	edition    int // that was written last
	calm, gone map[string][]outcome

	mu      sync.Mutex // guards what follows
	refused int        // writes
	slowest time.Duration
}

// note counts a write that was refused.
func (r *faultRig) note(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused++
	r.slowest = max(r.slowest, took)
}

func TestAStoreThatIsGoneIsFeltByNoCallAndIsFollowedAgain(t *testing.T) {
	turns, lasting, rate := 1, 3*time.Second, 200.0
	if full {
		turns, lasting, rate = 2, time.Minute, 500
	}
	for _, fault := range storeFaults {
		t.Run(fault.name, func(t *testing.T) {
			r := newFaultRig(t, fault)
			for range turns {
				r.load(r.calm, lasting, rate)
				r.strike(lasting, rate)
				r.recover()
			}
			r.report(rate)
		})
	}
}

func newFaultRig(t *testing.T, fault storeFault) *faultRig {
	r := &faultRig{t: t, fault: fault, redis: startRedis(t), hook: startEditionHook(t).URL(), calm: map[string][]outcome{}, gone: map[string][]outcome{}}
	at := "127.0.0.1:" + r.redis.port
	near := at
	if fault.spares {
		r.wire = startWire(t, at)
		near = r.wire.address
	}
	r.one, r.other = start(t, storeConfig("redis://"+near)), start(t, storeConfig("redis://"+at))
	r.oneAPI, r.otherAPI = r.one.adminURL()+"/api/v1", r.other.adminURL()+"/api/v1"
	r.make(wholeEdition(0, r.hook))
	r.one.follows(0)
	r.other.follows(0)
	return r
}

func (r *faultRig) make(project map[string]any) {
	r.t.Helper()
	if made := ask("POST", r.otherAPI+"/projects", project); !made.ok() {
		r.t.Fatalf("making a project: got %s", made)
	}
}

// smallProject is as small as a project can be.
func smallProject(id string) map[string]any {
	return map[string]any{"id": id, "default_schema": "1", "schemas": []any{map[string]any{"id": "1", "steps": []any{map[string]any{"dial": []string{"380441111111"}}}}}}
}

// load has calls decided by the first instance at a steady rate, and adds what came of them to the
// others of their number.
func (r *faultRig) load(all map[string][]outcome, lasting time.Duration, rate float64) {
	numbers := []string{dialledNumber, askedNumber, recallNumber}
	var failed int
	for i, o := range r.one.openLoop(int(rate*lasting.Seconds()), rate, func(i int) url.Values {
		params := call(numbers[i%len(numbers)])
		params.Set("caller", fmt.Sprintf("38050%07d", i%500))
		return params
	}) {
		called := numbers[i%len(numbers)]
		all[called] = append(all[called], o)
		if _, wrong := editionOf(called, &o.decision, o.status, o.err); wrong != "" {
			if failed++; failed <= 10 {
				r.t.Error(wrong)
			}
		}
	}
}

// strike lets the fault happen while calls are decided, and tries what can't be done meanwhile.
func (r *faultRig) strike(lasting time.Duration, rate float64) {
	spare := fmt.Sprint(r.edition) // another one each time
	r.make(smallProject(spare))
	waitFor(r.t, 10*time.Second, "both know the spare project", func() bool {
		one, other := ask("GET", r.oneAPI+"/projects/"+spare, nil), ask("GET", r.otherAPI+"/projects/"+spare, nil)
		return one.ok() && other.ok()
	})
	r.fault.strike(r.t, r.redis, r.wire)
	var trying sync.WaitGroup
	trying.Go(func() { r.refusals(r.oneAPI, spare) })
	if !r.fault.spares {
		trying.Go(func() { r.refusals(r.otherAPI, spare) })
	}
	trying.Go(func() {
		time.Sleep(lasting / 2)
		r.edition++
		updated := ask("PUT", r.otherAPI+"/projects/managed", wholeEdition(r.edition, r.hook))
		if updated.ok() != r.fault.spares {
			r.t.Errorf("an update through the other instance: got %s", updated)
		}
	})
	r.load(r.gone, lasting, rate)
	trying.Wait()
	waitFor(r.t, 30*time.Second, "hookswitch_store_up is 0", func() bool { return r.one.metric("hookswitch_store_up") == 0 })
	if d, _ := r.one.route(call(dialledNumber)); r.fault.spares && d.DstPhone == destinationOf(r.edition) {
		r.t.Error("the instance that is cut off knows of the update through the other: the wire was not cut")
	}
}

// refusals tries every way to write. It uses a project beside the one that is called: what was refused may
// still be in the pipe, and done when the store reads on.
func (r *faultRig) refusals(api, spare string) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, write := range []struct {
		method, path string
		body         any
	}{
		{"PUT", "/projects/" + spare, map[string]any{"name": "renamed", "default_schema": "1"}},
		{"POST", "/projects", smallProject("new" + spare)},
		{"POST", "/numbers?project=" + spare, map[string]any{"number": "38044222440" + spare, "schema": "1"}},
		{"POST", "/tokens", map[string]any{"name": "new", "scopes": []string{"read"}}},
		{"DELETE", "/projects/" + spare, nil},
	} {
		all.Go(func() {
			a := ask(write.method, api+write.path, write.body)
			told := a.status == 503 && a.header.Get("Retry-After") != "" && strings.Contains(a.body, `"success":false`) && strings.Contains(a.body, `"message":"`)
			if !told || a.took > 15*time.Second {
				r.t.Errorf("%s %s without the store: got %s; want 503 with Retry-After and a message, soon", write.method, write.path, a)
			}
			r.note(a.took)
		})
	}
}

// recover heals the fault and waits until everything is as it was, and what was written meanwhile is
// followed.
func (r *faultRig) recover() {
	r.fault.heal(r.t, r.redis, r.wire)
	begun := time.Now()
	waitFor(r.t, 90*time.Second, "hookswitch_store_up is 1", func() bool { return r.one.metric("hookswitch_store_up") == 1 })
	up := time.Since(begun)
	if r.fault.spares {
		r.one.follows(r.edition)
	}
	seen := time.Since(begun)
	for _, api := range []string{r.oneAPI, r.otherAPI} {
		r.edition++
		waitFor(r.t, 90*time.Second, "a write is taken again", func() bool {
			updated := ask("PUT", api+"/projects/managed", wholeEdition(r.edition, r.hook))
			return updated.ok()
		})
		r.one.follows(r.edition)
		r.other.follows(r.edition)
	}
	written := time.Since(begun)
	ok := `hookswitch_recall_total{result="ok",what="calls"}`
	before := r.one.metric(ok)
	waitFor(r.t, 90*time.Second, "callers are recalled again", func() bool {
		r.one.route(call(recallNumber))
		return r.one.metric(ok) >= before+10
	})
	r.t.Logf("after the fault: store up after %s, what was written meanwhile decided by after %s, written through both after %s, callers known after %s",
		up.Round(time.Millisecond), seen.Round(time.Millisecond), written.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
}

// typicalP99 is the median of the p99s of each second, so that another program's doing, which holds
// everything up for a while, is not taken for the store's.
func typicalP99(outcomes []outcome, aSecond int, timesOf func([]outcome) latencies) time.Duration {
	var each latencies
	for second := range slices.Chunk(outcomes, aSecond) {
		each = append(each, timesOf(second).at(990))
	}
	slices.Sort(each)
	return each.at(500)
}

// overall holds the p99 of all of the fault's calls against that of the calm ones just before, unless
// the caller itself could not keep to its times, which is charged to every call.
func (r *faultRig) overall(what string, calm, gone []outcome) {
	with, without := latenciesOf(calm).at(990), latenciesOf(gone).at(990)
	ratio := float64(without) / float64(max(with, time.Microsecond))
	r.t.Logf("%s: p99 of the whole fault is %.2f ms, %.2f times that before it", what, milliseconds(without), ratio)
	if !full || ratio <= 1.2 {
		return
	}
	lateBefore, late := lateness(calm).at(990), lateness(gone).at(990)
	if late-lateBefore > without-with*12/10 {
		r.t.Logf("%s: not held against the service: the caller itself was held up, by %.2f ms at p99, %.2f before", what, milliseconds(late), milliseconds(lateBefore))
		return
	}
	r.t.Errorf("%s: p99 of the whole fault is %.2f times that before it; want 1.2 at most; the caller was late by %.2f ms at p99, %.2f before", what, ratio, milliseconds(late), milliseconds(lateBefore))
}

// report prints how long calls took with the store and without: first as the caller had it, then in the
// service alone.
func (r *faultRig) report(rate float64) {
	aSecond := int(rate) / 3 // of each kind
	r.t.Logf("ms                                          p50       p99     p99.9       max  p99 of a typical second")
	for _, kind := range []struct{ called, what string }{
		{dialledNumber, "a destination"}, {askedNumber, "a hook"}, {recallNumber, "a hook, history"},
	} {
		for _, at := range []struct {
			what    string
			timesOf func([]outcome) latencies
		}{{"", latenciesOf}, {", in the service", decisionTimes}} {
			calm, gone := r.calm[kind.called], r.gone[kind.called]
			with, without := typicalP99(calm, aSecond, at.timesOf), typicalP99(gone, aSecond, at.timesOf)
			ratio := float64(without) / float64(max(with, time.Microsecond))
			r.t.Logf("%-32s with    %s %9.2f", kind.what+at.what, at.timesOf(calm), milliseconds(with))
			r.t.Logf("%-32s without %s %9.2f, %.2f times that with it", kind.what+at.what, at.timesOf(gone), milliseconds(without), ratio)
			if full && at.what == "" && ratio > 1.2 {
				r.t.Errorf("%s: p99 of a typical second without the store is %.2f times that with it; want 1.2 at most", kind.what, ratio)
			}
		}
		r.overall(kind.what, r.calm[kind.called], r.gone[kind.called])
	}
	r.t.Logf("%d writes were refused with 503, after %s at most", r.refused, r.slowest.Round(time.Millisecond))
	for _, result := range []string{"ok", "late", "error", "skipped"} {
		r.t.Logf("callers recalled, %s: %.0f", result, r.one.metric(fmt.Sprintf(`hookswitch_recall_total{result="%s",what="calls"}`, result)))
	}
}
