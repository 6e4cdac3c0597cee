package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// injections are texts that would run, were they not shown as texts; %s is where each of them stood. Each
// sets window.injected or opens a dialog, and leaves an element that is none of ours.
var injections = []string{
	`<script>window.injected=1;alert("%s")</script>`,
	`"><img class=injected src=x onerror=alert('%s')>`,
	`'><svg class=injected onload=alert('%s')>`,
	`</textarea></pre></title></template></script><b class=injected>%s</b>`,
	`javascript:alert('%s')`,
	`{{printf "%%s" .Form}}%s`,
	`\u003cimg class=injected src=x onerror=alert('%s')\u003e`,
}

// allInjections are one text of all of them.
func allInjections(where string) string {
	all := make([]string, len(injections))
	for i, text := range injections {
		all[i] = fmt.Sprintf(text, where)
	}
	return strings.Join(all, " ")
}

// harmless fails the test where one of the injections has done something in the page.
func (b *browser) harmless(where string) {
	b.t.Helper()
	if eval[bool](b, "window.injected !== undefined") {
		b.t.Errorf("%s: a script ran", where)
	}
	if n := eval[int](b, "document.querySelectorAll('.injected, [onerror], [onload], [href^=\"javascript\"], [action^=\"javascript\"]').length"); n != 0 {
		b.t.Errorf("%s: %d elements were injected", where, n)
	}
	b.quiet(where) // what only the Content-Security-Policy stopped is a fault too
}

// said are the forms in which a text may rightly stand in what was sent to somebody: as it is, as a string
// within JSON, whose encoder may escape < and >, as one within such a string, and as a part of a URL.
func said(text string) []string {
	forms := []string{text, url.QueryEscape(text), url.PathEscape(text)}
	for _, html := range []bool{false, true} {
		once := inJSON(text, html)
		forms = append(forms, once, inJSON(once, html), inJSON(once, !html))
	}
	return forms
}

// inJSON is a text as it stands within a JSON string, without the quotes around it.
func inJSON(text string, escapeHTML bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escapeHTML)
	_ = e.Encode(text) // a string always can be
	return b.String()[1 : b.Len()-2]
}

// wantSaid fails the test where a text is not to be seen in the page in any of those forms.
func (b *browser) wantSaid(where, text string) {
	b.t.Helper()
	for _, form := range said(text) {
		if b.shows(form) {
			return
		}
	}
	b.t.Errorf("%s: %q is not to be seen in the page, so that the page proves nothing:\n%.3000s", where, text, b.text("main"))
}

// post sends JSON, and a header that is hostile as well.
func (s *service) post(path string, header string, body any) []byte {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest("POST", s.URL+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", header)
	req.Header.Set("X-Forwarded-For", header)
	req.Header.Set("X-Request-Id", header)
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil || resp.StatusCode >= 300 {
		s.t.Fatalf("POST %s: %d %v %s", path, resp.StatusCode, err, answer.Bytes())
	}
	return answer.Bytes()
}

// TestWhatACallerAWebhookOrALinkSaysIsShownAndDoesNothing: what is stored. A caller says it in a JSON body
// and in headers, a link in a nested one, the webhook in its answer's body and header.
func TestWhatACallerAWebhookOrALinkSaysIsShownAndDoesNothing(t *testing.T) {
	s, c := startConsole(t)
	s.api("PUT", "/hooks/crm", opsToken, "1001", map[string]any{
		"url": c.URL + "/route", "on_failure": "1", "method": "POST", "send": "json", "breaker": map[string]any{"state": "closed"},
		"headers": map[string]string{"X-Debt": "{{debt}}", "X-Deep": "{{deep.list[0].name}}"},
		"params": []any{
			map[string]any{"name": "from", "param": "caller"}, map[string]any{"name": "name", "param": "caller_name"},
			map[string]any{"name": "custom", "value": "{{custom}}"}, map[string]any{"name": "deep", "value": "{{deep.list[0].name}}"}, map[string]any{"name": "debt", "value": "{{debt}}"},
		},
	})
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	b.open("/live")
	b.sees("[data-state]", "live")
	ids := make([]string, len(injections))
	at := func(i int) func(where string) string {
		return func(where string) string { return fmt.Sprintf(injections[i], fmt.Sprintf("%s-%d", where, i)) }
	}
	for i := range injections {
		text := at(i)
		caller := fmt.Sprintf("3805011122%02d", i)
		c.say(text("answered"))
		s.post("/in/a-token-of-the-customers-link", text("link-header"), map[string]any{
			"phone": caller, "debt": text("debt"), "deep": map[string]any{"list": []any{map[string]any{"name": text("deep")}}},
		})
		var d decision
		if err := json.Unmarshal(s.post("/v1/route", text("header"), map[string]any{
			"callee": "380442223344", "caller": caller, "callid": text("callid"), "caller_name": text("caller_name"), "useragent": text("useragent"),
			"custom": text("custom"), "nested": map[string]any{text("key"): []any{text("nested")}}, text("name"): text("value"),
		}), &d); err != nil {
			t.Fatal(err)
		}
		ids[i] = d.DecisionID
		b.sees("tbody", caller)
		s.post("/v1/route", text("header"), map[string]any{"callee": "380442223344", "caller": text("caller"), "callid": fmt.Sprintf("strange-%d", i)})
	}
	cut := func(i int) string { return at(i)("caller")[:min(40, len(at(i)("caller")))] } // what is kept of a caller for a list
	for i := range injections {
		b.sees("tbody", cut(i))
	}
	b.harmless("the live list, as calls came in")
	b.open("/live")
	for i := range injections {
		b.wantShown("the live list", cut(i))
	}
	b.harmless("the live list")

	for i, id := range ids {
		text := at(i)
		b.open("/decisions/" + id)
		b.sees("main", "Attempt 1")
		for _, where := range []string{"callid", "caller_name", "useragent", "custom", "name", "value"} {
			b.wantShown("a decision's "+where, text(where))
		}
		for _, where := range []string{"nested", "key", "answered", "debt", "deep"} {
			b.wantSaid("a decision's "+where, text(where))
		}
		b.harmless("a decision, of " + text("caller_name"))
		b.press(".head a.primary")
		b.wantShown("trying it again", text("caller_name"))
		b.wantShown("trying it again", text("useragent"))
		b.harmless("trying it again, of " + text("caller_name"))
		c.say(text("answered"))
		b.press("form[action='/try'] .primary")
		b.sees("#result", "Source")
		b.wantSaid("what came of trying it again", text("answered"))
		b.harmless("what came of trying it again, of " + text("caller_name"))
	}
	for _, path := range []string{"/", "/p/1001/hooks/crm", "/p/1001/hooks", "/audit"} {
		b.open(path)
		b.harmless(path)
	}
	b.open("/p/1001/hooks/crm")
	shown := 0
	for i := range injections { // some of the last failures are kept
		for _, form := range said(at(i)("answered")[:20]) {
			if b.shows(form) {
				shown++
				break
			}
		}
	}
	if shown == 0 {
		t.Errorf("the failures of a hook show none of the answers:\n%.3000s", b.text("main"))
	}
	b.harmless("the failures of a hook")
}

// TestAPastedAnswerIsShownAndDoesNothing: what the form of a tried call is given comes back in the page.
func TestAPastedAnswerIsShownAndDoesNothing(t *testing.T) {
	s, _ := startConsole(t)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	for i, one := range injections {
		text := func(where string) string { return fmt.Sprintf(one, where) }
		b.open("/try?callee=380442223344&caller=380501112233&project=1001")
		b.unfold()
		b.click("[name=answer][value=pasted]")
		if i%2 == 0 {
			b.fill("#body", text("body"))
		} else {
			b.fill("#body", `{"dst_phone":[`+quoted(text("body"))+`,"380441111111"]}`)
		}
		b.fill("#headers", "X-Pasted: "+text("header"))
		b.fill("[name=custom]", "strange: "+text("custom"))
		b.fill("[name='p.useragent']", text("useragent"))
		b.press("form[action='/try'] .primary")
		b.sees("#result", "Source")
		for _, where := range []string{"header", "custom", "useragent"} {
			b.wantShown("a pasted answer's page", text(where))
		}
		if found := b.text(".columns"); !anyIn(found, said(text("body"))) {
			t.Errorf("what came of a pasted answer does not show it: %q in\n%s", text("body"), found)
		}
		b.harmless("a pasted answer, of " + one)
	}
}

func anyIn(text string, wanted []string) bool {
	for _, want := range wanted {
		if strings.Contains(text, want) {
			return true
		}
	}
	return false
}

// TestWhatAnAddressSaysIsShownAndDoesNothing: what is reflected. Every field of every filter, and every
// part of a path, is given every injection.
func TestWhatAnAddressSaysIsShownAndDoesNothing(t *testing.T) {
	s, _ := startConsole(t)
	b := openBrowser(t, s.adminURL())
	texts := []string{injections[4], allInjections("%s")} // one of them has to stand at the beginning
	b.open("/signin?back=" + url.QueryEscape(allInjections("back")))
	b.harmless("the door")
	b.signIn(opsToken)
	fields := 0
	for _, path := range []string{"/live", "/deliveries?project=1001", "/p/1001/numbers", "/p/1001/hooks", "/p/1001/schemas", "/p/1001/incoming", "/p/1001/webhooks", "/projects"} {
		b.open(path)
		var filter []struct {
			Name string
			Text bool // it can hold any text
		}
		if err := json.Unmarshal([]byte(eval[string](b, `JSON.stringify(Array.from(document.querySelectorAll("main form[method=get] [name]")).filter((f) => f.type !== "hidden").map((f) => ({name: f.name, text: f.tagName === "INPUT"})))`)), &filter); err != nil {
			t.Fatal(err)
		}
		if len(filter) == 0 {
			t.Errorf("%s has no filter", path)
		}
		for _, text := range texts {
			at, query, _ := strings.Cut(path, "?")
			q, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range filter {
				q.Set(f.Name, strings.ReplaceAll(text, "%s", f.Name))
			}
			b.open(at + "?" + q.Encode())
			for _, f := range filter {
				if f.Text {
					fields++
					b.wantShown("the filter "+f.Name+" of "+path, strings.ReplaceAll(text, "%s", f.Name))
				}
			}
			b.harmless(path + " with " + text)
		}
	}
	if fields < 10 {
		t.Errorf("only %d fields of filters were tried", fields)
	}
	for _, text := range texts {
		for _, name := range []string{"callid", "project", "before", "page", "done", "source", "reason", "back", "webhook", "state", "event"} {
			for _, at := range []string{"/live", "/deliveries", "/audit", "/projects", "/tokens"} {
				if !full && (text == texts[0] || at != "/live" && at != "/deliveries") {
					continue
				}
				b.open(at + "?" + url.Values{name: {text}}.Encode())
				b.harmless(at + " with " + name)
			}
		}
		b.open("/try?" + url.Values{"strange": {text}, text: {"x"}, "caller": {text}, "callee": {"380442223344"}}.Encode())
		b.wantShown("the form of a call to try", text)
		b.harmless("the form of a call to try")
		for _, path := range []string{"/p/%s/hooks", "/p/%s/hooks/new", "/p/1001/%s", "/p/1001/hooks/%s", "/p/1001/numbers/%s", "/decisions/%s", "/deliveries/%s?project=1001", "/projects/%s", "/%s", "/static/%s"} {
			b.open(strings.Replace(path, "%s", url.PathEscape(text), 1))
			b.harmless(path)
		}
	}
}

// TestWhatADeliveryIsAnsweredIsShownAndDoesNothing: an event's values, and what a subscriber answers, in its
// body and in a header.
func TestWhatADeliveryIsAnsweredIsShownAndDoesNothing(t *testing.T) {
	s, c := startConsole(t)
	c.told.Store(http.StatusInternalServerError)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	for i, one := range injections {
		text := func(where string) string { return fmt.Sprintf(one, where) }
		c.say(text("answered"))
		before := c.heard.Load()
		s.post("/v1/events", text("header"), map[string]any{
			"event": "create", "callid": text("callid"), "caller": text("caller"), "callee": "380442223344", "project": "1001", "direction": "in",
			"custom": text("custom"), "caller_name": text("caller_name"), "payment": map[string]any{"list": []any{map[string]any{"name": text("nested")}}},
		})
		waitFor(t, 10*time.Second, "the webhook is told", func() bool { return c.heard.Load() > before })
		waitFor(t, 10*time.Second, "the delivery is given up", func() bool {
			b.open("/deliveries?state=failed&project=1001")
			return strings.Contains(b.text("tbody"), text("callid"))
		})
		if n := eval[int](b, `document.querySelectorAll("tbody tr").length`); n != i+1 {
			t.Fatalf("found %d deliveries; want %d", n, i+1)
		}
		b.harmless("the deliveries, of " + one)
		b.press("tbody tr:first-child th a")
		b.sees("main", "500")
		b.wantShown("a delivery's callid", text("callid"))
		for _, where := range []string{"answered", "caller", "custom", "caller_name", "nested"} {
			b.wantSaid("a delivery's "+where, text(where))
		}
		b.harmless("a delivery, of " + one)
	}
}

// TestTheCallCopiedAsCurlRunsInAShell: the command asks the same question, and whatever a caller has said in
// it, it is no more than one command.
func TestTheCallCopiedAsCurlRunsInAShell(t *testing.T) {
	s, c := startConsole(t)
	s.api("PUT", "/hooks/crm", opsToken, "1001", map[string]any{"url": c.URL + "/route", "on_failure": "1"})
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	inTab(b, func(ctx context.Context, tab *chromedp.Target) (cdp.Empty, error) {
		return chromedp.CallBrowser(ctx, cdpbrowser.SetPermission, cdpbrowser.SetPermissionParams{
			Permission: &cdpbrowser.PermissionDescriptor{Name: "clipboard-read"}, Setting: cdpbrowser.PermissionSettingGranted, Origin: b.home,
		})
	})
	trap := filepath.Join(t.TempDir(), "trap")
	for _, name := range []string{"Олена О'Ніл & Co", `'; touch ` + trap + `; '`, `$(touch ` + trap + `)`, "`touch " + trap + "`", `"; touch ` + trap + ` #`, "a\n touch " + trap + "\n", `\'; touch ` + trap + ` ;\'`} {
		b.open("/live")
		b.sees("[data-state]", "live")
		params := call("380442223344")
		params.Set("caller_name", name)
		params.Set(name, name)
		d, _ := s.route(params)
		b.open("/decisions/" + d.DecisionID)
		b.click("[data-copy='#curl']")
		var command string
		waitFor(t, 5*time.Second, "the command is in the clipboard", func() bool {
			command = eval[string](b, "navigator.clipboard.readText()")
			return strings.HasPrefix(command, "curl ")
		})
		listener := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(command) // as it is configured, or by default
		if strings.Count(command, "http:") != 1 || listener == "" {
			t.Fatalf("found %q; want a question to the listener", command)
		}
		before := c.asked.Load()
		out, err := exec.Command("bash", "-c", strings.Replace(command, listener, s.URL+"/", 1)).Output()
		var again decision
		if err != nil || json.Unmarshal(out, &again) != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		if again.Source != "hook" || again.DstPhone != d.DstPhone || again.Repeated || again.DecisionID == d.DecisionID || c.asked.Load() != before+1 {
			t.Errorf("%s: found %s; want the hook asked the same question again", command, out)
		}
		if _, err := os.Stat(trap); err == nil {
			t.Fatalf("%s: a caller's name ran in the shell", command)
		}
		eval[any](b, `navigator.clipboard.writeText("")`)
	}
}
