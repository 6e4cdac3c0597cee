package admin

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hookswitch/schema"
)

// hookFigures are so many hooks, of which the last is the busiest.
type hookFigures int

func (hookFigures) HookStats(string, string) (schema.HookStats, bool) {
	return schema.HookStats{}, false
}

func (n hookFigures) AllHookStats(project string, _ time.Duration) []schema.HookStats {
	var all []schema.HookStats
	for i := range int(n) {
		all = append(all, schema.HookStats{Project: "10553", Hook: string(rune('a' + i)), Breaker: "closed", InFlight: i, MaxInFlight: 64, PeriodLength: time.Minute})
	}
	return all
}

func overviewHouse(t *testing.T) (*house, *Decisions) {
	ds := NewDecisions()
	log := &deliveryLog{disabled: []schema.DisabledWebhook{{Project: "10553", Webhook: 5, Reason: "gone"}, {Project: "filed", Webhook: 1}}}
	return newHouse(t, func(o *Options) {
		o.Deliveries, o.Live.Decisions, o.Live.Hooks = log, ds, hookFigures(26)
		o.Live.Backlog = func(string) (schema.Backlog, error) {
			return schema.Backlog{Waiting: 1, Failed: 3, FailedBy: map[string]int{"10553": 2, "filed": 1}}, nil
		}
	}), ds
}

func TestTheOverviewTellsRatesBySourceAndReasonAndWhoNeedsAttention(t *testing.T) {
	h, ds := overviewHouse(t)
	for n := range 20 {
		call, d := decidedFor(t, n, "10553")
		if n%4 == 0 {
			d.Source, d.Reason = schema.SourceFallback, schema.ReasonTimeout
		}
		ds.Observe(call, d)
	}
	var o Overview
	if err := json.Unmarshal([]byte(h.want(200, "GET", "/api/v1/overview", opsToken, "", "Client", "").body), &o); err != nil {
		t.Fatal(err)
	}
	rates := o.Decisions.BySecond
	if hook, late := rates.Source["hook"], rates.Reason["timeout"]; hook <= 0 || late <= 0 || hook < 2.9*late || hook > 3.1*late {
		t.Errorf("found %v; want three times as many by the hook as late ones", rates)
	}
	if busiest := o.Hooks.Busiest; len(busiest) != maxBusiest || busiest[0].Hook != "z" || o.Hooks.Total != 26 {
		t.Errorf("found %d of %d hooks; want the %d busiest, z first", len(busiest), o.Hooks.Total, maxBusiest)
	}
	if del := o.Delivered; del == nil || del.Failed != 3 || del.FailedBy["filed"] != 1 || len(del.Disabled) != 2 {
		t.Errorf("found %+v; want what failed by project, and both disabled webhooks", del)
	}
	own := h.want(200, "GET", "/api/v1/overview", ownToken, "", "Client", "")
	if strings.Contains(own.body, `"webhook":1,`) || !strings.Contains(own.body, `"webhook":5,`) {
		t.Errorf("found %s; want its own disabled webhook and no other's", own.body)
	}
}

func TestTheOverviewIsStreamedAgainAndAgain(t *testing.T) {
	h, _ := overviewHouse(t)
	h.want(403, "GET", "/api/v1/overview/stream?project=filed", ownToken, "", "Client", "")
	q, err := http.NewRequest("GET", h.url+"/api/v1/overview/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+ownToken)
	a, err := h.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	lines, seen := bufio.NewScanner(a.Body), 0
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var o Overview
		if err := json.Unmarshal([]byte(data), &o); err != nil || o.Hooks.Total != 26 {
			t.Fatalf("found %.80s; want an overview: %v", data, err)
		}
		if seen++; seen == 2 {
			h.server.closing.Store(true) // as Shutdown does first
		}
	}
	if seen != 2 {
		t.Errorf("found %d overviews; want 2, and the stream's end with the server", seen)
	}
	for end := time.Now().Add(5 * time.Second); h.server.overviews.Load() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the stream is over, and is still counted")
		}
	}
}

func TestTheOverviewIsMadeOnceForAllWhoWatchIt(t *testing.T) {
	began := time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)
	s := showing{by: map[string]*shownOverview{}}
	var made atomic.Int32
	overview := func() *Overview {
		made.Add(1)
		return &Overview{}
	}
	const early = streamLook / 2
	for _, tc := range []struct {
		name  string
		after time.Duration
		want  int
	}{
		{"all come at once", 0, 1},
		{"before a second has passed", overviewPace - early - 1, 1},
		{"at the look nearest to a second", overviewPace - early, 2},
		{"a second after the first look was due, not after it came", 2*overviewPace - early, 3},
		{"looks that came late", 10 * overviewPace, 4},
		{"a second after those", 11 * overviewPace, 5},
	} {
		var watching sync.WaitGroup
		for range maxStreams {
			o := s.watch("10553")
			watching.Go(func() {
				if body, n := o.at(began.Add(tc.after), overview); n != tc.want || len(body) == 0 {
					t.Errorf("%s: found the overview number %d in %d bytes; want number %d", tc.name, n, len(body), tc.want)
				}
			})
		}
		watching.Wait()
		for range maxStreams - 1 { // one stays, and knows what was shown
			s.leave("10553")
		}
	}
	if n := int(made.Load()); n != 5 {
		t.Errorf("it was made %d times; want 5", n)
	}
	if o := s.watch("filed"); o == s.by["10553"] {
		t.Error("another project's is the same")
	}
	s.leave("filed")
	for range 6 {
		s.leave("10553")
	}
	if len(s.by) != 0 {
		t.Errorf("found %d shown to nobody; want none kept", len(s.by))
	}
}
