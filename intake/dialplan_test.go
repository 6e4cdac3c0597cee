package intake

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// dialplan is an Asterisk dialplan's context: the lines of each extension, and their labels.
type dialplan struct {
	lines  map[string][]string
	labels map[string]int // "EXTEN label" → priority
}

var dialplanLine = regexp.MustCompile(`^(?:exten|\s*same)\s*=>\s*(?:([^,]+),)?(1|n)(?:\((\w+)\))?,(.*)$`)

func readDialplan(t *testing.T, file string) *dialplan {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &dialplan{lines: map[string][]string{}, labels: map[string]int{}}
	exten := ""
	for line := range strings.SplitSeq(string(text), "\n") {
		line, _, _ = strings.Cut(line, ";")
		if line = strings.TrimRight(line, " "); line == "" || line[0] == '[' {
			continue
		}
		m := dialplanLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("%s: can't read %q", file, line)
		}
		if m[1] != "" {
			exten = m[1]
		}
		p.lines[exten] = append(p.lines[exten], m[4])
		if m[3] != "" {
			p.labels[exten+" "+m[3]] = len(p.lines[exten])
		}
	}
	return p
}

// extension finds the lines for a number or a name: itself, else a pattern that fits it.
func (p *dialplan) extension(name string) string {
	for pattern := range p.lines {
		expression := "^" + strings.NewReplacer("+", `\+`, "X", "[0-9]", "!", ".*", ".", ".+").Replace(strings.TrimPrefix(pattern, "_")) + "$"
		if pattern == name || pattern[0] == '_' && p.lines[name] == nil && regexp.MustCompile(expression).MatchString(name) {
			return pattern
		}
	}
	return ""
}

// asteriskCall is a channel in the dialplan. curl gives a lookup's body; ring what Dial() came to.
type asteriskCall struct {
	t     *testing.T
	plan  *dialplan
	exten string
	vars  map[string]string
	hash  map[string]string
	curl  func(url string) string
	ring  func(arguments string) (dialstatus string)
	did   []string
}

// run goes through the dialplan from exten,1 on until the call ends, and returns what was done.
func (c *asteriskCall) run(exten string) []string {
	c.vars, c.hash, c.exten = map[string]string{"CALLERID(num)": "+380501112233", "CHANNEL(pjsip,call-id)": "a b,c&d@h"}, map[string]string{}, exten
	at := 1
	for range 1000 {
		lines := c.plan.lines[c.plan.extension(c.exten)]
		if at > len(lines) {
			return append(c.did, "fell off "+c.exten)
		}
		app, arguments, _ := strings.Cut(lines[at-1], "(")
		arguments = c.fill(strings.TrimSuffix(arguments, ")"))
		at++
		switch app {
		case "Set":
			c.set(arguments)
		case "ClearHash":
			if arguments == "d" {
				clear(c.hash)
			}
		case "Goto":
			at = c.jump(arguments, at)
		case "GotoIf":
			condition, rest, _ := strings.Cut(arguments, "?")
			yes, no, _ := strings.Cut(rest, ":")
			if condition != "" && condition != "0" {
				at = c.jump(yes, at)
			} else if no != "" {
				at = c.jump(no, at)
			}
		case "Dial":
			c.did = append(c.did, "Dial "+arguments)
			c.vars["DIALSTATUS"] = c.ring(arguments)
		case "Answer", "Playback", "VoiceMail":
			c.did = append(c.did, strings.TrimSpace(app+" "+arguments))
		case "Hangup":
			return append(c.did, strings.TrimSpace("Hangup "+arguments))
		default:
			c.t.Fatalf("the application %s", app)
		}
	}
	c.t.Fatalf("the dialplan runs in circles: %q", c.did)
	return nil
}

func (c *asteriskCall) set(assignment string) {
	name, value, _ := strings.Cut(assignment, "=")
	if name == "HASH(d)" {
		if c.vars["CURLOPT(hashcompat)"] != "yes" || c.vars["CURLOPT(httptimeout)"] == "" || c.vars["CURLOPT(conntimeout)"] == "" {
			c.t.Fatalf("CURL() without its options: %v", c.vars)
		}
		for key, v := range hashcompat(value) {
			c.hash[key] = v
		}
		return
	}
	c.vars[name] = value
}

func (c *asteriskCall) jump(to string, otherwise int) int {
	if exten, _, ok := strings.Cut(to, ","); ok {
		c.exten = exten
		if c.plan.extension(exten) == "" {
			c.t.Fatalf("no extension %s", exten)
		}
		return 1
	}
	if to == "" {
		return otherwise
	}
	at, ok := c.plan.labels[c.plan.extension(c.exten)+" "+to]
	if !ok {
		c.t.Fatalf("no label %s in %s", to, c.exten)
	}
	return at
}

// fill fills in ${...} and $[...], the inner ones first.
func (c *asteriskCall) fill(s string) string {
	for {
		i := max(strings.LastIndex(s, "${"), strings.LastIndex(s, "$["))
		if i < 0 {
			return s
		}
		closing := map[byte]string{'{': "}", '[': "]"}[s[i+1]]
		n := strings.Index(s[i:], closing)
		if n < 0 {
			c.t.Fatalf("unclosed: %s", s[i:])
		}
		inner, value := s[i+2:i+n], ""
		if closing == "]" {
			value = c.expression(inner)
		} else {
			value = c.value(inner)
		}
		s = s[:i] + value + s[i+n+1:]
	}
}

func (c *asteriskCall) value(name string) string {
	function, argument, _ := strings.Cut(name, "(")
	argument = strings.TrimSuffix(argument, ")")
	switch {
	case name == "EXTEN":
		return c.exten
	case name == "EXTEN:1":
		return c.exten[1:]
	case function == "URIENCODE":
		return string(appendEscaped(nil, []byte(argument)))
	case function == "HASH":
		return c.hash[strings.TrimPrefix(argument, "d,")]
	case function == "CURL":
		if strings.ContainsAny(argument, ", \r\n") {
			c.t.Fatalf("CURL() would end the URL early: %s", argument)
		}
		return c.curl(argument)
	}
	return c.vars[name]
}

var token = regexp.MustCompile(`"[^"]*"|[^\s"]+`)

// expression evaluates what stands in $[...]: terms of two operands, joined by & and |.
func (c *asteriskCall) expression(text string) string {
	words := token.FindAllString(text, -1)
	if i := slices.Index(words, "|"); i >= 0 {
		return truth(c.expression(strings.Join(words[:i], " ")) == "1" || c.expression(strings.Join(words[i+1:], " ")) == "1")
	}
	if i := slices.Index(words, "&"); i >= 0 {
		return truth(c.expression(strings.Join(words[:i], " ")) == "1" && c.expression(strings.Join(words[i+1:], " ")) == "1")
	}
	if len(words) == 1 && strings.Contains(text, "+") { // $[1+1]
		a, b, _ := strings.Cut(text, "+")
		words = []string{a, "+", b}
	}
	if len(words) != 3 {
		c.t.Fatalf("the expression %q", text)
	}
	a, aErr := strconv.Atoi(words[0])
	b, bErr := strconv.Atoi(words[2])
	switch words[1] {
	case "=":
		return truth(words[0] == words[2])
	case "!=":
		return truth(words[0] != words[2])
	case "<":
		if aErr == nil && bErr == nil {
			return truth(a < b)
		}
	case "+":
		if aErr == nil && bErr == nil {
			return strconv.Itoa(a + b)
		}
	}
	c.t.Fatalf("the expression %q", text)
	return ""
}

func truth(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// The shipped dialplan, gone through line by line against the real door.
func TestTheAsteriskDialplanDoesWhatTheAnswersSay(t *testing.T) {
	ring := func(strategy schema.Strategy, texts ...string) schema.DecidedStep {
		return schema.DecidedStep{Dial: numbers(t, texts...), Strategy: strategy, Timeout: 45 * time.Second}
	}
	const anna, olha, last = "Dial PJSIP/anna,45", "Dial PJSIP/olha,45", "Dial PJSIP/380440000000@trunk,30"
	both := ring(schema.All, "anna", "olha")
	for _, c := range []struct {
		name     string
		steps    []schema.DecidedStep // of each lookup in turn; the last one of an endless scheme again and again
		statuses string               // of each Dial() in turn, the last one again and again
		want     []string
		lookups  int
	}{
		{"rings all", []schema.DecidedStep{both}, "ANSWER", []string{"Dial PJSIP/anna&PJSIP/olha,45", "Hangup"}, 1},
		{"tells that all are busy", []schema.DecidedStep{both}, "BUSY", []string{"Dial PJSIP/anna&PJSIP/olha,45", "Hangup 17"}, 1},
		{"tells that nobody answers", []schema.DecidedStep{both}, "NOANSWER", []string{"Dial PJSIP/anna&PJSIP/olha,45", "Hangup 19"}, 1},
		{"tells that the trunk is down", []schema.DecidedStep{both}, "CHANUNAVAIL", []string{"Dial PJSIP/anna&PJSIP/olha,45", "Hangup 34"}, 1},
		{"tries in order", []schema.DecidedStep{ring(schema.InOrder, "anna", "olha")}, "BUSY ANSWER", []string{anna, olha, "Hangup"}, 1},
		{"has tried all in order", []schema.DecidedStep{ring(schema.Random, "anna", "olha")}, "BUSY NOANSWER", []string{anna, olha, "Hangup 19"}, 1},
		{"stops trying when the caller is gone", []schema.DecidedStep{ring(schema.InOrder, "anna", "olha"), both}, "CANCEL", []string{anna, "Hangup"}, 1},
		{"asks again when nobody answers", []schema.DecidedStep{ring(schema.All, "anna"), ring(schema.All, "olha")}, "BUSY ANSWER", []string{anna, olha, "Hangup"}, 2},
		{"asks again after all in order", []schema.DecidedStep{ring(schema.InOrder, "anna", "olha"), ring(schema.All, "anna")}, "BUSY BUSY NOANSWER", []string{anna, olha, anna, "Hangup 19"}, 2},
		{"asks nothing when it was answered", []schema.DecidedStep{ring(schema.All, "anna"), both}, "ANSWER", []string{anna, "Hangup"}, 1},
		{"takes a message after a busy", []schema.DecidedStep{ring(schema.All, "anna"), {Voicemail: "100@default"}}, "BUSY", []string{anna, "VoiceMail 100@default,u", "Hangup"}, 2},
		{"plays, then rings", []schema.DecidedStep{{Playback: "ua/wait"}, ring(schema.All, "anna")}, "ANSWER", []string{"Answer", "Playback ua/wait", anna, "Hangup"}, 2},
		{"plays, and that is all", []schema.DecidedStep{{Playback: "ua/closed"}}, "", []string{"Answer", "Playback ua/closed", "Hangup"}, 1},
		{"hangs up with the cause", []schema.DecidedStep{{Playback: "ua/closed"}, {Hangup: "rejected"}}, "", []string{"Answer", "Playback ua/closed", "Hangup 21"}, 2},
		{"goes to the last resort with what it can't dial", []schema.DecidedStep{ring(schema.All, "sip:a@[::1]")}, "ANSWER", []string{last, "Hangup"}, 1},
		{"passes over what it can't dial", []schema.DecidedStep{ring(schema.All, "sip:a@[::1]"), ring(schema.All, "anna")}, "ANSWER", []string{anna, "Hangup"}, 2},
		{"goes to the last resort with nobody's number", nil, "ANSWER", []string{last, "Hangup"}, 1},
		{"stops an endless scheme", slices.Repeat([]schema.DecidedStep{ring(schema.All, "anna")}, 100), "BUSY", append(slices.Repeat([]string{anna}, 10), "Hangup 17"), 10},
	} {
		lookups, statuses := 0, strings.Fields(c.statuses)
		p := newPBX(t)
		p.s.decide = decideFunc(func(call *schema.Call, d *schema.Decision) {
			if cursor := call.Cursor; lookups > 0 && cursor != fmt.Sprint("c-", lookups) || lookups == 0 && cursor != "" {
				t.Errorf("%s: lookup %d has the cursor %q", c.name, lookups+1, cursor)
			}
			if call.Caller() != "+380501112233" || call.Callee() != "380442223344" || call.ID() != "a b,c&d@h" || call.Deadline.Sub(call.At) >= 2*time.Second {
				t.Errorf("%s: asked by %q for %q, call %q, within %v", c.name, call.Caller(), call.Callee(), call.ID(), call.Deadline.Sub(call.At))
			}
			if d.NotFound = lookups >= len(c.steps); !d.NotFound {
				d.Steps = append(d.Steps, c.steps[lookups])
			}
			if lookups++; lookups < len(c.steps) {
				d.Next = fmt.Sprint("c-", lookups)
			}
		})
		call := asteriskCall{t: t, plan: readDialplan(t, "../configs/asterisk/extensions.conf"), curl: func(address string) string {
			u, err := url.Parse(address)
			if err != nil || u.Host != "127.0.0.1:8077" {
				t.Fatalf("%s: %v", address, err)
			}
			_, body := p.ask(u.Path, u.RawQuery, "")
			return body
		}, ring: func(string) string {
			status := statuses[0]
			if len(statuses) > 1 {
				statuses = statuses[1:]
			}
			return status
		}}
		exten := "380442223344"
		if lookups == 0 && c.lookups == 1 {
			exten = "+380442223344" // as many a trunk sends it
		}
		if got := call.run(exten); !slices.Equal(got, c.want) || lookups != c.lookups {
			t.Errorf("Asterisk %s: %d lookups, did %q; want %d, %q", c.name, lookups, got, c.lookups, c.want)
		}
	}
}

func TestTheAsteriskDialplanHasALastResortOfItsOwn(t *testing.T) {
	for name, body := range map[string]string{
		"nobody there, or too late": "", "another server's page": "<html>busy & dead</html>", "a refused question": "status=error&code=unauthorized&dial=",
		"half an answer": "status=ok&source=hook",
	} {
		call := asteriskCall{t: t, plan: readDialplan(t, "../configs/asterisk/extensions.conf"),
			curl: func(string) string { return body }, ring: func(string) string { return "ANSWER" }}
		if got := call.run("380442223344"); !slices.Equal(got, []string{"Dial PJSIP/380440000000@trunk,30", "Hangup"}) {
			t.Errorf("%s: did %q", name, got)
		}
	}
}
