package router

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/schema"
)

// memory is a Memory whose knowledge is chosen by the test.
type memory struct {
	mu     sync.Mutex
	knows  schema.Recall // what it answers
	asked  []string
	called []string
	told   []string
}

func (m *memory) Recall(r *schema.Recall, deadline time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Until(deadline) > time.Second {
		panic("a deadline that is not the hook's")
	}
	m.asked = append(m.asked, fmt.Sprintf("%s %s %s calls=%v variables=%v continued=%v", r.Project, r.Caller, r.CallID, r.WantCalls, r.WantVariables, r.Continued))
	r.CallsResult, r.VariablesResult = m.knows.CallsResult, m.knows.VariablesResult
	if r.WantCalls {
		r.Callnum = m.knows.Callnum
	}
	if r.WantVariables {
		r.Variables = m.knows.Variables
	}
}

func (m *memory) Called(project, caller, callID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.called = append(m.called, strings.Clone(project+" "+caller+" "+callID))
}

func (m *memory) Answered(project, hook, callee string, list []schema.Destination, _ time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, fmt.Sprintf("%s/%s/%s %v", project, hook, callee, list))
}

const recallConfig = `
projects:
  - id: "1001"
    default_schema: "1"
    destinations: {region: UA}
    numbers: [{number: "380442220001", schema: "1"}, {number: "380442220002", schema: "2"}, {number: "380442220003", schema: "3"}]
    schemas:
      - {id: "1", name: Tells, steps: [{hook: tells}, {hook: nested}, {dial: ["380440000001"]}]}
      - {id: "2", name: Says nothing of it, steps: [{hook: plain}]}
      - {id: "3", name: Later, steps: [{dial: ["380440000001"]}, {hook: tells}]}
    hooks:
      - {id: tells, url: "http://crm.example/", params: [{name: n, param: callnum}, {name: first, value: "{{uniquefirst}}"}]}
      - {id: nested, url: "http://crm.example/", params: [{name: o, object: [{name: l, list: [caller, repeated_flag]}]}]}
      - {id: plain, url: "http://crm.example/", last_good: 10m, breaker: {failures: 1}}
  - id: "1002"
    default_schema: "1"
    numbers: [{number: "380443330000", schema: "1"}]
    schemas: [{id: "1", name: Asks, steps: [{hook: crm}, {dial: ["380443330001"]}]}]
    hooks: [{id: crm, url: "http://crm.example/{{payment.name}}"}, {id: url, url: "http://crm.example/{{callnum}}"}]
    incoming: [{token: in-0123456789abcdef, key: chat_id}]
  - id: "1003"
    default_schema: "1"
    numbers: [{number: "380445550000", schema: "1"}]
    schemas: [{id: "1", name: Asks, steps: [{hook: crm}, {dial: ["380443330001"]}]}]
    hooks: [{id: crm, url: "http://crm.example/", headers: {X-Call: "{{callnum}}"}}]
`

// recallRig is a Router on recallConfig that has a memory, and its metrics.
func recallRig(t testing.TB, m *memory) (*rig, *prometheus.Registry) {
	t.Helper()
	g, registry := &rig{hooks: map[string]*answerer{}}, prometheus.NewRegistry()
	g.Router = New(Options{
		Prepare: func(_ *schema.Project, h *schema.Hook) (Asker, error) {
			g.hooks[h.ID] = &answerer{}
			g.hooks[h.ID].set(fails(schema.ReasonTimeout))
			return g.hooks[h.ID], nil
		},
		Log: zap.NewNop(), Metrics: registry, Memory: m, Now: time.Now,
	})
	g.load(t, recallConfig)
	t.Cleanup(g.Close)
	return g, registry
}

func lookup(params ...string) *schema.Call {
	c := &schema.Call{At: time.Now()}
	c.Deadline = c.At.Add(10 * time.Second)
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		c.SetNamed([]byte(name), []byte(value))
	}
	return c
}

func TestWhatIsRecalledForWhichHook(t *testing.T) {
	const told = "callee=380442220001"
	for _, c := range []struct {
		name          string
		params        []string
		change        func(*schema.Call)
		asked, called string
	}{
		{"a hook that tells of earlier calls asks once for the decision", []string{told, "caller=0501112233", "callid=c1"}, nil,
			"1001 380501112233 c1 calls=true variables=false continued=false", "1001 380501112233 c1"},
		{"a PBX that has said it is believed", []string{told, "caller=380501112233", "callid=c1", "callnum=7", "uniquefirst=0", "repeated_flag=1"}, nil,
			"", "1001 380501112233 c1"},
		{"what the first hook is not told is no matter", []string{told, "caller=380501112233", "callid=c1", "callnum=7", "uniquefirst=0"}, nil,
			"1001 380501112233 c1 calls=true variables=false continued=false", "1001 380501112233 c1"},
		{"a hook that tells nothing asks nothing, and the call counts", []string{"callee=380442220002", "caller=380501112233", "callid=c1"}, nil,
			"", "1001 380501112233 c1"},
		{"a withheld number is nobody", []string{told, "caller=anonymous", "callid=c1"}, nil, "", ""},
		{"a project with a link asks for variables, and counts where a hook of it tells", []string{"callee=380443330000", "caller=380501112233", "callid=c1"}, nil,
			"1002 380501112233 c1 calls=false variables=true continued=false", "1002 380501112233 c1"},
		{"a header may tell", []string{"callee=380445550000", "caller=380501112233"}, nil,
			"1003 380501112233  calls=true variables=false continued=false", "1003 380501112233 "},
		{"who only asks makes no call", []string{told, "caller=380501112233", "callid=c1"}, func(c *schema.Call) { c.Inquiry = true },
			"1001 380501112233 c1 calls=true variables=false continued=false", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{}
			g, _ := recallRig(t, m)
			call := lookup(c.params...)
			if c.change != nil {
				c.change(call)
			}
			g.Decide(call, &schema.Decision{})
			if got := strings.Join(m.asked, "; "); got != c.asked {
				t.Errorf("asked %q; want %q", got, c.asked)
			}
			if got := strings.Join(m.called, "; "); got != c.called {
				t.Errorf("counted %q; want %q", got, c.called)
			}
		})
	}
}

func TestAContinuedCallIsNotCountedAgain(t *testing.T) {
	m := &memory{}
	g, _ := recallRig(t, m)
	var d schema.Decision
	g.Decide(lookup("callee=380442220003", "caller=380501112233", "callid=c1"), &d)
	if d.Next == "" || len(m.called) != 1 || len(m.asked) != 0 {
		t.Fatalf("next %q, counted %v, asked %v", d.Next, m.called, m.asked)
	}
	again := lookup("callee=380442220003", "caller=380501112233", "callid=c1")
	again.Cursor = d.Next
	g.Decide(again, &schema.Decision{})
	if len(m.called) != 1 || len(m.asked) != 1 || !strings.HasSuffix(m.asked[0], "continued=true") {
		t.Errorf("counted %v, asked %v", m.called, m.asked)
	}
}

func TestARepeatedLookupIsNotCountedAgain(t *testing.T) {
	m := &memory{}
	g, _ := recallRig(t, m)
	g.remember(time.Minute, 1<<20)
	for range 3 {
		g.Decide(lookup("callee=380442220001", "caller=380501112233", "callid=c1"), &schema.Decision{})
	}
	if len(m.called) != 1 || len(m.asked) != 1 {
		t.Errorf("counted %v, asked %v", m.called, m.asked)
	}
}

func TestARehearsalIsNotCounted(t *testing.T) {
	m := &memory{knows: schema.Recall{Callnum: 4}}
	g, _ := recallRig(t, m)
	call := lookup("callee=380442220001", "caller=380501112233", "callid=c1")
	g.Rehearse(call, &schema.Decision{}, nil)
	if len(m.called) != 0 || call.Get(schema.ParamCallnum) != "4" {
		t.Errorf("counted %v, told callnum %q; want nothing and 4", m.called, call.Get(schema.ParamCallnum))
	}
}

func TestTheHookIsToldWhatIsRecalled(t *testing.T) {
	for _, c := range []struct {
		knows                    schema.Recall
		callnum, first, repeated string
		params                   []string
	}{
		{schema.Recall{Callnum: 1}, "1", "1", "0", nil},
		{schema.Recall{Callnum: 12}, "12", "0", "1", nil},
		{schema.Recall{CallsResult: schema.RecallLate}, "", "", "0", nil}, // the catalogue's values for what is not known
		{schema.Recall{Callnum: 12}, "7", "0", "1", []string{"callnum=7"}},
	} {
		g, _ := recallRig(t, &memory{knows: c.knows})
		call := lookup(append(c.params, "callee=380442220001", "caller=380501112233")...)
		g.Decide(call, &schema.Decision{})
		got := []string{call.Get(schema.ParamCallnum), call.Get(schema.ParamUniqueFirst), call.Get(schema.ParamRepeatedFlag)}
		if want := []string{c.callnum, c.first, c.repeated}; strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%+v: told %q; want %q", c.knows, got, want)
		}
	}
	g, _ := recallRig(t, &memory{knows: schema.Recall{Variables: []byte(`{"payment":{"name":"Вася"}}`)}})
	call := lookup("callee=380443330000", "caller=380501112233")
	g.Decide(call, &schema.Decision{})
	if tag := schema.NamedTag("payment.name"); tag.Value(call) != "Вася" {
		t.Errorf("{{payment.name}} is %q", tag.Value(call))
	}
}

func TestLooksAreCounted(t *testing.T) {
	g, registry := recallRig(t, &memory{knows: schema.Recall{CallsResult: schema.RecallLate}})
	g.Decide(lookup("callee=380442220001", "caller=380501112233"), &schema.Decision{})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "hookswitch_recall_total" {
			continue
		}
		for _, series := range f.GetMetric() {
			labels, want := series.GetLabel(), 0.0
			if labels[0].GetValue() == "late" && labels[1].GetValue() == "calls" {
				want = 1
			}
			if got := series.GetCounter().GetValue(); got != want {
				t.Errorf("%v: %v; want %v", labels, got, want)
			}
		}
		return
	}
	t.Error("hookswitch_recall_total is not there")
}

func TestGoodAnswersAreToldOnChangeAndAtHalfTheirLife(t *testing.T) {
	m := &memory{}
	g, _ := recallRig(t, m)
	plain := g.hooks["plain"]
	ask := func() {
		g.Decide(lookup("callee=380442220002", "caller=380501112233"), &schema.Decision{})
	}
	plain.set(gives(t, "380441111111"))
	ask()
	ask()
	plain.set(gives(t, "380441111112"))
	ask()
	if want := "1001/plain/380442220002 [380441111111]; 1001/plain/380442220002 [380441111112]"; strings.Join(m.told, "; ") != want {
		t.Errorf("told %v; want %s", m.told, want)
	}
	var l lastGood
	list, at, life := []schema.Destination{{User: "380441111111"}}, time.Unix(1_700_000_000, 0), 10*time.Minute
	for _, c := range []struct {
		after time.Duration
		tell  bool
	}{{0, true}, {4 * time.Minute, false}, {2 * time.Minute, true}, {2 * time.Minute, false}, {9 * time.Minute, true}} {
		at = at.Add(c.after)
		if tell := l.keep("1", list, at, life); (tell != nil) != c.tell {
			t.Errorf("%s later: told %v; want %v", c.after, tell != nil, c.tell)
		}
	}
}

func TestALearntAnswerStandsInAndIsChecked(t *testing.T) {
	g := newRig(t, testConfig)
	list := func(texts ...string) []schema.Destination {
		a := &schema.Answer{}
		gives(t, texts...)(a)
		return a.Destinations
	}
	const callee, now = "380442220002", "last_good timeout schema= hook=own | dial 380441111111 all 1m30s"
	g.Learn("1001", "own", callee, list("380441111111"), time.Now().Add(-time.Minute))
	if got := summary(g.ask(callee)); got != now {
		t.Errorf("\ngot  %s\nwant %s", got, now)
	}
	g.Learn("1001", "own", callee, list("380441111119"), time.Now().Add(-2*time.Minute)) // older than what is known
	if got := summary(g.ask(callee)); got != now {
		t.Errorf("an older answer: \ngot  %s\nwant %s", got, now)
	}
	g.Learn("1001", "own", callee, list("380900111222", "380441111112"), time.Now().Add(time.Hour)) // of a clock ahead
	if got, want := summary(g.ask(callee)), "last_good timeout schema= hook=own | dial 380441111112 all 1m30s"; got != want {
		t.Errorf("what is denied: \ngot  %s\nwant %s", got, want)
	}
	g.Learn("1001", "own", "380442220001", list("380441111111"), time.Now().Add(-11*time.Minute))
	if got := g.table.Load().projects["1001"].hooks["own"].lastGood.get("380442220001", time.Now(), 10*time.Minute); got != nil {
		t.Errorf("an answer older than last_good is had: %v", got)
	}
	g.Learn("1001", "crm", callee, list("380441111111"), time.Now()) // has no last_good
	g.Learn("1001", "gone", callee, list("380441111111"), time.Now())
	g.Learn("gone", "own", callee, list("380441111111"), time.Now())
	if n := len(g.table.Load().projects["1001"].hooks["crm"].lastGood.byNum); n != 0 {
		t.Errorf("a hook without last_good keeps %d", n)
	}
}

func TestAHookThatTellsNothingPaysNothing(t *testing.T) {
	m := &memory{}
	g, _ := recallRig(t, m)
	g.hooks["plain"].set(gives(t, "380441111111"))
	h := g.table.Load().projects["1001"].hooks["plain"]
	w := &walk{r: g.Router, project: &project{conf: &schema.Project{}}, call: &schema.Call{}, d: &schema.Decision{}}
	if n := testing.AllocsPerRun(1000, func() { w.recall(h); w.called() }); n != 0 {
		t.Errorf("%v allocations; want none", n)
	}
}
