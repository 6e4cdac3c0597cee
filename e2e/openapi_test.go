package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"go.yaml.in/yaml/v3"
)

// adminConfig is a service with an admin listener and a store of its own, and no project.
func adminConfig(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf(`store: bolt:%s/hookswitch.db
admin: {listen: 127.0.0.1:0, tokens: [{name: ops, token: %s, scopes: [read, write]}]}
`, t.TempDir(), apiToken)
}

const apiToken = "the-operators-token"

// apiDriver drives the API by its own description: every request is made of the document's examples,
// and every answer held against its schemas.
type apiDriver struct {
	t         *testing.T
	service   *service
	url       string
	hook      string // of the webhook that stands in for the examples'
	validator validator.Validator
	known     map[string]apiOperation // by operationId
	ids       map[string]string       // by the path's first part, those that the service chose
	driven    map[string]bool
}

type apiOperation struct {
	method, path string
	ID           string `yaml:"operationId"`
	RequestBody  struct {
		Content map[string]struct {
			Example any `yaml:"example"`
		} `yaml:"content"`
	} `yaml:"requestBody"`
	Security *[]any `yaml:"security"`
}

func newAPIDriver(t *testing.T) *apiDriver {
	t.Helper()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"dst_phone":"380440000001"}`)
	}))
	t.Cleanup(hook.Close)
	a := &apiDriver{t: t, service: start(t, adminConfig(t)), hook: hook.URL, known: map[string]apiOperation{}, driven: map[string]bool{}}
	a.url = a.service.adminURL()
	a.ids = map[string]string{
		"projects": "2001", "numbers": "380442223344", "schemas": "100", "hooks": "crm", "intakes": "asterisk", "incoming": "chat", "webhooks": "1",
		"tokens": "none", "decisions": "none", "deliveries": "none", // until there are some
	}
	resp, err := client.Get(a.url + "/api/v1/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the description: status %d, %v", resp.StatusCode, err)
	}
	a.read(text)
	return a
}

// read takes up the description as it is served.
func (a *apiDriver) read(text []byte) {
	a.t.Helper()
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		a.t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		a.t.Fatal(errs)
	}
	a.validator = v
	var paths struct {
		Paths map[string]map[string]yaml.Node `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &paths); err != nil {
		a.t.Fatal(err)
	}
	for path, methods := range paths.Paths {
		for method, node := range methods {
			if method == "parameters" {
				continue
			}
			op := apiOperation{method: strings.ToUpper(method), path: path}
			if err := node.Decode(&op); err != nil {
				a.t.Fatalf("%s %s: %v", method, path, err)
			}
			a.known[op.ID] = op
		}
	}
}

// request makes an operation's request of its example.
func (a *apiDriver) request(op apiOperation, token string) *http.Request {
	a.t.Helper()
	kind, _, _ := strings.Cut(strings.TrimPrefix(op.path, "/api/v1/"), "/")
	target := a.url + strings.ReplaceAll(op.path, "{id}", url.PathEscape(a.ids[kind]))
	var body []byte
	if media, ok := op.RequestBody.Content["application/json"]; ok {
		text, err := json.Marshal(media.Example)
		if err != nil {
			a.t.Fatal(err)
		}
		body = bytes.ReplaceAll(text, []byte("http://127.0.0.1:8079"), []byte(a.hook))
	}
	req, err := http.NewRequest(op.method, target, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Client", "2001")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req
}

// drive makes one operation's request, wants that status, and holds request and answer against the
// description.
func (a *apiDriver) drive(id string, want int) map[string]any {
	a.t.Helper()
	op, ok := a.known[id]
	if !ok {
		a.t.Fatalf("the description has no operation %s", id)
	}
	a.driven[id] = true
	resp, body := a.do(a.request(op, apiToken))
	if resp.StatusCode != want {
		a.t.Errorf("%s: status %d %.300s; want %d", id, resp.StatusCode, body, want)
		return nil
	}
	a.check(id, a.request(op, apiToken), resp, body)
	var v map[string]any
	_ = json.Unmarshal(body, &v) // a backup is none
	return v
}

func (a *apiDriver) do(req *http.Request) (*http.Response, []byte) {
	a.t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp, body
}

// check holds a request and its answer against the description.
func (a *apiDriver) check(id string, req *http.Request, resp *http.Response, body []byte) {
	a.t.Helper()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if ok, faults := a.validator.ValidateHttpRequestResponse(req, resp); !ok {
		for _, f := range faults {
			a.t.Errorf("%s: %s: %s", id, f.Message, f.Reason)
			for _, s := range f.SchemaValidationErrors {
				a.t.Errorf("%s: %s at %s", id, s.Reason, s.FieldPath)
			}
		}
		a.t.Logf("%s: %.1000s", id, body)
	}
}

func TestEveryOperationOfTheAPIDoesAsItsDescriptionSays(t *testing.T) {
	a := newAPIDriver(t)
	for _, id := range []string{"getOpenAPI", "getMe"} {
		a.drive(id, 200)
	}
	a.make()
	a.call()
	for _, id := range []string{
		"listProjects", "getProject", "listHooks", "getHook", "listSchemas", "getSchema", "listNumbers", "getNumber", "listIntakes", "getIntake",
		"listIncomingLinks", "getIncoming", "listWebhooks", "getWebhook", "listTokens", "getToken", "getDecision", "getDelivery",
		"getOverview", "getHookStats", "listChanges", "getBackup",
		"explain", "testHook", "forceBreaker", "rotateIncoming", "finishIncomingRotation", "enableWebhook", "replayDelivery", "replayDeliveries",
		"updateProject", "updateHook", "updateSchema", "updateNumber", "updateIntake", "updateIncoming", "updateWebhook",
		"deleteNumber", "deleteSchema", "deleteHook", "deleteIntake", "deleteIncoming", "deleteWebhook", "revokeToken", "deleteProject",
	} {
		a.drive(id, 200)
	}
	for id := range a.known {
		if !a.driven[id] {
			t.Errorf("operation %s was not tried", id)
		}
	}
}

// make makes one of everything.
func (a *apiDriver) make() {
	a.t.Helper()
	for _, id := range []string{"createProject", "createHook", "createSchema", "createNumber", "createIntake", "createIncoming"} {
		a.drive(id, 201)
	}
	a.drive("createWebhook", 200) // as documented elsewhere
	a.ids["tokens"], _ = a.drive("createToken", 201)["id"].(string)
}

// call has a call decided and an event delivered, while somebody watches, so that there is something to
// look up.
func (a *apiDriver) call() {
	a.t.Helper()
	stream, overview := a.watch("streamDecisions"), a.watch("streamOverview")
	d, status := a.service.route(call("380442223344"))
	if status != http.StatusOK || d.Source != "hook" {
		a.t.Fatalf("the call was decided with status %d: %+v", status, d)
	}
	if shown := stream(); shown["decision_id"] != d.DecisionID {
		a.t.Errorf("the stream shows %v; want decision %s", shown, d.DecisionID)
	}
	if shown := overview(); len(shown) == 0 {
		a.t.Error("the overview's stream shows nothing")
	}
	a.ids["decisions"] = first(a.drive("listDecisions", 200), "decision_id")
	event := url.Values{"event": {"create"}, "callid": {d.CallID}, "direction": {"inbound"}, "project": {"2001"}}
	resp, err := client.PostForm(a.service.URL+"/v1/events", event)
	if err != nil {
		a.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		a.t.Fatalf("the event: status %d; want 202", resp.StatusCode)
	}
	waitFor(a.t, 10*time.Second, "the event is delivered", func() bool {
		a.ids["deliveries"] = first(a.drive("listDeliveries", 200), "id")
		return a.ids["deliveries"] != "" || a.t.Failed()
	})
}

// watch follows a stream; what it returns waits for the next event.
func (a *apiDriver) watch(id string) (next func() map[string]any) {
	a.t.Helper()
	op := a.known[id]
	a.driven[op.ID] = true
	resp, err := client.Do(a.request(op, apiToken))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		a.t.Fatalf("the stream: status %d, %s", resp.StatusCode, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() (d map[string]any) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &d); err != nil {
					a.t.Fatalf("the stream shows %q: %v", data, err)
				}
				return d
			}
		}
		return nil
	}
}

// first returns a field of the first in a list, "" for an empty one.
func first(list map[string]any, field string) string {
	data, _ := list["data"].([]any)
	if len(data) == 0 {
		return ""
	}
	one, _ := data[0].(map[string]any)
	return fmt.Sprint(one[field])
}

func TestEveryRefusalOfTheAPIIsAsItsDescriptionSays(t *testing.T) {
	a := newAPIDriver(t)
	for _, id := range slices.Sorted(maps.Keys(a.known)) {
		op := a.known[id]
		if op.Security != nil {
			continue // open to anybody
		}
		resp, body := a.do(a.request(op, ""))
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: status %d; want 401", id, resp.StatusCode)
		}
		a.checkAnswer(id, a.request(op, ""), resp, body)
	}
}

// checkAnswer holds an answer alone against the description: its request may be what the description
// forbids.
func (a *apiDriver) checkAnswer(id string, req *http.Request, resp *http.Response, body []byte) {
	a.t.Helper()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if ok, faults := a.validator.ValidateHttpResponse(req, resp); !ok {
		for _, f := range faults {
			a.t.Errorf("%s: %s: %s", id, f.Message, f.Reason)
		}
		a.t.Logf("%s: %.1000s", id, body)
	}
}

// refused makes an operation's request with another body and headers, wants that status, and holds the
// answer against the description.
func (a *apiDriver) refused(id string, want int, body string, headers ...string) {
	a.t.Helper()
	build := func() *http.Request {
		req := a.request(a.known[id], apiToken)
		if body != "" {
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		return req
	}
	resp, answer := a.do(build())
	if resp.StatusCode != want || !strings.Contains(string(answer), `"success":false`) {
		a.t.Errorf("%s: status %d %.300s; want %d", id, resp.StatusCode, answer, want)
	}
	if after := resp.Header.Get("Retry-After"); (want == 429 || want == 503) && after == "" {
		a.t.Errorf("%s: status %d says no Retry-After", id, want)
	}
	a.checkAnswer(fmt.Sprint(id, " with ", want), build(), resp, answer)
}

func TestEveryKindOfRefusalOfTheAPIIsAsItsDescriptionSays(t *testing.T) {
	a := newAPIDriver(t)
	a.make()
	for _, id := range []string{"getHook", "updateNumber", "deleteSchema", "rotateIncoming", "enableWebhook", "getToken", "getDecision", "getDelivery"} {
		kind, _, _ := strings.Cut(strings.TrimPrefix(a.known[id].path, "/api/v1/"), "/")
		was := a.ids[kind]
		a.ids[kind] = "404404404"
		a.refused(id, 404, "")
		a.ids[kind] = was
	}
	a.refused("finishIncomingRotation", 409, "")
	for _, id := range []string{"updateProject", "updateHook", "deleteNumber", "deleteProject"} {
		a.refused(id, 412, "", "If-Match", `"2001.999999"`)
	}
	for _, id := range []string{"createProject", "createHook", "createSchema", "createNumber", "createWebhook", "createIncoming", "createToken", "updateHook"} {
		a.refused(id, 422, `{"colour":1}`)
	}
	a.refused("createHook", 422, `{"id":"unfit","url":"https://crm.example/","method":"POST","send":"json","body":"{"}`)
	a.refused("createHook", 400, `{`)
	for range 20 {
		a.refused("getMe", 401, "", "Authorization", "Bearer wrong")
	}
	a.refused("getMe", 429, "", "Authorization", "Bearer wrong")
	a.refused("getHook", 400, "", "Client", "")

	a.url = start(t, strings.Replace(adminConfig(t), "store: bolt:", "store: none #", 1)).adminURL()
	for _, id := range []string{"createProject", "createToken", "listTokens", "listChanges", "getBackup"} {
		a.refused(id, 503, "")
	}
}
