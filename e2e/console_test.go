package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	opsToken = "ops-token-of-the-console-tests"
	eyeToken = "eye-token-of-the-console-tests"
)

// consoleConfig has who may come in, and a project that only the file can change. Its scheme is that of the
// projects that have none, such as those made by form.
const consoleConfig = `
log: {level: debug}
default_schema: filed/1
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

// customer is the webhooks of a customer: /route routes calls, /after/MS/STATUS does so late and with that
// status, and /told is told of them. Each answers as it is set to.
type customer struct {
	*httptest.Server
	answer atomic.Pointer[string] // of all of them
	told   atomic.Int32           // the status that /told answers with
	asked  atomic.Int32           // requests at the others
	heard  atomic.Int32           // requests at /told
}

func newCustomer(t *testing.T) *customer {
	t.Helper()
	c := &customer{}
	c.say(`{"dst_phone":"380441111111"}`)
	c.told.Store(http.StatusOK)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Said", *c.answer.Load())
		if r.URL.Path == "/told" {
			c.heard.Add(1)
			w.WriteHeader(int(c.told.Load()))
			io.WriteString(w, *c.answer.Load())
			return
		}
		c.asked.Add(1)
		var late, status int
		if n, _ := fmt.Sscanf(r.URL.Path, "/after/%d/%d", &late, &status); n == 2 {
			time.Sleep(time.Duration(late) * time.Millisecond)
			w.WriteHeader(status)
		}
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
		"numbers": []any{
			map[string]any{"number": "380442223344", "schema": "100", "pool": "site", "replacement": "dynamic"}, map[string]any{"number": "380442223355", "schema": "1"},
			map[string]any{"number": "380442223366", "schema": "200", "pool": "ads"}, map[string]any{"number": "380442223377", "schema": "1"},
		},
		"schemas": []any{
			map[string]any{"id": "1", "name": "Operators", "steps": []any{map[string]any{"dial": []string{"380440000001", "380440000002"}, "timeout": "30s"}}},
			map[string]any{"id": "2", "name": "Night", "steps": []any{map[string]any{"playback": "closed"}, map[string]any{"voicemail": "100"}}},
			map[string]any{
				"id": "100", "name": "Ask the CRM", "hours": map[string]any{"tz": "Europe/Kyiv", "open": []string{"mon-sun 00:00-24:00"}, "holidays": []string{"01-01"}, "closed_schema": "2"},
				"steps": []any{map[string]any{"hook": "crm"}, map[string]any{"dial": []string{"380440000003"}, "timeout": "20s"}, map[string]any{"hangup": "busy"}},
			},
			map[string]any{"id": "200", "name": "Ask the shop", "steps": []any{map[string]any{"hook": "shop"}, map[string]any{"schema": "1"}}},
			map[string]any{"id": "3", "name": "Weekend", "steps": []any{map[string]any{"voicemail": "101"}}},
		},
		"hooks": []any{
			map[string]any{
				"id": "crm", "name": "Customer's CRM", "url": "http://127.0.0.1:1/route", "on_failure": "1", "request_timeout": "2s",
				"headers": map[string]string{"X-Api-Key": "the-secret-of-the-header"}, "breaker": map[string]any{"state": "closed"},
			},
			map[string]any{"id": "shop", "name": "The shop's orders", "url": c.URL + "/after/10/503", "request_timeout": "2s"},
			map[string]any{"id": "old-crm", "name": "The CRM before", "url": "https://old-crm.example/route"},
		},
		"webhooks": []any{
			map[string]any{"id": 7, "name": "Calls to the CRM", "url": c.URL + "/told", "event": "create", "retry": "none"},
			map[string]any{"id": 8, "name": "Answered calls to the chat", "url": c.URL + "/after/5/503", "event": "answer", "retry": "30m x 48"},
			map[string]any{"id": 9, "name": "Ended calls to the old chat", "url": c.URL + "/after/5/410", "event": "destroy"},
		},
		"incoming": []any{
			map[string]any{"id": "crm", "name": "From the CRM", "token": "a-token-of-the-customers-link", "fields": []string{"phone", "debt"}, "key": "phone"},
			map[string]any{"id": "site", "name": "From the site's form", "token": "a-token-of-the-sites-form", "fields": []string{"phone"}, "key": "phone"},
		},
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
	b.sees("#f-headers-error", "the secret itself") // which goes nowhere else unasked
	b.unfold()
	b.fill("#f-headers", "X-Api-Key: the-secret-of-the-header")
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
