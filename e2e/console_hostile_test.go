package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// injections are texts that would run, were they not shown as texts. Each sets window.injected or opens
// a dialog, and leaves an element that is none of ours.
var injections = []string{
	`<script>window.injected=1;alert("script")</script>`,
	`"><img class=injected src=x onerror=alert('img')>`,
	`'><svg class=injected onload=alert('svg')>`,
	`</textarea></pre></title><b class=injected>`,
	`javascript:alert('href')`,
	`{{printf "%s" .Form}}`,
}

// harmless fails the test where one of the injections has done something in the page.
func (b *browser) harmless(where string) {
	b.t.Helper()
	if eval[bool](b, "window.injected !== undefined") {
		b.t.Errorf("%s: a script ran", where)
	}
	if n := eval[int](b, "document.querySelectorAll('.injected, [onerror], [onload], [href^=\"javascript\"]').length"); n != 0 {
		b.t.Errorf("%s: %d elements were injected", where, n)
	}
	b.quiet(where) // what only the Content-Security-Policy stopped is a fault too
}

func TestWhatACallerAWebhookOrALinkSaysIsShownAndDoesNothing(t *testing.T) {
	s, c := startConsole(t)
	s.api("PUT", "/hooks/crm", opsToken, "1001", map[string]any{
		"url": c.URL + "/route", "on_failure": "1", "breaker": map[string]any{"state": "closed"}, "headers": map[string]string{"X-Debt": "{{debt}}"},
	})
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	for _, text := range injections {
		c.say(text)
		said, err := client.PostForm(s.URL+"/in/a-token-of-the-customers-link", url.Values{"phone": {"380501112233"}, "debt": {text}})
		if err != nil {
			t.Fatal(err)
		}
		said.Body.Close()
		b.open("/live")
		b.sees("[data-state]", "live")
		params := call("380442223344")
		params.Set("caller_name", text)
		params.Set("custom", text)
		params.Set("useragent", text)
		params.Set(text, text)
		d, _ := s.route(params)
		b.sees("tbody tr", "380442223344")
		b.harmless("the live list, of " + text)
		strange := url.Values{"callee": {"380442223344"}, "caller": {text}, "callid": {text}}
		s.route(strange)
		b.sees("tbody", text[:6])
		b.harmless("the live list with a strange caller, of " + text)

		b.press("tbody tr:last-child a") // any call: the list's links work
		b.open("/decisions/" + d.DecisionID)
		b.sees("main", "Attempt 1")
		if !strings.Contains(b.text("main"), "caller_name") {
			t.Error("the page of a decision does not show the parameter that is tried")
		}
		b.harmless("a decision, of " + text)
		b.press(".head .primary")
		b.harmless("trying it again, of " + text)
		b.press(".submit .primary")
		b.sees("#result", "Source")
		b.harmless("what came of trying it again, of " + text)
		for _, path := range []string{
			"/", "/live", "/p/1001/hooks/crm", "/p/1001/numbers?q=" + url.QueryEscape(text), "/live?number=" + url.QueryEscape(text),
			"/live?reason=" + url.QueryEscape(text), "/deliveries?callid=" + url.QueryEscape(text), "/try?" + url.Values{text: {text}, "caller": {text}}.Encode(),
			"/p/" + url.PathEscape(text) + "/hooks", "/p/1001/hooks/" + url.PathEscape(text), "/signin?back=" + url.QueryEscape(text),
		} {
			b.open(path)
			b.harmless(path)
		}
	}
}

func TestWhatADeliveryIsAnsweredIsShownAndDoesNothing(t *testing.T) {
	s, c := startConsole(t)
	c.told.Store(http.StatusInternalServerError)
	b := openBrowser(t, s.adminURL())
	b.signIn(opsToken)
	for _, text := range injections {
		c.say(text)
		before := c.heard.Load()
		resp, err := client.PostForm(s.URL+"/v1/events", url.Values{
			"event": {"create"}, "callid": {text}, "caller": {text}, "callee": {"380442223344"}, "project": {"1001"}, "direction": {"in"}, "custom": {text},
		})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		waitFor(t, 10*time.Second, "the webhook is told", func() bool { return c.heard.Load() > before })
		waitFor(t, 10*time.Second, "the delivery is given up", func() bool {
			b.open("/deliveries?state=failed&project=1001")
			return strings.Contains(b.text("tbody"), text)
		})
		b.harmless("the deliveries, of " + text)
		b.press("tbody tr:first-child th a")
		b.sees("main", "500")
		b.harmless("a delivery, of " + text)
	}
}
