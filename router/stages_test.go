package router

import (
	"sync"
	"testing"
	"time"

	"hookswitch/schema"
)

// The stages of a decision by themselves: each is quick, and leaves nothing for the garbage collector.

func stageAllocates(t *testing.T, name string, once func()) {
	t.Helper()
	once()
	if n := testing.AllocsPerRun(200, once); n != 0 {
		t.Errorf("%s: %v allocations; want none", name, n)
	}
}

func TestTheStagesOfADecisionAllocateNothing(t *testing.T) {
	g := newRig(t, testConfig)
	table := g.table.Load()
	stageAllocates(t, "looking a number up", func() { table.lookup("+380442223344") })
	stageAllocates(t, "checking destinations", checking(t, table.projects["1001"]))
	stageAllocates(t, "the breaker", breaking(table.projects["1001"].hooks["crm"].breaker))
}

// checking returns a check of two destinations that pass.
func checking(t testing.TB, p *project) func() {
	var two []schema.Destination
	for _, text := range []string{"380441111111", "380441111112"} {
		d, err := schema.ParseDestination(text, "")
		if err != nil {
			t.Fatal(err)
		}
		two = append(two, d)
	}
	list, warnings := make([]schema.Destination, 2), []string(nil)
	return func() {
		copy(list, two)
		if kept, reason, _ := p.policy.check(list, "380442223344", "json", &warnings); reason != schema.ReasonOK || len(kept) != 2 {
			t.Fatal(reason, warnings)
		}
	}
}

// breaking returns a call that goes well past a closed breaker.
func breaking(b *breaker) func() {
	now, well := time.Now(), func() error { return nil }
	return func() { b.run(now, well) }
}

func BenchmarkLookup(b *testing.B) {
	table := newRig(b, testConfig).table.Load()
	for b.Loop() {
		if table.lookup("380442223344") == nil {
			b.Fatal("not found")
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	once := checking(b, newRig(b, testConfig).table.Load().projects["1001"])
	for b.Loop() {
		once()
	}
}

func BenchmarkBreaker(b *testing.B) {
	once := breaking(newRig(b, testConfig).table.Load().projects["1001"].hooks["crm"].breaker)
	for b.Loop() {
		once()
	}
}

func TestSuccessesAreCountedOverTheWindowAndNoLonger(t *testing.T) {
	s := successes{period: time.Second}
	start := time.Unix(1_000_000, 0)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 1000 {
				s.add(start.Add(time.Duration(i%10) * time.Second))
			}
		})
	}
	group.Wait()
	for after, want := range map[time.Duration]int{9 * time.Second: 4000, 10 * time.Second: 3600, 18 * time.Second: 400, 19 * time.Second: 0, time.Hour: 0} {
		if got := s.sum(start.Add(after)); got != want {
			t.Errorf("after %v: %d; want %d", after, got, want)
		}
	}
	s.add(start.Add(20 * time.Second)) // in the place of a count that is over
	if got := s.sum(start.Add(20 * time.Second)); got != 1 {
		t.Errorf("a period later: %d; want 1", got)
	}
}

func TestAFailureOfACallThatBeganBeforeTheBreakerChangedDoesNotCount(t *testing.T) {
	g := newRig(t, breakerConfig("failures: 1, open_for: 10ms, open_for_max: 10ms"))
	b := g.table.Load().projects["p"].hooks["crm"].breaker
	inside, leave, done := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		b.run(time.Now(), func() error { inside <- true; <-leave; return errAiling })
		close(done)
	}()
	<-inside
	b.run(time.Now(), func() error { return errAiling }) // opens it
	time.Sleep(15 * time.Millisecond)
	if !b.run(time.Now(), func() error { return nil }) || b.state(time.Now()) != "closed" {
		t.Fatal("the breaker did not close")
	}
	leave <- true
	<-done
	if s := b.state(time.Now()); s != "closed" {
		t.Errorf("the late failure made it %s", s)
	}
}

func TestEveryDecisionIsObservedOnceRepeatsIncluded(t *testing.T) {
	g := newRig(t, testConfig)
	g.remember(time.Minute, 1<<20)
	g.hooks["crm"].set(gives(t, "380441111111"))
	var seen []string
	g.opts.Observe = func(c *schema.Call, d *schema.Decision) {
		if d.Elapsed <= 0 || d.ID == [26]byte{} {
			t.Error("observed before it was complete")
		}
		id := c.ID()
		if d.Repeated {
			id += " again"
		}
		seen = append(seen, id)
	}
	g.lookup("c1")
	g.lookup("c1")
	g.lookup("")
	if len(seen) != 3 || seen[0] != "c1" || seen[1] != "c1 again" || seen[2] != "" {
		t.Errorf("observed %q", seen)
	}
}
