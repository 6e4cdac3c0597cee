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
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/tidwall/gjson"
)

// webhookTaker is a customer's server: it keeps what it is sent, and answers each path as it is told.
type webhookTaker struct {
	*httptest.Server
	mu     sync.Mutex // guards what follows
	got    []taken
	answer map[string]int // statuses by path; 200 otherwise
}

type taken struct {
	path   string
	status int // that it was answered
	header http.Header
	body   string
}

func startTaker(t *testing.T) *webhookTaker {
	c := &webhookTaker{answer: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		status := c.answer[r.URL.Path]
		if status == 0 {
			status = http.StatusOK
		}
		c.got = append(c.got, taken{r.URL.Path, status, r.Header.Clone(), string(body)})
		w.WriteHeader(status)
		fmt.Fprint(w, `{"result":{"CALL_ID":"card-1"}}`)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *webhookTaker) on(path string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer[path] = status
}

// accepted are the requests to a path, "" for all, that were answered 200.
func (c *webhookTaker) accepted(path string) (list []taken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.got {
		if r.status == http.StatusOK && (path == "" || r.path == path) {
			list = append(list, r)
		}
	}
	return list
}

func (c *webhookTaker) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// deliveryConfig is a service with one project, whose webhooks are given as YAML.
func deliveryConfig(t *testing.T, webhooks string) string {
	return fmt.Sprintf(`
store: bolt:%s
admin: {listen: 127.0.0.1:0, tokens: [{name: ops, token: %s, scopes: [read, write]}]}
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    schemas: [{id: "1", steps: [{dial: ["380440000001"]}]}]
    webhooks:
%s`, filepath.Join(t.TempDir(), "hookswitch.db"), controlToken, webhooks)
}

// eventOfKind is an event of a call.
func eventOfKind(kind, call string) url.Values {
	v := created(call)
	v.Set("event", kind)
	return v
}

func (s *service) mustPost(params url.Values) {
	s.t.Helper()
	if status, body := s.postEvent(params); status != http.StatusAccepted {
		s.t.Fatalf("event %s of %s: got %d: %s", params.Get("event"), params.Get("callid"), status, body)
	}
}

// deliveries lists the project's deliveries in a state.
func (s *service) deliveries(state string) []gjson.Result {
	s.t.Helper()
	a := ask("GET", s.adminURL()+"/api/v1/deliveries?per_page=100&project=1001&state="+state, nil)
	if !a.ok() {
		s.t.Fatalf("list: got %s", a)
	}
	return gjson.Get(a.body, "data").Array()
}

// A day without the CRM: what was given up is sent again when it is back, one by hand and then the rest.
func TestWhatWasGivenUpIsReplayed(t *testing.T) {
	c := startTaker(t)
	c.on("/a", http.StatusServiceUnavailable)
	c.on("/b", http.StatusServiceUnavailable)
	s := start(t, deliveryConfig(t, fmt.Sprintf(`
      - {id: 1, url: "%s/a", event: create, retry: none}
      - {id: 2, url: "%s/b", event: create, retry: "100ms x 1"}
`, c.URL, c.URL)))
	const calls = 20
	for i := range calls {
		s.mustPost(created(fmt.Sprint("call-", i)))
	}
	waitFor(t, 30*time.Second, "all is given up", func() bool { return len(s.deliveries("failed")) == 2*calls })
	c.on("/a", 0)
	c.on("/b", 0)
	replay := s.adminURL() + "/api/v1/deliveries/"
	one := s.deliveries("failed")[0].Get("id").String()
	if a := ask("POST", replay+one+"/replay?project=1001", nil); !a.ok() {
		t.Fatalf("replay one: got %s", a)
	}
	waitFor(t, 30*time.Second, "one is delivered", func() bool { return len(c.accepted("")) == 1 && len(s.deliveries("failed")) == 2*calls-1 })
	if got := c.accepted("")[0]; !strings.Contains(one, gjson.Get(got.body, "event_id").String()) || gjson.Get(got.body, "callid").String() == "" {
		t.Errorf("delivered %+v; want %s", got, one)
	}
	later := ask("POST", replay+"replay?project=1001", map[string]any{"since": time.Now().Add(time.Minute).Format(time.RFC3339)})
	if later.body = strings.TrimSpace(later.body); !later.ok() || gjson.Get(later.body, "replayed").Int() != 0 {
		t.Errorf("what failed since a minute from now: got %s", later)
	}
	all := ask("POST", replay+"replay?project=1001", map[string]any{"since": time.Now().Add(-time.Hour).Format(time.RFC3339)})
	if !all.ok() || gjson.Get(all.body, "replayed").Int() != 2*calls-1 || gjson.Get(all.body, "more").Bool() {
		t.Fatalf("replay all: got %s", all)
	}
	waitFor(t, 30*time.Second, "all are delivered", func() bool { return len(c.accepted("")) == 2*calls })
	for _, path := range []string{"/a", "/b"} {
		if got := len(c.accepted(path)); got != calls {
			t.Errorf("%s took %d; want %d", path, got, calls)
		}
	}
	waitFor(t, 30*time.Second, "the log says so", func() bool { return len(s.deliveries("delivered")) == 2*calls })
}

// The recipe for a CRM, as it is in the tree but for its address: the end of a call waits for its card, and
// bears what the CRM calls it.
func TestACallsEndWaitsForItsCard(t *testing.T) {
	c := startTaker(t)
	text, err := os.ReadFile("../configs/recipes/bitrix24.yaml")
	if err != nil {
		t.Fatal(err)
	}
	recipe := strings.NewReplacer("https://portal.bitrix24.example", c.URL, "ordered: true", `ordered: true
        retry: 200ms x 100`, `default_schema: "1"`, `default_schema: "1"
    allow_private_hooks: true`).Replace(string(text))
	const register, finish = "/rest/1/code/telephony.externalcall.register.json", "/rest/1/code/telephony.externalcall.finish.json"
	c.on(register, http.StatusBadGateway)
	s := start(t, "store: bolt:"+filepath.Join(t.TempDir(), "hookswitch.db")+"\ncallers: {deadline: 1s}\n"+recipe, "BITRIX_CODE=code")
	for _, kind := range []string{"create", "answer", "destroy"} {
		s.mustPost(eventOfKind(kind, "call-1"))
	}
	waitFor(t, 30*time.Second, "the card was tried several times", func() bool { return c.requests() > 3 })
	if got := c.accepted(""); len(got) > 0 {
		t.Fatalf("taken before the card was made: %+v", got)
	}
	c.on(register, 0)
	waitFor(t, 30*time.Second, "both are taken", func() bool { return len(c.accepted("")) == 2 })
	got := c.accepted("")
	if got[0].path != register || got[1].path != finish || gjson.Get(got[1].body, "CALL_ID").String() != "card-1" {
		t.Errorf("got %s, then %s with %s", got[0].path, got[1].path, got[1].body)
	}
}

// What is signed verifies by the library of the standard's authors, by the old secret and by the new one.
func TestSignedDeliveriesVerifyByTheStandardsOwnLibrary(t *testing.T) {
	c := startTaker(t)
	const now, next = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	s := start(t, deliveryConfig(t, fmt.Sprintf(`
      - {id: 1, url: "%s/one", event: create, sign: "%s"}
      - {id: 2, url: "%s/both", event: create, sign: "%s", sign_next: "%s", body: form}
`, c.URL, now, c.URL, now, next)))
	c.on("/one", http.StatusInternalServerError) // a retry is signed anew, under the same id
	s.mustPost(created("call-1"))
	waitFor(t, 30*time.Second, "both were tried", func() bool { return c.requests() >= 2 })
	c.on("/one", 0)
	waitFor(t, 30*time.Second, "both are taken", func() bool { return len(c.accepted("")) == 2 })
	for path, secrets := range map[string][]string{"/one": {now}, "/both": {now, next}} {
		for _, secret := range secrets {
			verifier, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			r := c.accepted(path)[0]
			if err := verifier.Verify([]byte(r.body), r.header); err != nil {
				t.Errorf("%s: %v: %v", path, err, r.header)
			}
			if verifier.Verify([]byte(r.body+" "), r.header) == nil {
				t.Errorf("%s: another body verifies too", path)
			}
		}
	}
	ids := map[string]bool{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.got {
		if r.path == "/one" {
			ids[r.header.Get("webhook-id")] = true
		}
	}
	if len(ids) != 1 {
		t.Errorf("the attempts of one delivery had the ids %v; want one", ids)
	}
}

// TestTheDocumentedMonitoringAPIEndToEnd gives the documented command, which only has other addresses, to
// the documented tool, and holds what arrives against what the document says of each field.
func TestTheDocumentedMonitoringAPIEndToEnd(t *testing.T) {
	c := startTaker(t)
	const project = "10553" // the document's client
	s := start(t, fmt.Sprintf(`
store: bolt:%s
admin: {listen: 127.0.0.1:0, tokens: [{name: ops, token: %s, scopes: [read, write]}]}
`, filepath.Join(t.TempDir(), "hookswitch.db"), controlToken))
	if a := ask("POST", s.adminURL()+"/api/v1/projects", map[string]any{"id": project, "default_schema": "1", "allow_private_hooks": true,
		"schemas": []any{map[string]any{"id": "1", "steps": []any{map[string]any{"dial": []string{"380440000001"}}}}}}); !a.ok() {
		t.Fatalf("make the project: got %s", a)
	}
	if out := documentedCurl(t, s, c.URL+"/documented"); !gjson.Get(out, "success").Bool() {
		t.Fatalf("the documented command: got %s", out)
	}
	// The document's other example, of reading one, sent back as it is told.
	short := `{"url":"` + c.URL + `/short","event":"create","type_call":"inbound","type":"lk","type_style":"short","template":null,
		"params":[{"name":"my-param","value":"my-param value"}],"headers":[{"name":"my-header","value":"my_header_value"}],
		"fields":[{"before":"call_id","after":"my_call_id"},{"before":"direction","after":"my_direction"}]}`
	if a := ask("POST", s.adminURL()+"/api/v1/webhooks?project="+project, json.RawMessage(short)); !a.ok() {
		t.Fatalf("the document's second webhook: got %s", a)
	}
	event := created("call-1")
	event.Set("project", project)
	s.mustPost(event)
	outbound := eventOfKind("before_call", "call-2")
	outbound.Set("project", project)
	outbound.Set("direction", "outbound")
	s.mustPost(outbound)
	waitFor(t, 30*time.Second, "both arrive", func() bool { return len(c.accepted("/documented")) == 2 && len(c.accepted("/short")) == 1 })

	i := slices.IndexFunc(c.accepted("/documented"), func(r taken) bool { return gjson.Get(r.body, "callid").String() == "call-1" })
	documented, abbreviated := c.accepted("/documented")[max(i, 0)], c.accepted("/short")[0]
	wantJSON(t, "as documented", documented.body, map[string]string{
		"dest_number": "380442223344", "callee": "", "to": "", "special_parameter": "123", "direction": "inbound",
		"event": "create", "callid": "call-1", "caller": "380501112233",
	})
	wantJSON(t, "in short", abbreviated.body, map[string]string{
		"my_call_id": "call-1", "callid": "", "my_direction": "in", "direction": "", "my-param": "my-param value", "callee": "380442223344",
	})
	if got := documented.header.Get("Special-Header") + " " + abbreviated.header.Get("my-header"); got != "header_value my_header_value" {
		t.Errorf("headers: got %s", got)
	}
}

// documentedCurl runs the document's command that makes a webhook, with our addresses and token in it.
func documentedCurl(t *testing.T, s *service, to string) string {
	t.Helper()
	text, err := os.ReadFile("../admin/testdata/monitoring/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, command, found := strings.Cut(string(text), "curl -X POST")
	command, _, _ = strings.Cut(command, "\n\n")
	if !found || !strings.Contains(command, `"template":"quos"`) {
		t.Fatalf("the document has another command: %s", command)
	}
	command = strings.NewReplacer("https://restapi.plusofon.ru", s.adminURL(), "{token}", controlToken, `http:\/\/my-url.com`, to).Replace(command)
	out, err := exec.Command("sh", "-c", "curl -s -X POST"+command).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v: %s", err, out)
	}
	return string(out)
}

// wantJSON holds a body's fields, "" for none, against what is wanted.
func wantJSON(t *testing.T, what, body string, want map[string]string) {
	t.Helper()
	for field, value := range want {
		if got := gjson.Get(body, field); got.String() != value || value == "" && got.Exists() {
			t.Errorf("%s: %s is %q; want %q, in %s", what, field, got.String(), value, body)
		}
	}
}
