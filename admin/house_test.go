package admin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"hookswitch/control"
	"hookswitch/schema"
	"hookswitch/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp renews its Date header for as long as the process lives, and its worker pool's
		// sweeper sees up to 10 s late that the server is gone.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// fileText is the configuration file of the tests: three who may come in, and a project of its own.
const fileText = `
store: bolt:hookswitch.db
admin:
  tokens:
    - {name: ops, token: ops-token-of-the-file, scopes: [read, write]}
    - {name: eye, token: eye-token-of-the-file, scopes: [read]}
    - {name: own, token: own-token-of-the-file, scopes: [read, write], project: "10553"}
projects:
  - id: filed
    name: Declared in the file
    default_schema: "1"
    numbers: [{number: "380440000009", schema: "1"}]
    schemas: [{id: "1", steps: [{dial: ["380440000001"]}]}]
    hooks: [{id: crm, url: "https://crm.example/route"}]
    webhooks: [{id: 1, url: "https://crm.example/calls", event: create}]
    incoming: [{id: crm, token: a-token-of-the-file, key: phone}]
`

// customer is a project that the API manages; its webhooks are those of the documented API's examples.
const customer = `{
	"id": "10553", "name": "Customer", "default_schema": "1",
	"intakes": [{"format": "json", "rename": {"caller": "from"}}],
	"numbers": [{"number": "380442223344", "schema": "100", "pool": "site", "replacement": "dynamic"}],
	"schemas": [
		{"id": "1", "name": "Operators", "steps": [{"dial": ["380440000001"], "timeout": "30s"}]},
		{"id": "100", "name": "Ask the CRM", "steps": [{"hook": "crm"}]}
	],
	"hooks": [{"id": "crm", "url": "https://crm.example/route", "on_failure": "1"}],
	"webhooks": [
		{"id": 5, "url": "https://test.com/hook-in", "type_call": "inbound", "event": "destroy"},
		{"id": 6, "url": "https://test.com/hook-out", "type_call": "outbound", "event": "create"},
		{"id": 42, "url": "https://test.com/hook-42", "type": "et", "event": "answer"}
	],
	"incoming": [{"id": "crm", "name": "From the CRM", "token": "a-token-of-the-customer", "fields": ["phone", "debt"], "key": "phone"}]
}`

const (
	opsToken = "ops-token-of-the-file"
	eyeToken = "eye-token-of-the-file"
	ownToken = "own-token-of-the-file"
)

// house is the admin API over a real store and control plane, behind a real listener.
type house struct {
	t      *testing.T
	url    string
	store  *store.Bolt
	plane  *control.Plane
	server *Server
	clock  atomic.Int64 // ahead of time.Now, in nanoseconds
	client *http.Client
}

func newHouse(t *testing.T, more ...func(*Options)) *house {
	t.Helper()
	h := &house{t: t, store: openBolt(t)}
	name := filepath.Join(t.TempDir(), "hookswitch.yaml")
	if err := os.WriteFile(name, []byte(fileText), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := schema.Load(name, []byte(fileText), schema.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h.plane = control.New(control.Options{
		Store: h.store, Apply: func(*schema.Config) error { return nil }, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	if err := h.plane.SetFile(cfg); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Settings: cfg.Admin, Plane: h.plane, Store: h.store,
		Now: func() time.Time { return time.Now().Add(time.Duration(h.clock.Load())) },
	}
	for _, f := range more {
		f(&o)
	}
	h.serve(o)
	if o.Store != nil {
		h.want(201, "POST", "/api/v1/projects", opsToken, customer)
	}
	return h
}

func (h *house) serve(o Options) {
	h.t.Helper()
	var err error
	if h.server, err = New(o); err != nil {
		h.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.url = "http://" + ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(ln) }()
	h.client = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	h.t.Cleanup(func() {
		h.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := h.server.Shutdown(ctx); err != nil {
			h.t.Error(err)
		}
		if err := <-served; err != nil {
			h.t.Error(err)
		}
	})
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// json returns the answer's body.
func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("found %q; want a JSON object", a.body)
	}
	return v
}

// fields returns the names under "errors".
func (a answer) fields(t *testing.T) map[string]any {
	t.Helper()
	fields, _ := a.json(t)["errors"].(map[string]any)
	return fields
}

// ask makes a request about the customer's project; headers are name and value in turn.
func (h *house) ask(method, path, token, body string, headers ...string) answer {
	h.t.Helper()
	a, err := h.try(method, path, token, body, headers...)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// try is ask for a goroutine of its own.
func (h *house) try(method, path, token, body string, headers ...string) (answer, error) {
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	q, err := http.NewRequest(method, h.url+path, from)
	if err != nil {
		return answer{}, err
	}
	q.Header.Set("Client", "10553")
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			q.Header.Del(headers[i])
			continue
		}
		q.Header.Set(headers[i], headers[i+1])
	}
	a, err := h.client.Do(q)
	if err != nil {
		return answer{}, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return answer{a.StatusCode, a.Header, string(b)}, err
}

// want is ask for an answer with that status.
func (h *house) want(status int, method, path, token, body string, headers ...string) answer {
	h.t.Helper()
	a := h.ask(method, path, token, body, headers...)
	if a.status != status {
		h.t.Fatalf("%s %s: found %d %s; want %d", method, path, a.status, a.body, status)
	}
	return a
}

// sameJSON compares two texts as JSON.
func sameJSON(t *testing.T, what, found, want string) {
	t.Helper()
	var f, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: want is no JSON: %v", what, err)
	}
	if err := json.Unmarshal([]byte(found), &f); err != nil || !reflect.DeepEqual(f, w) {
		t.Errorf("%s:\nfound %s\nwant  %s", what, found, want)
	}
}

// state is a number that changes with everything that is kept.
func (h *house) state() string {
	h.t.Helper()
	n, err := h.store.Change(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprint(n)
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantFields wants an answer to hold these fields, and others as it likes.
func wantFields(t *testing.T, what string, a answer, fields string) {
	t.Helper()
	found := a.json(t)
	for field, want := range (answer{body: fields}).json(t) {
		sameJSON(t, what+": "+field, encode(t, found[field]), encode(t, want))
	}
}

func sha(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

// breakers is a Router that has breakers only.
type breakers func(project, hook, state string) bool

func (breakers) Decide(*schema.Call, *schema.Decision) { panic("no call is decided here") }

func (f breakers) ForceBreaker(project, hook, state string) bool { return f(project, hook, state) }

// watchedStore is the real one, and tells under which keys values are set.
type watchedStore struct {
	store.Store
	set func(key string)
}

func (s watchedStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if strings.HasPrefix(key, "idempotency:") {
		s.set(key)
	}
	return s.Store.Set(ctx, key, value, ttl)
}
