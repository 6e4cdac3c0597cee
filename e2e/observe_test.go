package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hookswitch/bench/hooksim"
)

// observedProject has a number that asks the hook at the URL and one that asks nobody; its other
// part is further settings of the installation.
const observedProject = `
%[2]s
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    destinations: {allow: ["380"], deny: ["380900"]}
    numbers: [{number: "380442223344", schema: "100"}, {number: "380442223355", schema: "1"}]
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{hook: crm}]}
    hooks: [{id: crm, url: "%[1]s", request_timeout: 5s, breaker: {state: closed}}]
`

func TestEveryDecisionMakesOneLineInTheLog(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	s := start(t, fmt.Sprintf(observedProject, hook.URL(), ""))
	var decided []decision
	ask := func(callee string) {
		d, _ := s.route(call(callee))
		decided = append(decided, d)
	}
	for range 5 {
		ask("380442223344")
		ask("380442223355")
		ask("380449999999") // nobody's: the default scheme
	}
	if err := hook.Set(hooksim.Options{FailRate: 1}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		ask("380442223344")
	}
	s.signal(syscall.SIGTERM) // so that nothing is on its way any more
	s.wantExit(0, 5*time.Second)

	lines := append(s.logged("decision"), s.logged("decision by fallback")...)
	if len(lines) != len(decided) {
		t.Errorf("%d decisions made %d lines", len(decided), len(lines))
	}
	for _, d := range decided {
		want := map[string]any{
			"decision_id": d.DecisionID, "callid": d.CallID, "project": "1001", "source": d.Source, "reason": d.Reason,
			"schema": value(d.Schema), "hook": value(d.Hook), "caller": "380501112233", "table": 1.0,
		}
		i := slices.IndexFunc(lines, func(l map[string]any) bool { return l["decision_id"] == d.DecisionID })
		if i < 0 {
			t.Errorf("no line for %+v", d)
			continue
		}
		for key, v := range want {
			if lines[i][key] != v {
				t.Errorf("%s is %v in the line of %+v; want %v", key, lines[i][key], d, v)
			}
		}
		if d.Source == "fallback" && lines[i]["detail"] == nil {
			t.Errorf("the line of %+v says nothing in detail", d)
		}
	}
}

func TestARepeatedLookupHasALineThatSaysSo(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	s := start(t, fmt.Sprintf(observedProject, hook.URL(), ""))
	again := call("380442223344")
	first, _ := s.route(again)
	second, _ := s.route(again)
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 5*time.Second)
	made, repeated := s.logged("decision"), s.logged("decision repeated")
	if second.DecisionID != first.DecisionID || !second.Repeated || len(made) != 1 || len(repeated) != 1 || repeated[0]["decision_id"] != first.DecisionID {
		t.Errorf("got %+v, then %+v, and the lines %v; want one decision, twice, its second line as repeated", first, second, append(made, repeated...))
	}
	if asked := hook.Stats().Requests; asked != 1 {
		t.Errorf("the hook was asked %d times; want once", asked)
	}
}

func TestTheLogIsSampledUnderLoadAndTheMetricsAreNot(t *testing.T) {
	s := start(t, fmt.Sprintf(observedProject, "http://127.0.0.1:9/", "log: {sample_first: 10, sample_thereafter: 50}"))
	const calls = 500
	outcomes := s.openLoop(calls, 1000, func(int) url.Values { return call("380442223355") })
	if got := s.metric(`hookswitch_decisions_total{reason="ok",source="schema"}`); got != calls {
		t.Errorf("the metrics count %v decisions; want %d", got, calls)
	}
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 5*time.Second)
	// Half a second of load lies within two of the sampler's seconds, or within one.
	if lines := len(s.logged("decision")); lines < 10 || lines > 2*10+calls/50 {
		t.Errorf("%d decisions made %d lines; want the first 10 of a second and one in 50", len(outcomes), lines)
	}
}

func TestTheLevelOfTheLogChangesWithoutARestart(t *testing.T) {
	config := func(level string) string {
		return fmt.Sprintf(observedProject, "http://127.0.0.1:9/", "log: {level: "+level+"}")
	}
	s := start(t, config("info"))
	s.reload(config("error"))
	s.route(call("380442223355"))
	s.reload(config("info"))
	loud, _ := s.route(call("380442223355"))
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 5*time.Second)
	if lines := s.logged("decision"); len(lines) != 1 || lines[0]["decision_id"] != loud.DecisionID {
		t.Errorf("got %v; want the one line of the decision at level info", lines)
	}
}

func TestMaskedNumbersStandNowhereInTheLog(t *testing.T) {
	answer := make(chan string, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, <-answer) }))
	t.Cleanup(hook.Close)
	s := start(t, fmt.Sprintf(observedProject, hook.URL, "log: {level: debug, mask_numbers: true}"))
	for body, reason := range map[string]string{
		`{"dst_phone":"380441111111"}`:              "ok",
		`{"dst_phone":"380900111222,380441111111"}`: "ok",
		`{"dst_phone":"380900111222"}`:              "forbidden_destination",
		`{"dst_phone":"380442223344"}`:              "loop",
		`{"dst_phone":"380441111111&380900111222"}`: "invalid_destination",
		`{"operator":"380441111111"}`:               "no_destination",
		`call 380441111111 instead`:                 "bad_answer",
		`{"schema":"380441111111"}`:                 "unknown_schema",
	} {
		answer <- body
		if d, status := s.route(call("380442223344")); status != 200 || d.Reason != reason {
			t.Errorf("%s: got %d, reason %s; want %s", body, status, d.Reason, reason)
		}
	}
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 5*time.Second)
	for _, number := range []string{"380501112233", "380442223344", "380441111111", "380900111222"} {
		for line := range strings.Lines(s.log.all()) {
			if strings.Contains(line, number) {
				t.Errorf("%s stands in the log: %s", number, line)
			}
		}
	}
	if line := s.logged("decision"); len(line) == 0 || line[0]["caller"] != "380***33" || line[0]["callee"] != "380***44" {
		t.Errorf("got %v; want caller 380***33 and callee 380***44", line)
	}
}

func TestSecretsStandNeitherInTheMetricsNorInAnswersNorInTheLog(t *testing.T) {
	secrets := map[string]string{
		"header": "kQ9header", "query": "kQ9query", "password": "kQ9password", "signature": "kQ9signature",
		"tracing": "kQ9tracing", "door": "kQ9door-of-the-pbx", "misplaced": "kQ9misplaced",
	}
	gone := refusingAddress(t)
	hook := startSim(t, hooksim.Options{FailRate: 1})
	settings := fmt.Sprintf("log: {level: debug}\nintake: {tokens: [%q]}\ntracing: {endpoint: \"http://%s\", headers: {X-Key: %q}}",
		secrets["door"], gone, secrets["tracing"])
	config := func(base string) string {
		return strings.Replace(fmt.Sprintf(observedProject, base+"?token="+secrets["query"], settings), "{id: crm,",
			fmt.Sprintf("{id: crm, headers: {X-Key: %q}, auth: {basic: {user: u, password: %q}}, sign: %q,", secrets["header"], secrets["password"], secrets["signature"]), 1)
	}
	s := start(t, config(hook.URL()))
	var told strings.Builder
	ask := func(path, token string) {
		t.Helper()
		req, err := http.NewRequest("GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		fmt.Fprintln(&told, resp.Status, resp.Header)
		if _, err := io.Copy(&told, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	ask("/v1/route?callee=380442223344", secrets["door"]) // bad_status
	ask("/v1/route?callee=380442223344", secrets["door"]+"x")
	ask("/v1/route?callee=380442223344&budget_ms=never", secrets["door"])
	ask("/v1/nowhere", secrets["door"])
	s.write(config("http://" + gone + "/"))
	s.signal(syscall.SIGHUP) // s.reload looks at the metrics, which are behind the door
	waitFor(t, 5*time.Second, "the reload", func() bool { return strings.Contains(s.log.all(), `"msg":"reloaded"`) })
	ask("/v1/route?callee=380442223344", secrets["door"]) // connect_error
	s.write(strings.ReplaceAll(config(hook.URL()), "tokens: [", fmt.Sprintf("tokens: [[%q], ", secrets["misplaced"])))
	s.signal(syscall.SIGHUP)
	waitFor(t, 5*time.Second, "the faulty file is refused", func() bool { return strings.Contains(s.log.all(), "reload refused") })
	ask("/metrics", secrets["door"])
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 10*time.Second)

	for _, want := range []string{`"reason":"bad_status"`, `"reason":"connect_error"`, `"code":"unauthorized"`, "hookswitch_decisions_total"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("no %s in what was told:\n%s", want, &told)
		}
	}
	for name, secret := range secrets {
		if strings.Contains(told.String(), secret) {
			t.Errorf("the %s secret stands in what was told:\n%s", name, &told)
		}
		if strings.Contains(s.log.all(), secret) {
			t.Errorf("the %s secret stands in the log:\n%s", name, s.log.all())
		}
	}
}

func TestNothingThatACallSaysBecomesALabelOfAMetric(t *testing.T) {
	hook := startSim(t, hooksim.Options{})
	s := start(t, fmt.Sprintf(observedProject, hook.URL(), ""))
	s.route(call("380442223344"))
	s.tryRoute(url.Values{"format": {"json"}}) // an error, so that it has been counted once
	before := s.series()
	for i := range 200 {
		odd := fmt.Sprintf("odd-%d", i)
		for _, params := range []url.Values{
			{"callee": {odd}, "callid": {odd}},
			{"callee": {"380442223344"}, "project": {odd}, "callid": {odd}},
			{"callee": {"380442223344"}, "hook": {odd}, "callid": {odd}},
			{"callee": {"380442223344"}, "schema": {odd}, "callid": {odd}},
			{"callee": {"380442223344"}, odd: {odd}, "callid": {odd}},
			{"callee": {"380442223344"}, "format": {odd}},
		} {
			if _, _, err := s.tryRoute(params); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range s.series() {
		if strings.Contains(name, "odd-") {
			t.Errorf("a series is named after a call: %s", name)
		}
		if !slices.Contains(before, name) {
			t.Errorf("a series came with the calls: %s", name)
		}
	}
}

// series lists the names and labels of the service's own metrics.
func (s *service) series() []string {
	s.t.Helper()
	resp, err := client.Get(s.URL + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(body)) {
		if end := strings.LastIndexByte(line, ' '); end > 0 && strings.HasPrefix(line, "hookswitch_") {
			names[line[:end]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// logged returns the lines of the service's log with this message, each with its fields.
func (s *service) logged(msg string) []map[string]any {
	s.t.Helper()
	var found []map[string]any
	for line := range strings.Lines(s.log.all()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == msg {
			found = append(found, fields)
		}
	}
	return found
}
