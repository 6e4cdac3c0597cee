package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"hookswitch/admin"
	"hookswitch/schema"
	"hookswitch/store"
)

// busy is an installation with something to show: hooks, and a subscription that was disabled.
type busy struct {
	enabled  []string
	replays  []string // the before of each
	failures int      // in thousands
}

func (*busy) HookStats(project, hook string) (schema.HookStats, bool) {
	return schema.HookStats{Project: project, Hook: hook, Breaker: "closed", MaxInFlight: 64, PeriodLength: time.Minute}, true
}

func (*busy) AllHookStats(string, time.Duration) []schema.HookStats {
	return []schema.HookStats{
		{Project: "own", Hook: "<b>crm", Breaker: "half_open", InFlight: 3, MaxInFlight: 64, PeriodLength: time.Minute},
		{Project: "own", Hook: "calm", Breaker: "closed", InFlight: 1, MaxInFlight: 64, PeriodLength: time.Minute},
	}
}

func (*busy) List(context.Context, schema.DeliveryFilter, string, int) ([]schema.Delivery, string, error) {
	return nil, "", nil
}
func (*busy) Get(context.Context, string) (schema.Delivery, error) {
	return schema.Delivery{}, store.ErrNotFound
}
func (*busy) Replay(context.Context, string) error { return nil }
func (b *busy) ReplayFailed(_ context.Context, _ schema.DeliveryFilter, before string) (int, string, error) {
	if b.replays = append(b.replays, before); len(b.replays) < b.failures {
		return 1000, fmt.Sprintf("before-%d", len(b.replays)), nil
	}
	return 1, "", nil
}

func (b *busy) Enable(_ context.Context, project string, webhook int64) error {
	b.enabled = append(b.enabled, fmt.Sprintf("%s/%d", project, webhook))
	return nil
}

func (b *busy) AllDisabled(string) []schema.DisabledWebhook {
	return []schema.DisabledWebhook{{Project: "own", Webhook: 7, Since: time.Unix(1e9, 0), Reason: "it answered 410 <i>Gone"}}
}

func (b *busy) Disabled(project string, webhook int64) (time.Time, string, bool) {
	d := b.AllDisabled("")[0]
	return d.Since, d.Reason, project == d.Project && webhook == d.Webhook && len(b.enabled) == 0
}

func busyHouse(t *testing.T) (*house, *busy, *admin.Decisions) {
	t.Helper()
	b, ds := &busy{}, admin.NewDecisions()
	h := newHouse(t, func(o *admin.Options) {
		o.Deliveries = b
		o.Live = admin.Live{Decisions: ds, Hooks: b, Backlog: func(string) (schema.Backlog, error) {
			return schema.Backlog{Failed: 3, FailedBy: map[string]int{"own": 2, "filed": 1}}, nil
		}}
	})
	webhook := `{"default_schema": "1", "webhooks": [{"id": 7, "url": "https://crm.example/calls", "event": "create"}]}`
	if status, answer := h.api("PUT", "/projects/own", webhook); status != http.StatusOK {
		t.Fatalf("making a subscription: %d %s", status, answer)
	}
	return h, b, ds
}

// wantOverview is what needs attention, and what there is of it all.
var wantOverview = []string{
	"half open", "own / &lt;b&gt;crm", "own / calm", "3 / 64", // every hook at work, with its breaker and its calls in flight
	"disabled for failing", "/p/own/webhooks/7", "410 &lt;i&gt;Gone",
	"/deliveries?state=failed&amp;project=own", "/deliveries?state=failed&amp;project=filed", "2 deliveries were given up",
}

func TestTheOverviewShowsWhatNeedsAttentionWithItsProject(t *testing.T) {
	h, _, _ := busyHouse(t)
	a := h.signIn(opsToken).get("/")
	for _, want := range append(wantOverview, `data-overview="/overview/stream"`) {
		if !strings.Contains(a.body, want) {
			t.Errorf("found %d without %q", a.status, want)
		}
	}
}

// events opens a stream; next returns the next event's data, nil at its end.
func (v *visitor) events(path string) (next func() []byte) {
	v.t.Helper()
	resp, err := v.client.Get(v.url + path)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		v.t.Fatalf("%s: found %d, %s; want a stream", path, resp.StatusCode, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return func() []byte {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return []byte(data)
			}
		}
		return nil
	}
}

// observed is a call that was decided now, and what became of it.
func observed(ds *admin.Decisions, n int, source schema.Source, reason schema.Reason) {
	call := &schema.Call{At: time.Now()}
	call.SetNamed([]byte("caller"), []byte("380501112233"))
	call.SetNamed([]byte("callee"), []byte("380442223344"))
	d := &schema.Decision{CallID: fmt.Sprintf("call-%d", n), Project: "own", Source: source, Reason: reason}
	copy(d.ID[:], fmt.Sprintf("%026d", n))
	ds.Observe(call, d)
}

func TestTheOverviewIsLiveAndShowsRatesBySourceAndReason(t *testing.T) {
	h, _, ds := busyHouse(t)
	next := h.signIn(opsToken).events("/overview/stream")
	var told struct{ HTML string }
	if err := json.Unmarshal(next(), &told); err != nil {
		t.Fatal(err)
	}
	for _, want := range wantOverview {
		if !strings.Contains(told.HTML, want) {
			t.Errorf("the stream's first event has no %q", want)
		}
	}
	if strings.Contains(told.HTML, "no answer in time") {
		t.Error("the stream tells of a reason that no call had")
	}
	observed(ds, 1, schema.SourceFallback, schema.ReasonTimeout)
	if err := json.Unmarshal(next(), &told); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"no answer in time", "fallback"} {
		if !strings.Contains(told.HTML, want) {
			t.Errorf("after a call the stream has no %q", want)
		}
	}
}

func TestTheOverviewsStreamIsForWhoIsSignedIn(t *testing.T) {
	h, _, _ := busyHouse(t)
	a := h.visitor().send("GET", "/overview/stream", nil, http.Header{"X-Requested-By": {"script"}})
	if a.status != http.StatusUnauthorized {
		t.Errorf("found %d; want 401", a.status)
	}
}

func TestADisabledSubscriptionSaysSoAndIsEnabledByAButton(t *testing.T) {
	h, b, _ := busyHouse(t)
	if a := h.signIn(eyeToken).get("/p/own/webhooks/7"); !strings.Contains(a.body, "410 &lt;i&gt;Gone") || strings.Contains(a.body, "/enable") {
		t.Error("a reader is not told, or has the button")
	}
	v := h.signIn(opsToken)
	if a := v.get("/p/own/webhooks"); !strings.Contains(a.body, "disabled for failing") {
		t.Error("the list does not say so")
	}
	if a := v.get("/p/own/webhooks/7"); !strings.Contains(a.body, `action="/p/own/webhooks/7/enable"`) || !strings.Contains(a.body, "2001-09-09") {
		t.Error("the page does not say since when, or has no button")
	}
	if a := v.post("/p/own/webhooks/7", url.Values{"url": {"https://crm.example/other"}, "event": {"create"}}); a.status != http.StatusSeeOther {
		t.Errorf("changing it meanwhile: found %d; want 303", a.status)
	}
	a := v.post("/p/own/webhooks/7/enable", url.Values{})
	if a.status != http.StatusSeeOther || len(b.enabled) != 1 || b.enabled[0] != "own/7" {
		t.Fatalf("found %d, and %v enabled", a.status, b.enabled)
	}
	if a := v.get(a.header.Get("Location")); strings.Contains(a.body, "410") || !strings.Contains(a.body, "Enabled") {
		t.Error("the page does not say that it is enabled")
	}
}

func TestNoCallIsLostBetweenTheListAndItsStream(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before int // calls that the list shows
	}{{"after an empty list", 0}, {"after a list with calls", 2}} {
		h, _, ds := busyHouse(t)
		v := h.signIn(opsToken)
		for n := range tc.before {
			observed(ds, n+1, schema.SourceHook, schema.ReasonOK)
		}
		page := v.get("/live").body
		_, stream, found := strings.Cut(page, `data-live="`)
		stream, _, _ = strings.Cut(stream, `"`)
		if !found {
			t.Fatal("the page has no stream")
		}
		time.Sleep(time.Millisecond) // the record's times are in microseconds
		observed(ds, 9, schema.SourceFallback, schema.ReasonTimeout)
		next := v.events(strings.ReplaceAll(stream, "&amp;", "&"))
		var row liveRow
		if err := json.Unmarshal(next(), &row); err != nil || row.ID != fmt.Sprintf("%026d", 9) {
			t.Errorf("%s: found %+v; want the call decided since", tc.name, row)
		}
	}
}

func TestAllThatFailedIsSentAgainOrThePageSaysThatMoreRemains(t *testing.T) {
	for _, tc := range []struct {
		name     string
		failures int
		want     string
		rounds   int
	}{{"some thousands", 3, "It is on its way again", 3}, {"more than one form may ask for", 99, "more remain", maxReplays}} {
		h, b, _ := busyHouse(t)
		b.failures = tc.failures
		v := h.signIn(opsToken)
		a := v.post("/deliveries/replay", url.Values{"project": {"own"}})
		if page := v.get(a.header.Get("Location")); !strings.Contains(page.body, tc.want) {
			t.Errorf("%s: found %d without %q", tc.name, page.status, tc.want)
		}
		if len(b.replays) != tc.rounds || b.replays[0] != "" || b.replays[1] != "before-1" {
			t.Errorf("%s: found %v; want %d, each where the last one ended", tc.name, b.replays, tc.rounds)
		}
	}
}
