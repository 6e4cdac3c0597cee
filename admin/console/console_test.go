package console

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"hookswitch/admin"
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

const (
	opsToken = "ops-token-of-the-file"
	eyeToken = "eye-token-of-the-file"
	ownToken = "own-token-of-the-file"
)

const fileText = `
store: bolt:hookswitch.db
admin:
  tokens:
    - {name: ops, token: ` + opsToken + `, scopes: [read, write]}
    - {name: eye, token: ` + eyeToken + `, scopes: [read]}
    - {name: own, token: ` + ownToken + `, scopes: [read, write], project: own}
projects:
  - {id: filed, default_schema: "1", schemas: [{id: "1", steps: [{dial: ["380440000001"]}]}]}
`

const customer = `{"id": "own", "name": "Customer", "default_schema": "1", "schemas": [{"id": "1", "name": "Operators", "steps": [{"dial": ["380440000001"], "timeout": "30s"}]}],
	"hooks": [{"id": "crm", "url": "https://crm.example/route", "auth": {"bearer": "a-secret-of-the-customer"}}],
	"numbers": [{"number": "380442223344", "schema": "1"}]}`

// house is the console on a real admin listener, with a real store and control plane behind it.
type house struct {
	t      *testing.T
	url    string
	server *admin.Server
	ahead  atomic.Int64 // of the console's clock, in nanoseconds
}

func newHouse(t *testing.T, more ...func(*admin.Options)) *house {
	t.Helper()
	dir := t.TempDir()
	bolt, err := store.OpenBolt(context.Background(), filepath.Join(dir, "hookswitch.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bolt.Close() })
	name := filepath.Join(dir, "hookswitch.yaml")
	if err := os.WriteFile(name, []byte(fileText), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := schema.Load(name, []byte(fileText), schema.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plane := control.New(control.Options{
		Store: bolt, Apply: func(*schema.Config) error { return nil }, Log: zap.NewNop(), Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	if err := plane.SetFile(cfg); err != nil {
		t.Fatal(err)
	}
	h := &house{t: t}
	console, err := New(Options{
		API: func(http *fasthttp.RequestCtx) { h.server.Handle(http) },
		Now: func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	o := admin.Options{Settings: cfg.Admin, Plane: plane, Store: bolt, Console: console.Handle}
	for _, f := range more {
		f(&o)
	}
	if h.server, err = admin.New(o); err != nil {
		t.Fatal(err)
	}
	h.serve()
	if status, answer := h.api("POST", "/projects", customer); status != http.StatusCreated {
		t.Fatalf("making a project: %d %s", status, answer)
	}
	return h
}

func (h *house) serve() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.url = "http://" + ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(ln) }()
	h.t.Cleanup(func() {
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

// api asks the API as ops.
func (h *house) api(method, path, body string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequest(method, h.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+opsToken)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// visitor is one browser: it keeps cookies, and follows no redirect.
type visitor struct {
	*house
	client *http.Client
	form   string // the session's
}

func (h *house) visitor() *visitor {
	jar, _ := cookiejar.New(nil) // fails for options only
	v := &visitor{house: h, client: &http.Client{
		Jar: jar, Transport: &http.Transport{}, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	h.t.Cleanup(v.client.CloseIdleConnections)
	return v
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

var formField = regexp.MustCompile(`name="form" value="([^"]+)"`)

// signIn opens a session, and finds what its forms send back.
func (h *house) signIn(token string) *visitor {
	h.t.Helper()
	v := h.visitor()
	if a := v.post("/signin", url.Values{"token": {token}}); a.status != http.StatusSeeOther || a.header.Get("Location") != "/" {
		h.t.Fatalf("sign in: found %d to %q; want 303 to /", a.status, a.header.Get("Location"))
	}
	found := formField.FindStringSubmatch(v.get("/projects").body)
	if found == nil {
		h.t.Fatal("no page has a form of the session")
	}
	v.form = found[1]
	return v
}

func (v *visitor) get(path string) answer { return v.send("GET", path, nil, nil) }

func (v *visitor) post(path string, form url.Values) answer { return v.send("POST", path, form, nil) }

func (v *visitor) send(method, path string, form url.Values, header http.Header) answer {
	v.t.Helper()
	if form != nil && v.form != "" && form.Get("form") == "" {
		form.Set("form", v.form)
	}
	req, err := http.NewRequest(method, v.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func TestASessionLivesAsLongAsItShould(t *testing.T) {
	for _, tc := range []struct {
		name   string
		visits []time.Duration // after the beginning
		want   []int
	}{
		{"used now and then", []time.Duration{50 * time.Minute, 100 * time.Minute, 150 * time.Minute}, []int{200, 200, 200}},
		{"idle for an hour", []time.Duration{50 * time.Minute, 110*time.Minute + time.Second}, []int{200, 303}},
		{"over after twelve hours, however busy", every(50*time.Minute, 15), append(repeat(200, 14), 303)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t)
			v := h.signIn(opsToken)
			for i, after := range tc.visits {
				h.ahead.Store(int64(after))
				if a := v.get("/projects"); a.status != tc.want[i] {
					t.Fatalf("after %s: found %d; want %d", after, a.status, tc.want[i])
				}
			}
		})
	}
}

func every(d time.Duration, n int) (all []time.Duration) {
	for i := range n {
		all = append(all, d*time.Duration(i+1))
	}
	return all
}

func repeat(status, n int) (all []int) {
	for range n {
		all = append(all, status)
	}
	return all
}

func TestARevokedTokenEndsItsSessions(t *testing.T) {
	h := newHouse(t)
	ops := h.signIn(opsToken)
	a := ops.get(ops.post("/tokens", url.Values{"name": {"guest"}, "scopes": {"read"}}).header.Get("Location"))
	made := madeToken.FindString(a.body)
	if made == "" {
		t.Fatalf("making a token: found %d without a token", a.status)
	}
	guest := h.signIn(made)
	_, list := h.api("GET", "/tokens", "")
	id := regexp.MustCompile(`"id":"([0-9a-f]+)"`).FindStringSubmatch(list)[1]
	if a := ops.post("/tokens/"+id+"/revoke", url.Values{}); a.status != http.StatusSeeOther {
		t.Fatalf("revoking it: found %d", a.status)
	}
	if a := guest.get("/projects"); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/signin") {
		t.Errorf("after its token was revoked: found %d to %q; want 303 to the door", a.status, a.header.Get("Location"))
	}
}

func TestSigningOutEndsTheSessionEverywhere(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(opsToken)
	u, _ := url.Parse(h.url)
	stolen := v.client.Jar.Cookies(u)
	if a := v.post("/signout", url.Values{}); a.status != http.StatusSeeOther {
		t.Fatalf("found %d", a.status)
	}
	v.client.Jar.SetCookies(u, stolen)
	if a := v.get("/projects"); a.status != http.StatusSeeOther {
		t.Errorf("with the old cookie: found %d; want 303 to the door", a.status)
	}
}

func TestTheSessionsCookieIsKeptFromScriptsAndOtherSites(t *testing.T) {
	h := newHouse(t)
	for _, tc := range []struct {
		name   string
		header http.Header
		secure bool
	}{
		{"over plain HTTP", nil, false},
		{"behind a proxy that ended TLS", http.Header{"X-Forwarded-Proto": {"https"}}, true},
	} {
		a := h.visitor().send("POST", "/signin", url.Values{"token": {opsToken}}, tc.header)
		set := a.header.Get("Set-Cookie")
		for _, want := range []string{"HttpOnly", "SameSite=Strict", "path=/", "max-age=43200"} {
			if !strings.Contains(set, want) {
				t.Errorf("%s: found %q; want %s in it", tc.name, set, want)
			}
		}
		if strings.Contains(set, "secure") != tc.secure {
			t.Errorf("%s: found %q; want secure: %v", tc.name, set, tc.secure)
		}
		if strings.Contains(set, opsToken) {
			t.Errorf("%s: the cookie has the token in it", tc.name)
		}
	}
}

func TestWrongTokensMakeTheirSenderWait(t *testing.T) {
	h := newHouse(t)
	v := h.visitor()
	if a := v.post("/signin", url.Values{"token": {"wrong"}}); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "opens nothing") {
		t.Fatalf("found %d; want 401 and why", a.status)
	}
	last := 0
	for range 40 {
		if last = v.post("/signin", url.Values{"token": {"wrong"}}).status; last == http.StatusTooManyRequests {
			break
		}
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("found %d after 40 wrong tokens; want 429", last)
	}
	if a := v.post("/signin", url.Values{"token": {opsToken}}); a.status != http.StatusSeeOther {
		t.Errorf("a right token after that: found %d; want 303: one guesser keeps nobody out", a.status)
	}
}

func TestATokenOfOneProjectSeesNoOther(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(ownToken)
	for path, want := range map[string]int{
		"/p/own/schemas": 200, "/p/own/schemas/1": 200, "/p/filed/schemas": 404, "/p/filed/schemas/1": 403, "/projects/filed": 403, "/tokens": 403, "/projects": 200,
	} {
		if a := v.get(path); a.status != want {
			t.Errorf("%s: found %d; want %d", path, a.status, want)
		} else if strings.Contains(a.body, `href="/projects/filed"`) {
			t.Errorf("%s shows another project", path)
		}
	}
}

func TestEveryAnswerHasTheHeadersThatKeepOthersOut(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(opsToken)
	css := regexp.MustCompile(`/static/console\.[0-9a-f]+\.css`).FindString(v.get("/projects").body)
	for _, path := range []string{"/signin", "/projects", "/p/own/hooks/crm", "/nothing", css} {
		a := v.get(path)
		policy := a.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: found the policy %q", path, policy)
		}
		if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Referrer-Policy") == "" {
			t.Errorf("%s: found %v", path, a.header)
		}
		want := "no-store"
		if path == css {
			want = "public, max-age=31536000, immutable"
		}
		if found := a.header.Get("Cache-Control"); found != want {
			t.Errorf("%s: found Cache-Control %q; want %q", path, found, want)
		}
	}
}

func TestASecretIsNeverShownAndStaysWhenAFormIsSaved(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(opsToken)
	a := v.get("/p/own/hooks/crm")
	if strings.Contains(a.body, "a-secret-of-the-customer") || !strings.Contains(a.body, `value="***"`) {
		t.Error("the form shows a secret, or not that there is one")
	}
	if a := v.post("/p/own/hooks/crm", url.Values{"url": {"https://crm.example/other"}, "auth.bearer": {"***"}, "method": {"GET"}}); a.status != http.StatusSeeOther {
		t.Fatalf("saving: found %d", a.status)
	}
	if _, hook := h.api("GET", "/hooks/crm?project=own", ""); !strings.Contains(hook, `"bearer":"***"`) || !strings.Contains(hook, "/other") {
		t.Errorf("found %s; want the new URL and the old secret", hook)
	}
}

func TestAFormThatSomebodyElseOvertookIsNotSaved(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(opsToken)
	etag := regexp.MustCompile(`name="etag" value="([^"]*)"`).FindStringSubmatch(v.get("/p/own/schemas/1").body)
	if etag == nil || etag[1] == "" {
		t.Fatal("the form does not say which version it is of")
	}
	if status, answer := h.api("PUT", "/schemas/1?project=own", `{"name": "theirs", "steps": [{"dial": ["380440000002"]}]}`); status != http.StatusOK {
		t.Fatalf("their change: %d %s", status, answer)
	}
	a := v.post("/p/own/schemas/1", url.Values{"etag": {strings.ReplaceAll(etag[1], "&#34;", `"`)}, "name": {"ours"}, "steps.0.kind": {"hangup"}, "steps.0.hangup": {"busy"}})
	if a.status != http.StatusPreconditionFailed || !strings.Contains(a.body, "Somebody else changed it") {
		t.Errorf("found %d; want 412 and why", a.status)
	}
}

func TestAFilesProjectCanBeReadAndSaysWhereItIsDeclared(t *testing.T) {
	h := newHouse(t)
	v := h.signIn(opsToken)
	a := v.get("/p/filed/schemas/1")
	if a.status != http.StatusOK || !strings.Contains(a.body, "hookswitch.yaml") || strings.Contains(a.body, `class="submit"`) {
		t.Errorf("found %d; want the page, its file's name, and nothing to save by", a.status)
	}
	if a := v.post("/p/filed/schemas/1", url.Values{"steps.0.kind": {"hangup"}, "steps.0.hangup": {"busy"}}); a.status != http.StatusConflict {
		t.Errorf("changing it all the same: found %d; want 409", a.status)
	}
}

func TestTheDoorLeadsBackToPagesOfOursOnly(t *testing.T) {
	for _, tc := range []struct{ back, want string }{
		{"/live?hook=crm", "/live?hook=crm"}, {"", "/"}, {"https://evil.example", "/"}, {"//evil.example", "/"},
		{`/\evil.example`, "/"}, {"javascript:alert(1)", "/"}, {"/a\r\nSet-Cookie: x=y", "/"},
	} {
		if found := local(tc.back); found != tc.want {
			t.Errorf("%q: found %q; want %q", tc.back, found, tc.want)
		}
	}
}
