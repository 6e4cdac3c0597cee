package notify

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
	"hookswitch/store"
)

// slow is a webhook whose requests may take long.
func slow(w *schema.Webhook) { w.RequestTimeout = time.Minute }

// The receivers that hang do so until the test has seen that all others got everything.
func TestEndpointsThatHangDelayNobodyElse(t *testing.T) {
	for _, tc := range []struct{ hanging, healthy, workers int }{
		{1, 1, 8},   // all of one's events fit into the workers several times over
		{5, 45, 64}, // as in the field
		{40, 3, 32}, // more that hang than there are workers to wait for them
	} {
		t.Run(fmt.Sprintf("%d of %d with %d workers", tc.hanging, tc.hanging+tc.healthy, tc.workers), func(t *testing.T) {
			r := newReceiver(t)
			var webhooks []schema.Webhook
			for i := range tc.hanging {
				r.on(fmt.Sprint("/hangs/", i), hang)
				webhooks = append(webhooks, webhook(int64(1000+i), r.URL+fmt.Sprint("/hangs/", i), func(w *schema.Webhook) {
					w.RequestTimeout = 300 * time.Millisecond
				}))
			}
			for i := range tc.healthy {
				webhooks = append(webhooks, webhook(int64(i+1), r.URL+fmt.Sprint("/", i), slow))
			}
			b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil,
				Options{Settings: schema.Events{Workers: tc.workers, LogFor: time.Hour, LogEntries: 1000}}, webhooks...)
			const events = 60
			for i := range events {
				b.accept(fmt.Sprint(i))
			}
			eventually(t, "the healthy ones have everything", func() bool {
				for i := range tc.healthy {
					if len(r.requests(fmt.Sprint("/", i))) < events {
						return false
					}
				}
				return true
			})
			held, err := b.store.Held(t.Context())
			must(t, err)
			for i := range tc.hanging {
				if held[queueOf("p", int64(1000+i))] != events {
					t.Errorf("of one that hangs, %d are held; want all %d", held[queueOf("p", int64(1000+i))], events)
				}
			}
			for i := range tc.hanging { // and when they are back, they get theirs
				r.on(fmt.Sprint("/hangs/", i), nil)
			}
			eventually(t, "all is delivered", b.empty)
		})
	}
}

func TestAnEndpointThatFailsGetsOneRequestAtATime(t *testing.T) {
	r := newReceiver(t)
	r.on("/", hang)
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil, Options{}, webhook(1, r.URL+"/", func(w *schema.Webhook) {
		w.RequestTimeout, w.MaxInFlight = 50*time.Millisecond, 8
	}))
	for i := range 30 {
		b.accept(fmt.Sprint(i))
	}
	eventually(t, "the first have failed", func() bool { return len(r.requests("")) >= 8 })
	under := func() (inFlight, width int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		l := b.lanes[queueOf("p", 1)]
		return l.inFlight, l.width
	}
	eventually(t, "it gets one at a time", func() bool { n, width := under(); return width == 1 && n <= 1 })
	for before := len(r.requests("")); len(r.requests("")) < before+5; time.Sleep(time.Millisecond) {
		if n, _ := under(); n > 1 {
			t.Fatalf("%d requests are under way; want one", n)
		}
	}
	r.on("/", nil)
	eventually(t, "all is delivered", b.empty)
	if _, width := under(); width != 8 {
		t.Errorf("then it gets %d at a time; want its max_in_flight", width)
	}
}

func TestAnEndpointHasNoMoreThanItsRequestsUnderWay(t *testing.T) {
	r := newReceiver(t)
	r.on("/", hang)
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil, Options{}, webhook(1, r.URL+"/", slow, func(w *schema.Webhook) { w.MaxInFlight = 3 }))
	for i := range 20 {
		b.accept(fmt.Sprint(i))
	}
	eventually(t, "three are under way", func() bool { return len(r.requests("")) == 3 })
	b.accept("another")
	time.Sleep(2 * pollEvery)
	if got := len(r.requests("")); got != 3 {
		t.Errorf("got %d requests; want 3", got)
	}
	r.on("/", nil)
	r.CloseClientConnections() // those that hang fail, and are tried again
	eventually(t, "all is delivered", b.empty)
}

func TestAnEndpointThatIsGoneIsDisabledUntilItIsEnabled(t *testing.T) {
	r, reg := newReceiver(t), prometheus.NewRegistry()
	r.on("/1", status(http.StatusGone))
	s := openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	webhooks := []schema.Webhook{webhook(1, r.URL+"/1"), webhook(2, r.URL+"/2")}
	b := start(t, s, nil, Options{Registerer: reg}, webhooks...)
	first := b.accept("a")
	eventually(t, "it is disabled", func() bool { _, _, is := b.Disabled("p", 1); return is })
	if _, reason, _ := b.Disabled("p", 1); reason != "it answered 410 Gone" {
		t.Errorf("got the reason %q", reason)
	}
	b.accept("b") // is held
	b.delivery(first, 1, schema.DeliveryWaiting)
	eventually(t, "the other goes on", func() bool { return len(r.requests("/2")) == 2 })
	entries, err := s.Entries(t.Context(), noticesTrail, "", 10)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %d notices, %v; want one", len(entries), err)
	}
	eventually(t, "metrics say so", func() bool {
		b.count(t.Context())
		return metric(t, reg, "webhook_disabled", "webhook=1") == 1 && metric(t, reg, "deliveries_waiting", "webhook=1") == 2
	})
	b.stop()
	r.on("/1", nil)
	b = start(t, s, nil, Options{}, webhooks...) // a restart changes nothing
	eventually(t, "it is disabled", func() bool { _, _, is := b.Disabled("p", 1); return is })
	before := len(r.requests("/1"))
	b.accept("c")
	eventually(t, "the other goes on", func() bool { return len(r.requests("/2")) == 3 })
	if got := len(r.requests("/1")); got != before {
		t.Errorf("while disabled it got %d requests", got-before)
	}
	if waiting, err := b.Waiting(t.Context(), "p"); err != nil || waiting[1] != 3 {
		t.Errorf("got %v waiting, %v; want 3 of webhook 1", waiting, err)
	}
	must(t, b.Enable(t.Context(), "p", 1))
	must(t, b.Enable(t.Context(), "p", 1)) // one that is not disabled
	eventually(t, "what was held is delivered", b.empty)
	if got := len(r.requests("/1")) - before; got != 3 {
		t.Errorf("delivered %d; want the 3 that were held", got)
	}
}

func TestAnEndpointThatFailsForDaysIsDisabled(t *testing.T) {
	r, c := newReceiver(t), newClock()
	r.on("/", status(500))
	s := openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	w := webhook(1, r.URL+"/", func(w *schema.Webhook) { w.DisableAfter, w.Retry = 3*24*time.Hour, "1h x 100" })
	b := start(t, s, c, Options{}, w)
	b.accept("a")
	eventually(t, "the first attempt", func() bool { return len(r.requests("")) == 1 && b.idle() })
	disabled := func() bool { _, _, is := b.Disabled("p", 1); return is }
	for hours := 1; hours < 72; hours++ {
		if b.pass(time.Hour); disabled() {
			t.Fatalf("disabled after %d hours", hours)
		}
		if hours == 40 { // a restart does not forget since when
			b.stop()
			b = start(t, s, c, Options{}, w)
			eventually(t, "it goes on", func() bool { return b.idle() })
		}
		if hours == 50 {
			b.accept("b") // one more that fails
		}
	}
	b.pass(2 * time.Hour)
	eventually(t, "it is disabled", disabled)
	if b.empty() {
		t.Error("the deliveries are gone; want them held")
	}
	r.on("/", nil)
	must(t, b.Enable(t.Context(), "p", 1))
	b.pass(2 * time.Hour)
	eventually(t, "what was held is delivered", b.empty)
}

func TestAnEndpointThatWorksNowAndThenIsNotDisabled(t *testing.T) {
	r, c := newReceiver(t), newClock()
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), c, Options{}, webhook(1, r.URL+"/", func(w *schema.Webhook) {
		w.DisableAfter, w.Retry = 5*time.Hour, "30m x 100"
	}))
	for i := range 8 {
		r.on("/", status(500))
		b.accept(fmt.Sprint(i))
		for range 7 {
			b.pass(30 * time.Minute)
		}
		r.on("/", nil)
		b.pass(time.Hour)
		eventually(t, "all is delivered", b.empty)
	}
	if _, reason, is := b.Disabled("p", 1); is {
		t.Errorf("it is disabled: %s", reason)
	}
}

// Two failures of a webhook that gets little to do say nothing of the days between them.
func TestIsolatedFailuresDoNotDisableAnEndpoint(t *testing.T) {
	for _, tc := range []struct {
		name     string
		every    time.Duration
		disabled bool
	}{
		{"one in two days", 48 * time.Hour, false},
		{"one in six days", 6 * 24 * time.Hour, false},
		{"one in a day, none in between that works", 24 * time.Hour, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, c := newReceiver(t), newClock()
			r.on("/", status(500))
			s := openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))
			w := webhook(1, r.URL+"/", func(w *schema.Webhook) { w.DisableAfter, w.Retry = 5*24*time.Hour, "none" })
			b := start(t, s, c, Options{}, w)
			for i := range 8 {
				b.accept(fmt.Sprint(i))
				b.pass(pollEvery)
				if i == 3 { // a restart forgets nothing
					b.stop()
					b = start(t, s, c, Options{}, w)
				}
				b.pass(tc.every)
			}
			if _, reason, is := b.Disabled("p", 1); is != tc.disabled {
				t.Errorf("disabled: %v (%s); want %v", is, reason, tc.disabled)
			}
		})
	}
}

// What only one instance held for disabled, nobody could enable.
func TestAnEndpointThatTheStoreCouldNotBeToldOfIsDisabledByItsNextFailure(t *testing.T) {
	r := newReceiver(t)
	r.on("/", status(http.StatusGone))
	s := &undocumented{Store: openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))}
	s.full.Store(true)
	b := start(t, s, nil, Options{}, webhook(1, r.URL+"/"))
	b.accept("a")
	eventually(t, "it is tried again", func() bool { return len(r.requests("/")) > 2 })
	s.full.Store(false)
	var doc store.Doc
	eventually(t, "it is disabled on every instance", func() bool {
		var err error
		doc, err = s.GetDoc(t.Context(), disabledKind, queueOf("p", 1))
		return err == nil
	})
	r.on("/", nil)
	must(t, s.DeleteDoc(t.Context(), disabledKind, queueOf("p", 1), doc.Version)) // as another instance does
	eventually(t, "what was held is delivered", b.empty)
	if _, _, is := b.Disabled("p", 1); is {
		t.Error("it is still disabled here")
	}
}

// undocumented is a store that takes no documents.
type undocumented struct {
	store.Store
	full atomic.Bool
}

func (u *undocumented) PutDoc(ctx context.Context, kind, id string, body []byte, expected uint64) (uint64, error) {
	if u.full.Load() {
		return 0, store.ErrFull
	}
	return u.Store.PutDoc(ctx, kind, id, body, expected)
}
