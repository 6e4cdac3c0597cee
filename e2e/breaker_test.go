package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"hookswitch/bench/hooksim"
)

// ailingHook is a webhook whose health the test sets. While it is ill, it fails real calls and
// probes of /probe alike, and counts both.
type ailingHook struct {
	*httptest.Server
	ill            atomic.Bool
	hangs          bool         // rather than answer 500
	failed, probed atomic.Int64 // real calls that met it ill; probes, at any time
}

func startAilingHook(t *testing.T, hangs bool) *ailingHook {
	h := &ailingHook{hangs: hangs}
	h.ill.Store(true)
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *ailingHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	probe, ill := r.URL.Path == "/probe", h.ill.Load()
	if probe {
		h.probed.Add(1)
	} else if ill {
		h.failed.Add(1)
	}
	switch {
	case ill && h.hangs:
		<-r.Context().Done()
	case ill:
		http.Error(w, "out of order", http.StatusInternalServerError)
	default:
		fmt.Fprint(w, `{"dst_phone":"380441111111"}`)
	}
}

// ailingProject is one hook with a breaker that opens for half a second and no longer; its parts
// are the hook's URL, its patience, and the probe's URL.
const ailingProject = `
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "100"}, {number: "380442223366", schema: "1"}]
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{hook: ailing}]}
    hooks:
      - {id: ailing, url: "%s", request_timeout: %s, breaker: {failures: 5, slow_call: 1, open_for: 500ms, open_for_max: 500ms, probe_url: "%s"}}
`

const (
	ailingOpenFor = 500 * time.Millisecond
	breakerState  = `hookswitch_breaker_state{hook="ailing",project="1001"}`
)

// probesWithin is how many probes can begin within d: an opening is up to a fifth shorter than open_for,
// so that many instances don't come back at once.
func probesWithin(d time.Duration) int64 { return int64(d/(ailingOpenFor*4/5)) + 1 }

func TestABrokenHookIsLeftAloneButForItsProbes(t *testing.T) {
	for _, tc := range []struct {
		name, reason, patience string
		hangs                  bool
	}{
		{"that answers 500", "bad_status", "5s", false},
		{"that hangs", "timeout", "300ms", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hook := startAilingHook(t, tc.hangs)
			s := start(t, fmt.Sprintf(ailingProject, hook.URL, tc.patience, ""))
			for range 5 {
				if d, status := s.route(call("380442223344")); status != 200 || d.Source != "fallback" || d.Reason != tc.reason {
					t.Fatalf("before it opens: got %d %+v; want a fallback, reason %s", status, d, tc.reason)
				}
			}
			if s.metric(breakerState) == 0 {
				t.Fatalf("after 5 failures %s is 0, closed; want it open", breakerState)
			}
			checkLeftAlone(t, s, hook, tc.reason)
		})
	}
}

// checkLeftAlone calls while the breaker is open, in turns with calls that ask nobody: those show
// what the way to the service and back costs by itself.
func checkLeftAlone(t *testing.T, s *service, hook *ailingHook, reason string) {
	rate, calls, rounds := 200.0, 200, 2
	if full {
		rate, calls, rounds = 500, 1000, 7
	}
	began := time.Now()
	var outcomes, plain []outcome
	var added []time.Duration // each round's p99, less that of calls that ask nobody
	for range rounds {
		p := s.openLoop(calls, rate, func(int) url.Values { return call("380442223366") })
		o := s.openLoop(calls, rate, func(int) url.Values { return call("380442223344") })
		plain, outcomes = append(plain, p...), append(outcomes, o...)
		added = append(added, latenciesOf(o).at(990)-latenciesOf(p).at(990))
	}
	took := time.Since(began)
	probes := hook.failed.Load() - 5
	wantFallbacks(t, outcomes, reason, "breaker_open")
	if told := int64(count(outcomes, reason)); probes > told {
		t.Errorf("the hook was asked %d times, and %d decisions say so", probes, told)
	}
	if probes < 1 || probes > probesWithin(took) {
		t.Errorf("the hook was asked %d times within %v; want its probes alone, 1 to %d", probes, took, probesWithin(took))
	}
	slices.Sort(added)
	inside := decisionTimes(outcomes)
	t.Logf("%d calls at %.0f/s, of which %d probes; p50, p99, p99.9, max in ms", len(outcomes), rate, probes)
	t.Logf("the decision:                 %s", inside)
	t.Logf("to the caller:                %s", latenciesOf(outcomes))
	t.Logf("where nobody is asked:        %s", latenciesOf(plain))
	t.Logf("p99 to the caller more than that, by round: %v", added)
	if full && (inside.at(990) >= time.Millisecond || added[rounds/2] >= time.Millisecond) {
		t.Errorf("with the breaker open, p99 of the decision is %v, and to the caller %v over a call that asks nobody; want under 1 ms", inside.at(990), added[rounds/2])
	}
}

// decisionTimes are what the answers say that the decisions took, ascending.
func decisionTimes(outcomes []outcome) latencies {
	l := make(latencies, len(outcomes))
	for i := range outcomes {
		l[i] = time.Duration(outcomes[i].ElapsedMs * float64(time.Millisecond))
	}
	slices.Sort(l)
	return l
}

func TestABreakerClosesWithinOpenForOfItsHooksRecovery(t *testing.T) {
	recoveries := 1
	if full {
		recoveries = 5
	}
	for _, tc := range []struct{ name, probePath string }{
		{"by real calls", ""},
		{"by the probe_url, and no caller meets the failing hook meanwhile", "/probe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range recoveries {
				checkRecovery(t, tc.probePath)
			}
		})
	}
}

// checkRecovery has a hook fail under a steady load, recover, and be taken up again.
func checkRecovery(t *testing.T, probePath string) {
	hook := startAilingHook(t, false)
	probeURL := ""
	if probePath != "" {
		probeURL = hook.URL + probePath
	}
	s := start(t, fmt.Sprintf(ailingProject, hook.URL, "5s", probeURL))
	for range 5 {
		s.route(call("380442223344"))
	}
	const rate, ill, well = 200.0, 250, 150
	outcomes := s.openLoop(ill+well, rate, func(i int) url.Values {
		if i == ill {
			hook.ill.Store(false)
		}
		return call("380442223344")
	})

	wantFallbacks(t, outcomes[:ill-10], "bad_status", "breaker_open")
	if probeURL != "" {
		if met := hook.failed.Load() - 5; met != 0 {
			t.Errorf("%d callers met the failing hook; want none once the breaker was open", met)
		}
		if probed := hook.probed.Load(); probed < 2 {
			t.Errorf("the probe_url was asked %d times in %d calls at %.0f/s; want once in %v", probed, ill, rate, ailingOpenFor)
		}
	}
	good := slices.IndexFunc(outcomes[ill:], func(o outcome) bool { return o.Source == "hook" })
	if good < 0 {
		t.Fatalf("none of %d calls reached the hook after it had recovered", well)
	}
	first := outcomes[ill+good].took
	wantEach(t, outcomes[ill+good:], "the hook's answer, once the first good one was there", func(i int, o *outcome) bool {
		return o.Source == "hook" && o.Reason == "ok" || o.Reason == "breaker_open" && float64(i)/rate < first.Seconds()
	})
	after := time.Duration(float64(good) / rate * float64(time.Second))
	t.Logf("closed %v after the hook's recovery; open_for is %v", after, ailingOpenFor)
	if full && after > ailingOpenFor+20*time.Millisecond {
		t.Errorf("closed %v after the hook's recovery; want at most open_for, %v", after, ailingOpenFor)
	}
}

// neighbours are a hook that answers and one that may not, in one project. The former's breaker
// takes no slowness amiss: a machine that is busy with other things is slow.
const neighbours = `
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "100"}, {number: "380442223355", schema: "101"}, {number: "380442223366", schema: "1"}]
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{hook: well}]}
      - {id: "101", steps: [{hook: hung}]}
    hooks:
      - {id: well, url: "%s", request_timeout: 5s, max_in_flight: 4096, breaker: {slow_call: 1}}
      - {id: hung, url: "%s"}
`

// TestAHungHookTakesNothingFromItsNeighbour asks a hook that is well alone, beside 200 calls a second
// that ask nobody, and beside as many to a hook that hangs, in turns. The second shows what the
// callers' own work costs on a machine of few cores.
func TestAHungHookTakesNothingFromItsNeighbour(t *testing.T) {
	rounds, seconds := 1, 1
	if full {
		rounds, seconds = 5, 10
	}
	const rate = 200.0
	calls := seconds * int(rate)
	well := startSim(t, hooksim.Options{Latency: 5 * time.Millisecond})
	hung := startSim(t, hooksim.Options{HangRate: 1})
	s := start(t, fmt.Sprintf(neighbours, well.URL(), hung.URL()))
	ask := func(number string) []outcome {
		return s.openLoop(calls, rate, func(int) url.Values { return call(number) })
	}
	besides := func(other string) (asked, others []outcome) {
		done := make(chan []outcome, 1)
		go func() { done <- ask(other) }()
		return ask("380442223344"), <-done
	}

	var alone, plain, beside []outcome
	var ratios []float64 // of each round's p99, beside the hung one to alone
	for range rounds {
		a := ask("380442223344")
		p, _ := besides("380442223366")
		b, others := besides("380442223355")
		wantFallbacks(t, others, "timeout", "breaker_open", "overloaded")
		alone, plain, beside = append(alone, a...), append(plain, p...), append(beside, b...)
		ratios = append(ratios, float64(latenciesOf(b).at(990))/float64(latenciesOf(a).at(990)))
	}
	wantEach(t, slices.Concat(alone, plain, beside), "the answer of the hook that is well", func(_ int, o *outcome) bool {
		return o.Source == "hook" && o.Reason == "ok"
	})
	slices.Sort(ratios)
	t.Logf("%d rounds of %d s, a hook of 5 ms at %.0f/s; p50, p99, p99.9, max in ms", rounds, seconds, rate)
	t.Logf("alone:                   %s", latenciesOf(alone))
	t.Logf("beside calls to nobody:  %s", latenciesOf(plain))
	t.Logf("beside one that hangs:   %s", latenciesOf(beside))
	t.Logf("p99 beside the hung one by p99 alone, of the rounds: %.2f", ratios)
	if median := ratios[len(ratios)/2]; full && median > 1.2 {
		t.Errorf("p99 beside a hung hook is %.2f × of alone in the median round; want at most 1.2", median)
	}
}

// wantFallbacks checks that every call got the fallback, for one of the reasons.
func wantFallbacks(t *testing.T, outcomes []outcome, reasons ...string) {
	t.Helper()
	wantEach(t, outcomes, fmt.Sprintf("the fallback 380440000001, its reason one of %q", reasons), func(_ int, o *outcome) bool {
		return o.Source == "fallback" && slices.Contains(reasons, o.Reason) && o.DstPhone == "380440000001"
	})
}

// wantEach checks that every call got an answer, and one that is as wanted. It shows the first few
// that are not, and returns how many those are.
func wantEach(t *testing.T, outcomes []outcome, want string, ok func(i int, o *outcome) bool) (failed int) {
	t.Helper()
	for i := range outcomes {
		o := &outcomes[i]
		if o.err == nil && o.status == 200 && ok(i, o) {
			continue
		}
		if failed++; failed <= 3 {
			t.Errorf("call %d: got %d %+v, %v; want %s", i, o.status, o.decision, o.err, want)
		}
	}
	if failed > 3 {
		t.Errorf("%d of %d calls in all; want %s", failed, len(outcomes), want)
	}
	return failed
}

// count returns how many decisions have the reason.
func count(outcomes []outcome, reason string) int {
	n := 0
	for i := range outcomes {
		if outcomes[i].Reason == reason {
			n++
		}
	}
	return n
}
