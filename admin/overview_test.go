package admin

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
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
