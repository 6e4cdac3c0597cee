package notify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
	"hookswitch/store"
)

func TestEveryEventReachesEveryWebhookThatWantsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r, reg := newReceiver(t), prometheus.NewRegistry()
		var turn atomic.Int64
		r.on("/2", func(w http.ResponseWriter, _ *http.Request) {
			if turn.Add(1)%2 == 0 {
				w.WriteHeader(500)
			}
		})
		b := start(t, s, nil, Options{Registerer: reg}, webhook(1, r.URL+"/1"), webhook(2, r.URL+"/2"),
			webhook(3, r.URL+"/3", func(w *schema.Webhook) { w.TypeCall = "outbound" }))
		const events = 200
		for i := range events {
			b.accept(fmt.Sprint(i))
		}
		eventually(t, "all is delivered", b.empty)
		for path, want := range map[string]int{"/1": events, "/2": events, "/3": 0} {
			ids, calls := map[string]bool{}, map[string]bool{}
			for _, q := range r.requests(path) {
				ids[q.Delivery], calls[q.CallID] = true, true
			}
			if len(ids) != want || len(calls) != want {
				t.Errorf("%s: got %d deliveries of %d calls; want %d", path, len(ids), len(calls), want)
			}
		}
		if got := len(r.requests("/1")); got != events {
			t.Errorf("the one that works got %d requests; want %d", got, events)
		}
		eventually(t, "all is counted", func() bool {
			return metric(t, reg, "deliveries_total", "result=delivered", "project=p") == 2*events
		})
		if got, want := metric(t, reg, "delivery_attempts_total", "webhook=2", "result=status"), float64(len(r.requests("/2"))-events); got != want {
			t.Errorf("counted %v answers that were no success; want %v", got, want)
		}
	})
}

// The documented schedule: every 30 minutes for 24 hours, to the second, whatever the requests take.
func TestEvery30MinutesFor24Hours(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r, c := newReceiver(t), newClock()
		r.now = c.Now
		r.on("/", func(w http.ResponseWriter, _ *http.Request) {
			c.move(7 * time.Second) // that is how long the request takes
			w.WriteHeader(503)
		})
		b := start(t, s, c, Options{}, webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry = "30m x 48" }))
		began := c.Now()
		e := b.accept("a")
		eventually(t, "the first attempt", func() bool { return len(r.requests("")) == 1 && b.idle() })
		for n := 1; n <= 48; n++ {
			next := began.Add(time.Duration(n) * 30 * time.Minute)
			b.pass(next.Sub(c.Now()) - time.Second)
			if got := len(r.requests("")); got != n {
				t.Fatalf("a second before attempt %d: got %d requests", n+1, got)
			}
			b.pass(time.Second)
			eventually(t, fmt.Sprint("attempt ", n+1), func() bool { return len(r.requests("")) == n+1 && b.idle() })
		}
		d := b.delivery(e, 1, schema.DeliveryFailed)
		if len(d.Attempts) != 49 {
			t.Fatalf("the log has %d attempts; want 49", len(d.Attempts))
		}
		for i, a := range d.Attempts {
			want := began.Add(time.Duration(i) * 30 * time.Minute)
			if got := r.requests("")[i]; got.Attempt != i+1 || !got.At.Equal(want) || !a.At.Equal(want) {
				t.Errorf("request %d: attempt %d at %s, logged at %s; want %s", i+1, got.Attempt, got.At, a.At, want)
			}
		}
		b.pass(48 * time.Hour)
		if got := len(r.requests("")); got != 49 || !b.empty() {
			t.Errorf("two days later: %d requests; want 49, and nothing waiting", got)
		}
	})
}

func TestAReceiversRetryAfterIsHonoured(t *testing.T) {
	r, c := newReceiver(t), newClock()
	r.on("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(429)
	})
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), c, Options{},
		webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Retry = "1s x 5" }))
	b.accept("a")
	eventually(t, "the first attempt", func() bool { return len(r.requests("")) == 1 && b.idle() })
	b.accept("b") // for the same endpoint, which wants to be left alone
	b.pass(119 * time.Second)
	if got := callIDs(r.requests("")); got != "a" {
		t.Fatalf("before its time: got %q", got)
	}
	r.on("/", nil)
	b.pass(2 * time.Second)
	eventually(t, "both are delivered", b.empty)
}

func TestTheNextEventOfACallWaitsForTheOneBefore(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r := newReceiver(t)
		var failing atomic.Bool
		failing.Store(true)
		r.on("/", func(w http.ResponseWriter, _ *http.Request) {
			if failing.Load() {
				w.WriteHeader(500)
			}
		})
		ordered := func(id int64, kind string) schema.Webhook {
			return webhook(id, r.URL+"/", func(w *schema.Webhook) {
				w.Event, w.Ordered, w.Retry = kind, true, "20ms x 1000"
				w.When = []schema.Condition{{Param: "step", Op: "filled"}}
			})
		}
		one := start(t, s, nil, Options{}, ordered(1, "create"))
		const calls, steps = 5, 6
		for step := range steps {
			for call := range calls {
				e := event(fmt.Sprint("call-", call), schema.Custom{Name: "step", Value: fmt.Sprint(step)})
				// One webhook has one kind of event, so a call's steps are told apart by a key.
				if a := one.Accept(t.Context(), e, fmt.Sprint(call, "/", step)); a != schema.EventAccepted {
					t.Fatalf("got %s", acceptances[a])
				}
			}
		}
		eventually(t, "the first of each call are tried again and again", func() bool { return len(r.requests("")) > 20*calls })
		first := map[string]string{}
		for _, q := range r.requests("") {
			if was, seen := first[q.CallID]; seen && was != q.Delivery {
				t.Fatalf("%s: %s was sent before %s was delivered", q.CallID, q.Delivery, was)
			}
			first[q.CallID] = q.Delivery
		}
		// Another process takes over, where it can.
		one.stop()
		two := start(t, s, nil, Options{}, ordered(1, "create"))
		before := len(r.requests(""))
		failing.Store(false)
		eventually(t, "all is delivered", two.empty)
		order := map[string][]string{}
		for _, q := range r.requests("")[before:] {
			if steps := order[q.CallID]; len(steps) == 0 || steps[len(steps)-1] != q.Delivery {
				order[q.CallID] = append(steps, q.Delivery)
			}
		}
		for call, ids := range order {
			if len(ids) < steps {
				t.Errorf("%s: got %d deliveries; want %d", call, len(ids), steps)
			}
			for i := 1; i < len(ids); i++ {
				if ids[i] <= ids[i-1] { // ids are in the order of acceptance
					t.Errorf("%s: got %s", call, strings.Join(ids, " "))
				}
			}
		}
	})
}

// A CRM has a webhook of its own for each kind of event, and hears of a call's end when it has heard of its
// beginning, however often that is tried. Another's webhooks are not held up.
func TestACallsEventsKeepTheirOrderAcrossWebhooks(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r, other := newReceiver(t), newReceiver(t)
		var tries atomic.Int64
		r.on("/create", func(w http.ResponseWriter, _ *http.Request) {
			if tries.Add(1) <= 5 {
				w.WriteHeader(500)
			}
		})
		ordered := func(id int64, kind string, to *receiver) schema.Webhook {
			return webhook(id, to.URL+"/"+kind+"?x={{callid}}", func(w *schema.Webhook) { w.Event, w.Ordered, w.Retry = kind, true, "20ms x 1000" })
		}
		b := start(t, s, nil, Options{}, ordered(1, "create", r), ordered(2, "answer", r), ordered(3, "destroy", r), ordered(4, "destroy", other),
			webhook(5, r.URL+"/unordered", func(w *schema.Webhook) { w.Event = "destroy" }))
		for _, kind := range []string{"create", "answer", "destroy"} {
			e := event("call")
			e.Kind = kind
			b.acceptEvent(e)
		}
		eventually(t, "who keeps no order, or another's, is not held up", func() bool { return len(r.requests("/unordered")) == 1 && len(other.requests("")) == 1 })
		eventually(t, "all is delivered", b.empty)
		var got []string
		for _, q := range r.requests("") {
			if q.Path != "/unordered" {
				got = append(got, q.Event)
			}
		}
		if want := "create create create create create create answer destroy"; strings.Join(got, " ") != want {
			t.Errorf("got %v; want %s", got, want)
		}
	})
}

func TestNoMoreThanItsRateIsSentToAnEndpoint(t *testing.T) {
	r, c := newReceiver(t), newClock()
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), c, Options{},
		webhook(1, r.URL+"/", func(w *schema.Webhook) { w.Rate = 5 }))
	const events = 40
	for i := range events {
		b.accept(fmt.Sprint(i))
	}
	for tenths := 0; len(r.requests("")) < events; tenths++ {
		if got := len(r.requests("")); got > 5*tenths/10+2 {
			t.Fatalf("after %d tenths of a second: got %d requests; want 5 a second", tenths, got)
		}
		if tenths > 10*events {
			t.Fatalf("after %d tenths of a second: only %d of %d requests", tenths, len(r.requests("")), events)
		}
		c.move(100 * time.Millisecond)
		eventually(t, "what may be sent is sent", func() bool { return b.idle() && len(b.wake) == 0 })
		time.Sleep(time.Millisecond) // for the dispatcher to set its next alarm
	}
}

func TestValuesOfTheAnswerAreRememberedAndSent(t *testing.T) {
	r, m := newReceiver(t), &memory{known: map[string]string{}}
	r.on("/1", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"contact":{"id":100000000000000000042,"name":"Ірина"},"tags":["vip"],"none":null}`)
	})
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil, Options{Memory: m},
		webhook(1, r.URL+"/1", func(w *schema.Webhook) {
			w.Save = []schema.SaveRule{{From: "contact.id", To: "crm_id"}, {From: "tags", To: "tags"}, {From: "missing", To: "missing"}}
			w.SaveFor = time.Hour
		}),
		webhook(2, r.URL+"/2?id={{crm_id}}", func(w *schema.Webhook) { w.Event = "destroy" }),
		webhook(3, r.URL+"/3", func(w *schema.Webhook) { w.Event = "destroy" }))
	caller := schema.Custom{Name: "caller", Value: "+380 50 111-22-33"}
	b.acceptEvent(event("a", caller))
	eventually(t, "delivered", b.empty)
	want := `{"crm_id":100000000000000000042,"tags":["vip"]}`
	if got := m.get("p 380501112233 1h0m0s"); got != want {
		t.Errorf("remembered %s; want %s", got, want)
	}
	later := event("a", caller)
	later.Kind = "destroy"
	b.acceptEvent(later)
	eventually(t, "delivered", b.empty)
	if got := r.requests("/2")[0].Variables; got != want {
		t.Errorf("sent the variables %s; want %s", got, want)
	}
	if got := r.requests("/3")[0].Variables; got != "" {
		t.Errorf("a webhook that names no variable was looked up for: got %s", got)
	}
}

func FuzzWhatIsSavedOfAnAnswerIsAnObjectOfWhatWasAskedFor(f *testing.F) {
	for _, answer := range []string{`{"a":{"b":1}}`, `{"a":"x","c":[1,{"d":null}]}`, `[1,2]`, `"a"`, `{"a":1,"a":2}`, `{a:1}`, "", "null", `{"a":1}x`} {
		f.Add(answer, "a", "c.1.d")
	}
	f.Fuzz(func(t *testing.T, answer, from1, from2 string) {
		got := saved([]schema.SaveRule{{From: from1, To: "one"}, {From: from2, To: "two"}}, []byte(answer))
		if got == nil {
			return
		}
		if !json.Valid([]byte(answer)) {
			t.Errorf("%q was saved from of what is no JSON: %s", answer, got)
		}
		var values map[string]json.RawMessage
		if err := json.Unmarshal(got, &values); err != nil || len(values) == 0 {
			t.Fatalf("%q: got %s: %v", answer, got, err)
		}
		for name := range values {
			if name != "one" && name != "two" {
				t.Errorf("%q: got %s", answer, got)
			}
		}
	})
}
