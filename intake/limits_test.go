package intake

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

// customs are n parameters that nobody knows, as a query or form, with an "&" behind.
func customs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d=1&", i)
	}
	return b.String()
}

func TestCustomParametersBeyondTheLimitAreLeftOutAndCounted(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.MaxHeader = 16 << 10 })
	full := customs(schema.MaxCustom)
	members := strings.ReplaceAll(strings.ReplaceAll(full, "=1&", `":1,"`), "k0", `{"k0`)
	long := strings.Repeat("v", maxValue+1)
	for name, c := range map[string]struct{ query, body, want string }{
		"none":                            {full + "callee=1", "", ""},
		"a value of one that is kept":     {full + "callee=1&k0=2&k255=2", "", ""},
		"one":                             {full + "callee=1&important=x", "", `"important left out: want at most 256 custom parameters"`},
		"one in JSON":                     {"", members + `important":"x","callee":"1"}`, `"important left out: want at most 256 custom parameters"`},
		"one after a query with its fill": {full, `{"callee":"1","important":"x"}`, `"important left out: want at most 256 custom parameters"`},
		"44":                              {customs(300) + "callee=1", "", `"k256 and 43 more left out: want at most 256 custom parameters"`},
		"one beside values that are too long": {"", members + `l1":"` + long + `","l2":"` + long + `","l3":"` + long + `","l4":"` + long + `","l5":"` + long + `","l6":"` + long + `","n":1,"callee":"1"}`,
			`"l5 left out: 4097 bytes; want at most 4096","n left out: want at most 256 custom parameters"`},
	} {
		method := "POST"
		if c.body == "" {
			method = "GET"
		}
		answer, body := s.do(t, method, "/v1/route?"+c.query, c.body)
		_, warnings, _ := strings.Cut(body, `"warnings":[`)
		if warnings = strings.TrimSuffix(warnings, "]}\n"); answer.StatusCode != 200 || !strings.HasSuffix(warnings, c.want) || c.want == "" && warnings != "" {
			t.Errorf("%s: %d, warnings %s; want %s", name, answer.StatusCode, warnings, c.want)
		}
	}
}

// Property: a call is decided by the same parameters when its question has its fill of others before them.
func TestWhatADialectReadsIsFoundBehindAnyNumberOfOthers(t *testing.T) {
	var asked string
	s := start(t, func(o *Options) {
		o.Settings.MaxHeader = 64 << 10
		o.Decide = decideFunc(func(c *schema.Call, d *schema.Decision) {
			known, _, _ := strings.Cut(describe(c), "\ncustom ")
			asked = strings.TrimSpace(known)
			for _, name := range []string{"diversion", "history_info", "p_asserted_identity"} {
				v, _ := c.CustomValue(name)
				asked += "\n" + name + ": " + v
			}
			decideOK(c, d)
		})
	})
	warnings := regexp.MustCompile(`,"warnings":\[[^]]*\]`)
	answer := func(request []byte) (string, string) {
		asked = ""
		conn := s.dial(t)
		_, _ = conn.Write(request)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		return asked, fmt.Sprintf("%d %s", answer.StatusCode, warnings.ReplaceAll(body, nil))
	}
	before := customs(schema.MaxCustom)
	for i := range 600 {
		before += fmt.Sprintf("variable_k%d=1&", i) // FreeSWITCH's own have a limit of their own
	}
	for _, file := range corpus(t) {
		if filepath.Base(filepath.Dir(file)) != "valid" {
			continue
		}
		alone := readRequest(t, file)
		head, rest, _ := bytes.Cut(alone, []byte(" HTTP/"))
		target, query, _ := strings.Cut(string(head), "?")
		wantAsked, want := answer(alone)
		gotAsked, got := answer([]byte(target + "?" + before + query + " HTTP/" + string(rest)))
		if gotAsked != wantAsked || got != want {
			t.Errorf("%s: asked\n%s\n%s\nwant\n%s\n%s", file, gotAsked, got, wantAsked, want)
		}
	}
}

func TestEveryNameThatADialectAdoptsIsNeeded(t *testing.T) {
	for f := range formatCount {
		for _, a := range dialects[f].aliases {
			if !needed([]byte(a.name)) {
				t.Errorf("%s: %s could be pushed out by custom parameters", formatNames[f], a.name)
			}
		}
	}
}

func TestACallBehindManyHeadersIsTheSameCall(t *testing.T) {
	p := newPBX(t)
	p.decision.Steps = []schema.DecidedStep{{Hangup: "busy"}}
	variables := strings.ReplaceAll(customs(600), "k", "variable_k")
	for _, c := range []struct{ path, form string }{
		{"/v1/route/asterisk", customs(256) + "UNIQUEID=id&EXTEN=2&CALLERID(num)=1"},
		{"/v1/route/kamailio", customs(256) + "ci=id&rU=2&fU=1"},
		{"/v1/route/twiml", strings.ReplaceAll(customs(300), "k", "SipHeader_X-") + "CallSid=id&To=2&From=1"},
		{"/v1/route/freeswitch", variables + "section=dialplan&Hunt-Unique-ID=id&Hunt-Destination-Number=2&Hunt-Caller-ID-Number=1"},
		{"/v1/route/rustpbx", customs(256) + "call_id=id&to=2&from=1"},
		{"/v1/route/jambonz", customs(256) + "call_sid=id&to=2&from=anonymous&p_asserted_identity=1"},
	} {
		status, body := p.ask(c.path, "", c.form)
		if status != fasthttp.StatusOK || p.asked.Caller() != "1" || p.asked.Callee() != "2" || p.asked.ID() != "id" {
			t.Errorf("%s: %d %s, caller %q, callee %q, id %q", c.path, status, body, p.asked.Caller(), p.asked.Callee(), p.asked.ID())
		}
	}
	cursor := "variable_hookswitch_project=1001&variable_hookswitch_cursor=c&Caller-Destination-Number=2&Hunt-Context=x"
	if _, body := p.ask("/v1/route/freeswitch", "", variables+cursor); p.asked.Cursor != "c" || p.asked.Project != "1001" || !strings.Contains(body, `<context name="x">`) {
		t.Errorf("cursor %q, project %q, answer %s", p.asked.Cursor, p.asked.Project, body)
	}
	if _, body := p.ask("/v1/route/freeswitch", "", variables+"Caller-Destination-Number=2&section=directory"); !strings.Contains(body, "not found") {
		t.Errorf("a directory's question: %s", body)
	}
	if _, body := p.ask("/v1/route/twiml", "", customs(256)+"CallSid=1&From=1&To=2&DialCallStatus=completed"); !strings.HasSuffix(body, "<Response></Response>") {
		t.Errorf("a call that is over: %s", body)
	}
}

func TestAnEventIsOneBehindAnyNumberOfParameters(t *testing.T) {
	s, took := startEvents(t)
	for name, body := range map[string]string{
		"an event":          customs(300) + "event=answer&direction=outbound&callid=1&project=1001",
		"FreeSWITCH's form": "cdr=" + string(appendEscaped(nil, []byte(`{"variables":{"uuid":"1","direction":"outbound"},"callflow":[]}`))),
	} {
		query := ""
		if strings.HasPrefix(body, "cdr=") {
			query = "?project=1001&" + customs(300)
		}
		answer, text := s.do(t, "POST", "/v1/events"+query, body, "Content-Type: application/x-www-form-urlencoded")
		e, _ := took.last()
		if answer.StatusCode/100 != 2 || e == nil || e.Direction != "outbound" || e.CallID != "1" {
			t.Errorf("%s: %d %s, %+v", name, answer.StatusCode, text, e)
		}
	}
}

func BenchmarkPostFormOf22000Fields(b *testing.B) {
	benchmark(b, newContext("POST", "", "application/x-www-form-urlencoded", []byte(customs(22_000)+"callee=1")))
}
