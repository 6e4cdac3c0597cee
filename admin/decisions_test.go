package admin

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hookswitch/schema"
)

// decided makes a call and its decision, the nth of a test.
func decided(t testing.TB, n int, caller, callee string) (*schema.Call, *schema.Decision) {
	t.Helper()
	call := &schema.Call{At: time.Date(2026, 3, 1, 12, 0, 0, n*int(time.Millisecond), time.UTC)}
	call.SetNamed([]byte("callid"), fmt.Appendf(nil, "call-%d", n))
	call.SetNamed([]byte("caller"), []byte(caller))
	call.SetNamed([]byte("callee"), []byte(callee))
	dst, err := schema.ParseDestination("380441111111", "")
	if err != nil {
		t.Fatal(err)
	}
	d := &schema.Decision{
		CallID: call.ID(), Project: "1001", Version: 7, Source: schema.SourceHook, Hook: "crm", Elapsed: 3 * time.Millisecond,
		Steps: []schema.DecidedStep{{Dial: []schema.Destination{dst}, Strategy: schema.All, Timeout: 90 * time.Second}},
	}
	copy(d.ID[:], fmt.Sprintf("%026d", n))
	return call, d
}

func TestTheLastDecisionsAreListedNewestFirst(t *testing.T) {
	ds := NewDecisions()
	for n := range 40 {
		ds.Observe(decided(t, n, "380501112233", "380442223344"))
	}
	list := ds.List(DecisionFilter{})
	if len(list) != 40 || list[0].CallID != "call-39" || list[39].CallID != "call-0" {
		t.Fatalf("got %d decisions, %+v first; want all 40, call-39 first", len(list), list[0])
	}
	got := list[0]
	if got.DstPhone != "380441111111" || got.Project != "1001" || got.Version != 7 || got.Source != "hook" || got.Reason != "ok" ||
		got.Hook != "crm" || got.ElapsedMS != 3 || got.Caller != "380501112233" || got.Callee != "380442223344" {
		t.Errorf("got %+v; want what was observed", got)
	}
}

func TestTheRingForgetsTheOldestAndNeverGrows(t *testing.T) {
	ds := NewDecisions()
	for n := range 3 * decisionShards * decisionSlots {
		ds.Observe(decided(t, n, "1", "2"))
	}
	list := ds.List(DecisionFilter{})
	if len(list) > decisionShards*decisionSlots || len(list) < decisionSlots {
		t.Fatalf("got %d decisions; want at most %d", len(list), decisionShards*decisionSlots)
	}
	if want := fmt.Sprintf("call-%d", 3*decisionShards*decisionSlots-1); list[0].CallID != want {
		t.Errorf("the newest is %s; want %s", list[0].CallID, want)
	}
}

func TestFiltersSelect(t *testing.T) {
	ds := NewDecisions()
	for n, caller := range []string{"+380501112233", "380672223344", "380501119999"} {
		call, d := decided(t, n, caller, "380442223344")
		if n == 1 {
			d.Source, d.Reason, d.Hook, d.Project = schema.SourceFallback, schema.ReasonTimeout, "slow", "1002"
		}
		ds.Observe(call, d)
	}
	for name, tc := range map[string]struct {
		f    DecisionFilter
		want int
	}{
		"nothing":                  {DecisionFilter{}, 3},
		"a call id":                {DecisionFilter{CallID: "call-1"}, 1},
		"a caller's number":        {DecisionFilter{Number: "380501112233"}, 1},
		"a number written with +":  {DecisionFilter{Number: "+380501112233"}, 1},
		"part of a number":         {DecisionFilter{Number: "38050"}, 2},
		"the callee's number":      {DecisionFilter{Number: "380442223344"}, 3},
		"a reason":                 {DecisionFilter{Reason: "timeout"}, 1},
		"a source":                 {DecisionFilter{Source: "hook"}, 2},
		"a hook":                   {DecisionFilter{Hook: "slow"}, 1},
		"a project":                {DecisionFilter{Project: "1001"}, 2},
		"two that exclude another": {DecisionFilter{Project: "1001", Reason: "timeout"}, 0},
	} {
		if got := len(ds.List(tc.f)); got != tc.want {
			t.Errorf("%s selects %d; want %d", name, got, tc.want)
		}
	}
}

func TestNoNumberIsKeptWhereNumbersAreMasked(t *testing.T) {
	ds := NewDecisions()
	ds.Mask(true)
	seen, cancel := ds.Subscribe(DecisionFilter{})
	defer cancel()
	call, d := decided(t, 1, "380501112233", "380442223344")
	call.Explain = true
	call.SetNamed([]byte("phone2"), []byte("380671112233"))
	d.Detail = "the answer 380505556677 is of no use"
	d.Warnings = []string{"380509998877 dropped: it stands in the answer twice"}
	d.Trail = []string{"asked for 380501112233"}
	d.Answer.Attempts = []schema.Attempt{{URL: "https://crm.example/route?caller=380501112233", Request: "GET /?caller=380501112233", Body: "380505556677"}}
	ds.Observe(call, d)
	one, story, ok := ds.Find(string(d.ID[:]), "1001")
	if !ok || story == nil {
		t.Fatal("the decision and its story were not kept")
	}
	for _, text := range []string{fmt.Sprintf("%+v", one), fmt.Sprintf("%+v", *story), fmt.Sprintf("%+v", <-seen)} {
		for _, number := range []string{"380501112233", "380442223344", "380671112233", "380505556677", "380509998877", "380441111111"} {
			if strings.Contains(text, number) {
				t.Errorf("found %s in %s", number, text)
			}
		}
	}
	if one.Caller != "380***33" || len(ds.List(DecisionFilter{Number: "380501112233"})) != 1 || len(ds.List(DecisionFilter{Number: "380501112234"})) != 0 {
		t.Errorf("got %+v; want the caller as 380***33, to be found by a number that might be it", one)
	}
}

func TestTextsOfAnyLengthAreCutToWhatASlotHolds(t *testing.T) {
	ds := NewDecisions()
	long := strings.Repeat("я", 1000)
	call, d := decided(t, 1, long, long)
	d.CallID, d.Project, d.Schema, d.Hook, d.Detail = long, long, long, long, long
	d.Warnings = []string{long, long, long}
	for range 9 {
		d.Answer.Attempts = append(d.Answer.Attempts, schema.Attempt{URL: "https://" + long + "?q=" + long})
		d.Steps[0].Dial = append(d.Steps[0].Dial, d.Steps[0].Dial[0])
	}
	for range 20 {
		d.Steps[0].Dial = append(d.Steps[0].Dial, d.Steps[0].Dial[0])
	}
	ds.Observe(call, d)
	got := ds.List(DecisionFilter{})[0]
	if len(got.CallID) > textLimits[textCallID] || !strings.HasPrefix(long, got.CallID) || len(got.Attempts) != slotAttempts {
		t.Errorf("got %+v; want beginnings of the texts", got)
	}
	for dst := range strings.SplitSeq(got.DstPhone, ",") {
		if dst != "380441111111" {
			t.Errorf("found %q in %s; want whole destinations only", dst, got.DstPhone)
		}
	}
}

func TestASlowWatcherLosesAndIsToldHowMany(t *testing.T) {
	ds := NewDecisions()
	seen, cancel := ds.Subscribe(DecisionFilter{})
	defer cancel()
	// A second apart, so that only the reading is too slow and not the pace too high.
	for n := range watcherBacklog + 5 {
		call, d := decided(t, n, "1", "2")
		call.At = call.At.Add(time.Duration(n) * time.Second)
		ds.Observe(call, d)
	}
	for range watcherBacklog {
		if d := <-seen; d.Lost != 0 {
			t.Fatalf("%s tells of %d lost; none was lost before it", d.CallID, d.Lost)
		}
	}
	call, d := decided(t, watcherBacklog+5, "1", "2")
	call.At = call.At.Add(time.Hour)
	ds.Observe(call, d)
	if got := <-seen; got.Lost != 5 {
		t.Errorf("%d lost were told of; want 5", got.Lost)
	}
}

func TestMoreThanAPersonCanReadIsCountedAndNotShown(t *testing.T) {
	ds := NewDecisions()
	seen, cancel := ds.Subscribe(DecisionFilter{Project: "1001"})
	defer cancel()
	for n := range 2 * shownPerSecond { // within a second
		ds.Observe(decided(t, n, "1", "2"))
	}
	if len(seen) != shownPerSecond {
		t.Fatalf("%d were shown; want %d", len(seen), shownPerSecond)
	}
}

func TestOnlyTheWatchedCallsAreExplainedAndNoMoreThanTwentyASecond(t *testing.T) {
	ds := NewDecisions()
	call, _ := decided(t, 1, "380501112233", "380442223344")
	if ds.Watching(call) {
		t.Error("a call is to be explained, and nobody watches")
	}
	_, cancel := ds.Subscribe(DecisionFilter{Number: "38050111"})
	_, cancelOther := ds.Subscribe(DecisionFilter{Project: "1002", CallID: "another"})
	other, _ := decided(t, 1, "380671112233", "380442223344")
	if ds.Watching(other) {
		t.Error("a call is to be explained that nobody wants to see")
	}
	explained := 0
	for range 100 {
		if ds.Watching(call) {
			explained++
		}
	}
	if explained != storiesPerSecond {
		t.Errorf("%d calls of one second are explained; want %d", explained, storiesPerSecond)
	}
	cancel()
	cancel()
	cancelOther()
	call.At = call.At.Add(time.Second)
	if ds.Watching(call) {
		t.Error("a call is to be explained, and nobody watches any more")
	}
}

func TestAProjectsStoryIsNotForOthers(t *testing.T) {
	ds := NewDecisions()
	call, d := decided(t, 1, "380501112233", "380442223344")
	call.Explain = true
	ds.Observe(call, d)
	if _, _, ok := ds.Find(string(d.ID[:]), "1002"); ok {
		t.Error("project 1002 found a decision of 1001")
	}
}

func TestStoriesAreBounded(t *testing.T) {
	ds := NewDecisions()
	for n := range 3 * (keptStories + keptFailures) {
		call, d := decided(t, n, "1", "2")
		call.Explain = true
		if n%2 == 1 {
			d.Source = schema.SourceFallback
		}
		ds.Observe(call, d)
	}
	if got := len(ds.stories.byID); got != keptStories+keptFailures {
		t.Errorf("%d stories are kept; want %d", got, keptStories+keptFailures)
	}
}

func TestAFailureIsToldInFullUnderLoadAndRememberedForLonger(t *testing.T) {
	ds := NewDecisions()
	fail := func(n int) *schema.Decision {
		call, d := decided(t, n, "380501112233", "380442223344")
		call.At = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
		call.SetNamed([]byte("pool"), []byte("site"))
		call.Hook = "crm"
		d.Source, d.Reason = schema.SourceFallback, schema.ReasonTimeout
		d.Answer.Attempts = []schema.Attempt{{URL: "https://crm.example/route", Reason: schema.ReasonTimeout}}
		call.Explain = ds.Watching(call)
		ds.Observe(call, d)
		return d
	}
	if _, story, _ := ds.Find(string(fail(0).ID[:]), ""); story != nil {
		t.Error("a story is kept, and nobody watches")
	}
	_, cancel := ds.Subscribe(DecisionFilter{})
	defer cancel()
	spend := func(second int) { // what is told in full of the calls that go well
		call, _ := decided(t, 0, "1", "2")
		call.At = time.Date(2026, 3, 1, 12, 0, second, 0, time.UTC)
		for range storiesPerSecond {
			ds.Watching(call)
		}
	}
	spend(1)
	first := fail(1)
	if _, story, ok := ds.Find(string(first.ID[:]), ""); !ok || story == nil || len(story.Attempts) != 1 || story.Question["pool"] != "site" || story.Control["hook"] != "crm" {
		t.Fatalf("found %+v; want an outline of what failed unforeseen", story)
	}
	spend(2)
	call, _ := decided(t, 2, "380501112233", "380442223344")
	call.At = time.Date(2026, 3, 1, 12, 0, 2, 0, time.UTC)
	if !ds.Watching(call) {
		t.Error("a call to a number that failed a moment ago is not told in full")
	}
	for n := range 2 * decisionShards * decisionSlots {
		ds.Observe(decided(t, 10+n, "1", "2"))
	}
	if d, story, ok := ds.Find(string(first.ID[:]), "1001"); !ok || story == nil || d.Reason != "timeout" {
		t.Error("the failure is forgotten with those that went well")
	}
	if list := ds.List(DecisionFilter{Reason: "timeout"}); len(list) != 1 || list[0].CallID != "call-1" {
		t.Errorf("found %d failures in the list; want the one with a story", len(list))
	}
}

func TestObservingReadingAndWatchingAtOnce(t *testing.T) {
	ds := NewDecisions()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			call, d := decided(t, g, "380501112233", "380442223344")
			for n := range 2000 {
				copy(d.ID[20:], fmt.Sprintf("%06d", n))
				ds.Observe(call, d)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			for _, d := range ds.List(DecisionFilter{}) {
				if d.Caller != "380501112233" || d.DstPhone != "380441111111" {
					t.Errorf("got a torn decision: %+v", d)
					return
				}
			}
			seen, cancel := ds.Subscribe(DecisionFilter{})
			select {
			case <-seen:
			case <-time.After(time.Millisecond):
			}
			cancel()
		}
	})
	wg.Wait()
	counted := schema.Sum(ds.minutes.Last(time.Date(2026, 3, 1, 12, 0, 1, 0, time.UTC), 60))
	if counted.Total() != 8000 {
		t.Errorf("%d decisions were counted; want 8000", counted.Total())
	}
}

func TestObservingAllocatesNothingWhileNobodyWatches(t *testing.T) {
	for _, masked := range []bool{false, true} {
		ds := NewDecisions()
		ds.Mask(masked)
		call, d := decided(t, 1, "380501112233", "380442223344")
		d.Answer.Attempts = []schema.Attempt{{URL: "https://crm.example/route", Status: 200}}
		ds.Observe(call, d)
		if n := testing.AllocsPerRun(100, func() { ds.Observe(call, d) }); n != 0 {
			t.Errorf("masked %t: %v allocations; want none", masked, n)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	ds := NewDecisions()
	call, d := decided(b, 1, "380501112233", "380442223344")
	d.Answer.Attempts = []schema.Attempt{{URL: "https://crm.example/route", Status: 200}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		own := *d
		for n := 0; pb.Next(); n++ {
			own.ID[25] = byte(n)
			ds.Observe(call, &own)
		}
	})
}
