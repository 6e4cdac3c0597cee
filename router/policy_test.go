package router

import (
	"strings"
	"testing"

	"hookswitch/schema"
)

func TestWhatTheOwnerDeniesIsDeniedInEverySpelling(t *testing.T) {
	p := newPolicy(&schema.Destinations{
		Allow:  []string{"380", "sip:*@*", "sip:*@[2001:db8::7]", "sip:*@[2001:db8::1]", "login:*"},
		Deny:   []string{"380900", "sip:evil@*", "sip:*@bad.example", "sip:*@[2001:db8::1]", "sip:*@192.0.2.1", "login:admin*"},
		Max:    10,
		Region: "UA",
	})
	for text, want := range map[string]bool{
		"380441111111": true, "sip:anna@pbx.example": true, "sip:380441111111@pbx.example:5070": true,
		"anna": true, "3809": true, "sip:100@[2001:DB8:0::7]": true, "sip:380900@pbx.example": true,

		"380900111222": false, "+380900111222": false, "0900111222": false, "00380900111222": false,
		"sip:380900111222@pbx.example": false, "sip/380900111222@pbx.example": false, "sip:+380900111222@pbx.example": false,
		"sip:00380900111222@pbx.example": false, "sip/380-900-1112222@pbx.example": false, "sip:380900111222#@pbx.example": false,
		"sip:380900111222*1@pbx.example": false, "sip:+380.900.111.222@pbx.example": false, "sip:011380900111222@pbx.example": false,
		"sip:0011380900111222@pbx.example": false, "sip:810380900111222@pbx.example": false, "sip:*380900111222@pbx.example": false,
		"sip:380900111222333444@pbx.example": false, "00380900111222333": false,
		"380900111222333444": false, "380-900-111222": false, "sip:380441111111#@pbx.example": true, "sip:a380900111222@pbx.example": true,
		"sip:evil@pbx.example": false, "sip:EVIL@pbx.example": false, "sip/Evil@pbx.example": false,
		"sip:anna@bad.example": false, "sip:anna@BAD.Example:5070": false, "sip/anna@Bad.example": false,
		"sip:anna@192.0.2.1": false, "sip:anna@192.0.2.1:5070": false, "sip:anna@[::ffff:192.0.2.1]": false,
		"sip:anna@[2001:db8::1]": false, "sip:anna@[2001:DB8:0:0:0:0:0:1]": false, "sip:anna@[2001:db8::0.0.0.1]:5070": false,
		"admin": false, "Admin7": false,
	} {
		d, err := schema.ParseDestination(text, "UA")
		if err != nil {
			if want {
				t.Errorf("%s: %v", text, err)
			}
			continue // nothing can dial it
		}
		if got := p.allows(&d); got != want {
			t.Errorf("%s (%+v): allowed %v, want %v", text, d, got, want)
		}
	}
}

func TestAnAddressThatThePBXCannotBeToldOfLeavesTheFallback(t *testing.T) {
	check := func(dialect string) (kept int, reason schema.Reason, warnings []string) {
		p := newPolicy(&schema.Destinations{Allow: []string{"sip:*@*"}, Max: 10})
		d, err := schema.ParseDestination("sip:ops@[2001:db8::1]", "")
		if err != nil {
			t.Fatal(err)
		}
		left, reason, _ := p.check([]schema.Destination{d}, "380442223344", dialect, &warnings)
		return len(left), reason, warnings
	}
	if kept, reason, warnings := check("asterisk"); kept != 0 || reason != schema.ReasonForbiddenDestination || len(warnings) != 1 {
		t.Errorf("Asterisk: %d kept, %s, %q", kept, reason, warnings)
	}
	if kept, reason, _ := check("freeswitch"); kept != 1 || reason != schema.ReasonOK {
		t.Errorf("FreeSWITCH: %d kept, %s", kept, reason)
	}
}

func TestTheCalledNumberIsALoopInEverySpelling(t *testing.T) {
	config := strings.Replace(testConfig, "max: 3}", "max: 3, region: UA}", 1)
	for _, callee := range []string{"380442223344", "+380442223344", "00380442223344", "0442223344", "(044) 222-33-44", "+380 44 222 33 44"} {
		g := newRig(t, config)
		g.hooks["crm"].set(gives(t, "380442223344"))
		if d := g.ask(callee, "schema=100", "project=1001"); d.Reason != schema.ReasonLoop {
			t.Errorf("%s: %s", callee, summary(d))
		}
		g.hooks["crm"].set(gives(t, "380442223344", "380441111111"))
		if got := summary(g.ask(callee, "schema=100", "project=1001")); !strings.Contains(got, "| dial 380441111111 all") {
			t.Errorf("%s: %s", callee, got)
		}
	}
	g := newRig(t, testConfig)
	g.hooks["crm"].set(gives(t, "380442223344"))
	if d := g.ask("00380442223344", "schema=100", "project=1001"); d.Reason != schema.ReasonLoop {
		t.Errorf("with 00, without a region: %s", summary(d))
	}
	g.hooks["crm"].set(gives(t, "op5001"))
	if d := g.ask("op5001", "schema=100", "project=1001"); d.Reason != schema.ReasonLoop {
		t.Errorf("a login: %s", summary(d))
	}
}
