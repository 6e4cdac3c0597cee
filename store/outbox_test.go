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

// queueUp adds items, and returns the ids of those that were there.
func queueUp(t testing.TB, s Store, items ...Item) []string {
	t.Helper()
	there, err := s.Enqueue(t.Context(), items...)
	must(t, err)
	return there
}

func tryEnqueue(ctx context.Context, s Store, items ...Item) error {
	_, err := s.Enqueue(ctx, items...)
	return err
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
	queueUp(t, s)
	wantReady(t, s, 0)
	wantHeld(t, s, map[string]int{})
	queueUp(t, s, item("late", "crm", 60), item("second", "crm", 2), item("first", "crm", 1), item("x", "crm", 2))
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
	queueUp(t, s, item("1", "crm", 0), item("2", "crm", 0))
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
	queueUp(t, s, item("1", "crm", 0))
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
	there := func(items ...Item) string { return fmt.Sprint(queueUp(t, s, items...)) }
	if got := there(item("1", "crm", 10), item("1", "crm", 20)); got != "[1]" {
		t.Errorf("the second of one id: %s", got)
	}
	if got := there(item("1", "crm", 0), item("1", "sms", 0), item("2", "sms", 0)); got != "[1 1]" {
		t.Errorf("of those that are there: %s", got)
	}
	wantHeld(t, s, map[string]int{"crm": 1, "sms": 1})
	wantReady(t, s, 0, "sms")
	l := leaseOf(t, s, "crm", 10, 5, 30)
	if got := there(item("1", "crm", 0)); got != "[1]" {
		t.Errorf("while it is out: %s", got)
	}
	wantReady(t, s, 10, "sms")
	must(t, s.Ack(t.Context(), l[0]))
	if got := there(item("1", "crm", 0)); got != "[]" {
		t.Errorf("a new one by now: %s", got)
	}
	wantHeld(t, s, map[string]int{"crm": 1, "sms": 1})
}

func testQueuesApart(t *testing.T, s Store) {
	queues := []string{"a", "aa", "a:b", "{a}", "кир", "a b\n", "\xff"}
	for _, q := range queues {
		queueUp(t, s, item("1 of "+q, q, 0), item("2 of "+q, q, 5))
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
	queueUp(t, s, batch...)
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

// modelItem is what the walk expects of an item: it can be leased from free on; token is its last
// lease's. One of a group stands behind those enqueued before it, which have a lower number.
type modelItem struct {
	queue, body, token, group string
	free, number              int
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
			it.Group = []string{"", "", "g1", "g2"}[r.IntN(4)]
			queueUp(t, s, it)
			if model[id] == nil {
				model[id] = &modelItem{queue: queue, body: string(it.Body), group: it.Group, free: int(it.Due.Sub(noon) / time.Second), number: step}
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
		behind := false
		for _, other := range model {
			behind = behind || m.group != "" && other.group == m.group && other.number < m.number
		}
		if m.queue == queue && m.free <= now && !behind {
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

func testEnqueueOnce(t *testing.T, s Store) {
	ctx := t.Context()
	once := Once{Name: "call-1 create", Value: []byte("event 1"), Keep: time.Hour}
	existing, added, err := s.EnqueueOnce(ctx, once, item("1", "crm", 0), item("2", "sms", 0))
	if err != nil || !added || existing != nil {
		t.Fatalf("the first: got %q, %v, %v", existing, added, err)
	}
	for range 2 { // while the items are there, and when they are done
		again := Once{Name: once.Name, Value: []byte("event 2"), Keep: time.Hour}
		existing, added, err = s.EnqueueOnce(ctx, again, item("1", "crm", 0), item("3", "crm", 0))
		if err != nil || added || string(existing) != "event 1" {
			t.Fatalf("again: got %q, %v, %v; want event 1", existing, added, err)
		}
		for _, l := range append(leaseOf(t, s, "crm", 0, 10, 30), leaseOf(t, s, "sms", 0, 10, 30)...) {
			must(t, s.Ack(ctx, l))
		}
	}
	wantHeld(t, s, map[string]int{})
	// Nothing need come of it, a value of the same name is another thing, and it is forgotten in time.
	_, added, err = s.EnqueueOnce(ctx, Once{Name: "brief", Keep: 20 * time.Millisecond})
	must(t, err)
	_, err = s.Get(ctx, once.Name)
	wantErr(t, "a value of the same name", err, ErrNotFound)
	eventually(t, "it is forgotten", func() bool {
		_, again, err := s.EnqueueOnce(ctx, Once{Name: "brief", Keep: time.Hour})
		must(t, err)
		return added && again
	})
	for _, bad := range []Once{{Name: "", Keep: time.Hour}, {Name: "x", Keep: 0}} {
		if _, added, err := s.EnqueueOnce(ctx, bad, item("9", "crm", 0)); err == nil || added {
			t.Errorf("%+v: got %v, %v; want it refused", bad, added, err)
		}
	}
	if _, added, err := s.EnqueueOnce(ctx, Once{Name: "y", Keep: time.Hour}, item("", "crm", 0)); err == nil || added {
		t.Errorf("an item without id: got %v, %v; want it refused", added, err)
	}
	wantHeld(t, s, map[string]int{})
}

func testEnqueueOnceAtOnce(t *testing.T, s Store) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	winners := map[string]string{}
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				name, me := fmt.Sprint("call-", i), fmt.Sprint("event of ", g)
				_, added, err := s.EnqueueOnce(t.Context(), Once{name, []byte(me), time.Hour}, item(fmt.Sprint(i, "-", g), "crm", 0))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				if added && winners[name] != "" {
					t.Errorf("%s was enqueued by %q and %q", name, winners[name], me)
				} else if added {
					winners[name] = me
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	wantHeld(t, s, map[string]int{"crm": 20})
}

func testGroups(t *testing.T, s Store) {
	ctx := t.Context()
	of := func(id, group string, due int) Item {
		it := item(id, "crm", due)
		it.Group = group
		return it
	}
	queueUp(t, s, of("create", "call-1", 5), of("answer", "call-1", 0), of("free", "", 1), of("2nd call", "call-2", 2))
	queueUp(t, s, of("destroy", "call-1", 20), of("answer", "call-1", 0))
	wantHeld(t, s, map[string]int{"crm": 5})
	wantReady(t, s, 0)
	head := leaseOf(t, s, "crm", 10, 10, 30)
	wantIDs(t, "the first of each group", head, "[free 2nd call create]")
	must(t, s.Reschedule(ctx, head[2], at(100), []byte("once more")))
	wantIDs(t, "while the first is retried", leaseOf(t, s, "crm", 30, 10, 30), "[]")
	for _, l := range leaseOf(t, s, "crm", 100, 10, 30) { // all of them, whose leases have lapsed
		must(t, s.Ack(ctx, l))
	}
	wantReady(t, s, 0, "crm")
	next := leaseOf(t, s, "crm", 10, 10, 30)
	wantIDs(t, "the second", next, "[answer]")
	// A lease that lapses changes nothing about the order.
	next = leaseOf(t, s, "crm", 1000, 10, 30)
	wantIDs(t, "the second again", next, "[answer]")
	must(t, s.Ack(ctx, next[0]))
	wantIDs(t, "the third before it is due", leaseOf(t, s, "crm", 19, 10, 30), "[]")
	last := leaseOf(t, s, "crm", 20, 10, 30)
	wantIDs(t, "the third", last, "[destroy]")
	must(t, s.Ack(ctx, last[0]))
	queueUp(t, s, of("later", "call-1", 0))
	wantIDs(t, "a group begun anew", leaseOf(t, s, "crm", 20, 10, 30), "[later]")
	wantHeld(t, s, map[string]int{"crm": 1})
	if _, err := s.Enqueue(ctx, of("x", "a\x00b", 0)); err == nil {
		t.Error("a group with NUL in its name is taken")
	}
}

// A group keeps its order across queues, as a call does whose events go to several webhooks.
func testGroupsOfManyQueues(t *testing.T, s Store) {
	of := func(id, queue string, due int) Item {
		it := item(id, queue, due)
		it.Group = "call-1"
		return it
	}
	queueUp(t, s, of("create", "p/1", 0), of("answer", "p/2", 0), of("destroy", "p/3", 7), item("free", "p/3", 0))
	wantReady(t, s, 0, "p/1", "p/3")
	first := leaseOf(t, s, "p/1", 0, 10, 30)
	wantIDs(t, "the first", first, "[create]")
	must(t, s.Reschedule(t.Context(), first[0], at(5), []byte("once more")))
	wantIDs(t, "while it is retried", leaseOf(t, s, "p/2", 4, 10, 30), "[]")
	must(t, s.Ack(t.Context(), leaseOf(t, s, "p/1", 5, 10, 30)[0]))
	wantReady(t, s, 5, "p/2", "p/3")
	must(t, s.Ack(t.Context(), leaseOf(t, s, "p/2", 5, 10, 30)[0]))
	wantIDs(t, "the third before it is due", leaseOf(t, s, "p/3", 6, 10, 30), "[free]")
	last := leaseOf(t, s, "p/3", 7, 10, 30)
	wantIDs(t, "the third", last, "[destroy]")
	must(t, s.Ack(t.Context(), last[0]))
	wantHeld(t, s, map[string]int{"p/3": 1})
}

func testLeaseAll(t *testing.T, s Store) {
	ctx := t.Context()
	for i := range 5 {
		queueUp(t, s, item(fmt.Sprint("a", i), "a", i), item(fmt.Sprint("b", i), "b", i), item(fmt.Sprint("c", i), "c", i))
	}
	leased, err := s.LeaseAll(ctx, at(3), Want{"a", 2, time.Minute}, Want{"b", 0, time.Minute}, Want{"none", 5, time.Minute}, Want{"c", 10, 10 * time.Second})
	must(t, err)
	wantIDs(t, "of all", leased, "[a0 a1 c0 c1 c2 c3]")
	for _, l := range leased {
		if l.Queue != l.ID[:1] || string(l.Body) != "body of "+l.ID {
			t.Errorf("got %+v", l)
		}
	}
	again, err := s.LeaseAll(ctx, at(13), Want{"a", 10, time.Minute}, Want{"c", 10, time.Minute})
	must(t, err)
	if len(again) != 3+5 { // in an order that each backend has its own of
		t.Errorf("leased %s; want what is left of a, and all of c, whose leases have lapsed", ids(again))
	}
	none, err := s.LeaseAll(ctx, at(13))
	must(t, err)
	wantIDs(t, "of nothing", none, "[]")
}

func testSettle(t *testing.T, s Store) {
	ctx := t.Context()
	queueUp(t, s, item("1", "a", 0), item("2", "a", 0), item("3", "b", 0), item("4", "b", 0))
	leased, err := s.LeaseAll(ctx, at(0), Want{"a", 5, time.Minute}, Want{"b", 5, time.Minute})
	must(t, err)
	must(t, s.Ack(ctx, leased[3]))
	lost, err := s.Settle(ctx, Outcome{Of: leased[0]}, Outcome{Of: leased[1], Again: true, Due: at(50), Body: []byte("once more")},
		Outcome{Of: leased[2]}, Outcome{Of: leased[3]})
	if err != nil || lost != 1 {
		t.Errorf("got %d lost, %v; want 1", lost, err)
	}
	if lost, err = s.Settle(ctx, Outcome{Of: leased[0]}, Outcome{Of: leased[2]}); err != nil || lost != 2 {
		t.Errorf("all again: got %d lost, %v; want 2", lost, err)
	}
	if lost, err = s.Settle(ctx); err != nil || lost != 0 {
		t.Errorf("nothing: got %d lost, %v", lost, err)
	}
	wantHeld(t, s, map[string]int{"a": 1})
	wantReady(t, s, 49)
	again := leaseOf(t, s, "a", 50, 5, 30)
	wantIDs(t, "the one left", again, "[2]")
	if string(again[0].Body) != "once more" {
		t.Errorf("got the body %q", again[0].Body)
	}
}
