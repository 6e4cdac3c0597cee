package intake

import (
	"encoding/json"
	"encoding/xml"
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

// The snippets in configs/ name our paths, parameters and fields. Whoever renames one of these here
// breaks a PBX that goes on using the old name: these tests say which.

func readSnippet(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("../configs/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// found returns what the expression's one group matches in text, each once.
func found(t *testing.T, text, expression string) []string {
	t.Helper()
	var list []string
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(list, m[1]) {
			list = append(list, m[1])
		}
	}
	if len(list) == 0 {
		t.Fatalf("nothing in the snippet fits %s; mend this test", expression)
	}
	return list
}

// snippetSteps are answers in which every field that a snippet may use has a value.
func snippetSteps(t *testing.T) []schema.Decision {
	dial := schema.DecidedStep{Dial: numbers(t, "380441111111", "ivan"), Strategy: schema.All, Timeout: 45 * time.Second}
	order := dial
	order.Strategy = schema.InOrder
	var list []schema.Decision
	for _, s := range []schema.DecidedStep{dial, order, {Voicemail: "100"}, {Playback: "closed"}, {Hangup: "busy"}} {
		d := schema.Decision{Next: "eyJ-_abc", Schema: "1", Steps: []schema.DecidedStep{s}}
		copy(d.ID[:], "01JNAVMH0000000000000000AA")
		list = append(list, d)
	}
	return list
}

// checkParameters asks with each of a snippet's parameters and sees that it is known: known ones are
// no custom parameters, and budget_ms shortens the deadline.
func checkParameters(t *testing.T, path string, names []string) {
	t.Helper()
	p := newPBX(t)
	p.decision = snippetSteps(t)[0]
	for _, required := range []string{"caller", "callee", "callid", "cursor"} {
		if !slices.Contains(names, required) {
			t.Errorf("the snippet does not send %s", required)
		}
	}
	query := url.Values{}
	for i, name := range names {
		query.Set(name, strconv.Itoa(1000+i))
	}
	if status, body := p.ask(path, query.Encode(), ""); status != 200 {
		t.Fatalf("%s?%s: %d %s", path, query.Encode(), status, body)
	}
	said := describe(&p.asked)
	for i, name := range names {
		if name == "budget_ms" {
			if p.asked.Deadline.Sub(p.asked.At) == testSettings().Budget {
				t.Error("budget_ms shortens no deadline")
			}
			continue
		}
		value := strconv.Quote(strconv.Itoa(1000 + i))
		if !strings.Contains(said, "param "+name+" = "+value) && !strings.Contains(said, "\n"+name+": "+value) && !strings.HasPrefix(said, name+": "+value) {
			t.Errorf("%s is not known to the door:\n%s", name, said)
		}
	}
}

func TestTheAsteriskSnippetUsesNamesThatExist(t *testing.T) {
	text := readSnippet(t, "asterisk/extensions.conf")
	question := found(t, text, `\$\{CURL\((http://.*)\)\}\)`)[0]
	path := found(t, question, `^http://127\.0\.0\.1:8077(/[^?]*)\?`)[0]
	checkParameters(t, path, found(t, question, `[?&](\w+)=`))
	values := map[string]string{}
	p := newPBX(t)
	for _, d := range snippetSteps(t) {
		p.decision = d
		_, body := p.ask(path, "callee=1", "")
		for key, v := range hashcompat(body) {
			values[key] += v
		}
	}
	used := found(t, strings.ReplaceAll(text, "dial_${HS_I}", "dial_2"), `HASH\(d,(\w+)\)`)
	for _, key := range used {
		if values[key] == "" {
			t.Errorf("the snippet reads %s, which no answer has", key)
		}
	}
	for _, key := range []string{"status", "next", "dial", "timeout", "strategy", "dial_2", "count", "voicemail", "playback", "hangup"} {
		if !slices.Contains(used, key) {
			t.Errorf("the snippet reads no %s", key)
		}
	}
}

func TestTheFreeSWITCHSnippetUsesNamesThatExist(t *testing.T) {
	text := readSnippet(t, "freeswitch/xml_curl.conf.xml")
	var conf struct {
		XMLName xml.Name `xml:"configuration"`
		Name    string   `xml:"name,attr"`
		Params  []struct {
			Name     string `xml:"name,attr"`
			Value    string `xml:"value,attr"`
			Bindings string `xml:"bindings,attr"`
		} `xml:"bindings>binding>param"`
	}
	if err := xml.Unmarshal([]byte(text), &conf); err != nil || conf.Name != "xml_curl.conf" {
		t.Fatalf("%v, %q", err, conf.Name)
	}
	params := map[string]string{}
	for _, p := range conf.Params {
		params[p.Name] = p.Value
		if p.Name == "gateway-url" && p.Bindings != "dialplan" {
			t.Errorf("%s is bound to %q; want the dialplan alone", p.Value, p.Bindings)
		}
	}
	patience, err := strconv.Atoi(params["timeout"])
	if err != nil || patience < 1 {
		t.Errorf("timeout %q; want whole seconds: FreeSWITCH has no default", params["timeout"])
	}
	gateway, err := url.Parse(params["gateway-url"])
	if err != nil || gateway.Host != "127.0.0.1:8077" {
		t.Fatalf("gateway-url %q: %v", params["gateway-url"], err)
	}
	p := newPBX(t)
	p.decision = snippetSteps(t)[0]
	ask := func(form string) string {
		t.Helper()
		status, body := p.ask(gateway.Path, gateway.RawQuery, form)
		if status != 200 {
			t.Fatalf("%s: %d %s", form, status, body)
		}
		return describe(&p.asked) + body
	}
	const base = "hostname=a&section=dialplan&Unique-ID=u&Channel-Call-UUID=u&"
	ask(base + "Caller-Destination-Number=1")
	if left := p.asked.Deadline.Sub(p.asked.At); left >= time.Duration(patience)*time.Second {
		t.Errorf("a decision may take %v, and FreeSWITCH waits for %d s", left, patience)
	}
	// Each field matters: without it something is decided, or told, otherwise.
	for _, name := range found(t, text, `"enable-post-var" value="([^"]+)"`) {
		rest := base + "callee=2&Channel-Name=x"
		if strings.HasSuffix(name, "-Destination-Number") {
			rest = base + "Channel-Name=x&Caller-ANI=1&hook=crm"
		}
		if ask(rest) == ask(rest+"&"+name+"=380441234567") {
			t.Errorf("the field %s makes no difference", name)
		}
	}
	_, body := p.ask(gateway.Path, gateway.RawQuery, base+"Hunt-Destination-Number=1")
	if actions, _ := actionsOf(t, body, "default"); !strings.HasPrefix(actions[0].Data, "hookswitch_cursor=") {
		t.Errorf("the cursor comes in the variable of %s; the snippet sends hookswitch_cursor", actions[0])
	}
}

// The last resort must be reached by what FreeSWITCH looks for, and expand nothing.
func TestTheFreeSWITCHLastResortExpandsNothing(t *testing.T) {
	var include struct {
		Conditions []struct {
			Field      string   `xml:"field,attr"`
			Expression string   `xml:"expression,attr"`
			Actions    []action `xml:"action"`
		} `xml:"extension>condition"`
	}
	if err := xml.Unmarshal([]byte(readSnippet(t, "freeswitch/last_resort.xml")), &include); err != nil || len(include.Conditions) != 1 {
		t.Fatalf("%v, %d conditions", err, len(include.Conditions))
	}
	c := include.Conditions[0]
	if c.Field != "destination_number" || strings.Contains(c.Expression, "(") {
		t.Errorf("%s ~ %s", c.Field, c.Expression)
	}
	for _, callee := range []string{"380442223344", "+380442223344", "100"} {
		if !regexp.MustCompile(c.Expression).MatchString(callee) {
			t.Errorf("%s has no last resort", callee)
		}
	}
	if did := runActions(t, c.Actions).did; len(did) != 2 || !strings.HasPrefix(did[0], "ring ") || !strings.HasPrefix(did[1], "hangup ") {
		t.Errorf("did %q", did)
	}
}

func TestTheKamailioSnippetUsesNamesThatExist(t *testing.T) {
	text := readSnippet(t, "kamailio/kamailio.cfg")
	path := found(t, text, `HS_URL "http://127\.0\.0\.1:8077([^"]*)"`)[0]
	if named := found(t, text, `HS_CONNECTION "hookswitch=>http://127\.0\.0\.1:8077([^"]*)"`)[0]; named != path {
		t.Errorf("the named connection asks at %s; want %s", named, path)
	}
	tails := found(t, text, `"(/\w+)\?`)
	if len(tails) != 1 {
		t.Errorf("asks at %q", tails)
	}
	path += tails[0]
	checkParameters(t, path, found(t, text, `"&?(\w+)=" \+`))
	fields := map[string]any{}
	p := newPBX(t)
	for _, d := range snippetSteps(t) {
		p.decision = d
		_, body := p.ask(path, "callee=1", "")
		if err := json.Unmarshal([]byte(body), &fields); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range found(t, text, `jansson_get\("(\w+)"`) {
		if _, there := fields[name]; !there {
			t.Errorf("the snippet reads %s, which no answer has", name)
		}
	}
}

func TestTheOpenSIPSSnippetUsesNamesThatExist(t *testing.T) {
	text := readSnippet(t, "opensips/opensips.cfg")
	paths := found(t, text, `"http://127\.0\.0\.1:8077([^?"]*)\?`)
	names := found(t, text, `[&"](\w+)=[" 0-9]`)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(text, name+`=" +`) && name != "budget_ms" })
	p := newPBX(t)
	fields := map[string]bool{}
	for _, path := range paths {
		checkParameters(t, path, names)
		for _, d := range snippetSteps(t) {
			p.decision = d
			status, body := p.ask(path, "callee=1", "")
			var answer any
			if err := json.Unmarshal([]byte(body), &answer); status != 200 || err != nil && !strings.HasSuffix(path, "/plain") {
				t.Fatalf("%s: %d %s", path, status, body)
			}
			collectFields("", answer, fields)
		}
	}
	for _, name := range found(t, text, `\$json\(answer/((?:\w|/|\[\$var\(\w+\)\])+)\)`) {
		name = regexp.MustCompile(`\[[^\]]*\]`).ReplaceAllString(name, "")
		if !fields[name] {
			t.Errorf("the snippet reads %s, which no answer has: %v", name, fields)
		}
	}
}

// collectFields notes the way to each member of a JSON value, lists left out: steps/dial.
func collectFields(at string, value any, into map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			way := strings.TrimPrefix(fmt.Sprintf("%s/%s", at, name), "/")
			into[way] = true
			collectFields(way, inner, into)
		}
	case []any:
		for _, inner := range v {
			collectFields(at, inner, into)
		}
	}
}
