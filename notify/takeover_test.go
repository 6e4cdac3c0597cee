package notify

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

func TestInstancesShareTheWorkAndTakeOverFromOneThatDies(t *testing.T) {
	addr := startRedis(t)
	r, c := newReceiver(t), newClock()
	var dying atomic.Bool
	dying.Store(true)
	for i := range 4 {
		r.on(fmt.Sprint("/", i), func(w http.ResponseWriter, q *http.Request) {
			if dying.Load() {
				hang(w, q) // which the first instance will not outlive
			}
		})
	}
	var webhooks []schema.Webhook
	for i := range 4 {
		webhooks = append(webhooks, webhook(int64(i+1), r.URL+fmt.Sprint("/", i), func(w *schema.Webhook) { w.RequestTimeout = 20 * time.Second }))
	}
	// The first one is cut off from its store while its requests are under way: whatever it says then
	// of them, nobody hears.
	lost := openRedis(t, addr)
	first := start(t, lost, c, Options{}, webhooks...)
	const events = 50
	for i := range events {
		first.accept(fmt.Sprint(i))
	}
	eventually(t, "the first has requests under way", func() bool { return len(r.requests("")) >= 8 })
	must(t, lost.Close())
	dying.Store(false)
	r.CloseClientConnections()

	second, third := start(t, openRedis(t, addr), c, Options{}, webhooks...), start(t, openRedis(t, addr), c, Options{}, webhooks...)
	// Time passes while nothing is under way alone: no lease of theirs lapses on a slow machine.
	poll := func() {
		if second.idle() && third.idle() {
			c.move(pollEvery)
		}
	}
	eventually(t, "what nobody held is delivered", func() bool { poll(); return len(delivered(r)) > events })
	eventually(t, "they are idle", func() bool { return second.idle() && third.idle() })
	c.move(20*time.Second + spare) // the leases lapse
	eventually(t, "all is delivered", func() bool { poll(); return second.empty() && third.idle() })
	for _, d := range []string{"/0", "/1", "/2", "/3"} {
		seen := map[string]bool{}
		for _, q := range r.requests(d) {
			seen[q.CallID] = true
		}
		if len(seen) != events {
			t.Errorf("%s got %d events; want %d", d, len(seen), events)
		}
	}
	if !third.empty() {
		t.Error("the third sees another outbox")
	}
	if n := len(r.requests("")); n > 4*events+4*startWidth {
		t.Errorf("%d requests for %d deliveries; want no more twice than were under way", n, 4*events)
	}
}

// delivered are the deliveries that a receiver has had.
func delivered(r *receiver) map[string]bool {
	ids := map[string]bool{}
	for _, q := range r.requests("") {
		ids[q.Delivery] = true
	}
	return ids
}

func TestInstancesAtTheSameTimeDeliverEachEventOnce(t *testing.T) {
	addr, r := startRedis(t), newReceiver(t)
	var beds []*bed
	for range 3 {
		beds = append(beds, start(t, openRedis(t, addr), nil, Options{}, webhook(1, r.URL+"/1"), webhook(2, r.URL+"/2")))
	}
	const events = 300
	var wg sync.WaitGroup
	for g, b := range beds {
		wg.Go(func() {
			for i := range events {
				// Each event is sent to every instance, as by a PBX that does not know which one took it.
				if a := b.Accept(context.Background(), event(fmt.Sprint(i)), ""); a != schema.EventAccepted && a != schema.EventRepeated {
					t.Errorf("instance %d: got %s", g, acceptances[a])
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all is delivered", beds[0].empty)
	if n, ids := len(r.requests("")), len(delivered(r)); n != 2*events || ids != 2*events {
		t.Errorf("%d requests for %d deliveries; want %d of each", n, ids, 2*events)
	}
}

// An instance on a file dies at the worst moments: what it did stands, what it did not is done again.
func TestACrashBetweenAnyTwoStepsLosesNothing(t *testing.T) {
	for _, tc := range []struct {
		name string
		// status is the receiver's answer, after which the store is gone.
		status     int
		retry      string
		deliveries int // in all, of the one event
	}{
		{"after the delivery, before the outbox knows", 200, "1ms x 1", 2},
		{"after a failure that is to be tried again", 500, "1ms x 5", 2},
		{"after the last failure, before it is given up", 500, "none", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hookswitch.db")
			r, s := newReceiver(t), openBolt(t, path)
			r.on("/", status(tc.status))
			w := webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry = tc.retry })
			b := start(t, s, nil, Options{}, w)
			crash := func() { s.Close() }
			b.wire.sent.Store(&crash)
			e := b.accept("a")
			eventually(t, "the request is made", func() bool { return len(r.requests("")) > 0 })
			b.stop()
			s = openBolt(t, path)
			r.on("/", nil)
			b = start(t, s, nil, Options{}, w)
			if a := b.Accept(t.Context(), event("a"), ""); a != schema.EventRepeated {
				t.Errorf("the PBX sends it again: got %s", acceptances[a])
			}
			eventually(t, "it is delivered", b.empty)
			got := r.requests("")
			if len(got) != tc.deliveries || got[0].Delivery != got[1].Delivery || got[1].Delivery != deliveryID(e.ID, 1) {
				t.Errorf("got %+v; want %d requests under one id", got, tc.deliveries)
			}
			b.delivery(e, 1, schema.DeliveryDelivered)
		})
	}
}

func TestAnEventWhoseAnswerWasLostIsNotLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	s := openBolt(t, path)
	r := newReceiver(t)
	n := New(Options{Store: s, Sender: &wire{}})
	must(t, n.Load(config(schema.Events{}, webhook(1, r.URL+"/"))))
	// It crashes when the event is durable, before anything else: nobody runs.
	if a := n.Accept(t.Context(), event("a"), ""); a != schema.EventAccepted {
		t.Fatalf("got %s", acceptances[a])
	}
	must(t, s.Close())
	n.Close()
	b := start(t, openBolt(t, path), nil, Options{}, webhook(1, r.URL+"/"))
	if a := b.Accept(t.Context(), event("a"), ""); a != schema.EventRepeated {
		t.Errorf("the PBX sends it again: got %s", acceptances[a])
	}
	eventually(t, "it is delivered", b.empty)
	if got := len(r.requests("")); got != 1 {
		t.Errorf("delivered %d times", got)
	}
}

func TestAFailureThatCanNotBeLoggedIsNotGivenUp(t *testing.T) {
	r, c := newReceiver(t), newClock()
	r.on("/", status(500))
	s := &unlogging{Store: openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))}
	s.full.Store(true)
	b := start(t, s, c, Options{}, webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry = "none" }))
	e := b.accept("a")
	eventually(t, "it fails", func() bool { return len(r.requests("")) == 1 && b.idle() })
	if b.empty() {
		t.Fatal("it is gone, and nobody could replay it")
	}
	s.full.Store(false)
	b.pass(unlogged)
	eventually(t, "it is tried once more and given up", b.empty)
	b.delivery(e, 1, schema.DeliveryFailed)
	r.on("/", nil)
	must(t, b.Replay(t.Context(), deliveryID(e.ID, 1)))
	eventually(t, "it is delivered", func() bool { return len(r.requests("")) == 3 && b.empty() })
}

// unlogging is a store that has no space for the log, as a Redis at its maxmemory is.
type unlogging struct {
	store.Store
	full atomic.Bool
}

func (u *unlogging) AddRecords(ctx context.Context, keep int, records ...store.Record) (int, error) {
	if u.full.Load() {
		return 0, store.ErrFull
	}
	return u.Store.AddRecords(ctx, keep, records...)
}

// One instance runs on an older file. What it does not know is not its to end, however long it takes the
// others to deliver it.
func TestAnInstanceWithoutAWebhookLeavesItToTheOthers(t *testing.T) {
	addr, r, c := startRedis(t), newReceiver(t), newClock()
	r.on("/", status(500))
	w := webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry, w.DisableAfter = "1h x 100", 0 })
	knows := start(t, openRedis(t, addr), c, Options{}, w)
	// What waits is due all the time, as with an endpoint that hangs and has a long backlog.
	held := &withholding{Store: openRedis(t, addr)}
	behind := start(t, held, c, Options{})
	e := knows.accept("a")
	eventually(t, "it failed", func() bool { return len(r.requests("")) == 1 && knows.idle() })
	held.queue.Store(true)
	for range 30 {
		c.move(10 * time.Minute)
		// The clock must not run away from the one with the webhook, however slow the machine is: what nobody
		// has said for an hour may be given up.
		looks := 0
		eventually(t, "the one with the webhook says so", func() bool {
			if looks++; looks < 20 || looks%20 == 0 {
				c.move(pollEvery)
			}
			text, err := held.Get(t.Context(), markKey(queueOf("p", 1)))
			at, wrong := time.Parse(time.RFC3339Nano, string(text))
			return err == nil && wrong == nil && c.Now().Sub(at) <= 2*markEvery && behind.idle()
		})
		behind.found(t.Context(), []string{queueOf("p", 1)}, c.Now())
	}
	if d, err := knows.Get(t.Context(), deliveryID(e.ID, 1)); err != nil || d.State == schema.DeliveryFailed {
		t.Errorf("got %+v, %v; want it to wait", d, err)
	}
	if knows.empty() {
		t.Fatal("the delivery is gone")
	}
	// When nobody has the webhook any more, it is given up.
	knows.stop()
	c.move(2 * orphanAfter)
	behind.found(t.Context(), []string{queueOf("p", 1)}, c.Now())
	c.move(orphanAfter)
	behind.found(t.Context(), []string{queueOf("p", 1)}, c.Now())
	eventually(t, "it is given up", behind.empty)
}

// withholding is a store whose queue looks due at any time.
type withholding struct {
	store.Store
	queue atomic.Bool
}

func (w *withholding) Ready(ctx context.Context, now time.Time) ([]string, error) {
	ready, err := w.Store.Ready(ctx, now)
	if w.queue.Load() && len(ready) == 0 {
		ready = []string{queueOf("p", 1)}
	}
	return ready, err
}

func TestAQueueThatWasEmptiedMeanwhileIsNoOrphan(t *testing.T) {
	c := newClock()
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), c, Options{})
	due := func(id string) {
		_, err := b.store.Enqueue(t.Context(), store.Item{ID: id, Queue: "p/1", Due: c.Now(), Body: []byte(`{"event":{}}`)})
		must(t, err)
	}
	due("1")
	b.pass(pollEvery)
	l, err := b.store.Lease(t.Context(), "p/1", c.Now(), 1, time.Minute) // by another instance
	must(t, err)
	must(t, b.store.Ack(t.Context(), l[0]))
	b.pass(pollEvery)
	b.pass(2 * orphanAfter)
	due("2")
	b.pass(pollEvery)
	b.pass(pollEvery)
	if b.empty() {
		t.Error("it was given up though it came just now")
	}
}
