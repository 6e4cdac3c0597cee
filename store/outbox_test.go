package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// noon is a time for the outbox to start from; it takes its time from its callers.
var noon = time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func item(id, queue string, due int) Item {
	return Item{ID: id, Queue: queue, Due: at(due), Body: []byte("body of " + id)}
}

func leaseOf(t *testing.T, s Store, queue string, now, limit, keep int) []Leased {
	t.Helper()
	leased, err := s.Lease(t.Context(), queue, at(now), limit, time.Duration(keep)*time.Second)
	must(t, err)
	return leased
}

func ids(leased []Leased) string {
	var out []string
	for _, l := range leased {
		out = append(out, l.ID)
	}
	return fmt.Sprint(out)
}

func wantIDs(t *testing.T, what string, leased []Leased, want string) {
	t.Helper()
	if got := ids(leased); got != want {
		t.Fatalf("%s: got %s; want %s", what, got, want)
	}
}

func wantReady(t *testing.T, s Store, now int, want ...string) {
	t.Helper()
	got, err := s.Ready(t.Context(), at(now))
	must(t, err)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("ready at %d s: got %q; want %q", now, got, want)
	}
}

func wantHeld(t *testing.T, s Store, want map[string]int) {
	t.Helper()
	got, err := s.Held(t.Context())
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("held: got %v; want %v", got, want)
	}
}

func testOutbox(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.Enqueue(ctx))
	wantReady(t, s, 0)
	wantHeld(t, s, map[string]int{})
	must(t, s.Enqueue(ctx, item("late", "crm", 60), item("second", "crm", 2), item("first", "crm", 1), item("x", "crm", 2)))
	wantReady(t, s, 0)
	wantIDs(t, "before it is due", leaseOf(t, s, "crm", 0, 10, 30), "[]")
	wantReady(t, s, 2, "crm")
	leased := leaseOf(t, s, "crm", 2, 2, 30)
	wantIDs(t, "the earliest two", leased, "[first second]")
	if l := leased[0]; l.Queue != "crm" || string(l.Body) != "body of first" || l.Token == "" {
		t.Errorf("got %+v", l)
	}
	more := leaseOf(t, s, "crm", 2, 10, 30)
	wantIDs(t, "the rest of what is due", more, "[x]")
	wantReady(t, s, 2)
	wantIDs(t, "what is leased", leaseOf(t, s, "crm", 31, 10, 30), "[]")
	wantHeld(t, s, map[string]int{"crm": 4})
	for _, l := range append(leased, more...) {
		must(t, s.Ack(ctx, l))
		wantErr(t, "a second ack", s.Ack(ctx, l), ErrConflict)
		wantErr(t, "rescheduling what is acked", s.Reschedule(ctx, l, at(0), nil), ErrConflict)
	}
	wantHeld(t, s, map[string]int{"crm": 1})
	wantErr(t, "an ack of what nobody leased", s.Ack(ctx, Leased{ID: "late", Queue: "crm"}), ErrConflict)
	wantReady(t, s, 60, "crm")
	wantIDs(t, "no limit left", leaseOf(t, s, "crm", 60, 0, 30), "[]")
	must(t, s.Ack(ctx, leaseOf(t, s, "crm", 60, 1, 30)[0]))
	wantHeld(t, s, map[string]int{})
	wantReady(t, s, 1000)
}

func testLapsedLease(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.Enqueue(ctx, item("1", "crm", 0), item("2", "crm", 0)))
	dead := leaseOf(t, s, "crm", 0, 10, 30)
	wantReady(t, s, 29)
	wantReady(t, s, 30, "crm")
	alive := leaseOf(t, s, "crm", 30, 1, 30)
	wantIDs(t, "one of the lapsed", alive, "[1]")
	wantErr(t, "an ack by the first holder", s.Ack(ctx, dead[0]), ErrConflict)
	wantErr(t, "a reschedule by the first holder", s.Reschedule(ctx, dead[0], at(0), nil), ErrConflict)
	must(t, s.Ack(ctx, alive[0]))
	// A lease that has lapsed is good as long as nobody else has taken the item.
	must(t, s.Ack(ctx, dead[1]))
	wantHeld(t, s, map[string]int{})
}

func testReschedule(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.Enqueue(ctx, item("1", "crm", 0)))
	l := leaseOf(t, s, "crm", 0, 1, 30)[0]
	must(t, s.Reschedule(ctx, l, at(1800), []byte("attempt 2")))
	wantErr(t, "an ack after the reschedule", s.Ack(ctx, l), ErrConflict)
	wantIDs(t, "before it is due again", leaseOf(t, s, "crm", 1799, 1, 30), "[]")
	again := leaseOf(t, s, "crm", 1800, 1, 30)
	wantIDs(t, "when it is due again", again, "[1]")
	if string(again[0].Body) != "attempt 2" {
		t.Errorf("got the body %q", again[0].Body)
	}
	must(t, s.Reschedule(ctx, again[0], at(0), nil)) // earlier than now: at once
	wantIDs(t, "at once", leaseOf(t, s, "crm", 0, 1, 30), "[1]")
	wantHeld(t, s, map[string]int{"crm": 1})
}

func testEnqueueTwice(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.Enqueue(ctx, item("1", "crm", 10), item("1", "crm", 20)))
	must(t, s.Enqueue(ctx, item("1", "crm", 0), item("1", "sms", 0), item("2", "sms", 0)))
	wantHeld(t, s, map[string]int{"crm": 1, "sms": 1})
	wantReady(t, s, 0, "sms")
	l := leaseOf(t, s, "crm", 10, 5, 30)
	must(t, s.Enqueue(ctx, item("1", "crm", 0))) // while it is out
	wantReady(t, s, 10, "sms")
	must(t, s.Ack(ctx, l[0]))
	must(t, s.Enqueue(ctx, item("1", "crm", 0))) // a new one by now
	wantHeld(t, s, map[string]int{"crm": 1, "sms": 1})
}

func testQueuesApart(t *testing.T, s Store) {
	queues := []string{"a", "aa", "a:b", "{a}", "кир", "a b\n", "\xff"}
	for _, q := range queues {
		must(t, s.Enqueue(t.Context(), item("1 of "+q, q, 0), item("2 of "+q, q, 5)))
	}
	slices.Sort(queues)
	wantReady(t, s, 0, queues...)
	for _, q := range queues {
		wantIDs(t, q, leaseOf(t, s, q, 0, 10, 30), "[1 of "+q+"]")
	}
	wantReady(t, s, 0)
	wantReady(t, s, 5, queues...)
}

func testConcurrentWorkers(t *testing.T, s Store) {
	const items, workers = 400, 4
	var batch []Item
	for i := range items {
		batch = append(batch, item(fmt.Sprint(i), fmt.Sprint("q", i%7), 0))
	}
	must(t, s.Enqueue(t.Context(), batch...))
	var mu sync.Mutex
	times := map[string]int{}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				ready, err := s.Ready(t.Context(), at(0))
				if err != nil || len(ready) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				leased, err := s.Lease(t.Context(), ready[rand.IntN(len(ready))], at(0), 5, time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				for _, l := range leased {
					mu.Lock()
					times[l.ID]++
					mu.Unlock()
					if err := s.Ack(t.Context(), l); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for i := range items {
		if n := times[fmt.Sprint(i)]; n != 1 {
			t.Errorf("item %d was leased %d times", i, n)
		}
	}
	wantHeld(t, s, map[string]int{})
}

// modelItem is what the walk expects of an item: it can be leased from free on; token is its last lease's.
type modelItem struct {
	queue, body, token string
	free               int
}

// testOutboxWalk does at random what can be done, and compares with a model that is only a map.
func testOutboxWalk(t *testing.T, s Store) {
	r := rand.New(rand.NewPCG(1, 2))
	ctx, now := t.Context(), 0
	model := map[string]*modelItem{}
	var given []Leased // every lease ever
	for step := range 1500 {
		now += r.IntN(3)
		queue, id := fmt.Sprint("q", r.IntN(3)), fmt.Sprint(r.IntN(40))
		switch action := r.IntN(10); {
		case action < 4:
			it := item(id, queue, now+r.IntN(10)-3)
			must(t, s.Enqueue(ctx, it))
			if model[id] == nil {
				model[id] = &modelItem{queue: queue, body: string(it.Body), free: int(it.Due.Sub(noon) / time.Second)}
			}
		case action < 7:
			limit, keep := 1+r.IntN(4), 1+r.IntN(10)
			leased := leaseOf(t, s, queue, now, limit, keep)
			if want := min(limit, len(freeIn(model, queue, now))); len(leased) != want {
				t.Fatalf("step %d: leased %s of %s at %d; want %d of them", step, ids(leased), queue, now, want)
			}
			for _, l := range leased {
				m := model[l.ID]
				if m == nil || m.queue != queue || m.free > now || m.body != string(l.Body) {
					t.Fatalf("step %d: leased %+v at %d; the model has %+v", step, l, now, m)
				}
				m.free, m.token = now+keep, l.Token
			}
			given = append(given, leased...)
		case len(given) > 0:
			walkGiveBack(ctx, t, s, r, model, given[r.IntN(len(given))], now, fmt.Sprint("step ", step))
		}
		held := map[string]int{}
		for _, m := range model {
			held[m.queue]++
		}
		wantHeld(t, s, held)
		var ready []string
		for q := range held {
			if len(freeIn(model, q, now)) > 0 {
				ready = append(ready, q)
			}
		}
		slices.Sort(ready)
		wantReady(t, s, now, ready...)
		if t.Failed() {
			t.Fatalf("at step %d", step)
		}
	}
}

func freeIn(model map[string]*modelItem, queue string, now int) (free []string) {
	for id, m := range model {
		if m.queue == queue && m.free <= now {
			free = append(free, id)
		}
	}
	return free
}

func walkGiveBack(ctx context.Context, t *testing.T, s Store, r *rand.Rand, model map[string]*modelItem, l Leased, now int, step string) {
	m := model[l.ID]
	good := m != nil && m.token == l.Token
	if r.IntN(2) == 0 {
		if err := s.Ack(ctx, l); (err == nil) != good {
			t.Fatalf("%s: ack of %+v: %v; the model has %+v", step, l, err, m)
		}
		if good {
			delete(model, l.ID)
		}
		return
	}
	due, body := now+r.IntN(5), fmt.Sprint("rescheduled in ", step)
	if err := s.Reschedule(ctx, l, at(due), []byte(body)); (err == nil) != good {
		t.Fatalf("%s: reschedule of %+v: %v; the model has %+v", step, l, err, m)
	}
	if good {
		m.free, m.body, m.token = due, body, ""
	}
}
