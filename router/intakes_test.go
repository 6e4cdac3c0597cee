package router

import (
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

const intakesConfig = `
projects:
  - id: p
    default_schema: "1"
    intakes:
      - {format: asterisk, rename: {callid: LINKEDID, caller: "CALLERID(ani)", source: X-Source}}
      - {format: freeswitch, rename: {caller: variable_sip_from_user, callee: variable_did}}
    numbers: [{number: "380442223344", schema: s}]
    schemas:
      - {id: "1", name: D, steps: [{dial: ["380440000001"]}]}
      - {id: s, name: S, steps: [{dial: ["380440000002"]}, {hook: a}]}
    hooks: [{id: a, url: "http://crm.example/a"}]
`

func TestAPBXsOwnNamesAreTakenForOurs(t *testing.T) {
	g := newRig(t, intakesConfig)
	ask := func(dialect, cursor string, params ...string) (*schema.Call, *schema.Decision) {
		call, d := &schema.Call{At: time.Now(), Dialect: dialect, Cursor: cursor}, &schema.Decision{}
		for _, p := range append([]string{"callee=380442223344", "caller=100", "callid=a1"}, params...) {
			name, value, _ := strings.Cut(p, "=")
			if strings.HasPrefix(name, "variable_") {
				call.SetChannel([]byte(name), []byte(value))
			} else {
				call.SetNamed([]byte(name), []byte(value))
			}
		}
		g.Decide(call, d)
		return call, d
	}
	for _, c := range []struct {
		name, dialect string
		params        []string
		want          map[schema.Param]string
	}{
		{"over what they said under ours", "asterisk", []string{"LINKEDID=l1", "CALLERID(ani)=380501112233", "X-Source=ads"},
			map[schema.Param]string{schema.ParamCallID: "l1", schema.ParamCaller: "380501112233", schema.ParamE164: "+380501112233", schema.ParamSource: "ads", schema.ParamRecord: "l1"}},
		{"where they say something", "asterisk", []string{"LINKEDID="}, map[schema.Param]string{schema.ParamCallID: "a1", schema.ParamCaller: "100"}},
		{"in their own dialect only", "kamailio", []string{"LINKEDID=l1"}, map[schema.Param]string{schema.ParamCallID: "a1"}},
		{"of a channel's variables", "freeswitch", []string{"variable_sip_from_user=380509998877"}, map[schema.Param]string{schema.ParamCaller: "380509998877"}},
		{"once the number called is found", "freeswitch", []string{"variable_did=380440000000"}, map[schema.Param]string{schema.ParamCallee: "380440000000", schema.ParamProjectID: "p"}},
	} {
		call, d := ask(c.dialect, "", c.params...)
		for p, want := range c.want {
			if got := call.Get(p); got != want {
				t.Errorf("%s: %s is %q; want %q", c.name, p.Name(), got, want)
			}
		}
		if d.Schema != "s" {
			t.Errorf("%s: follows %s", c.name, summary(d))
		}
	}

	// A cursor is bound to the call as it is renamed, the first time and the second.
	_, d := ask("asterisk", "", "LINKEDID=l1")
	if _, d = ask("asterisk", d.Next, "LINKEDID=l1"); d.Reason == schema.ReasonBadCursor || g.hooks["a"].asked.Load() != 1 {
		t.Errorf("the second lookup: %s", summary(d))
	}
	_, d = ask("asterisk", "", "LINKEDID=l2")
	if _, d = ask("asterisk", d.Next, "LINKEDID=l3"); d.Reason != schema.ReasonBadCursor {
		t.Errorf("another call's cursor: %s", summary(d))
	}
}
