package intake

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// document is an answer as FreeSWITCH's XML reader sees it.
type document struct {
	XMLName  xml.Name `xml:"document"`
	Type     string   `xml:"type,attr"`
	Sections []struct {
		Name    string `xml:"name,attr"`
		Results []struct {
			Status string `xml:"status,attr"`
		} `xml:"result"`
		Contexts []struct {
			Name       string `xml:"name,attr"`
			Extensions []struct {
				Name       string `xml:"name,attr"`
				Conditions []struct {
					Field      string   `xml:"field,attr"`
					Expression string   `xml:"expression,attr"`
					Actions    []action `xml:"action"`
				} `xml:"condition"`
			} `xml:"extension"`
		} `xml:"context"`
	} `xml:"section"`
}

type action struct {
	Application string `xml:"application,attr"`
	Data        string `xml:"data,attr"`
}

func (a action) String() string { return a.Application + " " + a.Data }

// actionsOf reads an answer as FreeSWITCH does: a line with "<?", "<include>" or x-pre-process is
// dropped, $${...} filled in, the rest is XML, and of that the asker's context. found is false for
// the not-found document.
func actionsOf(t *testing.T, body, context string) (actions []action, found bool) {
	t.Helper()
	var kept []string
	for line := range strings.SplitSeq(body, "\n") {
		if !strings.Contains(line, "<?") && !strings.Contains(line, "<include>") && !strings.Contains(line, "</include>") &&
			!strings.Contains(strings.ToLower(line), "x-pre-process") && !strings.Contains(line, "$${") {
			kept = append(kept, line)
		}
	}
	var doc document
	d := xml.NewDecoder(strings.NewReader(strings.Join(kept, "\n")))
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("more after the document (%v): %s", err, body)
	}
	if doc.Type != "freeswitch/xml" || len(doc.Sections) != 1 {
		t.Fatalf("not one section of a freeswitch/xml document: %s", body)
	}
	section := doc.Sections[0]
	if section.Name == "result" && len(section.Results) == 1 && section.Results[0].Status == "not found" && len(section.Contexts) == 0 {
		return nil, false
	}
	if section.Name != "dialplan" || len(section.Contexts) != 1 || len(section.Results) != 0 {
		t.Fatalf("neither one context of a dialplan nor not found: %s", body)
	}
	c := section.Contexts[0]
	if c.Name != context && c.Name != "global" || c.Name == "" {
		t.Fatalf("context %q is not looked into from %q", c.Name, context)
	}
	if len(c.Extensions) != 1 || len(c.Extensions[0].Conditions) != 1 || c.Extensions[0].Name != "hookswitch" {
		t.Fatalf("not one extension with one condition: %s", body)
	}
	condition := c.Extensions[0].Conditions[0]
	if strings.Contains(condition.Expression, "(") {
		t.Fatalf("the expression %q captures, so that $1 in any data would be filled in", condition.Expression)
	}
	if len(condition.Actions) == 0 {
		t.Fatalf("an extension without action, at which the caller gets a 404: %s", body)
	}
	return condition.Actions, true
}

var expansion = regexp.MustCompile(`\$\{[^}]*\}`)

// channel is a call in FreeSWITCH's dialplan.
type channel struct {
	vars map[string]string
	did  []string
}

// runActions does what the actions say, and tells of it, one line a thing that a caller would notice.
func runActions(t *testing.T, actions []action) *channel {
	t.Helper()
	c := &channel{vars: map[string]string{}}
	for _, a := range actions {
		for _, e := range expansion.FindAllString(a.Data, -1) {
			if e != "${destination_number}" && e != "${context}" && e != "${domain_name}" {
				t.Fatalf("FreeSWITCH expands %s in %s", e, a)
			}
		}
		if strings.Contains(expansion.ReplaceAllString(a.Data, ""), "$") {
			t.Fatalf("a $ that begins no known variable: %s", a)
		}
		switch a.Application {
		case "set":
			name, value, ok := strings.Cut(a.Data, "=")
			if !ok || strings.HasPrefix(name, "$") {
				t.Fatalf("set %q", a.Data)
			}
			c.vars[name] = value
		case "bridge":
			c.bridge(t, a.Data)
		case "answer", "playback", "voicemail", "hangup", "transfer":
			c.did = append(c.did, strings.TrimSpace(a.String()))
		default:
			t.Fatalf("the application %q", a.Application)
		}
	}
	return c
}

// bridge splits a bridge's data: "," and ":_:" ring together, "|" comes after. A leg's own brackets,
// which only a template can write, set variables.
func (c *channel) bridge(t *testing.T, data string) {
	t.Helper()
	if strings.ContainsAny(data, "|") || strings.Contains(data, ":_:") || strings.HasPrefix(data, "{") || strings.HasPrefix(data, "<") {
		t.Fatalf("bridge %q rings more than one after the other, or sets variables", data)
	}
	legs := strings.Split(data, ",")
	for i, leg := range legs {
		legs[i] = strings.TrimPrefix(leg, "[leg_timeout=20]")
		if strings.HasPrefix(legs[i], "[") || legs[i] == "" {
			t.Fatalf("bridge %q: a leg that is none", data)
		}
	}
	line := fmt.Sprintf("ring %s until %s", strings.Join(legs, " and "), c.vars["call_timeout"])
	if len(legs) > 1 && c.vars["ignore_early_media"] != "true" {
		t.Fatalf("several ring, and the early media of one would win: %s", data)
	}
	if v := c.vars["ringback"]; v != "" {
		line += ", hearing " + v
	}
	if c.vars["bridge_pre_execute_bleg_app"] == "playback" {
		line += ", announcing " + c.vars["bridge_pre_execute_bleg_data"]
	} else if c.vars["bridge_pre_execute_bleg_app"]+c.vars["bridge_pre_execute_bleg_data"] != "" {
		t.Fatalf("half an announcement: %v", c.vars)
	}
	if c.vars["continue_on_fail"] == "true" {
		line += ", else on"
	}
	if c.vars["continue_on_fail"] != c.vars["hangup_after_bridge"] {
		t.Fatalf("the next step would ring after the talk, or none: %v", c.vars)
	}
	c.did = append(c.did, line)
}

const (
	freeswitchBefore = `<document type="freeswitch/xml"><section name="dialplan"><context name="public"><extension name="hookswitch"><condition>`
	freeswitchAfter  = `</condition></extension></context></section></document>`
)

func set(data string) string    { return `<action application="set" data="` + data + `"/>` }
func bridge(data string) string { return `<action application="bridge" data="` + data + `"/>` }

// The envelope and the sequences of actions that a real FreeSWITCH 1.10.12 did (shared/pbx/README.md).
func TestTheFreeSWITCHAnswersThatWereProven(t *testing.T) {
	cursor := strings.Repeat("aB-_", 75)
	a, b := numbers(t, "380441111111"), numbers(t, "380441111111", "380441111112")
	const A, B = "sofia/gateway/trunk/380441111111", "sofia/gateway/trunk/380441111112"
	for name, c := range map[string]struct {
		asked string
		d     schema.Decision
		want  string
	}{
		"all ring": {"", schema.Decision{Steps: []schema.DecidedStep{{Dial: b, Strategy: schema.All, Timeout: 45 * time.Second}}},
			set("call_timeout=46") + set("ignore_early_media=true") + bridge(A+","+B)},
		"in order": {"", schema.Decision{Steps: []schema.DecidedStep{{Dial: b, Strategy: schema.InOrder, Timeout: 4 * time.Second}}},
			set("hangup_after_bridge=true") + set("continue_on_fail=true") + set("call_timeout=5") + bridge(A) + bridge(B) + `<action application="hangup" data="USER_BUSY"/>`},
		"continuation": {"", schema.Decision{Next: cursor, Steps: []schema.DecidedStep{{Dial: a, Strategy: schema.All, Timeout: 4 * time.Second}}},
			set("hookswitch_cursor="+cursor) + set("hangup_after_bridge=true") + set("continue_on_fail=true") + set("call_timeout=5") +
				set("ignore_early_media=true") + bridge(A) + `<action application="transfer" data="${destination_number} XML ${context}"/>`},
		"the last continuation sets the cursor to nothing": {cursor, schema.Decision{Steps: []schema.DecidedStep{{Dial: a, Strategy: schema.InOrder, Timeout: 4 * time.Second}}},
			set("hookswitch_cursor=") + set("hangup_after_bridge=true") + set("continue_on_fail=true") + set("call_timeout=5") +
				set("ignore_early_media=true") + set("ringback=") + set("bridge_pre_execute_bleg_app=") + set("bridge_pre_execute_bleg_data=") +
				bridge(A) + `<action application="hangup" data="USER_BUSY"/>`},
	} {
		p := newPBX(t)
		p.decision = c.d
		_, got := p.ask("/v1/route/freeswitch", "", "section=dialplan&Caller-Destination-Number=1&Caller-Context=public&variable_hookswitch_cursor="+c.asked)
		if want := freeswitchBefore + c.want + freeswitchAfter; got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestFreeSWITCHDoesTheSteps(t *testing.T) {
	ring := func(texts ...string) schema.DecidedStep {
		return schema.DecidedStep{Dial: numbers(t, texts...), Strategy: schema.All, Timeout: 20 * time.Second}
	}
	order, music := ring("ivan", "olha"), ring("ivan")
	order.Strategy = schema.RoundRobin
	music.MOH, music.Announce = "jazz", "vip call.wav"
	for _, c := range []struct {
		name  string
		steps []schema.DecidedStep
		want  []string // nil: not found
	}{
		{"takes a message where nobody answered", []schema.DecidedStep{ring("ivan"), {Voicemail: "1001"}},
			[]string{"ring user/ivan until 21, else on", "answer", "voicemail default ${domain_name} 1001", "hangup NORMAL_CLEARING"}},
		{"takes a message for another domain's box", []schema.DecidedStep{{Voicemail: "10 01@pbx.example"}},
			[]string{"answer", "voicemail default pbx.example 1001", "hangup NORMAL_CLEARING"}},
		{"plays and hangs up", []schema.DecidedStep{{Playback: "ivr/closed.wav"}, {Hangup: "busy"}}, []string{"answer", "playback ivr/closed.wav", "hangup USER_BUSY"}},
		{"plays and lets it be", []schema.DecidedStep{{Playback: "ivr/closed.wav"}}, []string{"answer", "playback ivr/closed.wav", "hangup NORMAL_CLEARING"}},
		{"rings one after the other", []schema.DecidedStep{order}, []string{"ring user/ivan until 21, else on", "ring user/olha until 21, else on", "hangup USER_BUSY"}},
		{"forgets the music of the step before", []schema.DecidedStep{music, ring("olha")},
			[]string{"ring user/ivan until 21, hearing local_stream://jazz, announcing vip call.wav, else on", "ring user/olha until 21, else on", "hangup USER_BUSY"}},
		{"falls through where no text is left", []schema.DecidedStep{{Voicemail: "${}"}, {Playback: "x-pre-${}process"}}, nil},
		{"falls through where there is no box", []schema.DecidedStep{{Voicemail: "@pbx.example"}}, nil},
		{"falls through without a step", nil, nil},
		{"hangs up", []schema.DecidedStep{{Hangup: "unallocated"}}, []string{"hangup UNALLOCATED_NUMBER"}},
	} {
		p := newPBX(t)
		p.decision = schema.Decision{Steps: c.steps}
		status, body := p.ask("/v1/route/freeswitch", "", "Caller-Destination-Number=1&Caller-Context=public")
		actions, found := actionsOf(t, body, "public")
		if got := runActions(t, actions).did; status != 200 || found != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("FreeSWITCH %s: %d, did %q; want %q\n%s", c.name, status, got, c.want, body)
		}
	}
}

func TestWhatIsNotForFreeSWITCHFallsThrough(t *testing.T) {
	p := newPBX(t)
	p.decision.NotFound = true
	for form, want := range map[string]int{
		"section=dialplan&Caller-Destination-Number=1":                    200, // nobody's number: no error to FreeSWITCH
		"section=directory&tag_name=domain&key_name=name&key_value=a":     200,
		"section=configuration&tag_name=configuration&key_value=acl.conf": 200,
		"section=dialplan":                           400,
		"Caller-Destination-Number=1&budget_ms=soon": 400,
	} {
		status, body := p.ask("/v1/route/freeswitch", "", form)
		if _, found := actionsOf(t, body, ""); found || status != want {
			t.Errorf("%s: %d %s; want %d and the not-found document", form, status, body, want)
		}
	}
}

func TestFreeSWITCHsContextIsEchoed(t *testing.T) {
	p := newPBX(t)
	p.decision.Steps = []schema.DecidedStep{{Hangup: "busy"}}
	for form, want := range map[string]string{
		"Caller-Context=public":                      "public",
		"Caller-Context=public&Hunt-Context=inside":  "inside",
		"Hunt-Context=Київ+%26+Co":                   "Київ &amp; Co",
		"":                                           "global",
		"Hunt-Context=&Caller-Context=a":             "a",
		"Caller-Context=%22/%3E%3Caction":            "global",
		"Caller-Context=x-PRE-process":               "global",
		"Caller-Context=a%0Ab":                       "global",
		"Caller-Context=a%FFb":                       "global",
		"Caller-Context=" + strings.Repeat("a", 129): "global",
	} {
		_, body := p.ask("/v1/route/freeswitch", "", "Caller-Destination-Number=1&"+form)
		if !strings.Contains(body, `<context name="`+want+`">`) {
			t.Errorf("%s: %s; want the context %q", form, body, want)
		}
	}
}

func TestOfFreeSWITCHsVariablesAWebhookGetsThoseThatItAsksFor(t *testing.T) {
	p := newPBX(t)
	p.decision.Steps = []schema.DecidedStep{{Hangup: "busy"}}
	sdp := strings.Repeat("a=candidate%3A1+1+UDP+2113+192.0.2.1+5060+typ+host%0D%0A", 200)
	form := "section=dialplan&Caller-Destination-Number=1&variable_switch_r_sdp=" + sdp + "&variable_city=Kyiv&E164=%2B380501112233"
	for i := range 400 {
		form += fmt.Sprintf("&variable_no_%d=%d", i, i)
	}
	cursor := strings.Repeat("aB-_", 75)
	status, body := p.ask("/v1/route/freeswitch", "", form+"&variable_hookswitch_project=1001&variable_hookswitch_cursor="+cursor)
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, c := range p.asked.Customs() {
		if strings.HasPrefix(c.Name, "variable_") || strings.HasPrefix(c.Name, "Caller-") {
			t.Errorf("a webhook that asks for nothing in particular is told %s", c.Name)
		}
	}
	for name, want := range map[string]string{"variable_city": "Kyiv", "variable_no_399": "399", "variable_switch_r_sdp": ""} {
		if got, _ := p.asked.CustomValue(name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	if p.asked.Cursor != cursor || p.asked.Project != "1001" || p.asked.Get(schema.ParamE164) != "+380501112233" {
		t.Errorf("cursor %q, project %q, E164 %q", p.asked.Cursor, p.asked.Project, p.asked.Get(schema.ParamE164))
	}
}

// Property: what FreeSWITCH does by an answer are the decision's steps, for whatever destinations,
// owner's texts, context and channel variables; where it can do none of them, it is told so.
func FuzzFreeSWITCHAnswer(f *testing.F) {
	f.Add("a380441111111,380441111112", uint32(44_000), "", "public", "", "Іван", uint8(0))
	f.Add("a380441111111\ni1234567,ivan\tjazz\tbeep\nv100@default\nh", uint32(0), "eyJ", "a\"><b", "", "${system(id)}\n", uint8(1))
	f.Add("pa$x-pre-$process<?<include>", uint32(1), "", "x-pre-process", "eyJ", "<?x", uint8(0))
	f.Add("asip:#*+@[2001:db8::1]:5060,x-pre-process.a\t$${a}\t'|,]\nax-pre-process", uint32(1), "e", "global", "e", "", uint8(1))
	f.Add("v x-pre-\uFFFEprocess@\uFEFFa", uint32(1), "", "${x}", "", "", uint8(0))
	p := newPBX(f)
	f.Fuzz(func(t *testing.T, script string, timeout uint32, next, context, cursor, name string, template uint8) {
		p.decision = schema.Decision{
			Next: or(cursorGrammar, next, ""), Dialing: &templates[int(template)%len(templates)], Steps: fuzzedSteps(script, fuzzedTimeout(timeout)),
		}
		form := url.Values{
			"section": {"dialplan"}, "Caller-Destination-Number": {"1"}, "Caller-Context": {"public"}, "Hunt-Context": {context},
			"Caller-Caller-ID-Name": {name}, "variable_" + name: {name}, "variable_hookswitch_cursor": {cursor},
		}
		status, body := p.ask("/v1/route/freeswitch", "", form.Encode())
		if context == "" {
			context = "public"
		}
		actions, found := actionsOf(t, body, context)
		c := runActions(t, actions)
		want := intendedOfFreeSWITCH(&p.decision, cursor)
		if status != 200 || found != (want != nil) || !slices.Equal(c.did, want) {
			t.Fatalf("%d, did %q; want %q\n%s", status, c.did, want, body)
		}
		if !found {
			return
		}
		if got, there := c.vars["hookswitch_cursor"]; got != p.decision.Next || there != (got != "" || cursor != "") {
			t.Fatalf("the channel's cursor is %q, %v; want %q after %q", got, there, p.decision.Next, cursor)
		}
		if _, first := c.vars["hookswitch_cursor"]; first && !strings.HasPrefix(actions[0].Data, "hookswitch_cursor=") {
			t.Fatalf("the cursor is not set first: %v", actions)
		}
		if i := bytes.IndexByte([]byte(body), '\n'); i >= 0 {
			t.Fatalf("not one line: %q", body)
		}
	})
}

// intendedOfFreeSWITCH tells of a decision as runActions does; nil for nothing.
func intendedOfFreeSWITCH(d *schema.Decision, cursor string) (want []string) {
	lone := d.Next == "" && cursor == "" && len(d.Steps) == 1 && (d.Steps[0].Strategy == schema.All || len(d.Steps[0].Dial) == 1)
	end := ""
	for _, s := range d.Steps {
		var legs []string
		for _, one := range s.Dial {
			if text := filled(d.Dialing.FreeSWITCH, one); !strings.Contains(strings.ToLower(text), "x-pre-process") {
				legs = append(legs, strings.TrimPrefix(text, "[leg_timeout=20]"))
			}
		}
		if s.Strategy == schema.All && len(legs) > 1 {
			legs = []string{strings.Join(legs, " and ")}
		}
		for _, leg := range legs {
			line := fmt.Sprintf("ring %s until %d", leg, int(s.Timeout/time.Second)+1)
			if moh := harmless(s.MOH); moh != "" {
				line += ", hearing local_stream://" + moh
			}
			if announce := harmless(s.Announce); announce != "" {
				line += ", announcing " + announce
			}
			if !lone {
				line += ", else on"
			}
			want = append(want, line)
		}
		if id, domain, _ := strings.Cut(strings.ReplaceAll(harmless(s.Voicemail), " ", ""), "@"); id != "" {
			if domain == "" {
				domain = "${domain_name}"
			}
			want = append(want, "answer", "voicemail default "+domain+" "+id)
		}
		if file := harmless(s.Playback); file != "" {
			want = append(want, "answer", strings.TrimSpace("playback "+file))
		}
		if s.Hangup != "" {
			want = append(want, "hangup "+map[string]string{"busy": "USER_BUSY", "no_answer": "NO_ANSWER", "rejected": "CALL_REJECTED",
				"unallocated": "UNALLOCATED_NUMBER", "congestion": "NORMAL_TEMPORARY_FAILURE", "normal": "NORMAL_CLEARING"}[s.Hangup])
		}
		if end = "hangup NORMAL_CLEARING"; len(s.Dial) > 0 {
			end = "hangup USER_BUSY"
		}
	}
	switch {
	case d.Next != "":
		want = append(want, "transfer ${destination_number} XML ${context}")
	case want != nil && (!lone || len(d.Steps[0].Dial) == 0) && d.Steps[len(d.Steps)-1].Hangup == "":
		want = append(want, end)
	}
	return want
}

var harmful = regexp.MustCompile(`[${}"<>\\,|\[\]'^\x{FFFD}\x{FFFE}\x{FFFF}]`)

// harmless is an owner's text as FreeSWITCH gets it.
func harmless(text string) string {
	text = harmful.ReplaceAllString(text, "")
	if regexp.MustCompile(`(?i)x-pre-process`).MatchString(text) {
		return ""
	}
	return text
}
