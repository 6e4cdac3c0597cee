package intake

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// jambonzVerb holds the properties of the verbs that we use and no other: jambonz refuses an
// application with a property that its own schema (lib/tasks/specs.json) does not know.
type jambonzVerb struct {
	Verb           string          `json:"verb"`
	AnswerOnBridge bool            `json:"answerOnBridge"`
	Timeout        float64         `json:"timeout"`
	ActionHook     string          `json:"actionHook"`
	Target         []jambonzTarget `json:"target"`
	URL            string          `json:"url"`
	Status         int             `json:"status"`
	Reason         string          `json:"reason"`
}

type jambonzTarget struct {
	Type   string `json:"type"`
	Number string `json:"number"`
	SIPURI string `json:"sipUri"`
	Name   string `json:"name"`
}

func (g jambonzTarget) String() string { return g.Type + " " + g.Number + g.SIPURI + g.Name }

func readJambonzAnswer(t *testing.T, text []byte) []jambonzVerb {
	t.Helper()
	var verbs []jambonzVerb
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&verbs); err != nil || strict.More() || verbs == nil {
		t.Fatalf("%v: %s", err, text)
	}
	return verbs
}

func TestJambonzIsToldEachStepInItsVerbs(t *testing.T) {
	const next, list = "/v1/route/jambonz?cursor=c-_1&callee=%2B380442223344", "/v1/route/jambonz?cursor=&callee=%2B380442223344"
	rings := schema.DecidedStep{Dial: parsed(t, "380441111111", "sip:a#1@h.example:5062", "ivan"), Strategy: schema.All, Timeout: 20 * time.Second}
	inOrder := rings
	inOrder.Strategy = schema.InOrder
	for name, x := range map[string]struct {
		q     *question
		steps []schema.DecidedStep
		next  string
		want  string
	}{
		"destinations at once, and the end": {twimlQuestion(), []schema.DecidedStep{rings}, "",
			`[{"verb":"dial","answerOnBridge":true,"timeout":20,"target":[{"type":"phone","number":"+380441111111"},{"type":"sip","sipUri":"sip:a%231@h.example:5062"},{"type":"user","name":"ivan"}]}]`},
		"destinations in order, and a hook": {twimlQuestion(), []schema.DecidedStep{inOrder}, "c-_1",
			`[{"verb":"dial","answerOnBridge":true,"timeout":20,"actionHook":"` + list + `","target":[{"type":"phone","number":"+380441111111"}]},` +
				`{"verb":"dial","answerOnBridge":true,"timeout":20,"actionHook":"` + list + `","target":[{"type":"sip","sipUri":"sip:a%231@h.example:5062"}]},` +
				`{"verb":"dial","answerOnBridge":true,"timeout":20,"actionHook":"` + next + `","target":[{"type":"user","name":"ivan"}]}]`},
		"a file, and the end":          {twimlQuestion(), []schema.DecidedStep{{Playback: `https://h/"a"`}}, "", `[{"verb":"play","url":"https://h/\"a\""},{"verb":"hangup"}]`},
		"a file, and more":             {twimlQuestion(), []schema.DecidedStep{{Playback: "https://h/a"}}, "c-_1", `[{"verb":"play","url":"https://h/a"},{"verb":"redirect","actionHook":"` + next + `"}]`},
		"a file that only a PBX has":   {twimlQuestion(), []schema.DecidedStep{{Playback: "closed"}}, "c-_1", `[{"verb":"redirect","actionHook":"` + next + `"}]`},
		"voicemail, which it has not":  {twimlQuestion(), []schema.DecidedStep{{Voicemail: "1"}}, "", `[{"verb":"sip:decline","status":480}]`},
		"busy":                         {twimlQuestion("call_status=trying"), []schema.DecidedStep{{Hangup: "busy"}}, "", `[{"verb":"sip:decline","status":486}]`},
		"busy, after nobody answered":  {twimlQuestion("call_status=early-media"), []schema.DecidedStep{{Hangup: "busy"}}, "", `[{"verb":"sip:decline","status":486}]`},
		"busy, once it is answered":    {twimlQuestion("call_status=in-progress"), []schema.DecidedStep{{Hangup: "busy"}}, "", `[{"verb":"hangup"}]`},
		"busy, after a file is played": {twimlQuestion(), []schema.DecidedStep{{Playback: "https://h/a"}, {Hangup: "busy"}}, "", `[{"verb":"play","url":"https://h/a"},{"verb":"hangup"}]`},
	} {
		got := string(appendJambonz(nil, x.q, &schema.Decision{Steps: x.steps, Next: x.next}))
		readJambonzAnswer(t, []byte(got))
		if got != x.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, x.want)
		}
	}
}

func TestJambonzComesBackByTheActionHook(t *testing.T) {
	const call = `"call_sid":"f3","from":"+380501112233","to":"380442223344"`
	for _, public := range []string{"", "https://pbx.example"} {
		var asked []string
		s := continuing(t, public, &asked)
		_, body := s.do(t, "POST", "/v1/route/jambonz", `{`+call+`,"call_status":"trying"}`, "Content-Type: application/json")
		hook, ours := strings.CutPrefix(readJambonzAnswer(t, []byte(body))[0].ActionHook, public)
		if !ours {
			t.Fatalf("the actionHook is not below %q: %s", public, body)
		}
		inList := strings.Replace(hook, "cursor=next-_1", "cursor=", 1)
		for _, x := range []struct{ path, status, asked, want string }{
			{hook, `"dial_call_status":"busy","call_status":"early-media"`, "f3 380442223344  next-_1", "dial"},
			{hook, `"dial_call_status":"no-answer"`, "f3 380442223344  next-_1", "dial"},
			{hook, `"dial_call_status":"completed","call_status":"in-progress"`, "", "hangup"},
			{hook, `"dial_call_status":"failed","call_status":"completed"`, "", ""},
			{hook, `"dial_call_status":"no-answer","call_status":"no-answer"`, "", ""},
			{inList, `"dial_call_status":"busy","call_status":"early-media"`, "", ""},
			{inList, `"dial_call_status":"completed","call_status":"in-progress"`, "", "hangup"},
		} {
			asked = nil
			answer, body := s.do(t, "POST", x.path, `{`+call+`,`+x.status+`}`, "Content-Type: application/json")
			got := ""
			for _, v := range readJambonzAnswer(t, []byte(body)) {
				got += v.Verb
			}
			if answer.StatusCode != 200 || strings.Join(asked, ";") != x.asked || got != x.want {
				t.Errorf("%s %s: %d %s, asked %q; want %q, asked %q", x.path, x.status, answer.StatusCode, body, asked, x.want, x.asked)
			}
		}
	}
}

// Property: for any destinations that the grammar accepts and any text in a question, the verbs dial
// exactly those destinations, and lead back with exactly that call and cursor.
func FuzzJambonz(f *testing.F) {
	f.Add("380441111111,sip:a#b@h.example:5062,ivan", "+380442223344", "1001", "next-_1", "https://h/a.mp3", uint8(0))
	f.Add("sip:a@[2001:db8::1]", `"},{"verb":"hangup`, "&cursor=x", "", `https://h/"}]`, uint8(1))
	f.Add("", "\x00\xff\u2028", "%41", "c", "http://\xed\xa0\x80\x01", uint8(2))
	f.Fuzz(func(t *testing.T, destinations, callee, project, next, playback string, strategy uint8) {
		list := accepted(destinations)
		q := new(question)
		q.call.SetNamed([]byte("callee"), []byte(callee))
		q.call.SetNamed([]byte("call_status"), []byte(playback))
		q.call.Project = project
		d := schema.Decision{Next: next, Steps: []schema.DecidedStep{{Playback: playback}}}
		step := schema.DecidedStep{Dial: list, Timeout: 9 * time.Second, Strategy: [...]schema.Strategy{schema.All, schema.InOrder, schema.RoundRobin}[strategy%3]}
		if len(list) > 0 {
			d.Steps = append(d.Steps, step)
		}
		verbs := readJambonzAnswer(t, appendJambonz(nil, q, &d))
		if isHTTP(playback) {
			if verbs[0].Verb != "play" || verbs[0].URL != clean(playback) {
				t.Fatalf("got %+v; want to play %q", verbs[0], playback)
			}
			verbs = verbs[1:]
		}
		last := verbs[len(verbs)-1]
		if next != "" {
			checkBack(t, last.ActionHook, "/v1/route/jambonz", next, callee, project)
		}
		if len(list) == 0 {
			if wantRedirect := next != ""; len(verbs) != 1 || wantRedirect != (last.Verb == "redirect") {
				t.Fatalf("got %+v", verbs)
			}
			return
		}
		var got, want []string
		for i, v := range verbs {
			if v.Verb != "dial" || v.Timeout != 9 || !v.AnswerOnBridge || sequential(&step) != (len(v.Target) == 1) && len(list) > 1 {
				t.Fatalf("got %+v", v)
			}
			if i < len(verbs)-1 {
				checkBack(t, v.ActionHook, "/v1/route/jambonz", "", callee, project)
			}
			for _, g := range v.Target {
				got = append(got, g.String())
			}
		}
		for _, d := range list[:min(len(list), 10)] {
			want = append(want, [...]string{"phone ", "sip ", "user "}[d.Kind]+words(d, "+*", "*"))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q; want %q", got, want)
		}
	})
}
