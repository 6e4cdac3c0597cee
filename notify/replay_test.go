package notify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
	"hookswitch/store"
)

// The bounded log once forgot what was given up as soon as it was written: it is the oldest there is.
func TestWhatWasGivenUpOutlivesThoseThatCameAfter(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r, reg := newReceiver(t), prometheus.NewRegistry()
		r.on("/", status(500))
		settings := schema.Events{Workers: 8, LogFor: time.Hour, LogEntries: 5}
		b := start(t, s, nil, Options{Settings: settings, Registerer: reg}, webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry = "none" }))
		var old []*schema.Event
		for i := range 3 {
			old = append(old, b.accept(fmt.Sprint("old-", i)))
		}
		eventually(t, "they are given up", b.empty)
		r.on("/", nil)
		for i := range 30 {
			b.accept(fmt.Sprint("new-", i))
		}
		eventually(t, "all is over", b.empty)
		must(t, b.written.flush(t.Context()))
		for _, e := range old {
			b.delivery(e, 1, schema.DeliveryFailed)
		}
		list, _, err := b.List(t.Context(), schema.DeliveryFilter{}, "", 100)
		if must(t, err); len(list) != len(old)+5 {
			t.Errorf("the log has %d; want those given up, and five others", len(list))
		}
		if n, next, err := b.ReplayFailed(t.Context(), schema.DeliveryFilter{}, ""); n != len(old) || next != "" || err != nil {
			t.Errorf("replayed %d, %q, %v; want all", n, next, err)
		}
		for _, e := range old {
			b.delivery(e, 1, schema.DeliveryDelivered)
		}
		if n := metric(t, reg, "delivery_log_given_up_dropped_total"); n != 0 {
			t.Errorf("%v were dropped", n)
		}
	})
}

// There is an end to it all the same, and it is counted.
func TestTooManyGivenUpAreCountedWhenTheyGo(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		reg := prometheus.NewRegistry()
		settings := schema.Events{Workers: 8, LogFor: time.Hour, LogEntries: 2}
		b := start(t, s, nil, Options{Settings: settings, Registerer: reg}, webhook(1, "http://127.0.0.1:1/", func(w *schema.Webhook) { w.Retry, w.DisableAfter = "none", 0 }))
		for i := range 2*store.HeldRatio + 7 {
			b.accept(fmt.Sprint(i))
		}
		eventually(t, "all are given up", b.empty)
		if n := metric(t, reg, "delivery_log_given_up_dropped_total"); n != 7 {
			t.Errorf("%v were dropped; want 7", n)
		}
	})
}

// A delivery that is just being given up is failed by the log, and still in the outbox.
func TestAReplayInTheMidstOfGivingUpSaysSoAndLosesNothing(t *testing.T) {
	r := newReceiver(t)
	r.on("/", status(500))
	s := &halting{Store: openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), settle: make(chan struct{})}
	b := start(t, s, nil, Options{}, webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry = "none" }))
	e := b.accept("a")
	id := deliveryID(e.ID, 1)
	b.delivery(e, 1, schema.DeliveryFailed)
	if err := b.Replay(t.Context(), id); !errors.Is(err, ErrWaiting) {
		t.Errorf("got %v; want ErrWaiting", err)
	}
	if n, _, err := b.ReplayFailed(t.Context(), schema.DeliveryFilter{}, ""); n != 0 || err != nil {
		t.Errorf("all that failed: got %d, %v", n, err)
	}
	close(s.settle)
	eventually(t, "it has left the outbox", b.empty)
	b.delivery(e, 1, schema.DeliveryFailed) // and not waiting for nothing
	r.on("/", nil)
	must(t, b.Replay(t.Context(), id))
	b.delivery(e, 1, schema.DeliveryDelivered)
}

// halting is a store that settles nothing until it may.
type halting struct {
	store.Store
	settle chan struct{}
}

func (h *halting) Settle(ctx context.Context, outcomes ...store.Outcome) (int, error) {
	select {
	case <-h.settle:
	case <-ctx.Done():
		return 0, store.ErrUnavailable
	}
	return h.Store.Settle(ctx, outcomes...)
}

// A crash takes the log's last line: that the delivery waits is no longer true, and no reason against a replay.
func TestWhatOnlyTheLogBelievesToWaitIsReplayed(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r := newReceiver(t)
		b := start(t, s, nil, Options{}, webhook(1, r.URL+"/"))
		e := event("a")
		e.ID = newEventID(time.Now())
		due := time.Now()
		entry := logEntry{Created: due, Event: mustJSON(e), Attempt: &schema.DeliveryAttempt{Status: 500}, State: schema.DeliveryWaiting, Next: &due}
		_, err := s.AddRecords(t.Context(), 10, store.Record{Log: queueOf("p", 1), ID: deliveryID(e.ID, 1), Body: entry.line()})
		must(t, err)
		must(t, b.Replay(t.Context(), deliveryID(e.ID, 1)))
		b.delivery(e, 1, schema.DeliveryDelivered)
	})
}

func TestAReplayOfManyComesInPartsAndBySinceTheLastAttempt(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r := newReceiver(t)
		b := start(t, s, nil, Options{Settings: schema.Events{Workers: 64, LogFor: time.Hour, LogEntries: 1000}}, webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry = "none" }))
		const events = maxReplayed + 300
		// They were created long ago, and failed just now.
		var records []store.Record
		created := time.Now().Add(-40 * time.Hour)
		for i := range events {
			e := event(fmt.Sprint(i))
			e.ID = newEventID(created.Add(time.Duration(i) * time.Millisecond))
			entry := logEntry{Created: created, Event: mustJSON(e), Attempt: &schema.DeliveryAttempt{At: time.Now(), Status: 500}, State: schema.DeliveryFailed}
			records = append(records, store.Record{Log: queueOf("p", 1), ID: deliveryID(e.ID, 1), Body: entry.line(), Held: true})
		}
		_, err := s.AddRecords(t.Context(), 1000, records...)
		must(t, err)
		f := schema.DeliveryFilter{Project: "p", Tried: time.Now().Add(-time.Hour)}
		first, next, err := b.ReplayFailed(t.Context(), f, "")
		if err != nil || first < maxReplayed || first == events || next == "" {
			t.Fatalf("the first part: got %d, %q, %v", first, next, err)
		}
		second, next, err := b.ReplayFailed(t.Context(), f, next)
		if err != nil || first+second != events || next != "" {
			t.Fatalf("the rest: got %d, %q, %v", second, next, err)
		}
		eventually(t, "all are delivered", func() bool { return len(delivered(r)) == events && b.empty() })
		// Who has less time gets less.
		short, cancel := context.WithTimeout(t.Context(), storeTime-time.Millisecond)
		defer cancel()
		if n, next, err := b.ReplayFailed(short, schema.DeliveryFilter{Project: "p", State: schema.DeliveryFailed}, ""); n != 0 || err != nil {
			t.Errorf("none is left: got %d, %q, %v", n, next, err)
		}
	})
}

func TestADeliveryOfAWebhookThatIsGoneIsReplayedWhenOneHasItsID(t *testing.T) {
	r := newReceiver(t)
	r.on("/old", status(500))
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil, Options{}, webhook(7, r.URL+"/old", func(w *schema.Webhook) { w.Retry = "none" }))
	e := b.accept("a")
	b.delivery(e, 7, schema.DeliveryFailed)
	eventually(t, "it has left the outbox", b.empty) // after the log has it
	settings := *b.settings.Load()
	must(t, b.Load(config(settings, webhook(8, r.URL+"/new"))))
	must(t, b.store.Unset(t.Context(), markKey(queueOf("p", 7)))) // that an instance had it, if the first poll found it
	if err := b.Replay(t.Context(), deliveryID(e.ID, 7)); !errors.Is(err, ErrNoWebhook) {
		t.Errorf("got %v; want ErrNoWebhook", err)
	}
	if n, _, err := b.ReplayFailed(t.Context(), schema.DeliveryFilter{}, ""); n != 0 || err != nil {
		t.Errorf("all that failed: got %d, %v", n, err)
	}
	must(t, b.Load(config(settings, webhook(7, r.URL+"/new"))))
	must(t, b.Replay(t.Context(), deliveryID(e.ID, 7)))
	b.delivery(e, 7, schema.DeliveryDelivered)
	if got := callIDs(r.requests("/new")); got != "a" {
		t.Errorf("the new address got %q", got)
	}
}
