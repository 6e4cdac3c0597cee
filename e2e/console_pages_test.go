package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
)

// sights are what the pages of a furnished installation are about.
type sights struct {
	ok, failing     string // decisions, the second one with two attempts
	failed, waiting string // deliveries
	token           string // an API token's id
}

// furnish has the project's calls go as they go in a day: right, wrong in several ways, and told to others.
// Somebody has to watch the live list meanwhile, so that the stories of the calls are kept.
func furnish(t *testing.T, s *service, c *customer) sights {
	t.Helper()
	var v sights
	n := 0
	ring := func(callee string, more ...string) decision {
		params := call(callee)
		params.Set("caller", fmt.Sprintf("3805011122%02d", n))
		for i := 0; i+1 < len(more); i += 2 {
			params.Set(more[i], more[i+1])
		}
		n++
		d, _ := s.route(params)
		return d
	}
	crm := func(more map[string]any) {
		hook := map[string]any{"name": "Customer's CRM", "url": c.URL + "/after/60/200", "on_failure": "1", "request_timeout": "2s", "breaker": map[string]any{"state": "closed"}, "headers": map[string]string{"X-Api-Key": "the-secret-of-the-header"}}
		for key, value := range more {
			hook[key] = value
		}
		s.api("PUT", "/hooks/crm", opsToken, "1001", hook)
	}
	sources, reasons := map[string]bool{}, map[string]bool{}
	seen := func(d decision) decision {
		sources[d.Source], reasons[d.Reason] = true, true
		return d
	}

	crm(nil)
	for _, answer := range []string{`{"dst_phone":"380441111111,380441111112"}`, `{"dst_phone":"Error"}`, `{"schema":2}`, `not json`, `{"schema":77}`, `{"dst_phone":"15551234567"}`, `{}`} {
		c.say(answer)
		seen(ring("380442223344"))
	}
	c.say(`{"dst_phone":"380441111111"}`)
	crm(map[string]any{"last_good": "10m"})
	seen(ring("380442223344"))
	c.say(`{"dst_phone":`)
	seen(ring("380442223344"))
	c.say(`{"dst_phone":"380441111111"}`)
	crm(map[string]any{"url": "http://127.0.0.1:1/route"})
	seen(ring("380442223344"))
	crm(map[string]any{"url": c.URL + "/after/300/200", "request_timeout": "100ms"})
	seen(ring("380442223344"))
	for range 8 {
		seen(ring("380442223366")) // the shop's hook fails until its breaker opens
	}
	for range 3 {
		seen(ring("380442223355"))
	}
	crm(map[string]any{"fallback_url": c.URL + "/after/90/200"})
	v.ok = seen(ring("380442223344", "caller_name", "Олена Петренко", "lastpage", "https://shop.example/cart", "userip", "198.51.100.7")).DecisionID
	c.say(`{"dst_phone":"380441111111 380441111112"}`)
	crm(map[string]any{"url": c.URL + "/after/180/503", "fallback_url": c.URL + "/after/90/200", "request_timeout": "800ms"})
	d := seen(ring("380442223344", "caller_name", "Олена Петренко", "lastpage", "https://shop.example/cart", "userip", "198.51.100.7"))
	if v.failing = d.DecisionID; d.Source != "fallback" {
		t.Fatalf("found %s %s; want a fallback", d.Source, d.Reason)
	}
	if len(sources) < 4 || len(reasons) < 8 {
		t.Fatalf("the calls had the sources %v and the reasons %v; want more kinds to look at", sources, reasons)
	}

	told(t, s, c)
	s.event(t, "answer", "told-2")
	s.event(t, "destroy", "told-2")
	waitFor(t, 10*time.Second, "the subscription that is gone is disabled", func() bool {
		return strings.Contains(string(s.api("GET", "/webhooks/9", opsToken, "1001", nil)), `"disabled_for_failing":{`)
	})
	state := func(name, webhook string) (id string) {
		waitFor(t, 10*time.Second, "a delivery is "+name, func() bool {
			var found struct {
				Data []struct {
					ID       string `json:"id"`
					Attempts []any  `json:"attempts"`
				} `json:"data"`
			}
			if err := json.Unmarshal(s.api("GET", "/deliveries?state="+name+"&webhook="+webhook, opsToken, "1001", nil), &found); err != nil {
				t.Fatal(err)
			}
			if len(found.Data) > 0 && len(found.Data[0].Attempts) > 0 {
				id = found.Data[0].ID
			}
			return id != ""
		})
		return id
	}
	v.failed, v.waiting = state("failed", "7"), state("waiting", "8")
	v.token, _ = s.newToken(t, map[string]any{"name": "grafana", "scopes": []string{"read"}, "project": "1001"})
	return v
}

// newToken makes an API token and returns its id and the token itself.
func (s *service) newToken(t *testing.T, wanted map[string]any) (id, token string) {
	t.Helper()
	var made struct{ ID, Token string }
	if err := json.Unmarshal(s.api("POST", "/tokens", opsToken, "", wanted), &made); err != nil || made.Token == "" {
		t.Fatalf("make a token: %v", err)
	}
	return made.ID, made.Token
}

// event tells the service of a call's event.
func (s *service) event(t *testing.T, event, callid string) {
	t.Helper()
	resp, err := client.PostForm(s.URL+"/v1/events", url.Values{
		"event": {event}, "callid": {callid}, "caller": {"380501112233"}, "callee": {"380442223344"}, "project": {"1001"}, "direction": {"in"},
	})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("the event was answered with %d; want 202", resp.StatusCode)
	}
}

// told has one delivery done and one given up.
func told(t *testing.T, s *service, c *customer) {
	t.Helper()
	for i, status := range []int{http.StatusOK, http.StatusInternalServerError} {
		c.told.Store(int32(status))
		before := c.heard.Load()
		s.event(t, "create", fmt.Sprintf("told-%d", i))
		waitFor(t, 10*time.Second, "the webhook is told", func() bool { return c.heard.Load() > before })
	}
	waitFor(t, 10*time.Second, "the delivery is given up", func() bool {
		return strings.Contains(string(s.api("GET", "/deliveries?state=failed", opsToken, "1001", nil)), "told-1")
	})
}

// sight is a page, or what comes of a form in it.
type sight struct {
	name, path string
	wants      string           // stands in it
	then       func(b *browser) // what is done in it; nil for nothing
}

// pages is every page that there is to see for who may change things.
func pages(v sights) []sight {
	return []sight{
		{"overview", "/", "shop", nil}, {"overview-project", "/?project=1001", "shop", nil},
		{"live", "/live", "380442223366", nil}, {"live-filtered", "/live?reason=timeout&number=380442223344", "380442223344", nil},
		{"decision", "/decisions/" + v.failing, "Attempt 2", nil}, {"decision-ok", "/decisions/" + v.ok, "380441111111", nil},
		{"deliveries", "/deliveries?project=1001", "told-1", nil}, {"delivery", "/deliveries/" + v.failed + "?project=1001", "500", nil}, {"delivery-waiting", "/deliveries/" + v.waiting + "?project=1001", "503", nil},
		{"schemes", "/p/1001/schemas", "Ask the shop", nil}, {"scheme", "/p/1001/schemas/100", "mon-sun", nil}, {"scheme-new", "/p/1001/schemas/new", "", nil}, {"scheme-filed", "/p/filed/schemas/1", "hookswitch.yaml", nil},
		{"hooks", "/p/1001/hooks", "shop", nil}, {"hook", "/p/1001/hooks/crm", "", nil}, {"hook-in-trouble", "/p/1001/hooks/shop", "", nil}, {"hook-new", "/p/1001/hooks/new", "", nil}, {"hook-filed", "/p/filed/hooks/crm", "hookswitch.yaml", nil},
		{"hook-unfolded", "/p/1001/hooks/crm", "", (*browser).unfold},
		{"numbers", "/p/1001/numbers", "380442223366", nil}, {"number", "/p/1001/numbers/380442223344", "", nil}, {"number-new", "/p/1001/numbers/new", "", nil}, {"numbers-none", "/p/1001/numbers?q=999", "", nil},
		{"links", "/p/1001/incoming", "From the site", nil}, {"link", "/p/1001/incoming/crm", "", (*browser).unfold}, {"link-new", "/p/1001/incoming/new", "", nil},
		{"subscriptions", "/p/1001/webhooks", "/told", nil}, {"subscription", "/p/1001/webhooks/7", "", (*browser).unfold}, {"subscription-disabled", "/p/1001/webhooks/9", "410", nil}, {"subscription-new", "/p/1001/webhooks/new", "", nil},
		{"projects", "/projects", "filed", nil}, {"project", "/projects/1001", "", nil}, {"tokens", "/tokens", "grafana", nil}, {"audit", "/audit", "ops", nil}, {"missing", "/nothing", "", nil},
		{"try", "/try?callee=380442223344&project=1001", "", nil},
		{"tried", "/try?callee=380442223344&caller=380501112233&project=1001", "", func(b *browser) {
			b.press("main form[action='/try'] .primary")
			b.sees("#result", "Source")
		}},
		{"tried-pasted", "/try?callee=380442223344&caller=380501112233&project=1001", "", func(b *browser) {
			b.click("[name=answer][value=pasted]")
			b.fill("#body", `{"dst_phone":["380441111111","15551234567"]}`)
			b.press("main form[action='/try'] .primary")
			b.sees("#result", "Source")
		}},
		{"refused", "/p/1001/schemas/new", "", func(b *browser) {
			b.fill("[name='steps.0.kind']", "dial")
			b.press(".submit .primary")
			b.sees("#problems", "id")
		}},
		{"token-refused", "/tokens", "", func(b *browser) {
			b.press("form[action='/tokens'] .primary")
			b.sees("#problems", "name")
		}},
		{"secret", "/p/1001/incoming/new", "", func(b *browser) {
			b.fill("#f-id", fmt.Sprintf("link-%d", time.Now().UnixNano()))
			b.fill("#f-key", "phone")
			b.press(".submit .primary")
			b.sees("#secret", "/in/")
		}},
		{"secret-token", "/tokens", "", func(b *browser) {
			b.fill("#f-name", "monitoring")
			b.click("[name=scopes][value=read]")
			b.press("form[action='/tokens'] .primary")
			b.sees("#secret", "hsw_")
		}},
		{"menu", "/p/1001/hooks", "", func(b *browser) { eval[any](b, "document.querySelector('.menu').open = true; 0") }},
	}
}

// readersPages are what looks another way to who may only read.
func readersPages(v sights) []sight {
	return []sight{
		{"reader-overview", "/", "shop", nil}, {"reader-decision", "/decisions/" + v.failing, "Attempt 2", nil}, {"reader-try", "/try?callee=380442223344&project=1001", "", nil},
		{"reader-deliveries", "/deliveries?project=1001", "told-1", nil}, {"reader-delivery", "/deliveries/" + v.failed + "?project=1001", "500", nil},
		{"reader-schemes", "/p/1001/schemas", "Ask the shop", nil}, {"reader-scheme", "/p/1001/schemas/100", "mon-sun", nil}, {"reader-hooks", "/p/1001/hooks", "shop", nil}, {"reader-hook", "/p/1001/hooks/shop", "", nil},
		{"reader-number", "/p/1001/numbers/380442223344", "", nil}, {"reader-link", "/p/1001/incoming/crm", "", nil}, {"reader-subscription", "/p/1001/webhooks/7", "", nil},
		{"reader-projects", "/projects", "filed", nil}, {"reader-project", "/projects/1001", "", nil}, {"reader-audit", "/audit", "", nil}, {"reader-tokens", "/tokens", "", nil},
	}
}

func TestEveryPageIsAccessibleAndLooksAsItShould(t *testing.T) {
	s, c := startConsole(t)
	b := openBrowser(t, s.adminURL())
	i := &inspector{browser: b}
	command(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: axeScript(t)})
	b.open("/signin")
	i.inspect("signin")
	b.fill("#token", "no-such-token")
	b.press("form.card button")
	b.sees("#wrong", "token")
	i.inspect("signin-refused")
	b.open("/nothing")
	i.inspect("missing-signed-out")

	b.signIn(opsToken)
	i.inspect("overview-new")
	b.open("/live")
	b.sees("[data-state]", "live")
	i.inspect("live-new")
	v := furnish(t, s, c)
	b.sees("tbody", "380442223366")
	for _, p := range pages(v) {
		i.visit(p)
	}
	i.again = true
	for _, lang := range []string{"ru", "uk"} {
		b.open("/")
		b.press(".side [name=lang][value=" + lang + "]")
		for _, p := range []sight{{"overview-" + lang, "/", "shop", nil}, {"decision-" + lang, "/decisions/" + v.failing, "", nil}, {"hook-" + lang, "/p/1001/hooks/shop", "", nil}, {"try-" + lang, "/try?callee=380442223344&project=1001", "", nil}} {
			i.visit(p)
		}
	}
	b.open("/")
	b.press(".side [name=lang][value=en]")
	b.press(".side form[action='/signout'] button")
	b.signIn(eyeToken)
	for _, p := range readersPages(v) {
		i.visit(p)
		if n := eval[int](b, "document.querySelectorAll('main form[method=post] button').length"); n != 0 {
			t.Errorf("%s: a reader sees %d buttons that write", p.name, n)
		}
	}
	if !t.Failed() {
		t.Logf("axe-core looked at %d pages %d times and found nothing serious or critical", i.pages, i.runs)
	}
}

// inspector looks at pages: with axe-core, and for who wants to see them, with a camera.
type inspector struct {
	*browser
	again       bool // the pages have been looked at, and are looked at once more as others see them
	pages, runs int
}

func (i *inspector) visit(p sight) {
	i.t.Helper()
	i.open(p.path)
	i.sees("main", p.wants)
	if p.then != nil {
		p.then(i.browser)
	}
	i.inspect(p.name)
	i.quiet(p.name)
}

// inspect looks at the page in every look. The dark one has the elements of the light one, so that in the
// short form only its colours are checked anew, once, and of a phone's only that all of it fits.
func (i *inspector) inspect(name string) {
	i.t.Helper()
	i.pages++
	for n, l := range looks {
		i.wear(l)
		switch {
		case n == 0 || full:
			i.accessible(name+" "+l.name, "")
		case l.dark && !i.again:
			i.accessible(name+" "+l.name, "color-contrast")
		}
		if wide := eval[int](i.browser, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
			i.t.Errorf("%s %s is %d pixels wider than its window", name, l.name, wide)
		}
		i.picture(name + "-" + l.name)
	}
	i.wear(looks[0])
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

// accessible fails the test for each serious or critical fault that axe-core finds in the page, by all of
// its rules or by one alone.
func (i *inspector) accessible(where, rule string) {
	i.t.Helper()
	i.runs++
	only := ""
	if rule != "" {
		only = "runOnly: [" + inScript(rule) + "], "
	}
	result := eval[string](i.browser, `axe.run(document, {`+only+`preload: false, resultTypes: ["violations"]}).then(r => JSON.stringify({passes: r.passes.length, violations: r.violations.map(v => ({id: v.id, impact: v.impact, nodes: v.nodes.map(n => n.html + " " + n.failureSummary)}))}))`)
	var found struct {
		Passes     int
		Violations []struct {
			ID, Impact string
			Nodes      []string
		}
	}
	if err := json.Unmarshal([]byte(result), &found); err != nil {
		i.t.Fatal(err)
	}
	if found.Passes == 0 {
		i.t.Errorf("%s: axe-core has passed nothing, so that it has not looked", where)
	}
	for _, f := range found.Violations {
		if f.Impact == "serious" || f.Impact == "critical" {
			i.t.Errorf("%s: %s (%s): %.400s", where, f.ID, f.Impact, strings.Join(f.Nodes[:min(3, len(f.Nodes))], "\n   "))
		}
	}
}

// firstVisits are the pages that somebody begins with.
var firstVisits = []string{"/signin", "/", "/live", "/try?project=1001", "/projects", "/p/1001/schemas/100", "/p/1001/numbers", "/p/1001/hooks", "/p/1001/hooks/crm"}

func TestTheFirstPageIsSmallAndAsksNobodyElse(t *testing.T) {
	s, _ := startConsole(t)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	for _, path := range firstVisits {
		b.firstVisit(path)
	}
}

// TestTheFirstPageIsSmallWithTenThousandNumbers: pages do not grow with what is in a project.
func TestTheFirstPageIsSmallWithTenThousandNumbers(t *testing.T) {
	s, _ := startConsole(t)
	var numbers, hooks []any
	for n := range 10_000 {
		numbers = append(numbers, map[string]any{"number": fmt.Sprintf("38045%07d", n), "schema": "1"})
	}
	for n := range 1_000 {
		hooks = append(hooks, map[string]any{"id": fmt.Sprintf("hook-%d", n), "url": fmt.Sprintf("https://customer-%d.example/route", n)})
	}
	s.api("POST", "/projects", opsToken, "", map[string]any{
		"id": "large", "name": "Large", "default_schema": "1", "numbers": numbers, "hooks": hooks,
		"schemas": []any{map[string]any{"id": "1", "name": "Operators", "steps": []any{map[string]any{"hook": "hook-7"}, map[string]any{"dial": []string{"380440000001"}}}}},
	})
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	b.open("/p/large/numbers")
	b.wantShown("the list of numbers", "of 10000")
	visits := []string{"/signin", "/", "/live", "/projects"}
	if full {
		visits = firstVisits
	}
	for _, path := range slices.Concat(visits, []string{"/?project=large", "/live?project=large", "/try?project=large", "/deliveries?project=large", "/projects/large",
		"/p/large/numbers", "/p/large/numbers?page=200", "/p/large/numbers/380450007777", "/p/large/hooks", "/p/large/hooks/hook-77", "/p/large/schemas", "/p/large/schemas/1", "/p/large/schemas/new"}) {
		b.firstVisit(path)
	}
}

// firstVisit opens a page as one who was never there, and holds what it took against the budget.
func (b *browser) firstVisit(path string) {
	b.t.Helper()
	if path == "/signin" {
		defer b.become(b.cookie())
		b.become("")
	}
	b.open("/static/none") // so that the next page begins with nothing
	command(b, network.ClearBrowserCache, cdp.Empty{})
	b.mu.Lock()
	b.bytes, b.requests = 0, nil
	b.mu.Unlock()
	began := time.Now()
	b.open(path)
	took := time.Since(began)
	time.Sleep(300 * time.Millisecond) // what a script asks for at once
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.Logf("%-36s %6.0f bytes in %d requests, %s", path, b.bytes, len(b.requests), took.Round(time.Millisecond))
	if b.bytes > 100_000 {
		b.t.Errorf("%s took %.0f bytes; want at most 100,000", path, b.bytes)
	}
	if b.bytes < 2_000 {
		b.t.Errorf("%s took %.0f bytes: they were not counted", path, b.bytes)
	}
	if full && took > time.Second {
		b.t.Errorf("%s took %s; want at most a second", path, took)
	}
	for _, u := range b.requests {
		if !strings.HasPrefix(u, b.home+"/") && !strings.HasPrefix(u, "data:") { // Chromium's own icons are such
			b.t.Errorf("%s asked for %s, which is elsewhere", path, u)
		}
	}
}
