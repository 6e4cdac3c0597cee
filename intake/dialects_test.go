package intake

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

func TestTheConfigurationKnowsEveryDialect(t *testing.T) {
	ours, configured := slices.Sorted(slices.Values(formatNames[:])), slices.Sorted(slices.Values(schema.IntakeFormats))
	if !slices.Equal(ours, configured) {
		t.Errorf("schema.IntakeFormats are %v; want the dialects of the door, %v", configured, ours)
	}
}

// pbx is a door of which a test sets the decision, asked as a PBX's client would.
type pbx struct {
	s        *Server
	decision schema.Decision // to copy
	asked    schema.Call
}

func newPBX(t testing.TB) *pbx {
	p := new(pbx)
	s, err := New(Options{Settings: testSettings(), Now: func() time.Time { return noon }, Decide: decideFunc(func(c *schema.Call, d *schema.Decision) {
		p.asked = *c
		*d = p.decision
	})})
	if err != nil {
		t.Fatal(err)
	}
	p.s = s
	return p
}

// ask sends a lookup, a GET where there is no form, and returns the answer.
func (p *pbx) ask(path, query, form string) (status int, body string) {
	method := "GET"
	if form != "" {
		method = "POST"
	}
	ctx := newContext(method, query, "application/x-www-form-urlencoded", []byte(form))
	setTarget(ctx, path, query)
	p.s.serve(ctx, new(question))
	return ctx.Response.StatusCode(), string(ctx.Response.Body())
}

// number is a destination as schema.ParseDestination reads it from a good text.
func number(t testing.TB, text string) schema.Destination {
	t.Helper()
	d, err := schema.ParseDestination(text, "")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func numbers(t testing.TB, texts ...string) []schema.Destination {
	var list []schema.Destination
	for _, text := range texts {
		list = append(list, number(t, text))
	}
	return list
}

// templates are what the loader lets an operator write, beside the defaults.
var templates = []schema.Dialing{
	defaultDialing,
	{
		Asterisk:   schema.DialTemplates{Number: "PJSIP/{{number}}@out", SIP: "PJSIP/a;b='c'/sip:{{ user }}@{{ host }}", Login: "Local/{{login}}@ring/n"},
		FreeSWITCH: schema.DialTemplates{Number: "[leg_timeout=20]sofia/gateway/ö&<o>/{{number}}", SIP: "sofia/external/{{user}}@{{host}};transport=tcp", Login: "user/{{login}}@${domain_name}"},
		Kamailio:   schema.DialTemplates{Number: "sip:00{{number}}@[2001:db8::1]:5070", SIP: "sip:{{user}}@{{ host }}", Login: "sip:{{login}}.{{login}}@pbx.example"},
	},
}

// filled is the test's own way of putting a destination into a template.
func filled(t schema.DialTemplates, d schema.Destination) string {
	text := strings.NewReplacer("{{ ", "{{", " }}", "}}")
	switch d.Kind {
	case schema.KindSIP:
		_, host, _ := strings.Cut(d.String(), "@")
		return strings.NewReplacer("{{user}}", d.User, "{{host}}", host).Replace(text.Replace(t.SIP))
	case schema.KindLogin:
		return strings.ReplaceAll(text.Replace(t.Login), "{{login}}", d.User)
	}
	return strings.ReplaceAll(text.Replace(t.Number), "{{number}}", d.User)
}

var (
	idGrammar     = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$`)
	cursorGrammar = regexp.MustCompile(`^[0-9A-Za-z_-]{1,300}$`)
)

// or returns text where the grammar has it, else another.
func or(grammar *regexp.Regexp, text, otherwise string) string {
	if grammar.MatchString(text) {
		return text
	}
	return otherwise
}

// ownersLine reports what the loader accepts of an owner: a line.
func ownersLine(text string) bool {
	return utf8.ValidString(text) && len(text) <= 256 && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// fuzzedSteps makes steps of a script, as the loader and the grammar of destinations would let them
// through: a line each, of which the first letter says what it is. A dial line (a: all at once, i: in
// order, r: random) has destinations, MOH and announcement between tabs.
func fuzzedSteps(script string, timeout time.Duration) (steps []schema.DecidedStep) {
	for line := range strings.SplitSeq(script, "\n") {
		if line == "" {
			continue
		}
		var s schema.DecidedStep
		kind, text := line[0], line[1:]
		switch kind {
		case 'v', 'p':
			if text == "" || !ownersLine(text) {
				continue
			}
			if s.Playback = text; kind == 'v' {
				s.Playback, s.Voicemail = "", text
			}
		case 'h':
			s.Hangup = schema.HangupCauses[len(text)%len(schema.HangupCauses)]
		default:
			fields := append(strings.Split(text, "\t"), "", "")
			for one := range strings.SplitSeq(fields[0], ",") {
				if d, err := schema.ParseDestination(one, ""); err == nil {
					s.Dial = append(s.Dial, d)
				}
			}
			if len(s.Dial) == 0 || !ownersLine(fields[1]) || !ownersLine(fields[2]) {
				continue
			}
			s.MOH, s.Announce, s.Timeout = fields[1], fields[2], timeout
			s.Strategy = map[byte]schema.Strategy{'i': schema.InOrder, 'r': schema.Random, 'o': schema.RoundRobin}[kind]
			if s.Strategy == "" {
				s.Strategy = schema.All
			}
		}
		if steps = append(steps, s); s.Hangup != "" {
			break // nothing comes after it
		}
	}
	return steps
}

// fuzzedTimeout is within what the loader takes.
func fuzzedTimeout(n uint32) time.Duration {
	return time.Second + time.Duration(n%3_599_000)*time.Millisecond
}

func TestADialectsOwnNamesAreAdopted(t *testing.T) {
	p := newPBX(t)
	p.decision.Steps = []schema.DecidedStep{{Hangup: "busy"}}
	for _, c := range []struct {
		name, path, query, form string
		param                   schema.Param
		want                    string
	}{
		{"Hunt-* before Caller-*: the caller", "/v1/route/freeswitch", "", "Caller-Caller-ID-Number=1&Hunt-Caller-ID-Number=2&Caller-Destination-Number=3", schema.ParamCaller, "2"},
		{"Hunt-* before Caller-*: the number called", "/v1/route/freeswitch", "", "Caller-Destination-Number=1&Hunt-Destination-Number=2", schema.ParamCallee, "2"},
		{"Caller-* where there is no Hunt-*", "/v1/route/freeswitch", "", "Caller-Destination-Number=1&Caller-ANI=5", schema.ParamCaller, "5"},
		{"an empty Hunt-* says nothing", "/v1/route/freeswitch", "", "Hunt-Destination-Number=&Caller-Destination-Number=1", schema.ParamCallee, "1"},
		{"the call's own UUID", "/v1/route/freeswitch", "", "Caller-Destination-Number=1&Unique-ID=u&Channel-Call-UUID=c", schema.ParamCallID, "u"},
		{"our own name before any of theirs", "/v1/route/freeswitch", "callee=9", "Hunt-Destination-Number=2", schema.ParamCallee, "9"},
		{"a GET of FreeSWITCH", "/v1/route/freeswitch", "section=dialplan&Hunt-Destination-Number=2", "", schema.ParamCallee, "2"},
		{"CALLERID(num)", "/v1/route/asterisk", "CALLERID(num)=1&EXTEN=2&UNIQUEID=3", "", schema.ParamCaller, "1"},
		{"CALLERID(num), escaped", "/v1/route/asterisk", "CALLERID%28num%29=1&EXTEN=2", "", schema.ParamCaller, "1"},
		{"EXTEN", "/v1/route/asterisk", "EXTEN=2&UNIQUEID=3", "", schema.ParamCallee, "2"},
		{"SIP's call id before UNIQUEID", "/v1/route/asterisk", "EXTEN=2&UNIQUEID=3&CHANNEL(pjsip,call-id)=4", "", schema.ParamCallID, "4"},
		{"Kamailio's pseudo-variables", "/v1/route/kamailio", "fU=1&rU=2&ci=3", "", schema.ParamCaller, "1"},
		{"the request's user before the To header's", "/v1/route/kamailio", "tU=1&rU=2&ci=3", "", schema.ParamCallee, "2"},
	} {
		if status, body := p.ask(c.path, c.query, c.form); status != fasthttp.StatusOK || p.asked.Get(c.param) != c.want {
			t.Errorf("%s: %s is %q (%d %s); want %q", c.name, c.param.Name(), p.asked.Get(c.param), status, body, c.want)
		}
	}
}

func TestSIPHeadersAreKeptAsTheyAre(t *testing.T) {
	const diversion = `"Відділ" <sip:380441234567@a.example>;reason=unconditional, <sip:1@b>`
	p := newPBX(t)
	p.decision.Steps = []schema.DecidedStep{{Hangup: "busy"}}
	escaped := string(appendEscaped(nil, []byte(diversion)))
	for _, c := range []struct{ path, query, form, name string }{
		{"/v1/route/freeswitch", "", "Caller-Destination-Number=1&variable_sip_h_Diversion=" + escaped, "diversion"},
		{"/v1/route/freeswitch", "", "Caller-Destination-Number=1&variable_sip_h_diversion=" + escaped, "diversion"},
		{"/v1/route/freeswitch", "", "Caller-Destination-Number=1&variable_sip_P-Asserted-Identity=" + escaped, "p_asserted_identity"},
		{"/v1/route/freeswitch", "", "Caller-Destination-Number=1&variable_sip_h_P-Asserted-Identity=" + escaped, "p_asserted_identity"},
		{"/v1/route/freeswitch", "", "Caller-Destination-Number=1&variable_sip_history_info=" + escaped, "history_info"},
		{"/v1/route/asterisk", "callee=1&Diversion=" + escaped, "", "diversion"},
		{"/v1/route/asterisk", "callee=1&diversion=" + escaped, "", "diversion"},
		{"/v1/route/kamailio", "callee=1&history-info=" + escaped, "", "history_info"},
		{"/v1/route/kamailio", "callee=1", "P-Asserted-Identity=" + escaped, "p_asserted_identity"},
	} {
		if status, body := p.ask(c.path, c.query, c.form); status != fasthttp.StatusOK {
			t.Fatalf("%s: %d %s", c.path, status, body)
		}
		found := slices.ContainsFunc(p.asked.Customs(), func(v schema.Custom) bool { return v.Name == c.name && v.Value == diversion })
		if !found {
			t.Errorf("%s?%s %s: no %s among what a webhook is told: %q", c.path, c.query, c.form, c.name, p.asked.Customs())
		}
	}
}

// Of a call's INVITE the caller's own phone decides what its headers are called and how long they are.
func TestAParameterTooLongCostsNoCallInAnyDialect(t *testing.T) {
	p := newPBX(t)
	p.decision.Steps = []schema.DecidedStep{{Hangup: "busy"}}
	name, value := strings.Repeat("n", maxName+1), strings.Repeat("v", maxValue+1)
	for f := range formatCount {
		path, body, contentType := "/v1/route/"+formatNames[f], name+"=1&X-long="+value+"&variable_x="+value, "application/x-www-form-urlencoded"
		if f == formatJSONRPC {
			body, contentType = `{"jsonrpc":"2.0","id":1,"method":"route","params":{"`+name+`":1,"X-long":"`+value+`","variable_x":"`+value+`"}}`, "application/json"
		}
		ctx, q := newContext("POST", "", contentType, []byte(body)), new(question)
		setTarget(ctx, path, "callee=1")
		p.s.serve(ctx, q)
		want := []string{
			name[:maxName] + "… left out: a name of 129 bytes; want at most 128",
			"X-long left out: 4097 bytes; want at most 4096", "variable_x left out: 4097 bytes; want at most 4096",
		}
		if status := ctx.Response.StatusCode(); status != fasthttp.StatusOK || !slices.Equal(q.dropped, want) {
			t.Errorf("%s: %d %s, left out %q; want %q", path, status, ctx.Response.Body(), q.dropped, want)
		}
	}
	for _, path := range []string{"rustpbx", "jambonz"} {
		ctx, q := newContext("POST", "", "application/json", []byte(`{"to":"1","`+name+`":1,"from":"`+value+`","callee":"`+value+`","sip":{"headers":{"Diversion":"`+value+`"}}}`)), new(question)
		setTarget(ctx, "/v1/route/"+path, "")
		p.s.serve(ctx, q)
		if status := ctx.Response.StatusCode(); status != fasthttp.StatusOK || len(q.dropped) != 4 {
			t.Errorf("%s: %d %s, left out %q; want the name, from, callee and diversion", path, status, ctx.Response.Body(), q.dropped)
		}
	}
}
