package router

import (
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// rehearse is ask for somebody who tries something out.
func (g *rig) rehearse(callee string, ask Ask) *schema.Decision {
	call := &schema.Call{}
	call.SetNamed([]byte("callee"), []byte(callee))
	call.SetNamed([]byte("callid"), []byte("c1"))
	d := &schema.Decision{}
	g.Rehearse(call, d, ask)
	return d
}

// told counts a hook's calls of the last hour.
func (g *rig) told(t *testing.T, hook string) schema.HookStats {
	t.Helper()
	s, ok := g.HookStats("1001", hook)
	if !ok {
		t.Fatalf("there is no hook %s", hook)
	}
	return s
}

func TestARehearsalDecidesAsACallWouldBeAndLeavesNoTrace(t *testing.T) {
	g := newRig(t, testConfig)
	observed := 0
	g.opts.Observe = func(*schema.Call, *schema.Decision) { observed++ }
	g.hooks["own"].set(gives(t, "380441111111"))
	for range 20 {
		if got := summary(g.rehearse("380442220002", nil)); got != "hook ok schema= hook=own | dial 380441111111 all 1m30s" {
			t.Fatalf("got %s", got)
		}
	}
	// A last good answer would stand in, a failure be counted, a repeated lookup be recognised.
	g.hooks["own"].set(fails(schema.ReasonTimeout))
	for range 20 {
		if got := summary(g.rehearse("380442220002", nil)); !strings.HasPrefix(got, "fallback timeout schema=2 hook=own") {
			t.Fatalf("got %s; want the hook's own fallback scheme", got)
		}
	}
	stats := g.told(t, "own")
	sum := schema.Sum(stats.Periods)
	if stats.Breaker != "closed" || sum.Total() != 0 || len(stats.Failures) != 0 || observed != 0 {
		t.Errorf("found breaker %s, %d calls, %d failures, %d observed; want no trace", stats.Breaker, sum.Total(), len(stats.Failures), observed)
	}
	first, second := summary(g.rehearse("380442220006", nil)), summary(g.rehearse("380442220006", nil))
	if first != second {
		t.Errorf("a round robin was turned: %s, then %s", first, second)
	}
}

func TestARehearsalTellsItsStory(t *testing.T) {
	g := newRig(t, testConfig)
	g.hooks["crm"].set(gives(t, "380441111111"))
	d := g.rehearse("380442223344", nil)
	if story := strings.Join(d.Trail, "\n"); !strings.Contains(story, `following schema 100 "Ask"`) {
		t.Errorf("got %q; want the scheme that was followed", story)
	}
}

func TestARehearsalsStoryNamesEachStopAsTheConsoleReadsIt(t *testing.T) {
	g := newRig(t, testConfig)
	g.hooks["own"].set(fails(schema.ReasonTimeout))
	story := strings.Join(g.rehearse("380442220002", nil).Trail, "\n")
	for _, want := range []string{"ms  asking hook own", "ms  timeout: ", "ms  on_failure of hook own", "ms  following schema 2 "} {
		at := strings.Index(story, want)
		if at < 0 {
			t.Fatalf("found %s; want %q after what was before it", story, want)
		}
		story = story[at:]
	}
}

func TestARehearsalDoesNotAskAHookWhoseBreakerIsOpenUnlessAnotherIsAskedInItsPlace(t *testing.T) {
	g := newRig(t, testConfig)
	g.hooks["crm"].set(gives(t, "380441111111"))
	g.ForceBreaker("1001", "crm", "open")
	if d := g.rehearse("380442223344", nil); d.Reason != schema.ReasonBreakerOpen || g.hooks["crm"].asked.Load() != 0 {
		t.Errorf("got %s after %d questions; want breaker_open after none", summary(d), g.hooks["crm"].asked.Load())
	}
	answered := 0
	d := g.rehearse("380442223344", func(p *schema.Project, h *schema.Hook, call *schema.Call, deadline time.Time, a *schema.Answer) {
		if p.ID != "1001" || h.ID != "crm" || call.Callee() != "380442223344" || time.Until(deadline) <= 0 {
			t.Errorf("asked project %s, hook %s, callee %s", p.ID, h.ID, call.Callee())
		}
		answered++
		gives(t, "380900000000")(a)
	})
	if answered != 1 || d.Reason != schema.ReasonForbiddenDestination || g.hooks["crm"].asked.Load() != 0 {
		t.Errorf("got %s, answered %d times; want the answer given in the hook's place, and refused by the policy", summary(d), answered)
	}
}

func TestAFaultInARehearsalBecomesAFallback(t *testing.T) {
	g := newRig(t, testConfig)
	d := g.rehearse("380442223344", func(*schema.Project, *schema.Hook, *schema.Call, time.Time, *schema.Answer) { panic("a fault") })
	if d.Reason != schema.ReasonInternal || len(d.Steps) == 0 {
		t.Errorf("got %s; want the fallback", summary(d))
	}
}

func TestHookStatsTellOfEveryCallThatCameToTheHook(t *testing.T) {
	g := newRig(t, testConfig)
	g.hooks["crm"].set(gives(t, "380441111111"))
	for range 3 {
		g.ask("380442223344")
	}
	g.hooks["crm"].set(gives(t, "380900000000"))
	g.ask("380442223344")
	g.ForceBreaker("1001", "crm", "open")
	g.ask("380442223344")
	stats := g.told(t, "crm")
	sum := schema.Sum(stats.Periods)
	if sum.Reasons[schema.ReasonOK] != 3 || sum.Reasons[schema.ReasonForbiddenDestination] != 1 || sum.Reasons[schema.ReasonBreakerOpen] != 1 || sum.Total() != 5 {
		t.Errorf("got %v; want 3 ok, 1 forbidden_destination and 1 breaker_open", sum.Reasons)
	}
	var timed uint64
	for _, n := range sum.Took {
		timed += n
	}
	if timed != 4 {
		t.Errorf("%d calls were timed; want the 4 for which the hook was asked", timed)
	}
	if len(stats.Failures) != 1 || stats.Failures[0].Reason != schema.ReasonForbiddenDestination || stats.Failures[0].CallID != "c1" {
		t.Errorf("got failures %+v; want the one", stats.Failures)
	}
	if stats.Breaker != "open" || stats.MaxInFlight != 64 || stats.InFlight != 0 {
		t.Errorf("got %+v; want what the hook meets now", stats)
	}
}

func TestOnlyTheLastFailuresAreKept(t *testing.T) {
	g := newRig(t, testConfig)
	h := g.table.Load().projects["1001"].hooks["crm"]
	w := walk{r: g.Router, t: g.table.Load(), call: &schema.Call{}, d: &schema.Decision{}}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for n := range 3 * keptFailures {
		w.now = at.Add(time.Duration(n) * time.Second)
		w.countAsked(h, schema.ReasonTimeout, "slow")
		w.now = w.now.Add(pauseBetween / 2)
		w.countAsked(h, schema.ReasonTimeout, "too close to the one before")
	}
	last := h.stats.last()
	if len(last) != keptFailures || !last[0].At.Equal(at.Add((3*keptFailures-1)*time.Second)) {
		t.Fatalf("got %d failures, the newest at %s; want %d", len(last), last[0].At, keptFailures)
	}
	for _, f := range last {
		if f.Detail != "slow" {
			t.Errorf("found %q, %s", f.Detail, f.At)
		}
	}
}

func TestStatsGoOnWhenAHookIsChangedAndEndWithIt(t *testing.T) {
	g := newRig(t, testConfig)
	g.ask("380442223344")
	g.load(t, strings.ReplaceAll(testConfig, "http://crm.example/route", "http://crm.example/mended"))
	stats := g.told(t, "crm")
	if sum := schema.Sum(stats.Periods); sum.Total() != 1 || len(stats.Failures) != 1 {
		t.Errorf("found %d calls and %d failures; want those from before the change", sum.Total(), len(stats.Failures))
	}
	if _, ok := g.HookStats("1001", "gone"); ok {
		t.Error("there are stats of a hook that is not there")
	}
	if all := g.AllHookStats("1001", time.Minute); len(all) != 3 || all[0].Hook != "crm" || len(g.AllHookStats("", time.Minute)) != 3 || len(g.AllHookStats("1002", time.Minute)) != 0 {
		t.Errorf("got %d hooks of 1001, %d in all", len(all), len(g.AllHookStats("", time.Minute)))
	}
	if all := g.AllHookStats("", 5*time.Minute); len(all[0].Periods) != 3 || len(all[0].Failures) != 0 {
		t.Errorf("got %d periods and %d failures of each; want the last 3 of 2 minutes, since there may be a thousand hooks", len(all[0].Periods), len(all[0].Failures))
	}
}

func BenchmarkCountAsked(b *testing.B) {
	g := newRig(b, testConfig)
	h := g.table.Load().projects["1001"].hooks["crm"]
	w := walk{r: g.Router, t: g.table.Load(), call: &schema.Call{}, d: &schema.Decision{}, now: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		w.countAsked(h, schema.ReasonOK, "")
	}
}
