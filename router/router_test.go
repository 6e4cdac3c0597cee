package router

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"hookswitch/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answerer is an Asker whose answers are chosen by the test.
type answerer struct {
	answer atomic.Pointer[func(a *schema.Answer)]
	asked  atomic.Int64
	probed atomic.Int64
	well   atomic.Bool
}

func (f *answerer) Ask(_ *schema.Call, _ time.Time, a *schema.Answer) {
	f.asked.Add(1)
	a.Reason = schema.ReasonOK
	(*f.answer.Load())(a)
}

func (f *answerer) Probe(time.Time) error {
	f.probed.Add(1)
	if f.well.Load() {
		return nil
	}
	return errors.New("still ill")
}

func (f *answerer) Close() {}

func (f *answerer) set(answer func(a *schema.Answer)) { f.answer.Store(&answer) }

// gives answers with destinations.
func gives(t testing.TB, texts ...string) func(*schema.Answer) {
	var list []schema.Destination
	for _, text := range texts {
		d, err := schema.ParseDestination(text, "")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return func(a *schema.Answer) { a.Destinations = append(a.Destinations[:0], list...) }
}

// names answers with a scheme's id; fails answers with a failure.
func names(id string) func(*schema.Answer) { return func(a *schema.Answer) { a.Schema = id } }
func fails(reason schema.Reason) func(*schema.Answer) {
	return func(a *schema.Answer) { a.Reason, a.Detail = reason, "as the test wants it" }
}

const testConfig = `
projects:
  - id: "1001"
    default_schema: "1"
    destinations: {allow: ["380", "sip:*@pbx.example", "login:op*"], deny: ["380900"], max: 3}
    numbers:
      - {number: "380442223344", schema: "100", pool: site, replacement: dynamic}
      - {number: "380442220001", schema: "1"}
      - {number: "380442220002", schema: "200"}
      - {number: "380442220003", schema: "300"}
      - {number: "380442220004", schema: "400"}
      - {number: "380442220005", schema: "500"}
      - {number: "380442220006", schema: "600"}
      - {number: "380442220007", schema: "700"}
    schemas:
      - {id: "1", name: Operators, steps: [{dial: ["380440000001", "sip/ops@pbx.example"], timeout: 30s}]}
      - {id: "2", name: Closed, steps: [{playback: closed.wav}, {voicemail: "1001"}, {hangup: normal}]}
      - {id: "100", name: Ask, steps: [{hook: crm}, {dial: ["380440000002"], timeout: 20s}]}
      - {id: "200", name: Ask with its own fallback, steps: [{hook: own}]}
      - id: "300"
        name: Never open
        hours: {tz: Europe/Kyiv, open: ["mon 00:00-00:01"], closed_schema: "2"}
        steps: [{hook: crm}]
      - {id: "400", name: Two hooks, steps: [{hook: crm}, {hook: other}, {dial: ["380440000004"]}]}
      - {id: "500", name: Only a hook, steps: [{hook: crm}]}
      - {id: "600", name: Turns, steps: [{dial: ["380440000061", "380440000062", "380440000063"], strategy: round_robin}]}
      - {id: "700", name: Goes on, steps: [{dial: ["380440000071"]}, {schema: "2"}]}
      - {id: "26076", name: By the hook, steps: [{dial: ["380440026076"]}]}
      - {id: "26077", name: Back to the hook, steps: [{hook: crm}]}
    hooks:
      - {id: crm, url: "http://crm.example/route"}
      - {id: own, url: "http://crm.example/own", on_failure: "2", last_good: 10m}
      - {id: other, url: "http://crm.example/other"}
  - id: "1002"
    default_schema: "1"
    numbers: [{number: "380443330000", schema: "1"}]
    schemas: [{id: "1", name: Them, steps: [{dial: ["380443330001"]}]}]
`

// rig is a Router on testConfig with a hook of each name.
type rig struct {
	*Router
	hooks map[string]*answerer
}

func newRig(t testing.TB, config string) *rig {
	t.Helper()
	g := &rig{hooks: map[string]*answerer{}}
	g.Router = New(Options{
		Prepare: func(_ *schema.Project, h *schema.Hook) (Asker, error) {
			f := g.hooks[h.ID]
			if f == nil {
				f = &answerer{}
				f.set(fails(schema.ReasonTimeout))
				g.hooks[h.ID] = f
			}
			return f, nil
		},
		Log: zap.NewNop(), Metrics: prometheus.NewRegistry(),
		Now: func() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }, // a Tuesday
	})
	g.load(t, config)
	t.Cleanup(g.Close)
	return g
}

func (g *rig) load(t testing.TB, config string) {
	t.Helper()
	cfg, err := schema.Load("test.yaml", []byte(config), schema.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Load(cfg); err != nil {
		t.Fatal(err)
	}
}

// ask decides about a call to callee with further parameters, "name=value".
func (g *rig) ask(callee string, params ...string) *schema.Decision {
	var call schema.Call
	call.At = time.Now()
	call.Deadline = call.At.Add(10 * time.Second)
	call.SetNamed([]byte("caller"), []byte("380501112233"))
	call.SetNamed([]byte("callee"), []byte(callee))
	call.SetNamed([]byte("callid"), []byte("c1"))
	for _, p := range params {
		switch name, value, _ := strings.Cut(p, "="); name {
		case "project":
			call.Project = value
		case "hook":
			call.Hook = value
		case "schema":
			call.Schema = value
		default:
			call.SetNamed([]byte(name), []byte(value))
		}
	}
	d := &schema.Decision{}
	g.Decide(&call, d)
	return d
}

// summary writes a decision in a line: source reason schema hook | steps.
func summary(d *schema.Decision) string {
	if d.NotFound {
		return "not found: " + d.Reason.String()
	}
	var steps []string
	for _, s := range d.Steps {
		switch {
		case len(s.Dial) > 0:
			var list []string
			for _, dst := range s.Dial {
				list = append(list, dst.String())
			}
			steps = append(steps, "dial "+strings.Join(list, ",")+" "+string(s.Strategy)+" "+s.Timeout.String())
		case s.Voicemail != "":
			steps = append(steps, "voicemail "+s.Voicemail)
		case s.Playback != "":
			steps = append(steps, "playback "+s.Playback)
		case s.Hangup != "":
			steps = append(steps, "hangup "+s.Hangup)
		}
	}
	return strings.Join([]string{d.Source.String(), d.Reason.String(), "schema=" + d.Schema, "hook=" + d.Hook, "| " + strings.Join(steps, "; ")}, " ")
}

func TestDecide(t *testing.T) {
	const operators = "dial 380440000001,sip/ops@pbx.example all 30s"
	cases := []struct {
		name   string
		crm    func(*schema.Answer)
		callee string
		params []string
		want   string
	}{
		{"a hook's destinations are dialled for its ring timeout", gives(t, "380441111111", "380441111112"), "380442223344", nil,
			"hook ok schema= hook=crm | dial 380441111111,380441111112 all 1m30s"},
		{"a number with a plus is the same number", gives(t, "380441111111"), "+380442223344", nil,
			"hook ok schema= hook=crm | dial 380441111111 all 1m30s"},
		{"a number with 00 before it is the same number", gives(t, "380441111111"), "00380442223344", nil,
			"hook ok schema= hook=crm | dial 380441111111 all 1m30s"},
		{"a scheme without a hook needs none", nil, "380442220001", nil, "schema ok schema=1 hook= | " + operators},
		{"a hook may name a scheme", names("26076"), "380442223344", nil,
			"hook ok schema=26076 hook=crm | dial 380440026076 all 30s"},
		{"a scheme that does not exist is a failure of the hook", names("999"), "380442223344", nil,
			"fallback unknown_schema schema=100 hook=crm | dial 380440000002 all 20s"},
		{"a failing hook falls to the rest of its scheme", fails(schema.ReasonBadStatus), "380442223344", nil,
			"fallback bad_status schema=100 hook=crm | dial 380440000002 all 20s"},
		{"without a rest, to the project's default", fails(schema.ReasonTimeout), "380442220005", nil,
			"fallback timeout schema=1 hook=crm | " + operators},
		{"a hook's own fallback scheme comes first", nil, "380442220002", nil,
			"fallback timeout schema=2 hook=own | playback closed.wav; voicemail 1001; hangup normal"},
		{"a second hook of the scheme is asked when the first fails", fails(schema.ReasonTimeout), "380442220004", nil,
			"hook ok schema= hook=other | dial 380441119999 all 1m30s"},
		{"outside the hours the closed scheme is followed", gives(t, "380441111111"), "380442220003", nil,
			"schema closed schema=2 hook= | playback closed.wav; voicemail 1001; hangup normal"},
		{"a number that nobody has goes to the only possible default, none", nil, "380449999999", nil, "not found: unknown_number"},
		{"a number that the project does not have goes to the project's default", nil, "380449999999", []string{"project=1001"},
			"fallback unknown_number schema=1 hook= | " + operators},
		{"another project's number is unknown", nil, "380443330000", []string{"project=1001"},
			"fallback unknown_number schema=1 hook= | " + operators},
		{"a hook may be asked without a number", gives(t, "380441111111"), "", []string{"project=1001", "hook=crm"},
			"hook ok schema= hook=crm | dial 380441111111 all 1m30s"},
		{"a hook asked alone falls to the default", fails(schema.ReasonDNSError), "", []string{"project=1001", "hook=crm"},
			"fallback dns_error schema=1 hook=crm | " + operators},
		{"a hook that is not there gives the default", nil, "", []string{"project=1001", "hook=nope"},
			"fallback unknown_schema schema=1 hook= | " + operators},
		{"a scheme may be asked for", nil, "380442223344", []string{"schema=26076"},
			"schema ok schema=26076 hook= | dial 380440026076 all 30s"},
		{"a scheme that is not there gives the default", nil, "380442223344", []string{"schema=5"},
			"fallback unknown_schema schema=1 hook= | " + operators},
		{"a scheme that names its own scheme again is a loop", names("100"), "380442223344", nil,
			"fallback loop schema=100 hook=crm | dial 380440000002 all 20s"},
		{"a scheme that asks the same hook again is a loop", names("26077"), "380442223344", nil,
			"fallback loop schema=100 hook=crm | dial 380440000002 all 20s"},
		{"the called number alone is a loop", gives(t, "380442223344"), "380442223344", nil,
			"fallback loop schema=100 hook=crm | dial 380440000002 all 20s"},
		{"a login the owner did not list is not dialled", gives(t, "Error"), "380442223344", nil,
			"fallback forbidden_destination schema=100 hook=crm | dial 380440000002 all 20s"},
		{"what is forbidden is dropped, the rest is dialled", gives(t, "380900111222", "380441111111", "380441111111", "opAnna", "74951112233"), "380442223344", nil,
			"hook ok schema= hook=crm | dial 380441111111,opAnna all 1m30s"},
		{"more than max are refused", gives(t, "380441111111", "380441111112", "380441111113", "380441111114"), "380442223344", nil,
			"fallback forbidden_destination schema=100 hook=crm | dial 380440000002 all 20s"},
		{"so are ten times max, though all but one would be dropped", gives(t, slices.Repeat([]string{"380441111111"}, 31)...), "380442223344", nil,
			"fallback forbidden_destination schema=100 hook=crm | dial 380440000002 all 20s"},
		{"a number thirty times is dialled once", gives(t, slices.Repeat([]string{"380441111111"}, 30)...), "380442223344", nil,
			"hook ok schema= hook=crm | dial 380441111111 all 1m30s"},
		{"steps of another scheme follow on", nil, "380442220007", nil,
			"schema ok schema=700 hook= | dial 380440000071 all 30s; playback closed.wav; voicemail 1001; hangup normal"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, testConfig)
			if c.crm != nil {
				g.hooks["crm"].set(c.crm)
			}
			g.hooks["other"].set(gives(t, "380441119999"))
			if got := summary(g.ask(c.callee, c.params...)); got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestARoundRobinTakesTurns(t *testing.T) {
	g := newRig(t, testConfig)
	var firsts []string
	for range 4 {
		firsts = append(firsts, g.ask("380442220006").Steps[0].Dial[0].User)
	}
	if got, want := strings.Join(firsts, " "), "380440000061 380440000062 380440000063 380440000061"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAPanicIsAFallback(t *testing.T) {
	g := newRig(t, testConfig)
	g.hooks["crm"].set(func(*schema.Answer) { panic("a fault") })
	for range 100 { // more than max_in_flight: the bulkhead's places come back
		got := summary(g.ask("380442220005"))
		want := "fallback internal schema=1 hook=crm | dial 380440000001,sip/ops@pbx.example all 30s"
		if open := strings.Replace(want, "internal", "breaker_open", 1); got != want && got != open {
			t.Fatalf("\ngot  %s\nwant %s", got, want)
		}
	}
}

func TestTheLastGoodAnswerStandsInPerNumber(t *testing.T) {
	g := newRig(t, testConfig)
	own := g.hooks["own"]
	own.set(gives(t, "380441111111"))
	g.ask("380442220002")
	own.set(fails(schema.ReasonTimeout))
	if got, want := summary(g.ask("380442220002")), "last_good timeout schema= hook=own | dial 380441111111 all 1m30s"; got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	if got, want := summary(g.ask("", "project=1001", "hook=own")), "fallback timeout schema=2 hook=own | playback closed.wav; voicemail 1001; hangup normal"; got != want {
		t.Errorf("another number: \ngot  %s\nwant %s", got, want)
	}
	// A policy that has become stricter holds for what was answered before it, too.
	g.load(t, strings.Replace(testConfig, `deny: ["380900"]`, `deny: ["380900", "38044111"]`, 1))
	if got := summary(g.ask("380442220002")); strings.Contains(got, "380441111111") {
		t.Errorf("dialled what is denied: %s", got)
	}
}

func TestTheRouterTellsTheHookWhatItKnows(t *testing.T) {
	g := newRig(t, testConfig)
	var c schema.Call
	c.SetNamed([]byte("callee"), []byte("380442223344"))
	c.SetNamed([]byte("caller"), []byte("380501112233"))
	c.SetNamed([]byte("callid"), []byte("c9"))
	var d schema.Decision
	g.Decide(&c, &d)
	for p, want := range map[schema.Param]string{
		schema.ParamProjectID: "1001", schema.ParamPool: "site", schema.ParamReplaceType: "dynamic",
		schema.ParamE164: "+380501112233", schema.ParamFullNum: "+380501112233", schema.ParamRecord: "c9",
		schema.ParamCallRoute: "webhookNumber:90", schema.ParamSchemaName: "Ask", schema.ParamType: "in",
		schema.ParamDuration: "0", schema.ParamTalkTime: "0", schema.ParamCategory: "",
	} {
		if got := c.Get(p); got != want {
			t.Errorf("%s: got %q, want %q", p.Name(), got, want)
		}
	}
}

func TestEachHookOfACallIsToldItsOwnRingTimeoutAndScheme(t *testing.T) {
	g := newRig(t, strings.Replace(testConfig, "http://crm.example/other\"}", "http://crm.example/other\", ring_timeout: 15s}", 1))
	var c schema.Call
	c.SetNamed([]byte("callee"), []byte("380442220004"))
	g.hooks["other"].set(gives(t, "380441111111"))
	g.Decide(&c, &schema.Decision{})
	if got, want := c.Get(schema.ParamCallRoute), "webhookNumber:15"; got != want {
		t.Errorf("the second hook was told %q; want %q", got, want)
	}
	c.Reset()
	c.SetNamed([]byte("callee"), []byte("380442220004"))
	c.SetNamed([]byte("callroute"), []byte("the PBX's own"))
	g.Decide(&c, &schema.Decision{})
	if got, want := c.Get(schema.ParamCallRoute), "the PBX's own"; got != want {
		t.Errorf("the hooks were told %q; want %q", got, want)
	}
}

func TestReloadKeepsWhatHasNotChanged(t *testing.T) {
	g := newRig(t, testConfig)
	crm := g.table.Load().projects["1001"].hooks["crm"]
	g.ForceBreaker("1001", "crm", "open")
	g.load(t, strings.Replace(testConfig, "name: Operators", "name: Renamed", 1))
	if g.table.Load().projects["1001"].hooks["crm"] != crm {
		t.Error("a hook whose settings are as they were was made anew")
	}
	if got := g.ask("380442223344").Reason; got != schema.ReasonBreakerOpen {
		t.Errorf("the breaker forgot its state: %s", got)
	}
	g.load(t, strings.Replace(testConfig, "crm.example/route", "crm.example/mended", 1))
	if g.table.Load().projects["1001"].hooks["crm"] == crm {
		t.Error("a hook with another URL kept its old connections")
	}
	if v := g.Version(); v != 3 {
		t.Errorf("version %d after three loads", v)
	}
}

func TestADecisionByHookAllocatesNothing(t *testing.T) {
	g := newRig(t, testConfig)
	g.hooks["crm"].set(gives(t, "380441111111"))
	var call schema.Call
	var d schema.Decision
	callee, caller, name := []byte("380442223344"), []byte("380501112233"), []byte("callid")
	decide := func() {
		call.Reset()
		d.Reset()
		call.At = time.Now()
		call.Set(schema.ParamCallee, callee)
		call.Set(schema.ParamCaller, caller)
		call.SetNamed(name, caller)
		g.Decide(&call, &d)
	}
	if n := testing.AllocsPerRun(1000, decide); n != 0 {
		t.Errorf("%v allocations a decision; want none", n)
	}
	if d.Source != schema.SourceHook {
		t.Fatalf("not decided by the hook: %s", summary(&d))
	}
}

func BenchmarkDecide(b *testing.B) {
	g := newRig(b, testConfig)
	g.hooks["crm"].set(gives(b, "380441111111"))
	var call schema.Call
	var d schema.Decision
	callee, caller := []byte("380442223344"), []byte("380501112233")
	b.ReportAllocs()
	for b.Loop() {
		call.Reset()
		d.Reset()
		call.At = time.Now()
		call.Set(schema.ParamCallee, callee)
		call.Set(schema.ParamCaller, caller)
		g.Decide(&call, &d)
	}
}
