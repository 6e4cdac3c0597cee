package intake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// hashcompat reads an answer as Set(CURLOPT(hashcompat)=yes) and Set(HASH(d)=${CURL(...)}) do: split at
// "&" and "=", both sides URI-decoded, a plus being a plus; all values, their commas escaped, are one
// text, of which the dialplan takes 4,095 bytes; and that is read back as an application's arguments
// are, a hundred of them at most.
func hashcompat(body string) map[string]string {
	var names, values []string
	for pair := range strings.SplitSeq(strings.TrimRight(body, " \t\r\n"), "&") {
		name, value, _ := strings.Cut(pair, "=")
		names = append(names, strings.ReplaceAll(uriDecoded(name), ",", `\,`))
		values = append(values, strings.ReplaceAll(uriDecoded(value), ",", `\,`))
	}
	text := strings.Join(values, ",")
	text = text[:min(len(text), 4095)]
	keys, list := appArguments(strings.Join(names, ",")), appArguments(text)
	hash := make(map[string]string)
	for i, key := range keys {
		if i < len(list) {
			hash[key] = list[i]
		}
	}
	return hash
}

func uriDecoded(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// appArguments splits at commas, but for those in quotes, parentheses and brackets, which an
// unbalanced one makes of everything that follows.
func appArguments(s string) []string {
	args := []string{""}
	parens, brackets, quoted := 0, 0, false
	for i := 0; i < len(s); i++ {
		last := &args[len(args)-1]
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
			continue
		case c == '\\':
			if i++; i < len(s) {
				*last += s[i : i+1]
			}
			continue
		case c == '(':
			parens++
		case c == ')' && parens > 0:
			parens--
		case c == '[':
			brackets++
		case c == ']' && brackets > 0:
			brackets--
		case c == ',' && parens == 0 && brackets == 0 && !quoted && len(args) < 100:
			args = append(args, "")
			continue
		}
		*last += s[i : i+1]
	}
	return args
}

// dialled is what Dial(${HASH(d,dial)},${HASH(d,timeout)}) rings: a comma begins its options.
func dialled(t *testing.T, dial, timeout string) []string {
	t.Helper()
	args := appArguments(dial + "," + timeout)
	if len(args) != 2 || args[0] != dial || args[1] != timeout {
		t.Fatalf("Dial() takes %q, %q for %q", dial, timeout, args)
	}
	return strings.Split(args[0], "&")
}

func TestTheReaderSwallowsWhatAsteriskSwallows(t *testing.T) {
	for body, want := range map[string]string{
		"a=1&b=2":           "map[a:1 b:2]",
		"a=x%2Cy&b=2":       "map[a:x,y b:2]",
		"a=%22&b=2&c=3":     "map[a:,2,3]",
		"a=f(&b=2":          "map[a:f(,2]",
		"a=%5Bx&b=2":        "map[a:[x,2]",
		"a=%28x%29&b=2":     "map[a:(x) b:2]",
		"a=1+2%2B3&b=":      "map[a:1+2+3 b:]",
		"a=1&b=2\r\n":       "map[a:1 b:2]",
		"a=%24%7BX%7D&b=%z": "map[a:${X} b:%z]",
		"":                  "map[:]",
	} {
		if got := fmt.Sprint(hashcompat(body)); got != want {
			t.Errorf("%s: read as %s; want %s", body, got, want)
		}
	}
	var many []string
	for i := range 120 {
		many = append(many, fmt.Sprintf("k%d=%d", i, i))
	}
	if got := hashcompat(strings.Join(many, "&")); len(got) != 100 || got["k98"] != "98" || got["k50"] != "50" {
		t.Errorf("of 120 keys: read %d; want 100", len(got))
	}
}

// The body that a real Asterisk 22 read, byte for byte (shared/pbx/README.md).
func TestTheAsteriskAnswerThatWasProven(t *testing.T) {
	out := schema.Dialing{Asterisk: schema.DialTemplates{Number: "PJSIP/{{number}}@out"}}
	d := schema.Decision{Dialing: &out, Next: "eyJ-_abc", Steps: []schema.DecidedStep{
		{Dial: numbers(t, "380441111111", "380441111112"), Strategy: schema.All, Timeout: 45 * time.Second},
	}}
	copy(d.ID[:], "01JNAVMH0000000000000000AA")
	const want = "status=ok&source=hook&reason=ok&count=2&dst=380441111111%2C380441111112&dst_1=380441111111&dst_2=380441111112" +
		"&dial=PJSIP%2F380441111111%40out%26PJSIP%2F380441111112%40out&timeout=45&schema=&next=eyJ-_abc&decision_id=01JNAVMH0000000000000000AA"
	if got := string(appendAsterisk(nil, nil, &d)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAsteriskGetsWhatItCanDo(t *testing.T) {
	p := newPBX(t)
	for _, c := range []struct {
		name string
		step schema.DecidedStep
		want map[string]string
	}{
		{"rings all", schema.DecidedStep{Dial: numbers(t, "380441111111", "sip/ops@pbx.example", "ivan"), Strategy: schema.All, Timeout: 30 * time.Second},
			map[string]string{"count": "3", "dial": "PJSIP/380441111111@trunk&PJSIP/trunk/sip:ops@pbx.example&PJSIP/ivan", "timeout": "30", "dst": "380441111111,sip/ops@pbx.example,ivan", "strategy": ""}},
		{"rings in order", schema.DecidedStep{Dial: numbers(t, "380441111111", "ivan"), Strategy: schema.InOrder, Timeout: 20 * time.Second},
			map[string]string{"count": "2", "dial": "PJSIP/380441111111@trunk", "dial_1": "PJSIP/380441111111@trunk", "dial_2": "PJSIP/ivan", "strategy": "in_order", "timeout": "20"}},
		{"rings what it can write", schema.DecidedStep{Dial: numbers(t, "sip:a@[::1]", "ivan"), Strategy: schema.RoundRobin, Timeout: 1500 * time.Millisecond},
			map[string]string{"count": "1", "dst": "ivan", "dial": "PJSIP/ivan", "timeout": "1", "strategy": "", "dial_1": ""}},
		{"is left with nothing to ring", schema.DecidedStep{Dial: numbers(t, "sip:a@[::1]:5060"), Strategy: schema.All, Timeout: time.Minute},
			map[string]string{"status": "ok", "count": "0", "dst": "", "dial": "", "timeout": "", "voicemail": ""}},
		{"takes a message", schema.DecidedStep{Voicemail: "100@default"}, map[string]string{"dial": "", "voicemail": "100@default", "playback": "", "hangup": ""}},
		{"plays a file", schema.DecidedStep{Playback: "ua/closed&beep"}, map[string]string{"dial": "", "playback": "ua/closed&beep", "voicemail": "", "hangup": ""}},
		{"hangs up with a Q.850 cause", schema.DecidedStep{Hangup: "congestion"}, map[string]string{"dial": "", "hangup": "34", "voicemail": "", "playback": ""}},
	} {
		p.decision = schema.Decision{Steps: []schema.DecidedStep{c.step}}
		_, body := p.ask("/v1/route/asterisk", "callee=1", "")
		got := hashcompat(body)
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("Asterisk %s: %s is %q; want %q\n%s", c.name, key, got[key], want, body)
			}
		}
	}
}

// Every HTTP status has a body that Asterisk can read, since it sees no status.
func TestAsteriskReadsWhatWasWrong(t *testing.T) {
	p := newPBX(t)
	p.decision.NotFound = true
	for query, want := range map[string][3]string{
		"callee=1":             {"unknown_number", "callee", "nobody s number"},
		"caller=1":             {"bad_request", "callee", "missing"},
		"callee=1&budget_ms=x": {"bad_request", "budget_ms", "want a whole number"},
		"callee=1&hook=" + strings.Repeat("x", 5000): {"bad_request", "hook", "a value of 5000 bytes"},
	} {
		status, body := p.ask("/v1/route/asterisk", query, "")
		got := hashcompat(body)
		if status < 400 || got["status"] != "error" || got["code"] != want[0] || !strings.HasPrefix(got["field"], want[1]) || !strings.HasPrefix(got["message"], want[2]) {
			t.Errorf("%.40s: %d %q; want %q", query, status, got, want)
		}
		for _, key := range []string{"source", "reason", "dst", "dial", "timeout", "schema", "next", "decision_id"} {
			if v, there := got[key]; !there || v != "" {
				t.Errorf("%.40s: the key %s is %q, %v; want it empty", query, key, v, there)
			}
		}
	}
}

// Property: what Asterisk makes of an answer is the decision: for whatever destinations, owner's texts
// and caller, as far as the answer's size allows. What refuses the question is an answer too.
func FuzzAsteriskAnswer(f *testing.F) {
	f.Add("a380441111111,380441111112", uint32(44_000), "1", "eyJ", "380501112233", uint8(0))
	f.Add("isip:a+*#._-b@h.example:5060,sip/a@[::1],ivan\tjazz\tbeep", uint32(0), "x.Y_-9", "", "${SYSTEM(x)}\"([", uint8(1))
	f.Add("v1(2\"[&,x=%", uint32(1), "1", "", "a&dial=x", uint8(0))
	f.Add("h123", uint32(1), "1", "e", "\r\n", uint8(0))
	f.Add("a"+strings.Repeat("sip:"+strings.Repeat("a", 64)+"@"+strings.Repeat("b.", 120)+"c:65535,", 100), uint32(9), "1", strings.Repeat("e", 300), "1", uint8(1))
	f.Add("i"+strings.Repeat("380441111111,", 120), uint32(9), strings.Repeat("1", 64), strings.Repeat("e", 300), "1", uint8(0))
	p := newPBX(f)
	f.Fuzz(func(t *testing.T, script string, timeout uint32, scheme, next, caller string, template uint8) {
		steps := fuzzedSteps(script, fuzzedTimeout(timeout))
		p.decision = schema.Decision{
			Source: schema.SourceFallback, Reason: schema.ReasonForbiddenDestination, Dialing: &templates[int(template)%len(templates)],
			Schema: or(idGrammar, scheme, ""), Next: or(cursorGrammar, next, ""), Steps: steps[:min(1, len(steps))],
		}
		copy(p.decision.ID[:], "01JNAVMH0000000000000000AA")
		status, body := p.ask("/v1/route/asterisk", "callee=1&caller="+string(appendEscaped(nil, []byte(caller))), "")
		got := hashcompat(body)
		if status != 200 {
			if got["status"] != "error" || got["dial"] != "" || got["message"] == "" || got["code"] == "" {
				t.Fatalf("%d %s: read as %q", status, body, got)
			}
			return
		}
		if got["status"] != "ok" || got["source"] != "fallback" || got["reason"] != "forbidden_destination" || got["schema"] != p.decision.Schema ||
			got["next"] != p.decision.Next || got["decision_id"] != "01JNAVMH0000000000000000AA" {
			t.Fatalf("%s: read as %q", body, got)
		}
		var want schema.DecidedStep
		if len(steps) > 0 {
			want = steps[0]
		}
		checkAsteriskDial(t, got, &want, p.decision.Dialing.Asterisk)
		causes := map[string]string{"busy": "17", "no_answer": "19", "rejected": "21", "unallocated": "1", "congestion": "34", "normal": "16"}
		if got["hangup"] != causes[want.Hangup] || got["voicemail"] != spaced(want.Voicemail) || got["playback"] != spaced(want.Playback) {
			t.Fatalf("%s: read as %q; want %+v", body, got, want)
		}
	})
}

// spaced is an owner's text as Asterisk is told of it.
func spaced(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`,"()[]\${}';`, r) {
			return ' '
		}
		return r
	}, text)
}

func checkAsteriskDial(t *testing.T, got map[string]string, want *schema.DecidedStep, templates schema.DialTemplates) {
	t.Helper()
	var texts, dials []string
	for _, d := range want.Dial {
		if text := d.String(); !strings.Contains(text, "[") {
			texts, dials = append(texts, text), append(dials, filled(templates, d))
		}
	}
	count, err := strconv.Atoi(got["count"])
	if err != nil || count > len(dials) || count == 0 && len(dials) > 0 {
		t.Fatalf("count %q of %d destinations", got["count"], len(dials))
	}
	size := 0
	for i := range min(count+1, len(dials)) {
		size += 2*len(texts[i]) + len(dials[i])
	}
	if count < len(dials) && count < 40 && size < 2500 {
		t.Errorf("%d of %d destinations, though there is room", count, len(dials))
	}
	texts, dials = texts[:count], dials[:count]
	if got["dst"] != strings.Join(texts, ",") {
		t.Errorf("dst %q; want %q", got["dst"], texts)
	}
	if count == 0 {
		if got["dial"] != "" || got["timeout"] != "" {
			t.Errorf("nothing to dial, but dial is %q and timeout %q", got["dial"], got["timeout"])
		}
		return
	}
	if got["timeout"] != strconv.Itoa(int(want.Timeout/time.Second)) {
		t.Errorf("timeout %q; want %v", got["timeout"], want.Timeout)
	}
	rung := dialled(t, got["dial"], got["timeout"])
	if want.Strategy != schema.All && count > 1 {
		if got["strategy"] != "in_order" || got["dial"] != dials[0] {
			t.Errorf("strategy %q, dial %q; want in_order, %q", got["strategy"], got["dial"], dials[0])
		}
		rung = nil
		for i := range count {
			rung = append(rung, dialled(t, got["dial_"+strconv.Itoa(i+1)], got["timeout"])...)
		}
	}
	if !slices.Equal(rung, dials) {
		t.Errorf("Asterisk rings %q; want %q", rung, dials)
	}
	for i := range count {
		if key := "dst_" + strconv.Itoa(i+1); got[key] != texts[i] {
			t.Errorf("%s %q; want %q", key, got[key], texts[i])
		}
	}
}

func TestAskingAsAsteriskAllocatesNothing(t *testing.T) {
	checkAllocations(t, "/v1/route/asterisk")
}

// checkAllocations asks in a dialect that must cost no allocation, for destinations in every form.
func checkAllocations(t *testing.T, path string) {
	steps := []schema.DecidedStep{{Dial: numbers(t, "380441111111", "sip:ops@pbx.example:5062", "ivan"), Strategy: schema.InOrder, Timeout: time.Minute}}
	query := "caller=%2B380501112233&callee=380442223344&callid=a%40b&cursor=eyJ&Diversion=x"
	ctx := newContext("GET", query, "", nil)
	setTarget(ctx, path, query)
	a := newSteadyState(t, ctx, nil)
	a.s.decide = decideFunc(func(_ *schema.Call, d *schema.Decision) {
		d.Steps, d.Next, d.Schema = append(d.Steps, steps...), "eyJ-_abc", "100"
	})
	a.once()
	if status := ctx.Response.StatusCode(); status != 200 {
		t.Fatalf("%d %s", status, ctx.Response.Body())
	}
	if n := testing.AllocsPerRun(200, a.once); n != 0 {
		t.Errorf("%v allocations a lookup; want 0", n)
	}
}
