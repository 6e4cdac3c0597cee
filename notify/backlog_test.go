package notify

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

func TestWhatFailedIsCountedByProjectAndWhoIsDisabledListed(t *testing.T) {
	r := newReceiver(t)
	r.on("/gone", status(http.StatusGone))
	r.on("/bad", status(http.StatusBadRequest))
	once := func(w *schema.Webhook) { w.Retry = "none" }
	b := start(t, openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")), nil, Options{}, webhook(1, r.URL+"/gone"), webhook(2, r.URL+"/bad", once))
	b.accept("a")
	eventually(t, "one is disabled, and one has given up", func() bool {
		got, err := b.Backlog("p")
		return err == nil && len(b.AllDisabled("")) == 1 && got.Failed == 1 && got.FailedBy["p"] == 1 && got.Waiting == 1
	})
	if d := b.AllDisabled("p")[0]; d.Project != "p" || d.Webhook != 1 || d.Reason != "it answered 410 Gone" || d.Since.IsZero() {
		t.Errorf("found %+v; want the one that is gone", d)
	}
	if list := b.AllDisabled("another"); len(list) != 0 {
		t.Errorf("found %v of another project; want none", list)
	}
	if got, err := b.Backlog("another"); err != nil || got.Failed != 0 || len(got.FailedBy) != 0 {
		t.Errorf("found %+v, %v of another project; want nothing", got, err)
	}
}

// counted counts what is read of a store.
type counted struct {
	store.Store
	looks, records atomic.Int64 // at what waits; records that were read
}

func (c *counted) Held(ctx context.Context) (map[string]int, error) {
	c.looks.Add(1)
	return c.Store.Held(ctx)
}

func (c *counted) ListRecords(ctx context.Context, log, before string, limit int) ([]store.Record, error) {
	list, err := c.Store.ListRecords(ctx, log, before, limit)
	c.records.Add(int64(len(list)))
	return list, err
}

func (c *counted) ListHeld(ctx context.Context, log, before string, limit int) ([]store.Record, error) {
	list, err := c.Store.ListHeld(ctx, log, before, limit)
	c.records.Add(int64(len(list)))
	return list, err
}

func TestTheBacklogIsLookedUpOnceForAllWhoWatchAndWithoutWhatWasDelivered(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		const failed = 3
		c, k := &counted{Store: s}, newClock()
		fillLog(t, s, k.Now(), 2*maxScan, failed)
		n := New(Options{Store: c, Sender: instant{}, Now: k.Now})
		ask := func(projects ...string) {
			var asking sync.WaitGroup
			for range 64 {
				for _, p := range projects {
					asking.Go(func() {
						b, err := n.Backlog(p)
						if err != nil || b.Failed != failed || b.FailedBy["p"] != failed {
							t.Errorf("of %q: found %+v, %v; want %d that failed", p, b, err, failed)
						}
						b.FailedBy["p"]++ // is the caller's own
					})
				}
			}
			asking.Wait()
		}
		for _, tc := range []struct {
			name     string
			later    time.Duration
			projects []string
			looks    int64
		}{
			{"many ask at once", 0, []string{"p"}, 1},
			{"and again within a second", looksEvery - 1, []string{"p"}, 1},
			{"and a second later", 1, []string{"p"}, 2},
			{"nobody asks for an hour, then many about a project and about all", time.Hour, []string{"p", ""}, 4},
		} {
			k.move(tc.later)
			ask(tc.projects...)
			if looks, records := c.looks.Load(), c.records.Load(); looks != tc.looks || records != failed*looks {
				t.Errorf("%s: found %d looks that read %d records; want %d looks at the %d that failed", tc.name, looks, records, tc.looks, failed)
			}
		}
	})
}

func TestAnotherInstancesFailuresAreInTheBacklogUntilTheyAreReplayed(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r := newReceiver(t)
		r.on("/bad", status(http.StatusBadRequest))
		b := start(t, s, nil, Options{}, webhook(1, r.URL+"/bad", func(w *schema.Webhook) { w.Retry = "none" }))
		e := b.accept("a")
		b.delivery(e, 1, schema.DeliveryFailed)
		other := New(Options{Store: s, Sender: instant{}})
		failed := func(want int) {
			t.Helper()
			if got, err := other.lookAtBacklog("p"); err != nil || got.Failed != want {
				t.Errorf("found %+v, %v; want %d that failed", got, err, want)
			}
		}
		failed(1)
		eventually(t, "it has left the outbox, and can be put back", b.empty)
		r.on("/bad", nil)
		must(t, b.Replay(t.Context(), deliveryID(e.ID, 1)))
		b.delivery(e, 1, schema.DeliveryDelivered)
		failed(0)
	})
}

func TestTheBacklogLeavesOutWhatWasGivenUpMoreThanADayAgo(t *testing.T) {
	k := newClock()
	s := openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	fillLog(t, s, k.Now(), 20, 10) // over half an hour
	n := New(Options{Store: s, Sender: instant{}, Now: k.Now})
	k.move(24*time.Hour - 15*time.Minute)
	if got, err := n.Backlog("p"); err != nil || got.Failed != 5 {
		t.Errorf("found %+v, %v; want the 5 that failed within a day", got, err)
	}
}

func TestWhatFailedIsFoundBehindAllThatWasDeliveredSince(t *testing.T) {
	k := newClock()
	s := openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	fillLog(t, s, k.Now().Add(-2*time.Hour), 5, 5)
	fillLog(t, s, k.Now(), maxScan+1, 0)
	n := New(Options{Store: s, Sender: instant{}, Now: k.Now})
	list, next, err := n.List(t.Context(), schema.DeliveryFilter{State: schema.DeliveryFailed}, "", 10)
	if err != nil || len(list) != 5 || next != "" {
		t.Errorf("listed: found %d, on from %q, %v; want all 5 on one page", len(list), next, err)
	}
	if got, err := n.Backlog(""); err != nil || got.Failed != 5 {
		t.Errorf("counted: found %+v, %v; want 5", got, err)
	}
}

func TestALookThatTakesLongIsRestedForLonger(t *testing.T) {
	for _, tc := range []struct {
		name       string
		took, rest time.Duration
		err        error
	}{
		{"a usual one", time.Millisecond, looksEvery, nil},
		{"one at many failures", 20 * time.Millisecond, 2 * time.Second, nil},
		{"one at far too many", time.Second, maxLookRest, nil},
		{"one that the store did not answer", time.Second, looksEvery, errNoStore},
	} {
		ls, began := looks{by: map[string]*look{}}, newClock().Now()
		l, mine := ls.of("p", began)
		l.err = tc.err
		ls.end(l, began.Add(tc.took))
		_, early := ls.of("p", began.Add(tc.rest-1))
		_, late := ls.of("p", began.Add(tc.rest))
		if !mine || early || !late {
			t.Errorf("%s: looked up at first %t, before %s %t, after it %t; want true, false, true", tc.name, mine, tc.rest, early, late)
		}
	}
}

func TestTheStateIsReadAsTheWholeDeliveryIs(t *testing.T) {
	at := newClock().Now()
	tried := func(after time.Duration, state schema.DeliveryState) logEntry {
		return logEntry{Attempt: &schema.DeliveryAttempt{At: at.Add(after), Request: `"state":"waiting"`}, State: state}
	}
	first := tried(time.Second, schema.DeliveryWaiting)
	first.Created, first.Event = at, mustJSON(event("a"))
	failed := tried(time.Hour, schema.DeliveryFailed)
	failed.Created, failed.Event = at, mustJSON(event("a"))
	untried := logEntry{Created: at, Event: mustJSON(event("a")), State: schema.DeliveryFailed}
	replayed := logEntry{State: schema.DeliveryWaiting, Replayed: at.Add(2 * time.Hour)}
	for _, tc := range []struct {
		name    string
		entries []logEntry
	}{
		{"nothing", nil},
		{"given up at once", []logEntry{failed}},
		{"given up after an attempt", []logEntry{first, failed}},
		{"given up, and another instance was late to write", []logEntry{failed, first}},
		{"given up untried", []logEntry{untried}},
		{"given up untried, after an attempt", []logEntry{first, untried}},
		{"put back", []logEntry{first, failed, replayed}},
		{"put back and given up again", []logEntry{first, failed, replayed, tried(3*time.Hour, schema.DeliveryFailed)}},
		{"put back and delivered", []logEntry{failed, replayed, tried(3*time.Hour, schema.DeliveryDelivered)}},
		{"two at the same time", []logEntry{tried(time.Second, schema.DeliveryFailed), first}},
	} {
		r := store.Record{Log: queueOf("p", 1), ID: "1", Body: []byte("no JSON\n")}
		for i := range tc.entries {
			r.Body = append(r.Body, tc.entries[i].line()...)
		}
		d, _, _ := readDelivery(&r)
		if state, at := readState(&r); state != d.State || !at.Equal(lastTried(&d)) {
			t.Errorf("%s: found %q, tried at %s; want %q, at %s", tc.name, state, at, d.State, lastTried(&d))
		}
	}
}

// What the overview asks for, of a log of delivered events, of which the last 1000 failed at most.
func BenchmarkBacklog(b *testing.B) {
	for _, failed := range []int{0, 10, 1000} {
		b.Run(fmt.Sprint(failed, " of 10000 failed"), func(b *testing.B) {
			s := openBolt(b, filepath.Join(b.TempDir(), "hookswitch.db"))
			fillLog(b, s, time.Now(), 10_000, failed)
			n := New(Options{Store: s, Sender: instant{}})
			b.ReportAllocs()
			for b.Loop() {
				got, err := n.lookAtBacklog("p")
				if must(b, err); got.Failed != failed {
					b.Fatalf("found %+v; want %d failed", got, failed)
				}
			}
		})
	}
}

// fillLog logs so many deliveries of an hour, the last of which have failed.
func fillLog(t testing.TB, s store.Store, now time.Time, all, failed int) {
	t.Helper()
	var records []store.Record
	for i := range all {
		at := now.Add(time.Duration(i-all) * time.Hour / time.Duration(all))
		e := event(fmt.Sprint(i))
		for p := range schema.Param(20) {
			e.Values = append(e.Values, schema.Custom{Name: p.Name(), Value: "value of it"})
		}
		e.ID = newEventID(at)
		sent := schema.Sent{Status: 200, Request: strings.Repeat("q", 600), Answer: strings.Repeat("a", 100)}
		entry := logEntry{Created: at, Event: mustJSON(e), Attempt: attemptOf(at, &sent, "2xx"), State: schema.DeliveryDelivered}
		if i >= all-failed {
			entry.State = schema.DeliveryFailed
		}
		records = append(records, store.Record{Log: queueOf("p", 1), ID: deliveryID(e.ID, 1), Body: entry.line(), Held: i >= all-failed})
	}
	for some := range slices.Chunk(records, maxWritten) {
		_, err := s.AddRecords(t.Context(), all, some...)
		must(t, err)
	}
}
