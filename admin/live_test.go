package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// liveHouse is a house whose decisions the test makes.
func liveHouse(t *testing.T) (*house, *Decisions) {
	t.Helper()
	ds := NewDecisions()
	return newHouse(t, func(o *Options) { o.Live.Decisions = ds }), ds
}

// decidedFor is decided for a project's call, now.
func decidedFor(t *testing.T, n int, project string) (*schema.Call, *schema.Decision) {
	t.Helper()
	call, d := decided(t, n, "380501112233", "380442223344")
	call.At, d.Project = time.Now(), project
	return call, d
}

// callIDs lists the call ids of a page of decisions.
func callIDs(t *testing.T, a answer) []string {
	t.Helper()
	var list []string
	data, _ := a.json(t)["data"].([]any)
	for _, one := range data {
		list = append(list, fmt.Sprint(one.(map[string]any)["callid"]))
	}
	return list
}

func TestATokenOfOneProjectSeesOnlyItsDecisions(t *testing.T) {
	h, ds := liveHouse(t)
	ds.Observe(decidedFor(t, 1, "10553"))
	ds.Observe(decidedFor(t, 2, "filed"))
	for _, tc := range []struct {
		token, client string
		want          []string
	}{
		{ownToken, "", []string{"call-1"}},
		{opsToken, "", []string{"call-2", "call-1"}},
		{opsToken, "filed", []string{"call-2"}},
	} {
		if got := callIDs(t, h.want(200, "GET", "/api/v1/decisions", tc.token, "", "Client", tc.client)); !slices.Equal(got, tc.want) {
			t.Errorf("%s, client %q: found %v; want %v", tc.token, tc.client, got, tc.want)
		}
	}
	h.want(403, "GET", "/api/v1/decisions?project=filed", ownToken, "", "Client", "")
	h.want(403, "GET", "/api/v1/decisions/stream?project=filed", ownToken, "", "Client", "")
	h.want(404, "GET", fmt.Sprintf("/api/v1/decisions/%026d", 2), ownToken, "", "Client", "")
	h.want(200, "GET", fmt.Sprintf("/api/v1/decisions/%026d", 1), ownToken, "", "Client", "")
}

func TestDecisionsAreSelectedAndPaged(t *testing.T) {
	h, ds := liveHouse(t)
	for n := range 20 {
		ds.Observe(decidedFor(t, n, "10553"))
	}
	a := h.want(200, "GET", "/api/v1/decisions?per_page=3&page=2&reason=ok&source=hook&hook=crm&number=38050111", opsToken, "")
	wantFields(t, "the second page", a, `{"current_page": 2, "per_page": 3, "total": 20, "last_page": 7, "from": 4, "to": 6}`)
	if got := callIDs(t, h.want(200, "GET", "/api/v1/decisions?callid=call-7", opsToken, "")); !slices.Equal(got, []string{"call-7"}) {
		t.Errorf("found %v; want call-7 alone", got)
	}
	for _, query := range []string{"reason=late", "source=nowhere"} {
		if a := h.want(422, "GET", "/api/v1/decisions?"+query, opsToken, ""); len(a.fields(t)) != 1 {
			t.Errorf("%s: found %s; want the field named", query, a.body)
		}
	}
}

// stream opens the stream of decisions; next returns the next one, nil at the stream's end.
func (h *house) stream(t *testing.T, query string, headers ...string) (next func() *Decision) {
	t.Helper()
	q, err := http.NewRequest("GET", h.url+"/api/v1/decisions/stream?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+opsToken)
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	a, err := h.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Body.Close() })
	if kind := a.Header.Get("Content-Type"); a.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("found %d, %s; want a stream", a.StatusCode, kind)
	}
	lines := bufio.NewScanner(a.Body)
	return func() *Decision {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var d Decision
				if err := json.Unmarshal([]byte(data), &d); err != nil {
					t.Fatal(err)
				}
				return &d
			}
		}
		return nil
	}
}

func TestAStreamShowsWhatItWasAskedForAndEndsWithTheServer(t *testing.T) {
	h, ds := liveHouse(t)
	next := h.stream(t, "project=10553&reason=timeout")
	for n := range 3 {
		call, d := decidedFor(t, n, "10553")
		if n == 1 {
			d.Reason = schema.ReasonTimeout
		}
		ds.Observe(call, d)
	}
	if d := next(); d == nil || d.CallID != "call-1" {
		t.Fatalf("found %+v; want call-1, the only one that timed out", d)
	}
	h.server.closing.Store(true) // as Shutdown does first
	if d := next(); d != nil {
		t.Errorf("found %+v; want the stream's end", d)
	}
	for end := time.Now().Add(5 * time.Second); ds.watchers.count() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the stream is over, and is still being watched")
		}
	}
}

func TestWhoComesBackToAStreamGetsWhatItMissed(t *testing.T) {
	h, ds := liveHouse(t)
	for n := range 4 {
		ds.Observe(decidedFor(t, n, "10553"))
	}
	next := h.stream(t, "", "Last-Event-ID", fmt.Sprintf("%026d", 1))
	for _, want := range []string{"call-2", "call-3"} {
		if d := next(); d == nil || d.CallID != want {
			t.Fatalf("found %+v; want %s", d, want)
		}
	}
	h.server.closing.Store(true)
}

func TestWhatWasAskedBeforeTheLastDecisionAndMadeAfterItIsNotMissed(t *testing.T) {
	ds := NewDecisions()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	observe := func(n int, asked, took time.Duration) {
		call, d := decidedFor(t, n, "10553")
		call.At, d.Elapsed = at.Add(asked), took
		ds.Observe(call, d)
	}
	observe(1, 0, time.Millisecond)
	observe(3, 20*time.Millisecond, time.Millisecond)
	observe(2, 10*time.Millisecond, 800*time.Millisecond) // waited for its hook
	for _, tc := range []struct {
		name, last string
		want       string
	}{
		{"the last one that is remembered", fmt.Sprintf("%026d", 3), "call-2"},
		{"one that is forgotten", fmt.Sprintf("%026d", 0), "call-1 call-3 call-2"},
		{"none at all", "", ""},
	} {
		var got []string
		for _, d := range ds.since(DecisionFilter{}, tc.last) {
			got = append(got, d.CallID)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: found %v; want %s", tc.name, got, tc.want)
		}
	}
}

func TestNoMoreThanSoManyWatch(t *testing.T) {
	h, ds := liveHouse(t)
	for range maxStreams {
		_, cancel := ds.Subscribe(DecisionFilter{})
		defer cancel()
	}
	h.want(503, "GET", "/api/v1/decisions/stream", opsToken, "")
}
