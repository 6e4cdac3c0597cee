package e2e

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"testing"
	"time"
)

// load is how many calls a test makes, and how many a second.
func load(short, fullForm [2]int) (n, rate int) {
	if full {
		return fullForm[0], fullForm[1]
	}
	return short[0], short[1]
}

func TestEveryKamailioCallReachesWhatItsHookAnswered(t *testing.T) {
	n, rate := load([2]int{200, 100}, [2]int{2000, 100})
	r := startSIP(t, shippedKamailio, 0)
	c := startCallers(t, "caller", r.proxy, n, rate, toOneNumber, toTwoAtOnce, toTwoInOrder, toOneNumber)
	calls := c.wait()
	r.checkAllByTheHook(t, calls)
	t.Logf("%d calls at %d/s, mixed; INVITE to ringing, p50, p99, p99.9, max in ms (SIPp, by a clock of 4 ms):%s", n, rate, c.ringing())
}

// checkAllByTheHook checks that each call reached the number that the hook told it, that the hook was
// asked once for each, and that those who were to ring beside it, or to be busy before it, were called.
func (r *sipRig) checkAllByTheHook(t *testing.T, calls map[string]sippCall) {
	t.Helper()
	asked, told := r.hook.counts()
	beside, busy := map[string]string{}, map[string]string{}
	for id, c := range calls {
		if c.reached != told[id] || c.reached == "" {
			t.Errorf("call %s to %s reached %q; want %q, which the hook answered", id, c.callee, c.reached, told[id])
		}
		if asked[id] != 1 {
			t.Errorf("call %s to %s: the hook was asked %d times; want once", id, c.callee, asked[id])
		}
		switch c.callee {
		case toTwoAtOnce:
			beside[id] = told[id]
		case toTwoInOrder:
			busy[id] = "380440000002"
		}
	}
	if len(asked) != len(calls) {
		t.Errorf("the hook was asked about %d calls; %d were made", len(asked), len(calls))
	}
	same := func(who *answerer, event string, want map[string]string) {
		var got map[string]string
		defer func() {
			if !maps.Equal(got, want) {
				t.Errorf("%s: %d calls; want the %d that the hook sent there", event, len(got), len(want))
			}
		}()
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !maps.Equal(got, want); time.Sleep(20 * time.Millisecond) {
			got = who.noted(t, event)
		}
	}
	same(r.rings, "called", beside)
	same(r.rings, "cancelled", beside)
	same(r.busy, "called", busy)
}

func TestWithItsHookKilledEveryKamailioCallReachesTheDefaultScheme(t *testing.T) {
	n, rate := load([2]int{200, 100}, [2]int{2000, 100})
	r := startSIP(t, shippedKamailio, 0)
	r.hook.when(n/2, r.hook.kill)
	calls := startCallers(t, "caller", r.proxy, n, rate, toOneNumber, toTwoAtOnce, toTwoInOrder, toOneNumber).wait()
	r.checkAllOr(t, calls, defaultNumber, n)
}

func TestWithHookswitchKilledEveryKamailioCallReachesTheLastResort(t *testing.T) {
	for _, tc := range []struct{ name, define string }{
		{"a connection for each lookup", "HS_PLAIN"},
		{"kept connections", "WITH_KEEPALIVE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, rate := load([2]int{200, 100}, [2]int{2000, 100})
			r := startSIP(t, shippedKamailio, 0, "-A", tc.define)
			r.hook.when(n/2, func() { _ = r.service.cmd.Process.Kill() })
			calls := startCallers(t, "caller", r.proxy, n, rate, toOneNumber, toTwoAtOnce, toTwoInOrder, toOneNumber).wait()
			r.checkAllOr(t, calls, lastResortNumber, n)
		})
	}
}

// checkAllOr checks that each call that asked the hook, before it or hookswitch was killed at half of
// the n, reached what it was told, and every other one the number that stands in. Calls that were being
// decided at that instant may have either.
func (r *sipRig) checkAllOr(t *testing.T, calls map[string]sippCall, standIn string, n int) {
	t.Helper()
	_, told := r.hook.counts()
	byHook, byStandIn := 0, 0
	for id, c := range calls {
		number, asked := told[id]
		switch {
		case asked && c.reached == number:
			byHook++
		case c.reached == standIn:
			byStandIn++
		default:
			t.Errorf("call %s to %s reached %q; want %q or %q", id, c.callee, c.reached, number, standIn)
		}
	}
	if byHook < n/4 || byStandIn < n/4 {
		t.Errorf("%d calls of %d reached what the hook answered, and %d what stands in for it; want about half each", byHook, n, byStandIn)
	}
	t.Logf("%d calls before the kill reached what the hook answered, %d reached %s", byHook, byStandIn, standIn)
}

func TestAHookIsAskedOnceHoweverOftenKamailioRepeats(t *testing.T) {
	n, rate := load([2]int{200, 100}, [2]int{2000, 300})
	for _, tc := range []struct {
		name, config, define string
		callees              []string
		leastRepeats         int
	}{
		// A repeated INVITE is answered from its transaction. Two at the same instant might still both be
		// looked up.
		{"the shipped file", shippedKamailio, "WITH_KEEPALIVE",
			[]string{toOneNumber, toTwoAtOnce, toTwoInOrder, toOneNumber}, 0},
		{"a dialplan that looks up each INVITE", simpleKamailio, "LOOKUP",
			[]string{toOneNumber, toTwoAtOnce}, n},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const late = 300 * time.Millisecond
			r := startSIP(t, tc.config, late, "-A", tc.define)
			c := startCallers(t, "caller", repeatINVITEs(t, r.proxy, late/2), n, rate, tc.callees...)
			r.checkAllByTheHook(t, c.wait())
			repeats := int(r.service.metric("hookswitch_repeats_total"))
			t.Logf("%d calls at %d/s, each INVITE three times: %d lookups were repeats; INVITE to ringing, %v of which are the answerer's, p50, p99, p99.9, max in ms:%s",
				n, rate, repeats, late, c.ringing())
			if repeats < tc.leastRepeats {
				t.Errorf("%d lookups were repeats; want at least %d, else nothing was shown", repeats, tc.leastRepeats)
			}
			// The metric's own connection is one more, and an earlier one of this client may still be open.
			if open := r.service.metric("hookswitch_intake_open_connections"); open < 2 || open > kamailioWorkers+2 {
				t.Errorf("%v connections are open; want one kept by each of Kamailio's %d workers, at most", open, kamailioWorkers)
			}
		})
	}
}

func TestKamailioAsksAgainOnlyWhenTheFirstDestinationWasBusy(t *testing.T) {
	n, rate := load([2]int{60, 60}, [2]int{1000, 100})
	r := startSIP(t, shippedKamailio, 0)
	calls := startCallers(t, "caller", r.proxy, n, rate, toBusyThenHook, toAnsweredFirst).wait()
	asked, told := r.hook.counts()
	for id, c := range calls {
		want, times := answeredNumber, 0
		if c.callee == toBusyThenHook {
			want, times = told[id], 1
		}
		if c.reached != want || want == "" || asked[id] != times {
			t.Errorf("call %s to %s reached %q, the hook was asked %d times; want %q, %d times", id, c.callee, c.reached, asked[id], want, times)
		}
	}
}

func TestKamailioPassesOverWhatAProxyCannotDo(t *testing.T) {
	r := startSIP(t, shippedKamailio, 0)
	for id, call := range startCallers(t, "caller", r.proxy, 5, 50, toWelcomeFirst).wait() {
		if call.reached != answeredNumber {
			t.Errorf("call %s reached %q; want %s, which the scheme rings after the welcome", id, call.reached, answeredNumber)
		}
	}
}

func TestACallerWhoHangsUpEndsTheChain(t *testing.T) {
	r := startSIP(t, shippedKamailio, 0)
	calls := startCallers(t, "cancels", r.proxy, 10, 50, toRingingForever).wait()
	waitFor(t, 5*time.Second, "the one who rings is told to stop", func() bool { return len(r.rings.noted(t, "cancelled")) == len(calls) })
	if asked, _ := r.hook.counts(); len(asked) != 0 {
		t.Errorf("the hook was asked about %d calls whose caller had hung up", len(asked))
	}
	if lookups := r.service.metric(`hookswitch_decisions_total{reason="ok",source="schema"}`); int(lookups) != len(calls) {
		t.Errorf("%v lookups for %d calls; want one each", lookups, len(calls))
	}
}

func TestKamailioEndsACircleOfCursorsInTheDefaultScheme(t *testing.T) {
	r := startSIP(t, shippedKamailio, 0)
	calls := startCallers(t, "caller", r.proxy, 5, 10, toEndlessCircles).wait()
	asked, _ := r.hook.counts()
	for id, c := range calls {
		if c.reached != defaultNumber || asked[id] != 5 {
			t.Errorf("call %s reached %q after %d hooks; want %s after 5, as many as continuation.max", id, c.reached, asked[id], defaultNumber)
		}
	}
}

func TestKamailiosLastResortHoldsWhenHookswitchDiesBetweenTwoLookups(t *testing.T) {
	r := startSIP(t, shippedKamailio, time.Second)
	c := startCallers(t, "caller", r.proxy, 3, 100, toBusyThenHook)
	waitFor(t, 5*time.Second, "the busy one has the calls", func() bool { return len(r.busy.noted(t, "called")) == 3 })
	_ = r.service.cmd.Process.Kill()
	for id, call := range c.wait() {
		if call.reached != lastResortNumber {
			t.Errorf("call %s reached %q; want the last resort, %s", id, call.reached, lastResortNumber)
		}
	}
}

func TestASlowHookEndsInTheDefaultSchemeBeforeKamailiosPatienceDoes(t *testing.T) {
	r := startSIP(t, shippedKamailio, 0, "-A", "HS_PATIENCE=6") // it's 2 s, too near for a busy machine
	for id, call := range startCallers(t, "caller", r.proxy, 3, 100, toHangingHook).wait() {
		if call.reached != defaultNumber {
			t.Errorf("call %s reached %q; want the default scheme's %s, which hookswitch gives within the budget_ms it is told", id, call.reached, defaultNumber)
		}
	}
}

func TestKamailioTellsWhoCallsAndRefusesAsTheSchemeSays(t *testing.T) {
	needSIP(t)
	probe, hook := startTrunkProbe(t), startNumberHook(t)
	trunk := probe.called.LocalAddr().String()
	s := start(t, fmt.Sprintf(kamailioProject, hook.URL, trunk, trunk, trunk))
	proxy, log := startKamailio(t, shippedKamailio, s.URL, trunk)
	for _, tc := range []struct{ name, callee, from, caller, status string }{
		{"a-plus-stays-a-plus", "+" + toOneNumber, "<sip:+380501112233@127.0.0.1>", "+380501112233", "SIP/2.0 486 Busy Here"},
		{"a-caller-without-a-number", toOneNumber, `"Anonymous" <sip:anonymous.invalid>`, "", "SIP/2.0 486 Busy Here"},
		{"what-separates-in-a-URL", toOneNumber, "<sip:a%26b=c;d&callee=1@x.invalid>", "a%26b=c;d&callee=1", "SIP/2.0 486 Busy Here"},
		{"a-call-id@with.odd(characters)", toOneNumber, "<sip:1@x.invalid>", "1", "SIP/2.0 486 Busy Here"},
		{"hangup", toNobody, "<sip:1@x.invalid>", "", "SIP/2.0 404 Refused"},
	} {
		if status := probe.ask(t, proxy, tc.callee, tc.from, tc.name); status != tc.status {
			t.Errorf("%s: the call ended with %q; want %q", tc.name, status, tc.status)
		}
		hook.mu.Lock()
		caller, asked := hook.callers[tc.name]
		hook.mu.Unlock()
		if caller != tc.caller || asked != (tc.callee != toNobody) {
			t.Errorf("%s: the hook was told that %q calls (asked: %v); want %q", tc.name, caller, asked, tc.caller)
		}
	}
	text, err := os.ReadFile(log)
	if err != nil || !regexp.MustCompile(`call a-plus-stays-a-plus to \+380442220001: dialling sip:38044\d+@[\d.:]+, decision [0-9A-Z]{26}\n`).Match(text) {
		t.Errorf("Kamailio's log doesn't tell what was dialled, by which decision (%v):\n%s", err, text)
	}
}

func TestKamailioRingsAsLongAsTheAnswerSays(t *testing.T) {
	r := startSIP(t, shippedKamailio, 0)
	calls := startCallers(t, "caller", r.proxy, 10, 50, toRingingBriefly, toTwoOneBriefly).wait()
	asked, told := r.hook.counts()
	for id, c := range calls {
		want := inOrderNumber
		if c.callee == toRingingBriefly {
			want = told[id]
		}
		if c.reached != want || want == "" || asked[id] > 1 {
			t.Errorf("call %s to %s reached %q, the hook was asked %d times; want %q when a second was over", id, c.callee, c.reached, asked[id], want)
		}
	}
}
