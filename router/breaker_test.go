package router

import (
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// breakerConfig is a project whose default scheme stands in for one hook with the given breaker.
func breakerConfig(breaker string) string {
	return `
projects:
  - id: p
    default_schema: "1"
    numbers: [{number: "380442223344", schema: h}]
    schemas: [{id: "1", name: D, steps: [{dial: ["380440000001"]}]}, {id: h, name: H, steps: [{hook: crm}]}]
    hooks: [{id: crm, url: "http://crm.example/", request_timeout: 100ms, max_in_flight: 4, breaker: {` + breaker + `}}]
`
}

func TestTheBreaker(t *testing.T) {
	const callee = "380442223344"
	t.Run("opens after failures in a row and asks no more", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 3, open_for: 1m, open_for_max: 1m"))
		for range 10 {
			g.ask(callee)
		}
		if n := g.hooks["crm"].asked.Load(); n != 3 {
			t.Errorf("the hook was asked %d times; want 3", n)
		}
		if r := g.ask(callee).Reason; r != schema.ReasonBreakerOpen {
			t.Errorf("reason %s", r)
		}
	})
	t.Run("opens at the failure rate over the minimum volume", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 1000, failure_rate: 0.5, min_calls: 10, open_for: 1m, open_for_max: 1m"))
		for i := range 20 {
			if i%2 == 0 {
				g.hooks["crm"].set(gives(t, "380441111111"))
			} else {
				g.hooks["crm"].set(fails(schema.ReasonTimeout))
			}
			g.ask(callee)
		}
		if n := g.hooks["crm"].asked.Load(); n != 10 {
			t.Errorf("the hook was asked %d times; want 10", n)
		}
	})
	t.Run("counts slow answers as failures", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 2, slow_call: 0.3, open_for: 1m, open_for_max: 1m"))
		good := gives(t, "380441111111")
		g.hooks["crm"].set(func(a *schema.Answer) { time.Sleep(40 * time.Millisecond); good(a) })
		for range 3 {
			g.ask(callee)
		}
		if r := g.ask(callee).Reason; r != schema.ReasonBreakerOpen {
			t.Errorf("reason %s", r)
		}
	})
	t.Run("leaves a hook alone that answers, but with nothing of use", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 2, open_for: 1m, open_for_max: 1m"))
		for _, r := range []schema.Reason{schema.ReasonNoDestination, schema.ReasonInvalidDestination} {
			g.hooks["crm"].set(fails(r))
			for range 5 {
				if got := g.ask(callee).Reason; got != r {
					t.Errorf("reason %s, want %s", got, r)
				}
			}
		}
	})
	t.Run("closes with one real call when no probe_url is given", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 1, open_for: 30ms, open_for_max: 30ms"))
		g.ask(callee)
		g.hooks["crm"].set(gives(t, "380441111111"))
		time.Sleep(35 * time.Millisecond)
		if s := g.ask(callee).Source; s != schema.SourceHook {
			t.Errorf("source %s", s)
		}
	})
	t.Run("asks the probe_url in the background, and no caller tests the recovery", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 1, open_for: 20ms, open_for_max: 20ms, probe_url: 'http://crm.example/healthz'"))
		crm := g.hooks["crm"]
		g.ask(callee)
		for end := time.Now().Add(5 * time.Second); crm.probed.Load() < 3; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no probes")
			}
			if r := g.ask(callee).Reason; r != schema.ReasonBreakerOpen {
				t.Fatalf("a caller tested the hook: %s", r)
			}
		}
		crm.set(gives(t, "380441111111"))
		crm.well.Store(true)
		for end := time.Now().Add(5 * time.Second); g.ask(callee).Source != schema.SourceHook; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the breaker did not close")
			}
		}
	})
	t.Run("finds out a hook that hangs for longer than the window", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 1, window: 100ms, open_for: 1m, open_for_max: 1m"))
		timeout := fails(schema.ReasonTimeout)
		g.hooks["crm"].set(func(a *schema.Answer) { time.Sleep(120 * time.Millisecond); timeout(a) })
		g.ask(callee)
		if r := g.ask(callee).Reason; r != schema.ReasonBreakerOpen {
			t.Errorf("reason %s", r)
		}
	})
	t.Run("opens for a quiet customer, whose failures in a row lie further apart than the window", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 3, window: 100ms, open_for: 1m, open_for_max: 1m"))
		for range 3 {
			g.ask(callee)
			time.Sleep(250 * time.Millisecond)
		}
		if r := g.ask(callee).Reason; r != schema.ReasonBreakerOpen {
			t.Errorf("reason %s", r)
		}
	})
	t.Run("does not blame a hook for a PBX without patience", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 2, open_for: 1m, open_for_max: 1m"))
		hurried := func(patience time.Duration) *schema.Decision {
			call := schema.Call{At: time.Now()}
			call.Deadline = call.At.Add(patience)
			call.SetNamed([]byte("callee"), []byte(callee))
			d := &schema.Decision{}
			g.Decide(&call, d)
			return d
		}
		for range 10 {
			if r := hurried(20 * time.Millisecond).Reason; r != schema.ReasonTimeout {
				t.Fatalf("reason %s", r)
			}
		}
		g.hooks["crm"].set(gives(t, "380441111111"))
		if s := g.ask(callee).Source; s != schema.SourceHook {
			t.Errorf("source %s", s)
		}
		g.hooks["crm"].set(fails(schema.ReasonTimeout))
		for range 2 {
			hurried(80 * time.Millisecond) // time enough
		}
		if r := g.ask(callee).Reason; r != schema.ReasonBreakerOpen {
			t.Errorf("reason %s", r)
		}
	})
	t.Run("lets another call try where a hurried one could not tell", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 1, open_for: 20ms, open_for_max: 20ms"))
		g.ask(callee)
		time.Sleep(25 * time.Millisecond)
		call := schema.Call{At: time.Now()}
		call.Deadline = call.At.Add(20 * time.Millisecond)
		call.SetNamed([]byte("callee"), []byte(callee))
		g.Decide(&call, &schema.Decision{})
		g.hooks["crm"].set(gives(t, "380441111111"))
		if d := g.ask(callee); d.Source != schema.SourceHook {
			t.Errorf("got %s", summary(d))
		}
	})
	t.Run("obeys an operator", func(t *testing.T) {
		g := newRig(t, breakerConfig("failures: 1, open_for: 1m, open_for_max: 1m"))
		g.ForceBreaker("p", "crm", "closed")
		for range 5 {
			if r := g.ask(callee).Reason; r != schema.ReasonTimeout {
				t.Errorf("forced closed: %s", r)
			}
		}
		g.ForceBreaker("p", "crm", "open")
		g.hooks["crm"].set(gives(t, "380441111111"))
		if r := g.ask(callee).Reason; r != schema.ReasonBreakerOpen {
			t.Errorf("forced open: %s", r)
		}
		if g.ForceBreaker("p", "nope", "open") {
			t.Error("forced a hook that is not there")
		}
	})
}

func TestTheOpenTimeGrowsToItsLimit(t *testing.T) {
	conf := &schema.Breaker{OpenFor: 5 * time.Second, OpenForMax: time.Minute}
	for n, want := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 4: 40 * time.Second, 5: time.Minute, 1000: time.Minute} {
		for range 100 {
			if d := openFor(conf, n); d > want || d < want*4/5 {
				t.Errorf("opening %d lasts %s; want %s or up to a fifth less", n, d, want)
			}
		}
	}
}

func TestTheBulkheadRefusesAtOnce(t *testing.T) {
	g := newRig(t, breakerConfig("failures: 1000, failure_rate: 1, min_calls: 1000"))
	inside, leave := make(chan bool, 4), make(chan bool)
	good := gives(t, "380441111111")
	g.hooks["crm"].set(func(a *schema.Answer) { inside <- true; <-leave; good(a) })
	done := make(chan *schema.Decision, 4)
	for range 4 {
		go func() { done <- g.ask("380442223344") }()
	}
	for range 4 {
		<-inside
	}
	d := g.ask("380442223344")
	if d.Reason != schema.ReasonOverloaded || len(d.Steps) == 0 {
		t.Errorf("the fifth call got %s", summary(d))
	}
	close(leave)
	for range 4 {
		if d := <-done; d.Source != schema.SourceHook {
			t.Errorf("one of the four got %s", summary(d))
		}
	}
	if d := g.ask("380442223344"); d.Source != schema.SourceHook {
		t.Errorf("afterwards: %s", summary(d))
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"*", "anything", true}, {"op*", "operator", true}, {"op*", "xop", false},
		{"*.example", "pbx.example", true}, {"*.example", "example", false}, {"a*b*c", "aXXbYYc", true},
		{"a*b*c", "aXXbYY", false}, {"pbx.example", "PBX.example", true}, {"", "", true}, {"", "x", false},
		{"pbx.example", "pbx.example.evil", false}, {strings.Repeat("a*", 30), strings.Repeat("a", 29), false},
	} {
		if got := glob(c.pattern, c.text, true); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.text, got)
		}
	}
}
