package intake

import (
	"encoding/xml"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// twimlVerb is one element of a TwiML document, as Twilio would read it.
type twimlVerb struct {
	XMLName xml.Name
	Attrs   []xml.Attr  `xml:",any,attr"`
	Nouns   []twimlVerb `xml:",any"`
	Text    string      `xml:",chardata"`
}

func (v twimlVerb) attr(name string) string {
	for _, a := range v.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// short is the verb without its action URL, for a table: Dial(Number=+380…,Sip=sip:…).
func (v twimlVerb) short() string {
	var parts []string
	for _, n := range v.Nouns {
		parts = append(parts, n.XMLName.Local+"="+n.Text)
	}
	for _, a := range v.Attrs {
		if a.Name.Local != "action" && a.Name.Local != "method" {
			parts = append(parts, a.Name.Local+":"+a.Value)
		}
	}
	if v.Text != "" {
		parts = append(parts, v.Text)
	}
	return v.XMLName.Local + "(" + strings.Join(parts, ",") + ")"
}

// readTwiMLAnswer reads a document strictly: one <Response>, and nothing behind it.
func readTwiMLAnswer(t *testing.T, text string) []twimlVerb {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	var response twimlVerb
	if err := decoder.Decode(&response); err != nil || response.XMLName.Local != "Response" || response.Text != "" {
		t.Fatalf("%v: %s", err, text)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Fatalf("something behind the document (%v): %s", err, text)
	}
	return response.Nouns
}

func twimlQuestion(pairs ...string) *question {
	q := new(question)
	q.call.SetNamed([]byte("callee"), []byte("+380442223344"))
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		_ = q.set([]byte(name), []byte(value))
	}
	return q
}

func TestTwiMLSaysEachStepInVerbsThatTwilioHas(t *testing.T) {
	const next = "/v1/route/twiml?cursor=c-_1&callee=%2B380442223344"
	rings := schema.DecidedStep{Dial: parsed(t, "380441111111", "sip/a#1@h.example", "ivan"), Strategy: schema.All, Timeout: 20 * time.Second}
	inOrder := rings
	inOrder.Strategy, inOrder.Timeout = schema.InOrder, time.Hour
	for name, x := range map[string]struct {
		q      *question
		step   schema.DecidedStep
		next   string
		verbs  string
		action string
	}{
		"destinations at once, and the end":   {twimlQuestion(), rings, "", "Dial(Number=+380441111111,Sip=sip:a%231@h.example,Client=ivan,answerOnBridge:true,timeout:20)", ""},
		"destinations in order, and a hook":   {twimlQuestion(), inOrder, "c-_1", "Dial(Number=+380441111111,Sip=sip:a%231@h.example,Client=ivan,answerOnBridge:true,timeout:600,sequential:true)", next},
		"voicemail, and the end":              {twimlQuestion(), schema.DecidedStep{Voicemail: "1"}, "", "Record(playBeep:true)", "/v1/route/twiml?cursor=&callee=%2B380442223344"},
		"voicemail, and more":                 {twimlQuestion("project=1 01"), schema.DecidedStep{Voicemail: "1"}, "c-_1", "Record(playBeep:true)", next + "&project=1%2001"},
		"a file that Twilio can fetch":        {twimlQuestion(), schema.DecidedStep{Playback: "https://h/a?b&c"}, "", "Play(https://h/a?b&c)", ""},
		"a file that Twilio can fetch, more":  {twimlQuestion(), schema.DecidedStep{Playback: "http://h/a"}, "c-_1", "Play(http://h/a) Redirect(" + next + ")", ""},
		"a file that only a PBX has":          {twimlQuestion(), schema.DecidedStep{Playback: "closed"}, "", "Hangup()", ""},
		"a file that only a PBX has, more":    {twimlQuestion(), schema.DecidedStep{Playback: "closed"}, "c-_1", "Redirect(" + next + ")", ""},
		"busy":                                {twimlQuestion("CallStatus=ringing"), schema.DecidedStep{Hangup: "busy"}, "", "Reject(reason:busy)", ""},
		"congestion":                          {twimlQuestion(), schema.DecidedStep{Hangup: "congestion"}, "", "Reject(reason:busy)", ""},
		"rejected":                            {twimlQuestion(), schema.DecidedStep{Hangup: "rejected"}, "", "Reject()", ""},
		"a normal end":                        {twimlQuestion(), schema.DecidedStep{Hangup: "normal"}, "", "Hangup()", ""},
		"busy, after Twilio has answered":     {twimlQuestion("CallStatus=in-progress"), schema.DecidedStep{Hangup: "busy"}, "", "Hangup()", ""},
		"busy, after destinations have rung":  {twimlQuestion("cursor=c"), schema.DecidedStep{Hangup: "busy"}, "", "Hangup()", ""},
		"nobody's call, with no step decided": {twimlQuestion(), schema.DecidedStep{}, "", "Hangup()", ""},
	} {
		d := identified(x.step)
		d.Next = x.next
		var short []string
		action := ""
		for _, v := range readTwiMLAnswer(t, string(appendTwiML(nil, x.q, d))) {
			short = append(short, v.short())
			action += v.attr("action")
		}
		if got := strings.Join(short, " "); got != x.verbs || action != x.action {
			t.Errorf("%s: got %s, action %q; want %s, %q", name, got, action, x.verbs, x.action)
		}
	}
}

func TestTwiMLDialsAtMostTenNouns(t *testing.T) {
	d := identified(schema.DecidedStep{Dial: slices.Repeat(oneNumber, 12), Strategy: schema.All})
	if got := readTwiMLAnswer(t, string(appendTwiML(nil, twimlQuestion(), d))); len(got[0].Nouns) != 10 {
		t.Errorf("%d nouns; want 10", len(got[0].Nouns))
	}
}

// continuing is a site whose decision always has a cursor; asked gets what each question said.
func continuing(t *testing.T, publicURL string, asked *[]string) *site {
	return start(t, func(o *Options) {
		o.Settings.PublicURL = publicURL
		o.Decide = decideFunc(func(c *schema.Call, d *schema.Decision) {
			*asked = append(*asked, strings.Join([]string{c.ID(), c.Callee(), c.Project, c.Cursor}, " "))
			decideOK(c, d)
			d.Next = "next-_1"
		})
	})
}

func TestTwilioComesBackByTheActionURL(t *testing.T) {
	const question = "CallSid=CA1&From=%2B380501112233&To=%2B380442223344&CallStatus=ringing"
	for _, public := range []string{"", "https://pbx.example/hooks"} {
		var asked []string
		s := continuing(t, public, &asked)
		_, body := s.do(t, "POST", "/v1/route/twiml?project=1001", question, "Content-Type: application/x-www-form-urlencoded")
		dial := readTwiMLAnswer(t, body)[0]
		action, ours := strings.CutPrefix(dial.attr("action"), public)
		if !ours || dial.attr("method") != "POST" {
			t.Fatalf("action %q, method %q; want it below %q by POST", dial.attr("action"), dial.attr("method"), public)
		}
		for status, over := range map[string]bool{
			"DialCallStatus=no-answer": false, "DialCallStatus=busy": false, "DialCallStatus=failed": false, "DialCallStatus=canceled": false,
			"DialCallStatus=completed": true, "DialCallStatus=answered": true, "DialCallStatus=no-answer&CallStatus=completed": true, "DialCallStatus=busy&CallStatus=canceled": true,
		} {
			asked = nil
			answer, body := s.do(t, "POST", action, question+"&"+status, "Content-Type: application/x-www-form-urlencoded")
			verbs := readTwiMLAnswer(t, body)
			switch {
			case answer.StatusCode != 200:
				t.Errorf("%s: %d %s", status, answer.StatusCode, body)
			case over && (len(asked) > 0 || len(verbs) > 0):
				t.Errorf("%s: asked %q, answered %s; want nobody asked and nothing to do", status, asked, body)
			case !over && (len(asked) != 1 || asked[0] != "CA1 +380442223344 1001 next-_1" || len(verbs) != 1):
				t.Errorf("%s: asked %q, answered %s; want the same call with its cursor", status, asked, body)
			}
		}
	}
}

func TestAMessageLeftIsTheEndUnlessMoreComes(t *testing.T) {
	var asked []string
	s := continuing(t, "", &asked)
	const question = "CallSid=CA1&To=%2B380442223344&CallStatus=in-progress&RecordingUrl=https%3A%2F%2Fapi.twilio.com%2FRE1"
	for path, want := range map[string]int{"/v1/route/twiml?cursor=&callee=1": 0, "/v1/route/twiml?cursor=c&callee=1": 1} {
		asked = nil
		if s.do(t, "POST", path, question, "Content-Type: application/x-www-form-urlencoded"); len(asked) != want {
			t.Errorf("%s: decided %d times; want %d", path, len(asked), want)
		}
	}
}

// Property: for any destinations that the grammar accepts and any text in a question, the document
// holds exactly those destinations, and the action URL leads back with exactly that call and cursor.
func FuzzTwiML(f *testing.F) {
	f.Add("380441111111,sip:a#b@h.example:5062,ivan", "+380442223344", "1001", "CA1", "next-_1", "https://h/a.mp3", uint8(0))
	f.Add("sip:a@[2001:db8::1]", `"/><Reject/>`, "&cursor=x", "-->", "", "https://h/</Play><Reject/>]]>", uint8(1))
	f.Add("", "\x00\xff\u2028", "%41", "", "c", "http://\xed\xa0\x80\x01", uint8(2))
	f.Fuzz(func(t *testing.T, destinations, callee, project, callSid, next, playback string, strategy uint8) {
		list := accepted(destinations)
		q := new(question)
		q.call.SetNamed([]byte("callee"), []byte(callee))
		q.call.SetNamed([]byte("CallStatus"), []byte(callSid))
		q.call.Project = project
		d := identified(schema.DecidedStep{Playback: playback})
		d.CallID, d.Project, d.Next = callSid, project, next
		if len(list) > 0 {
			d.Steps = append(d.Steps, schema.DecidedStep{Dial: list, Timeout: 9 * time.Second, Strategy: [...]schema.Strategy{schema.All, schema.InOrder, schema.RoundRobin}[strategy%3]})
		}
		verbs := readTwiMLAnswer(t, string(appendTwiML(nil, q, d)))
		if isHTTP(playback) {
			if verbs[0].XMLName.Local != "Play" || len(verbs[0].Nouns) > 0 || verbs[0].Text != writtenXML(playback) {
				t.Fatalf("got %+v; want to play %q", verbs[0], playback)
			}
			verbs = verbs[1:]
		}
		back := ""
		switch {
		case len(list) > 0:
			var got, want []string
			for _, n := range verbs[0].Nouns {
				got = append(got, n.XMLName.Local+" "+n.Text)
			}
			for _, d := range list[:min(len(list), 10)] {
				want = append(want, [...]string{"Number ", "Sip ", "Client "}[d.Kind]+words(d, "+*", "*"))
			}
			if verbs[0].XMLName.Local != "Dial" || !slices.Equal(got, want) || len(verbs) != 1 {
				t.Fatalf("got %+v; want to dial %q", verbs, want)
			}
			back = verbs[0].attr("action")
		case next != "":
			if len(verbs) != 1 || verbs[0].XMLName.Local != "Redirect" || len(verbs[0].Nouns) > 0 {
				t.Fatalf("got %+v; want to be sent back", verbs)
			}
			back = verbs[0].Text
		}
		if next != "" {
			checkBack(t, back, "/v1/route/twiml", next, callee, project)
		}
	})
}

// checkBack reads the URL that a cloud is given to come back to.
func checkBack(t *testing.T, text, path, next, callee, project string) {
	t.Helper()
	u, err := url.ParseRequestURI(text)
	if err != nil || u.Path != path {
		t.Fatalf("%q: %v; want the path %s", text, err, path)
	}
	want := url.Values{"cursor": {next}, "callee": {callee}}
	if project != "" {
		want.Set("project", project)
	}
	if got, err := url.ParseQuery(u.RawQuery); err != nil || got.Encode() != want.Encode() {
		t.Fatalf("%q says %v, %v; want %v", text, got, err, want)
	}
}

// writtenXML is text without what XML 1.0 cannot hold (section 2.2), controls and what is no UTF-8.
func writtenXML(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '\ufffd' || r == '\ufffe' || r == '\uffff' {
			return -1
		}
		return r
	}, text)
}
