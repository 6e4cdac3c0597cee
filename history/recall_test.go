package history

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// both asks for calls and variables with 2 ms of patience.
func both(h *History) schema.Recall {
	r := schema.Recall{Project: "1001", Caller: anna, CallID: "x", WantCalls: true, WantVariables: true}
	h.Recall(&r, time.Now().Add(time.Minute))
	return r
}

func TestAHungRedisHoldsNobody(t *testing.T) {
	server := startRedis(t)
	h := open(t, openRedis(t, server), func(o *Options) { o.Settings.Deadline = 2 * time.Millisecond })
	h.Called("1001", anna, "c1")
	written(t, h, 1)
	eventually(t, "reads are in time", func() bool { r := both(h); return r.CallsResult == schema.RecallOK && r.Callnum == 2 })

	server.signal(t, syscall.SIGSTOP)
	goroutines := runtime.NumGoroutine()
	var late, skipped, longest atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				began := time.Now()
				r := both(h)
				if took := int64(time.Since(began)); took > longest.Load() {
					longest.Store(took)
				}
				for _, result := range []schema.RecallResult{r.CallsResult, r.VariablesResult} {
					switch result {
					case schema.RecallLate:
						late.Add(1)
					case schema.RecallSkipped:
						skipped.Add(1)
					case schema.RecallOK:
						t.Errorf("a stopped server answered: %+v", r)
					}
				}
				if n := runtime.NumGoroutine(); n > goroutines+maxReads+100 {
					t.Errorf("%d goroutines, of %d before", n, goroutines)
					return
				}
			}
		})
	}
	wg.Wait()
	if late.Load() == 0 || skipped.Load() < 10*late.Load() {
		t.Errorf("%d late and %d skipped; want a few late ones, then nobody waiting", late.Load(), skipped.Load())
	}
	if time.Duration(longest.Load()) > 2*time.Second {
		t.Errorf("a call was held for %s", time.Duration(longest.Load()))
	}
	h.Called("1001", anna, "c2") // waits for the server
	h.Called("1001", anna, "c3")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	wantErr(t, "remember", h.Remember(ctx, "1001", anna, []byte(`{"a":1}`), time.Hour), store.ErrUnavailable)

	server.signal(t, syscall.SIGCONT)
	eventually(t, "reads are in time again, and what was queued is counted", func() bool { r := both(h); return r.Callnum == 4 })
}

func TestAKilledRedisIsFoundAgain(t *testing.T) {
	server := startRedis(t)
	h := open(t, openRedis(t, server), func(o *Options) { o.Settings.Deadline = 50 * time.Millisecond })
	h.Called("1001", anna, "c1")
	written(t, h, 1)
	must(t, h.Remember(t.Context(), "1001", anna, []byte(`{"a":1}`), time.Hour))
	server.kill()
	for range 100 {
		if r := both(h); r.CallsResult == schema.RecallOK || r.VariablesResult == schema.RecallOK {
			t.Fatalf("a dead server answered: %+v", r)
		}
	}
	h.Called("1001", anna, "c2")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	wantErr(t, "remember", h.Remember(ctx, "1001", anna, []byte(`{"b":1}`), time.Hour), store.ErrUnavailable)
	eventually(t, "the failed write is counted", func() bool {
		return counted(t, h, whatCalls, "error") > 0
	})
	server.start(t)
	eventually(t, "all is known again", func() bool {
		r := both(h)
		return r.Callnum == 3 && string(r.Variables) == `{"a":1}`
	})
}

func TestAStoreThatIsDownAtTheStartIsFoundLater(t *testing.T) {
	server := startRedis(t)
	server.kill()
	h := openUnready(t, openRedis(t, server), func(o *Options) { o.Settings.Deadline = 50 * time.Millisecond })
	if r := both(h); r.CallsResult != schema.RecallSkipped || r.VariablesResult != schema.RecallSkipped {
		t.Errorf("without a key: %s, %s; want skipped", r.CallsResult, r.VariablesResult)
	}
	h.Called("1001", anna, "c1")
	server.start(t)
	eventually(t, "the call is counted", func() bool { r := both(h); return r.Callnum == 2 })
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	server := startRedis(t)
	h := open(t, openRedis(t, server))
	server.signal(t, syscall.SIGSTOP)
	defer server.signal(t, syscall.SIGCONT)
	var id [4]byte
	for i := range 3 * (maxQueued + maxPerCaller) {
		id = [4]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}
		h.Called("1001", anna, string(id[:]))
	}
	eventually(t, "drops are counted", func() bool {
		return counted(t, h, whatCalls, "dropped") >= maxQueued
	})
}

func TestTheCallsOwnDeadlineCountsToo(t *testing.T) {
	server := startRedis(t)
	h := open(t, openRedis(t, server))
	server.signal(t, syscall.SIGSTOP)
	defer server.signal(t, syscall.SIGCONT)
	began := time.Now()
	r := schema.Recall{Project: "1001", Caller: anna, WantCalls: true, WantVariables: true}
	h.Recall(&r, began.Add(20*time.Millisecond)) // callers.deadline is 5 s here, as is a read's patience of it
	if r.CallsResult != schema.RecallLate || r.VariablesResult != schema.RecallLate {
		t.Errorf("%s, %s; want both late", r.CallsResult, r.VariablesResult)
	}
	h.Recall(&r, began.Add(-time.Second)) // over before it began
}

func TestTheCircuitTriesOneAtATime(t *testing.T) {
	var c circuit
	at := time.Unix(1_700_000_000, 0)
	want := func(what string, lets, trial bool) {
		t.Helper()
		if gotLets, gotTrial := c.lets(at); gotLets != lets || gotTrial != trial {
			t.Errorf("%s: lets is %v and trial %v; want %v and %v", what, gotLets, gotTrial, lets, trial)
		}
	}
	for range failuresInRow {
		want("before it opens", true, false)
		c.report(at, false)
	}
	want("once it is open", false, false)
	at = at.Add(restTime - 1)
	want("before its rest is over", false, false)
	at = at.Add(1)
	want("after its rest", true, true)
	want("while one is tried", false, false)
	c.report(at, false)
	at = at.Add(restTime - 1)
	want("after a failed try", false, false)
	at = at.Add(1)
	want("after another rest", true, true)
	c.report(at, true)
	for range 2 {
		want("after a good try", true, false)
	}
}

// A store that stays away costs those who call at first their patience, and nobody after them.
func TestNoCallWaitsForATrialOfTheStore(t *testing.T) {
	server := startRedis(t)
	h := open(t, openRedis(t, server), func(o *Options) { o.Settings.Deadline = 50 * time.Millisecond })
	server.signal(t, syscall.SIGSTOP)
	defer server.signal(t, syscall.SIGCONT)
	for range failuresInRow {
		both(h)
	}
	for end := time.Now().Add(3 * restTime); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if r := both(h); r.CallsResult != schema.RecallSkipped || r.VariablesResult != schema.RecallSkipped {
			t.Fatalf("%s, %s; want both skipped", r.CallsResult, r.VariablesResult)
		}
	}
}

func BenchmarkRecall(b *testing.B) {
	s, err := store.Open(b.Context(), "bolt:"+filepath.Join(b.TempDir(), "test.db"))
	must(b, err)
	b.Cleanup(func() { s.Close() })
	h := open(b, s)
	must(b, h.Remember(b.Context(), "1001", anna, []byte(`{"payment":{"name":"x"},"id":"5"}`), time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		both(h)
	}
}
