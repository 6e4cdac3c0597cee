package intake

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// rustpbxAnswer is HttpResponsePayload of RustPBX's src/proxy/routing/http.rs.
type rustpbxAnswer struct {
	Action      string            `json:"action"`
	Targets     []string          `json:"targets"`
	Strategy    string            `json:"strategy"`
	Status      int               `json:"status"`
	Reason      string            `json:"reason"`
	Timeout     *int              `json:"timeout"` // of the whole conversation
	MaxRingTime int64             `json:"max_ring_time"`
	Extensions  map[string]string `json:"extensions"`
}

func readRustPBXAnswer(t *testing.T, text []byte) rustpbxAnswer {
	t.Helper()
	var a rustpbxAnswer
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&a); err != nil || strict.More() {
		t.Fatalf("%v: %s", err, text)
	}
	if a.Timeout != nil {
		t.Errorf("a timeout would end the conversation: %s", text)
	}
	return a
}

// identified is a decision of these steps.
func identified(steps ...schema.DecidedStep) *schema.Decision {
	d := &schema.Decision{Steps: steps}
	copy(d.ID[:], "01JNAVMH0000000000000000AA")
	return d
}

// parsed returns a list of destinations.
func parsed(t testing.TB, texts ...string) (list []schema.Destination) {
	t.Helper()
	for _, text := range texts {
		d, err := schema.ParseDestination(text, "")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

func TestRustPBXGetsInOneAnswerWhatItCanDoByItself(t *testing.T) {
	const a, b, c = "sip:a@pbx.example", "sip:b@pbx.example", "sip:c@pbx.example"
	dial := func(strategy schema.Strategy, seconds int, list ...string) schema.DecidedStep {
		return schema.DecidedStep{Dial: parsed(t, list...), Strategy: strategy, Timeout: time.Duration(seconds) * time.Second}
	}
	for name, x := range map[string]struct {
		steps    []schema.DecidedStep
		action   string
		targets  []string
		strategy string
		ring     int64
	}{
		"all at once": {[]schema.DecidedStep{dial(schema.All, 20, a, b)}, "forward", []string{a, b}, "parallel", 20},
		"one after the other, each its whole time": {[]schema.DecidedStep{dial(schema.InOrder, 20, a, b)}, "forward", []string{a, b}, "sequential", 40},
		"a random order has been settled":          {[]schema.DecidedStep{dial(schema.Random, 20, b, a)}, "forward", []string{b, a}, "sequential", 40},
		"two steps that ring one at a time":        {[]schema.DecidedStep{dial(schema.All, 20, a), dial(schema.RoundRobin, 10, b, c)}, "forward", []string{a, b, c}, "sequential", 40},
		"a step that rings all ends the list":      {[]schema.DecidedStep{dial(schema.All, 20, a), dial(schema.All, 10, b, c)}, "forward", []string{a}, "sequential", 20},
		"nothing comes after one that rings all":   {[]schema.DecidedStep{dial(schema.All, 10, b, c), dial(schema.All, 20, a)}, "forward", []string{b, c}, "parallel", 10},
		"a playback before is left out":            {[]schema.DecidedStep{{Playback: "hello"}, dial(schema.All, 20, a)}, "forward", []string{a}, "sequential", 20},
		"voicemail between ends the list":          {[]schema.DecidedStep{dial(schema.All, 20, a), {Voicemail: "1"}, dial(schema.All, 20, b)}, "forward", []string{a}, "sequential", 20},
		"voicemail alone is RustPBX's own":         {[]schema.DecidedStep{{Voicemail: "1"}}, "not_handled", nil, "", 0},
	} {
		got := readRustPBXAnswer(t, appendRustPBX(nil, &question{}, identified(x.steps...)))
		if got.Action != x.action || !slices.Equal(got.Targets, x.targets) || got.Strategy != x.strategy || got.MaxRingTime != x.ring {
			t.Errorf("%s: got %+v; want %s %v %s %d", name, got, x.action, x.targets, x.strategy, x.ring)
		}
	}
}

func TestRustPBXRejectsWithTheStatusOfTheCause(t *testing.T) {
	for cause, want := range map[string]int{"busy": 486, "no_answer": 480, "rejected": 603, "unallocated": 404, "congestion": 503, "normal": 480} {
		got := readRustPBXAnswer(t, appendRustPBX(nil, &question{}, identified(schema.DecidedStep{Hangup: cause})))
		if got.Action != "reject" || got.Status != want || got.Reason != cause {
			t.Errorf("%s: got %+v; want reject with %d", cause, got, want)
		}
	}
	if len(sipStatus) != len(schema.HangupCauses) {
		t.Error("a cause has no status")
	}
}

func TestRustPBXWritesDestinationsByItsOwnTemplates(t *testing.T) {
	own := schema.Dialing{RustPBX: schema.DialTemplates{Number: "sip:{{number}}@trunk.example", SIP: "sip:{{user}}@{{host}};transport=tcp", Login: "sip:{{login}}@pbx.com"}}
	d := identified(schema.DecidedStep{Dial: parsed(t, "380441111111", "sip/a#1@h.example", "ivan"), Timeout: time.Second})
	d.Dialing = &own
	want := []string{"sip:380441111111@trunk.example", "sip:a%231@h.example;transport=tcp", "sip:ivan@pbx.com"}
	if got := readRustPBXAnswer(t, appendRustPBX(nil, &question{}, d)); !slices.Equal(got.Targets, want) {
		t.Errorf("got %v; want %v", got.Targets, want)
	}
}

func TestRustPBXReadsWhatItIsToDoWhateverWentWrong(t *testing.T) {
	s := start(t, func(o *Options) {
		o.Decide = decideFunc(func(c *schema.Call, d *schema.Decision) {
			if c.Callee() == "13" {
				panic("unlucky")
			}
			d.NotFound = true
		})
	})
	for body, want := range map[string]string{
		`{"to":"<sip:380442223344@pbx.com>"}`: "unknown_number: callee: ",
		`{"to":"<sip:13@pbx.com>"}`:           "internal: ",
		`{"to":`:                              "bad_request: ",
	} {
		answer, text := s.do(t, "POST", "/v1/route/rustpbx", body, "Content-Type: application/json")
		got := readRustPBXAnswer(t, []byte(text))
		if answer.StatusCode != http.StatusOK || got.Action != "not_handled" || !strings.HasPrefix(got.Reason, want) {
			t.Errorf("%s: %d %s; want 200, not_handled, %s", body, answer.StatusCode, text, want)
		}
	}
	closed := start(t, func(o *Options) { o.Settings.Tokens = []schema.Secret{schema.NewSecret("s3cret")} })
	if answer, text := closed.do(t, "POST", "/v1/route/rustpbx", `{"to":"<sip:1@h>"}`); answer.StatusCode != 401 || readRustPBXAnswer(t, []byte(text)).Action != "not_handled" {
		t.Errorf("a closed door: %d %s; want 401, not_handled", answer.StatusCode, text)
	}
}

// sipEscaped writes text as the user of a SIP URI (RFC 3261, section 25.1), every byte escaped.
func sipEscaped(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		const hex = "0123456789abcdef"
		b.WriteString("%" + string(hex[text[i]>>4]) + string(hex[text[i]&15]))
	}
	return b.String()
}

// words is how a cloud or RustPBX is told of a destination, written without our templates.
func words(d schema.Destination, number, login string) string {
	switch d.Kind {
	case schema.KindNumber:
		return strings.ReplaceAll(number, "*", d.User)
	case schema.KindLogin:
		return strings.ReplaceAll(login, "*", d.User)
	}
	return "sip:" + strings.ReplaceAll(d.User, "#", "%23") + "@" + string(d.AppendHostPort(nil))
}

// accepted returns those of a comma list that the grammar accepts.
func accepted(list string) (good []schema.Destination) {
	for text := range strings.SplitSeq(list, ",") {
		if d, err := schema.ParseDestination(text, ""); err == nil {
			good = append(good, d)
		}
	}
	return good
}

// Property: whoever calls under whatever display name, the caller is the user of the address between
// the brackets and nobody else; and the answer is JSON of exactly the destinations decided.
func FuzzRustPBX(f *testing.F) {
	f.Add("Bob", "380501112233", "380442223344", "380441111111,sip:a#b@h.example:5062,ivan", uint8(0), "caller@host, <sip:x@y>")
	f.Add(`O"Neil <sip:1@evil>, \`, "+380;x=1:pw", "1", "sip:ops@[2001:db8::1]", uint8(1), "\x00\r\n")
	f.Add("", "anonymous", `","action":"spam`, "", uint8(2), "</Response>")
	f.Fuzz(func(t *testing.T, display, user, callee, destinations string, strategy uint8, extra string) {
		user, callee = strings.Trim(user, " "), strings.Trim(callee, " ") // blanks around a number go
		list := accepted(destinations)
		step := schema.DecidedStep{Dial: list, Timeout: 7 * time.Second, Strategy: [...]schema.Strategy{schema.All, schema.InOrder, schema.Random}[strategy%3]}
		s, err := New(Options{Settings: testSettings(), Decide: decideFunc(func(_ *schema.Call, d *schema.Decision) {
			copy(d.ID[:], "01JNAVMH0000000000000000AA")
			d.Steps = append(d.Steps, step)
		})})
		if err != nil {
			t.Fatal(err)
		}
		from := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(display) + `" <sip:` + sipEscaped(user) + "@h.example>;tag=" + url.QueryEscape(extra)
		body, _ := json.Marshal(map[string]any{
			"call_id": extra, "from": from,
			"to": "<sip:" + sipEscaped(callee) + "@h.example;user=phone>", "body": extra, "headers": map[string]string{extra: display, "Diversion": display},
		})
		ctx := newContext("POST", "", "application/json", body)
		q := new(question)
		if fault := s.ask(ctx, q, []byte("rustpbx"), nil); fault != nil {
			if got := readRustPBXAnswer(t, appendFaultRustPBX(nil, q, fault)); got.Action != "not_handled" || printable(callee) && callee != "" && len(callee) <= maxCallee {
				t.Errorf("callee %q refused: %+v", callee, got)
			}
			return
		}
		want := user
		if !printable(user) || len(clean(from)) > maxValue { // nobody's name, or too long to keep
			want = ""
		}
		if q.call.Caller() != want || q.call.Callee() != callee {
			t.Errorf("%s: got caller %q, callee %q; want %q, %q", body, q.call.Caller(), q.call.Callee(), want, callee)
		}
		got := readRustPBXAnswer(t, appendRustPBX(nil, q, &q.decision))
		var targets []string
		for _, d := range list {
			targets = append(targets, words(d, "sip:*@127.0.0.1:5070", "sip:*@127.0.0.1"))
		}
		ring := int64(7)
		if sequential(&step) {
			ring *= int64(len(list))
		}
		if len(list) > 0 && (got.Action != "forward" || !slices.Equal(got.Targets, targets) || got.MaxRingTime != ring) {
			t.Errorf("got %+v; want %v for %d s", got, targets, ring)
		}
	})
}
