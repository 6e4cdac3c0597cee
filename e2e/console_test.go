package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
)

const (
	opsToken = "ops-token-of-the-console-tests"
	eyeToken = "eye-token-of-the-console-tests"
)

// consoleConfig has who may come in, and a project that only the file can change.
const consoleConfig = `
log: {level: debug}
admin:
  listen: 127.0.0.1:0
  tokens:
    - {name: ops, token: ` + opsToken + `, scopes: [read, write]}
    - {name: eye, token: ` + eyeToken + `, scopes: [read]}
projects:
  - id: filed
    name: Declared in the file
    default_schema: "1"
    numbers: [{number: "380440000009", schema: "1"}]
    schemas: [{id: "1", name: Operators, steps: [{dial: ["380440000001"]}]}]
    hooks: [{id: crm, url: "https://crm.example/route"}]
`

// customer is the webhooks of a customer: one that routes calls, and one that is told of them. Each
// answers as it is set to.
type customer struct {
	*httptest.Server
	answer atomic.Pointer[string] // of /route
	told   atomic.Int32           // the status that /told answers with
	heard  atomic.Int32           // requests at /told
}

func newCustomer(t *testing.T) *customer {
	t.Helper()
	c := &customer{}
	c.say(`{"dst_phone":"380441111111"}`)
	c.told.Store(http.StatusOK)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/told" {
			c.heard.Add(1)
			w.WriteHeader(int(c.told.Load()))
			io.WriteString(w, *c.answer.Load())
			return
		}
		w.Header().Set("X-Said", *c.answer.Load())
		io.WriteString(w, *c.answer.Load())
	}))
	t.Cleanup(c.Close)
	return c
}

// say sets the answer of the webhooks.
func (c *customer) say(answer string) { c.answer.Store(&answer) }

// startConsole starts the service with a furnished project, "1001".
func startConsole(t *testing.T) (*service, *customer) {
	t.Helper()
	c := newCustomer(t)
	s := start(t, "store: bolt:"+t.TempDir()+"/hookswitch.db\n"+consoleConfig)
	s.api("POST", "/projects", opsToken, "", map[string]any{
		"id": "1001", "name": "Customer", "default_schema": "1", "allow_private_hooks": true,
		"destinations": map[string]any{"allow": []string{"380", "7"}},
		"numbers":      []any{map[string]any{"number": "380442223344", "schema": "100", "pool": "site", "replacement": "dynamic"}, map[string]any{"number": "380442223355", "schema": "1"}},
		"schemas": []any{
			map[string]any{"id": "1", "name": "Operators", "steps": []any{map[string]any{"dial": []string{"380440000001", "380440000002"}, "timeout": "30s"}}},
			map[string]any{"id": "2", "name": "Night", "steps": []any{map[string]any{"playback": "closed"}, map[string]any{"voicemail": "100"}}},
			map[string]any{
				"id": "100", "name": "Ask the CRM", "hours": map[string]any{"tz": "Europe/Kyiv", "open": []string{"mon-sun 00:00-24:00"}, "holidays": []string{"01-01"}, "closed_schema": "2"},
				"steps": []any{map[string]any{"hook": "crm"}, map[string]any{"dial": []string{"380440000003"}, "timeout": "20s"}, map[string]any{"hangup": "busy"}},
			},
		},
		"hooks": []any{map[string]any{
			"id": "crm", "name": "Customer's CRM", "url": "http://127.0.0.1:1/route", "on_failure": "1", "request_timeout": "2s",
			"headers": map[string]string{"X-Api-Key": "the-secret-of-the-header"}, "breaker": map[string]any{"state": "closed"},
		}},
		"webhooks": []any{map[string]any{"id": 7, "name": "Calls to the CRM", "url": c.URL + "/told", "event": "create", "retry": "none"}},
		"incoming": []any{map[string]any{"id": "crm", "name": "From the CRM", "token": "a-token-of-the-customers-link", "fields": []string{"phone", "debt"}, "key": "phone"}},
	})
	waitFor(t, 5*time.Second, "the new project decides calls", func() bool {
		d, status := s.route(call("380442223355"))
		return status == http.StatusOK && d.Project == "1001"
	})
	return s, c
}

func TestAnOperatorWatchesACallAndMendsItsHook(t *testing.T) {
	s, c := startConsole(t)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)

	b.open("/live")
	b.sees("[data-state]", "live")
	params := call("380442223344")
	params.Set("callid", "watched-call")
	if d, _ := s.route(params); d.Reason != "connect_error" || d.Source != "fallback" {
		t.Fatalf("found %s %s; want the fallback of a hook that cannot be reached", d.Source, d.Reason)
	}
	b.sees("tbody tr", "no connection")
	b.press("tbody tr a")
	b.sees("main", "Attempt 1")
	b.sees(".attempt[open] .error", "refused")
	b.sees(".trail", "attempt 1")
	if found := b.text("body"); strings.Contains(found, "the-secret-of-the-header") {
		t.Error("the page of a decision shows a header's secret")
	}

	b.open("/p/1001/hooks/crm")
	b.fill("#f-url", c.URL+"/route")
	b.press(".submit .primary")
	b.sees(".note.good", "Saved")
	b.open("/try?callee=380442223344&caller=380501112233")
	b.press(".submit .primary")
	b.sees("#result", "webhook")
	b.sees("main .flow", "380441111111")
	if d, _ := s.route(call("380442223344")); d.Source != "hook" || d.DstPhone != "380441111111" {
		t.Errorf("found %s to %q; want the mended hook's destination", d.Source, d.DstPhone)
	}
	b.quiet("mending a hook")
}

func TestASchemeIsMadeByFormAndItsFaultShownAtTheField(t *testing.T) {
	s, _ := startConsole(t)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)

	b.open("/p/1001/schemas/new")
	b.fill("#f-id", "300")
	b.fill("#f-name", "Made by form")
	b.fill("[name='steps.0.kind']", "dial")
	b.fill("[name='steps.0.dial']", "not a number; at all")
	b.press(".submit .primary")
	b.sees("#f-steps-0 .error", "found")
	if eval[string](b, "document.activeElement.id") != "problems" {
		t.Error("the list of problems has no focus")
	}
	if found := b.location(); found != "/p/1001/schemas/new" {
		t.Errorf("found %s; want the form again", found)
	}
	b.fill("[name='steps.0.dial']", "380440000077")
	b.click("[data-add-step]")
	b.press(".submit .primary")
	b.sees(".note.good", "Created")
	b.sees(".flow", "380440000077")

	b.open("/p/1001/numbers/new")
	b.fill("#f-number", "380449999999")
	b.fill("#f-schema", "300")
	b.press(".submit .primary")
	waitFor(t, 5*time.Second, "the new number is routed by the new scheme", func() bool {
		d, _ := s.route(call("380449999999"))
		return d.DstPhone == "380440000077"
	})
	b.quiet("making a scheme")
}

func TestAFailedDeliveryIsFoundAndSentAgain(t *testing.T) {
	s, c := startConsole(t)
	c.told.Store(http.StatusInternalServerError)
	resp, err := client.PostForm(s.URL+"/v1/events", url.Values{
		"event": {"create"}, "callid": {"told-call"}, "direction": {"in"}, "caller": {"380501112233"}, "callee": {"380442223344"}, "project": {"1001"},
	})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("the event was answered with %d; want 202", resp.StatusCode)
	}
	waitFor(t, 10*time.Second, "the delivery is given up", func() bool {
		return strings.Contains(string(s.api("GET", "/deliveries?state=failed", opsToken, "1001", nil)), "told-call")
	})
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	b.open("/deliveries?state=failed&project=1001")
	b.sees("tbody", "told-call")
	b.press("tbody th a")
	b.sees("main", "500")
	c.told.Store(http.StatusOK)
	before := c.heard.Load()
	b.press(".head .primary")
	b.sees(".note.good", "on its way")
	waitFor(t, 10*time.Second, "the delivery is sent again", func() bool { return c.heard.Load() > before })
	waitFor(t, 10*time.Second, "the delivery is delivered", func() bool {
		return strings.Contains(string(s.api("GET", "/deliveries?state=delivered", opsToken, "1001", nil)), "told-call")
	})
	b.quiet("sending again")
}

func TestAReadersSessionSeesNoControlsAndIsRefusedEachWrite(t *testing.T) {
	s, _ := startConsole(t)
	b := openBrowser(t, s.adminURL())
	b.signIn(eyeToken)
	for _, path := range []string{"/p/1001/schemas/1", "/p/1001/hooks", "/p/1001/hooks/crm", "/p/1001/numbers", "/try", "/projects", "/deliveries"} {
		b.open(path)
		if n := eval[int](b, "document.querySelectorAll('main form[method=post] button').length"); n != 0 {
			t.Errorf("%s: a reader sees %d buttons that write", path, n)
		}
	}
	form := eval[string](b, "document.querySelector('[name=form]').value")
	for _, path := range []string{"/p/1001/schemas/new", "/p/1001/schemas/1", "/p/1001/schemas/1/delete", "/p/1001/hooks/crm", "/try", "/projects", "/tokens", "/deliveries/replay", "/p/1001/incoming/crm/rotate"} {
		status := eval[int](b, fmt.Sprintf("fetch(%s, {method: 'POST', headers: {'Content-Type': 'application/x-www-form-urlencoded'}, body: 'id=x&name=x&form=' + encodeURIComponent(%s)}).then(r => r.status)", inScript(path), inScript(form)))
		if status != http.StatusForbidden {
			t.Errorf("POST %s by a reader: found %d; want 403", path, status)
		}
	}
	if d, _ := s.route(call("380442223355")); d.DstPhone == "" {
		t.Error("a reader has changed something")
	}
}

// pages is every page that there is to see.
func pages(decision string) map[string]string {
	return map[string]string{
		"overview": "/", "live": "/live", "decision": "/decisions/" + decision, "try": "/try?callee=380442223344", "deliveries": "/deliveries?project=1001",
		"schemes": "/p/1001/schemas", "scheme": "/p/1001/schemas/100", "scheme-new": "/p/1001/schemas/new", "scheme-filed": "/p/filed/schemas/1",
		"hooks": "/p/1001/hooks", "hook": "/p/1001/hooks/crm", "numbers": "/p/1001/numbers", "number": "/p/1001/numbers/380442223344",
		"incoming": "/p/1001/incoming", "link": "/p/1001/incoming/crm", "subscriptions": "/p/1001/webhooks", "subscription": "/p/1001/webhooks/7",
		"projects": "/projects", "project": "/projects/1001", "tokens": "/tokens", "audit": "/audit", "missing": "/nothing",
	}
}

func TestEveryPageIsAccessibleAndLooksAsItShould(t *testing.T) {
	axe := axeScript(t)
	s, c := startConsole(t)
	b := openBrowser(t, s.adminURL())
	for _, l := range looks {
		b.wear(l)
		b.open("/signin")
		b.accessible("signin "+l.name, axe)
		b.picture("signin-" + l.name)
	}
	b.signIn(opsToken)
	b.open("/live")
	b.sees("[data-state]", "live")
	s.api("PUT", "/hooks/crm", opsToken, "1001", map[string]any{"url": c.URL + "/route", "on_failure": "1"})
	for _, answer := range []string{`{"dst_phone":"380441111111,380441111112"}`, `{"dst_phone":"Error"}`, `{"schema":2}`, `not json`} {
		c.say(answer)
		s.route(call("380442223344"))
	}
	s.api("PUT", "/hooks/crm", opsToken, "1001", map[string]any{"url": "http://127.0.0.1:1/route", "fallback_url": c.URL + "/route", "on_failure": "1"})
	failing, _ := s.route(call("380442223344"))
	told(t, s, c)
	s.api("POST", "/tokens", opsToken, "", map[string]any{"name": "grafana", "scopes": []string{"read"}, "project": "1001"})
	for name, path := range pages(failing.DecisionID) {
		for _, l := range looks {
			b.wear(l)
			b.open(path)
			b.accessible(name+" "+l.name, axe)
			b.picture(name + "-" + l.name)
			if wide := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
				t.Errorf("%s %s is %d pixels wider than its window", name, l.name, wide)
			}
		}
		b.quiet(name)
	}
	for _, l := range looks {
		b.wear(l)
		b.open("/try?callee=380442223344&caller=380501112233")
		b.press(".submit .primary")
		b.accessible("tried "+l.name, axe)
		b.picture("tried-" + l.name)
		b.open("/p/1001/schemas/new")
		b.fill("[name='steps.0.kind']", "dial")
		b.press(".submit .primary")
		b.accessible("refused "+l.name, axe)
		b.picture("refused-" + l.name)
	}
	b.wear(looks[0])
	for _, lang := range []string{"ru", "uk"} {
		b.open("/")
		b.press(".side [name=lang][value=" + lang + "]")
		b.accessible("overview "+lang, axe)
		b.picture("overview-" + lang)
	}
}

// told has one delivery done and one given up.
func told(t *testing.T, s *service, c *customer) {
	t.Helper()
	for i, status := range []int{http.StatusOK, http.StatusInternalServerError} {
		c.told.Store(int32(status))
		before := c.heard.Load()
		resp, err := client.PostForm(s.URL+"/v1/events", url.Values{
			"event": {"create"}, "callid": {fmt.Sprintf("told-%d", i)}, "caller": {"380501112233"}, "callee": {"380442223344"}, "project": {"1001"}, "direction": {"in"},
		})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		waitFor(t, 10*time.Second, "the webhook is told", func() bool { return c.heard.Load() > before })
	}
	waitFor(t, 10*time.Second, "the delivery is given up", func() bool {
		return strings.Contains(string(s.api("GET", "/deliveries?state=failed", opsToken, "1001", nil)), "told-1")
	})
}

// axeScript returns axe-core, which scripts/axe gets from npm.
func axeScript(t *testing.T) string {
	t.Helper()
	path, err := exec.Command("../scripts/axe").Output()
	if err != nil {
		t.Fatalf("scripts/axe: %v", err)
	}
	script, err := os.ReadFile(strings.TrimSpace(string(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

// accessible fails the test for each serious or critical fault that axe-core finds in the page.
func (b *browser) accessible(where, axe string) {
	b.t.Helper()
	eval[any](b, axe+"; 0")
	result := eval[string](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, impact: v.impact, nodes: v.nodes.map(n => n.html + " " + n.failureSummary)}))))`)
	var faults []struct {
		ID, Impact string
		Nodes      []string
	}
	if err := json.Unmarshal([]byte(result), &faults); err != nil {
		b.t.Fatal(err)
	}
	for _, f := range faults {
		if f.Impact == "serious" || f.Impact == "critical" {
			b.t.Errorf("%s: %s (%s): %.400s", where, f.ID, f.Impact, strings.Join(f.Nodes[:min(3, len(f.Nodes))], "\n   "))
		}
	}
}

func TestTheFirstPageIsSmallAndAsksNobodyElse(t *testing.T) {
	s, _ := startConsole(t)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	for path := range map[string]bool{"/signin": true, "/": true, "/live": true, "/p/1001/schemas/100": true, "/try": true} {
		b.open("/static/none") // so that the next page begins with nothing
		command(b, network.ClearBrowserCache, cdp.Empty{})
		b.mu.Lock()
		b.bytes, b.requests = 0, nil
		b.mu.Unlock()
		b.open(path)
		time.Sleep(300 * time.Millisecond) // what a script asks for at once
		b.mu.Lock()
		if b.bytes > 100_000 {
			t.Errorf("%s took %.0f bytes; want at most 100,000", path, b.bytes)
		}
		if b.bytes < 2_000 {
			t.Errorf("%s took %.0f bytes: they were not counted", path, b.bytes)
		}
		for _, u := range b.requests {
			if !strings.HasPrefix(u, b.home) {
				t.Errorf("%s asked for %s, which is elsewhere", path, u)
			}
		}
		b.mu.Unlock()
	}
}
