package notify

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
	"hookswitch/store"
)

func TestTheLogTellsOfEveryAttempt(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r := newReceiver(t)
		answers := 0
		r.on("/1", func(w http.ResponseWriter, _ *http.Request) {
			if answers++; answers < 3 {
				w.WriteHeader(500 + answers)
			}
			fmt.Fprint(w, "answer ", answers, strings.Repeat(".", 5000))
		})
		b := start(t, s, nil, Options{}, webhook(1, r.URL+"/1"), webhook(2, "http://127.0.0.1:1/", func(w *schema.Webhook) { w.Retry = "none" }))
		before := time.Now().Add(-time.Second)
		e := b.accept("call-1")
		d := b.delivery(e, 1, schema.DeliveryDelivered)
		if d.Project != "p" || d.Webhook != 1 || d.Event != "create" || d.EventID != e.ID || d.CallID != "call-1" ||
			d.Created.Before(before) || d.Next != nil || len(d.Attempts) != 3 {
			t.Errorf("got %+v", d)
		}
		for i, a := range d.Attempts {
			wantStatus, wantError := 501+i, "the status is not 2xx"
			if i == 2 {
				wantStatus, wantError = 200, ""
			}
			if a.Status != wantStatus || a.Error != wantError || a.At.Before(before) || a.TookMS <= 0 ||
				!strings.HasPrefix(a.Answer, fmt.Sprint("answer ", i+1, "...")) || len(a.Answer) > maxExcerpt+len("…") || !strings.Contains(a.Request, "POST ") {
				t.Errorf("attempt %d: got %+v", i+1, a)
			}
		}
		failed := b.delivery(e, 2, schema.DeliveryFailed)
		if len(failed.Attempts) != 1 || failed.Attempts[0].Status != 0 || !strings.HasPrefix(failed.Attempts[0].Error, "connect_error: ") {
			t.Errorf("got %+v", failed)
		}
		for _, id := range []string{"", "x", e.ID, e.ID + "-3", e.ID + "-", "01J-1"} {
			if _, err := b.Get(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("delivery %q: got %v; want none", id, err)
			}
		}
	})
}

func TestTheLogIsListedByFiltersPageByPage(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r, c := newReceiver(t), newClock()
		r.on("/2", status(500))
		b := start(t, s, c, Options{}, webhook(1, r.URL+"/1"), webhook(2, r.URL+"/2", func(w *schema.Webhook) { w.Retry = "none" }),
			webhook(3, r.URL+"/3", func(w *schema.Webhook) { w.Event = "destroy" }))
		const events = 30
		var half time.Time
		for i := range events {
			if i == events/2 {
				half = c.Now()
			}
			b.accept(fmt.Sprint(i))
			e := event(fmt.Sprint(i))
			e.Kind = "destroy"
			b.acceptEvent(e)
			eventually(t, "delivered", b.empty)
			c.move(time.Second)
		}
		must(t, b.written.flush(t.Context()))
		for _, tc := range []struct {
			name string
			f    schema.DeliveryFilter
			want int
		}{
			{"all", schema.DeliveryFilter{}, 3 * events},
			{"a project's", schema.DeliveryFilter{Project: "p"}, 3 * events},
			{"another project's", schema.DeliveryFilter{Project: "q"}, 0},
			{"a webhook's", schema.DeliveryFilter{Project: "p", Webhook: 3}, events},
			{"a webhook's, of whatever project", schema.DeliveryFilter{Webhook: 1}, events},
			{"failed ones", schema.DeliveryFilter{State: schema.DeliveryFailed}, events},
			{"delivered ones of a kind", schema.DeliveryFilter{State: schema.DeliveryDelivered, Event: "create"}, events},
			{"a call's", schema.DeliveryFilter{CallID: "7"}, 3},
			{"later ones", schema.DeliveryFilter{Since: half}, 3 * events / 2},
			{"later failed ones", schema.DeliveryFilter{Since: half, State: schema.DeliveryFailed}, events / 2},
			{"waiting ones", schema.DeliveryFilter{State: schema.DeliveryWaiting}, 0},
		} {
			for _, limit := range []int{7, 1000} {
				var ids []string
				for next := ""; ; {
					list, more, err := b.List(t.Context(), tc.f, next, limit)
					must(t, err)
					if len(list) > limit {
						t.Fatalf("%s: a page of %d; want %d", tc.name, len(list), limit)
					}
					for _, d := range list {
						ids = append(ids, d.ID)
					}
					if next = more; next == "" {
						break
					}
				}
				for i := 1; i < len(ids); i++ {
					if ids[i] >= ids[i-1] {
						t.Errorf("%s: %s comes after %s", tc.name, ids[i], ids[i-1])
					}
				}
				if len(ids) != tc.want {
					t.Errorf("%s, %d a page: got %d; want %d", tc.name, limit, len(ids), tc.want)
				}
			}
		}
	})
}

func TestTheLogForgetsByNumberAndByAge(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r, c := newReceiver(t), newClock()
		b := start(t, s, c, Options{Settings: schema.Events{Workers: 8, LogFor: time.Hour, LogEntries: 10}}, webhook(1, r.URL+"/1"), webhook(2, r.URL+"/2"))
		list := func() []schema.Delivery {
			list, _, err := b.List(t.Context(), schema.DeliveryFilter{}, "", 1000)
			must(t, err)
			return list
		}
		for i := range 25 {
			b.accept(fmt.Sprint(i))
			eventually(t, "delivered", b.empty)
			c.move(time.Second)
		}
		must(t, b.written.flush(t.Context()))
		if got := list(); len(got) != 20 || got[0].CallID != "24" || got[19].CallID != "15" {
			t.Errorf("got %d entries; want the last 10 of each webhook", len(got))
		}
		b.pass(time.Hour - 5*time.Second)
		eventually(t, "the old ones are forgotten", func() bool { return len(list()) < 20 })
		b.pass(10 * time.Minute)
		eventually(t, "all are forgotten", func() bool { return len(list()) == 0 })
	})
}

func TestWhatFailedIsReplayed(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r := newReceiver(t)
		r.on("/1", status(500))
		r.on("/2", status(500))
		none := func(w *schema.Webhook) { w.Retry = "none" }
		b := start(t, s, nil, Options{}, webhook(1, r.URL+"/1", none), webhook(2, r.URL+"/2", none),
			webhook(3, r.URL+"/3", func(w *schema.Webhook) { w.Retry = "1h x 5" }), webhook(4, "http://127.0.0.1:1/", func(w *schema.Webhook) { w.Retry = "1h x 5" }))
		var events []*schema.Event
		for i := range 10 {
			events = append(events, b.accept(fmt.Sprint(i)))
		}
		for _, e := range events {
			b.delivery(e, 1, schema.DeliveryFailed)
			b.delivery(e, 2, schema.DeliveryFailed)
			b.delivery(e, 3, schema.DeliveryDelivered)
			b.delivery(e, 4, schema.DeliveryWaiting)
		}
		r.on("/1", nil)
		r.on("/2", nil)
		must(t, b.Replay(t.Context(), deliveryID(events[0].ID, 1)))
		d := b.delivery(events[0], 1, schema.DeliveryDelivered)
		if len(d.Attempts) != 2 || d.CallID != "0" {
			t.Errorf("got %+v; want the attempt before, and the new one", d)
		}
		if err := b.Replay(t.Context(), deliveryID(events[0].ID, 4)); !errors.Is(err, ErrWaiting) {
			t.Errorf("one that waits: got %v", err)
		}
		if err := b.Replay(t.Context(), deliveryID(events[0].ID, 5)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("one that there is not: got %v", err)
		}
		must(t, b.Replay(t.Context(), deliveryID(events[0].ID, 3))) // one that was delivered
		eventually(t, "it is delivered again", func() bool { return len(r.requests("/3")) == 11 })
		if n, _, err := b.ReplayFailed(t.Context(), schema.DeliveryFilter{Project: "p", Webhook: 2}, ""); err != nil || n != 10 {
			t.Errorf("all of one webhook: got %d, %v; want 10", n, err)
		}
		for _, e := range events {
			b.delivery(e, 2, schema.DeliveryDelivered)
		}
		if n, _, err := b.ReplayFailed(t.Context(), schema.DeliveryFilter{Project: "p", Tried: time.Now().Add(time.Hour)}, ""); err != nil || n != 0 {
			t.Errorf("since later: got %d, %v; want none", n, err)
		}
		if n, next, err := b.ReplayFailed(t.Context(), schema.DeliveryFilter{Project: "p", Tried: time.Now().Add(-time.Hour)}, ""); next != "" || err != nil || n != 9 {
			t.Errorf("all since: got %d, %v; want 9", n, err)
		}
		for _, e := range events {
			b.delivery(e, 1, schema.DeliveryDelivered)
		}
		for _, q := range r.requests("/1")[10:] {
			if q.Attempt != 1 {
				t.Errorf("a replay begins with attempt %d", q.Attempt)
			}
		}
	})
}

func TestARecordThatLostItsBeginningIsReadAllTheSame(t *testing.T) {
	s := openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	b := start(t, s, nil, Options{}, webhook(1, "http://127.0.0.1:1/"))
	id := deliveryID(newEventID(time.Now()), 1)
	e := logEntry{Attempt: &schema.DeliveryAttempt{Status: 500}, State: schema.DeliveryFailed}
	_, err := s.AddRecords(t.Context(), 10, store.Record{Log: queueOf("p", 1), ID: id, Body: append([]byte("{half of a li\n"), e.line()...)})
	must(t, err)
	d, err := b.Get(t.Context(), id)
	if err != nil || len(d.Attempts) != 1 || d.State != schema.DeliveryFailed {
		t.Errorf("got %+v, %v", d, err)
	}
	if err := b.Replay(t.Context(), id); !errors.Is(err, ErrNoEvent) {
		t.Errorf("a replay: got %v", err)
	}
	if n, _, err := b.ReplayFailed(t.Context(), schema.DeliveryFilter{}, ""); n != 0 || err != nil {
		t.Errorf("a replay of all: got %d, %v", n, err)
	}
}

func TestALogWithoutAStoreSaysSo(t *testing.T) {
	n := New(Options{Sender: &wire{}})
	for what, err := range map[string]error{
		"get":    func() error { _, err := n.Get(t.Context(), "x-1"); return err }(),
		"list":   func() error { _, _, err := n.List(t.Context(), schema.DeliveryFilter{}, "", 1); return err }(),
		"replay": n.Replay(t.Context(), "x-1"),
		"enable": n.Enable(t.Context(), "p", 1),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: got %v; want store.ErrUnavailable", what, err)
		}
	}
}

func TestEndpointsThatDoNotChangeAreKept(t *testing.T) {
	r := newReceiver(t)
	one, two := webhook(1, r.URL+"/1"), webhook(2, r.URL+"/2")
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil, Options{}, one, two)
	settings := schema.Events{Workers: 8, LogFor: time.Hour, LogEntries: 10}
	prepared := func(want, closed int64) {
		t.Helper()
		// An endpoint is closed when nothing uses it any more, the dispatcher's look into the store included.
		eventually(t, fmt.Sprintf("%d prepared, %d closed", want, closed), func() bool {
			return b.wire.prepared.Load() == want && b.wire.closed.Load() == closed
		})
	}
	prepared(2, 0)
	must(t, b.Load(config(settings, two, one))) // in another order
	prepared(2, 0)
	two.MaxInFlight = 3
	must(t, b.Load(config(settings, one, two)))
	prepared(3, 1)
	one.TLS = schema.TLS{CA: "ca.pem", Contents: [32]byte{1}}
	must(t, b.Load(config(settings, one, two)))
	prepared(4, 2)
	one.TLS.Contents = [32]byte{2} // the file has changed under its name
	must(t, b.Load(config(settings, one, two)))
	prepared(5, 3)
	must(t, b.Load(config(settings, one, two)))
	prepared(5, 3)
	one.TLS = schema.TLS{}
	must(t, b.Load(config(settings, one, two)))
	prepared(6, 4)
	b.accept("a")
	eventually(t, "delivered", b.empty)
	bad, three := r.URL+"/bad", webhook(3, r.URL+"/3")
	b.wire.refuse.Store(&bad)
	if err := b.Load(config(settings, three, webhook(4, bad))); err == nil || !strings.Contains(err.Error(), "project p: webhook 4: url: ") {
		t.Errorf("got %v; want it to name the webhook", err)
	}
	prepared(7, 5) // what it had made is closed again, and the rest is as it was
	b.accept("b")
	eventually(t, "delivered", b.empty)
	if got := callIDs(r.requests("/1")) + "," + callIDs(r.requests("/2")); got != "a b,a b" {
		t.Errorf("delivered %s", got)
	}
	must(t, b.Load(config(settings)))
	prepared(7, 7)
	b.accept("c") // nobody wants it
}

func TestDeliveriesOfAWebhookThatIsGoneAreGivenUpInTime(t *testing.T) {
	r, c, reg := newReceiver(t), newClock(), prometheus.NewRegistry()
	r.on("/", status(500))
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), c, Options{Registerer: reg}, webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry = "10m x 1000" }))
	e := b.accept("a")
	eventually(t, "it fails", func() bool { return len(r.requests("")) == 1 && b.idle() })
	settings := schema.Events{Workers: 8, LogFor: 24 * time.Hour, LogEntries: 10}
	must(t, b.Load(config(settings)))
	if n := metric(t, reg, "delivery_attempts_total"); n != 0 {
		t.Errorf("the metrics of what is gone stay: %v attempts", n)
	}
	for range 6 { // it becomes due, and might come back
		b.pass(10 * time.Minute)
	}
	if b.empty() {
		t.Fatal("given up within the hour")
	}
	b.pass(time.Hour)
	eventually(t, "it is given up", b.empty)
	if d := b.delivery(e, 1, schema.DeliveryFailed); d.Attempts[len(d.Attempts)-1].Error != "the webhook has been deleted" {
		t.Errorf("got %+v", d)
	}
	if !b.idle() {
		t.Error("its workers are still busy")
	}
}

func TestADecisionEmitsAnEventAndNeverWaits(t *testing.T) {
	r, reg := newReceiver(t), prometheus.NewRegistry()
	s := openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	b := start(t, s, nil, Options{Registerer: reg}, webhook(1, r.URL+"/"))
	call, d := new(schema.Call), new(schema.Decision)
	decide := func(id string, change func()) {
		call.Reset()
		d.Reset()
		call.At = time.Now()
		call.Set(schema.ParamCallID, []byte(id))
		call.Set(schema.ParamCaller, []byte("380501112233"))
		call.SetNamed([]byte("city"), []byte("Київ"))
		d.Project = call.Keep([]byte("p"))
		change()
		b.Emit(call, d)
	}
	decide("a", func() {})
	decide("a", func() {}) // the call's second lookup
	decide("repeated", func() { d.Repeated = true })
	decide("continued", func() { call.Cursor = "x" })
	decide("elsewhere", func() { d.Project = "q" })
	decide("b", func() {})
	call.Reset()
	d.Reset()
	eventually(t, "delivered", func() bool { return len(r.requests("")) == 2 && b.empty() })
	if got := callIDs(r.requests("")); got != "a b" && got != "b a" {
		t.Errorf("got %q", got)
	}
	b.acceptEvent(func() *schema.Event { e := event("a"); e.Kind = "destroy"; return e }())
	if a := b.Accept(t.Context(), event("a"), ""); a != schema.EventRepeated {
		t.Errorf("the PBX sends the same event: got %s", acceptances[a])
	}
	b.stop() // nobody takes what is emitted now
	must(t, b.Load(config(schema.Events{EmitCreate: true}, webhook(1, r.URL+"/"))))
	b.ended.Store(false) // though it did not look like that yet
	for i := range maxEmitted + 10 {
		decide(fmt.Sprint(i), func() {})
	}
	if got := metric(t, reg, "events_dropped_total"); got != 10 {
		t.Errorf("dropped %v; want 10", got)
	}
	b.ended.Store(true)
	decide("after the end", func() {})
	if got := metric(t, reg, "events_dropped_total"); got != 11 {
		t.Errorf("dropped %v; want 11", got)
	}
	must(t, b.Load(config(schema.Events{EmitCreate: false}, webhook(1, r.URL+"/"))))
	decide("unasked", func() {})
	if got := metric(t, reg, "events_dropped_total"); got != 11 {
		t.Errorf("dropped one that nobody asked for")
	}
	b.Close()
}
