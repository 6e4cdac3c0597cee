package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"hookswitch/schema"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp renews its Date header for as long as the process lives, and its worker pool's
		// sweeper sees up to 10 s late that the server is gone.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

type decideFunc func(*schema.Call, *schema.Decision)

func (f decideFunc) Decide(c *schema.Call, d *schema.Decision) { f(c, d) }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func testSettings() schema.Intake {
	var c schema.Config
	c.SetDefaults()
	return c.Intake
}

var oneNumber = []schema.Destination{{User: "380441111111"}}

// decideOK is a Decider that always dials one number, and allocates nothing.
func decideOK(c *schema.Call, d *schema.Decision) {
	copy(d.ID[:], "01JNAVMH0000000000000000AA")
	d.CallID, d.Project, d.Source, d.Hook = c.ID(), "1001", schema.SourceHook, "crm"
	d.Elapsed = 4200 * time.Microsecond
	d.Steps = append(d.Steps, schema.DecidedStep{
		Dial: oneNumber, Strategy: schema.All, Timeout: 90 * time.Second,
	})
}

// site is a server on a real listener.
type site struct {
	*Server
	addr string
}

// start serves until the test ends; adjust changes the options before.
func start(t *testing.T, adjust ...func(*Options)) *site {
	t.Helper()
	o := Options{Decide: decideFunc(decideOK), Settings: testSettings(), Now: func() time.Time { return noon }}
	for _, f := range adjust {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // a test that drains has looked at its error
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &site{s, ln.Addr().String()}
}

func (s *site) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// do sends one request and returns the answer with its body read.
func (s *site) do(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		if name, value, ok := strings.Cut(h, ": "); ok {
			r.Header.Add(name, value)
		}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

// errorOf reads {"error":{…}}.
func errorOf(t *testing.T, body string) (code, field string) {
	t.Helper()
	var e struct {
		Error struct{ Code, Message, Field string }
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Message == "" {
		t.Fatalf("not an error with a message: %q (%v)", body, err)
	}
	return e.Error.Code, e.Error.Field
}

func TestEveryPathAnswersItsMethodsAndNoOther(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := start(t, func(o *Options) { o.Gatherer, o.Registerer = registry, registry })
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/v1/route?callee=1", 200, ""},
		{"POST", "/v1/route?callee=1", 200, ""},
		{"GET", "/v1/route/plain?callee=1", 200, ""},
		{"HEAD", "/v1/route?callee=1", 405, "GET, POST"},
		{"PUT", "/v1/route?callee=1", 405, "GET, POST"},
		{"DELETE", "/v1/route/json?callee=1", 405, "GET, POST"},
		{"OPTIONS", "/v1/route", 405, "GET, POST"},
		{"GET", "/healthz", 200, ""},
		{"POST", "/healthz", 405, "GET"},
		{"HEAD", "/readyz", 405, "GET"},
		{"GET", "/readyz", 200, ""},
		{"GET", "/metrics", 200, ""},
		{"POST", "/metrics", 405, "GET"},
		{"GET", "/", 404, ""},
		{"GET", "/v1/route/", 404, ""},
		{"GET", "/v1/routes", 404, ""},
		{"POST", "/v1", 404, ""},
	} {
		answer, body := s.do(t, c.method, c.path, "")
		if answer.StatusCode != c.status || answer.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", c.method, c.path, answer.StatusCode, answer.Header.Get("Allow"), c.status, c.allow)
		}
		if got := answer.Header.Get("Server"); got != "hookswitch" {
			t.Errorf("%s %s: Server %q; want hookswitch, without a version", c.method, c.path, got)
		}
		if c.status >= 400 && c.method != "HEAD" {
			errorOf(t, body)
		}
	}
}

func TestMetricsCountRequestsErrorsAndConnections(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := start(t, func(o *Options) { o.Gatherer, o.Registerer = registry, registry })
	s.do(t, "GET", "/v1/route/plain?callee=1", "")
	s.do(t, "GET", "/v1/route/plain?callee=1", "")
	s.do(t, "GET", "/v1/route", "")
	_, body := s.do(t, "GET", "/metrics", "")
	for _, line := range []string{
		`hookswitch_intake_requests_total{format="plain",status="2xx"} 2`,
		`hookswitch_intake_requests_total{format="json",status="4xx"} 1`,
		`hookswitch_intake_requests_total{format="json-rpc",status="2xx"} 0`,
		`hookswitch_intake_errors_total{code="bad_request"} 1`,
		`hookswitch_intake_errors_total{code="internal"} 0`,
		`hookswitch_intake_open_connections 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if _, err := New(Options{Settings: testSettings(), Registerer: registry}); err == nil {
		t.Error("a second server took the same metrics' names; want an error")
	}
}

func TestReadinessFollowsTheRouter(t *testing.T) {
	ready := false
	s := start(t, func(o *Options) { o.Ready = func() bool { return ready } })
	if answer, _ := s.do(t, "GET", "/readyz", ""); answer.StatusCode != 503 {
		t.Errorf("/readyz before the router is ready: %d; want 503", answer.StatusCode)
	}
	if answer, _ := s.do(t, "GET", "/healthz", ""); answer.StatusCode != 200 {
		t.Errorf("/healthz: %d; want 200", answer.StatusCode)
	}
}

func TestTheDoor(t *testing.T) {
	s := start(t)
	const bearer = "Authorization: Bearer "
	for _, c := range []struct {
		name   string
		tokens []string
		allow  []string
		path   string
		header string
		status int
		code   string
	}{
		{name: "stands open where nothing is configured", path: "/v1/route?callee=1", status: 200},
		{name: "wants a token", tokens: []string{"s3cret"}, path: "/v1/route?callee=1", status: 401, code: "unauthorized"},
		{name: "takes the token", tokens: []string{"s3cret"}, path: "/v1/route?callee=1", header: bearer + "s3cret", status: 200},
		{name: "takes any of the tokens", tokens: []string{"old", "new"}, path: "/v1/route?callee=1", header: bearer + "old", status: 200},
		{name: "takes the scheme in any case", tokens: []string{"s3cret"}, path: "/v1/route?callee=1", header: "Authorization: bearer s3cret", status: 200},
		{name: "refuses a wrong token", tokens: []string{"s3cret"}, path: "/v1/route?callee=1", header: bearer + "s3creT", status: 401, code: "unauthorized"},
		{name: "refuses a token's beginning", tokens: []string{"s3cret"}, path: "/v1/route?callee=1", header: bearer + "s3cre", status: 401, code: "unauthorized"},
		{name: "refuses another scheme", tokens: []string{"s3cret"}, path: "/v1/route?callee=1", header: "Authorization: Basic s3cret", status: 401, code: "unauthorized"},
		{name: "refuses before it complains of the question", tokens: []string{"s3cret"}, path: "/v1/route?budget_ms=x", status: 401, code: "unauthorized"},
		{name: "lets an address in by prefix", allow: []string{"10.0.0.0/8", "127.0.0.0/8"}, path: "/v1/route?callee=1", status: 200},
		{name: "lets a single address in", allow: []string{"127.0.0.1"}, path: "/v1/route?callee=1", status: 200},
		{name: "lets an IPv4-mapped prefix mean the IPv4 one", allow: []string{"::ffff:127.0.0.0/104"}, path: "/v1/route?callee=1", status: 200},
		{name: "refuses other addresses", allow: []string{"10.0.0.0/8", "::1"}, path: "/v1/route?callee=1", status: 403, code: "forbidden"},
		{name: "wants both where both are configured", allow: []string{"127.0.0.1"}, tokens: []string{"s3cret"}, path: "/v1/route?callee=1", status: 401, code: "unauthorized"},
		{name: "stands before the metrics", tokens: []string{"s3cret"}, path: "/metrics", status: 401, code: "unauthorized"},
		{name: "never stands before liveness", tokens: []string{"s3cret"}, allow: []string{"10.0.0.0/8"}, path: "/healthz", status: 200},
		{name: "never stands before readiness", tokens: []string{"s3cret"}, allow: []string{"10.0.0.0/8"}, path: "/readyz", status: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := testSettings()
			in.AllowFrom = c.allow
			for _, token := range c.tokens {
				in.Tokens = append(in.Tokens, schema.NewSecret(token))
			}
			if err := s.Apply(in); err != nil { // each case is a reload of the last one's server
				t.Fatal(err)
			}
			var headers []string
			if c.header != "" {
				headers = append(headers, c.header)
			}
			answer, body := s.do(t, "GET", c.path, "", headers...)
			if answer.StatusCode != c.status {
				t.Fatalf("%d %s; want %d", answer.StatusCode, body, c.status)
			}
			if c.code != "" {
				if code, _ := errorOf(t, body); code != c.code {
					t.Errorf("code %s; want %s", code, c.code)
				}
			}
			if got := answer.Header.Get("WWW-Authenticate") != ""; got != (c.status == 401) {
				t.Errorf("WWW-Authenticate given: %v with %d", got, c.status)
			}
		})
	}
}

func TestAllowFromTakesAddressesAsADualStackListenerShowsThem(t *testing.T) {
	d, err := newDoor(nil, []string{"10.0.0.0/8", "192.0.2.7", "::ffff:198.51.100.0/120", "2001:db8::/32", "fe80::/10"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"[::ffff:10.1.2.3]:5060": true, "10.1.2.3:5060": true, "[::ffff:11.1.2.3]:5060": false, "192.0.2.7:1": true, "192.0.2.8:1": false,
		"198.51.100.9:1": true, "198.51.101.9:1": false, "[2001:db8::1]:1": true, "[2001:db9::1]:1": false, "[fe80::1%eth0]:1": true,
	} {
		if got := d.admits(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))); got != want {
			t.Errorf("%s admitted: %v; want %v", address, got, want)
		}
	}
	if d.admits(&net.UnixAddr{Name: "/run/pbx.sock", Net: "unix"}) {
		t.Error("a peer without an address was admitted")
	}
}

func TestAClosedDoorSpeaksTheAskersDialect(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.Tokens = []schema.Secret{schema.NewSecret("s3cret")} })
	answer, body := s.do(t, "POST", "/v1/route/json-rpc", `{"jsonrpc":"2.0","method":"route","id":7}`)
	if answer.StatusCode != 401 || !strings.Contains(body, `"error":{"code":-32001,`) {
		t.Errorf("json-rpc: %d %s; want 401 and -32001", answer.StatusCode, body)
	}
	answer, body = s.do(t, "GET", "/v1/route?format=plain", "")
	if answer.StatusCode != 401 || !strings.HasPrefix(body, "error: unauthorized: ") {
		t.Errorf("plain: %d %s; want 401 and an error line", answer.StatusCode, body)
	}
}

func TestFaultySettingsAreRefusedAndChangeNothing(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		want   string
		change func(*schema.Intake)
	}{
		{"intake.allow_from[1]", func(in *schema.Intake) { in.AllowFrom = []string{"10.0.0.0/8", "10.0.0.0/33"} }},
		{"intake.allow_from[0]", func(in *schema.Intake) { in.AllowFrom = []string{"pbx.example"} }},
		{"intake.tokens[0]", func(in *schema.Intake) { in.Tokens = []schema.Secret{schema.NewSecret("")} }},
		{"intake.budget", func(in *schema.Intake) { in.Budget = 0 }},
		{"intake.max_body_bytes", func(in *schema.Intake) { in.MaxBody = -1 }},
	} {
		in := testSettings()
		c.change(&in)
		if err := s.Apply(in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Apply: %v; want an error that names %s", err, c.want)
		}
		if answer, _ := s.do(t, "GET", "/v1/route?callee=1", ""); answer.StatusCode != 200 {
			t.Errorf("%s: faulty settings were applied: %d", c.want, answer.StatusCode)
		}
	}
}

func TestANameOrValueTooLongForAParameterCostsNoCall(t *testing.T) {
	s := start(t, func(*Options) {})
	value, name := strings.Repeat("x", maxValue+1), "SipHeader_X-"+strings.Repeat("x", maxName-11)
	const form, json = "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
	ofValue := `"landing left out: 4097 bytes; want at most 4096"`
	ofName := `"` + name[:maxName] + `… left out: a name of 129 bytes; want at most 128"`
	for what, c := range map[string]struct{ method, query, body, header, warning string }{
		"a value in a form":            {"POST", "", "callee=1&landing=" + value, form, ofValue},
		"a value in JSON":              {"POST", "", `{"callee":"1","landing":"` + value + `"}`, "", ofValue},
		"a name in a query":            {"GET", "?callee=1&" + name + "=1", "", "", ofName},
		"a name in a form":             {"POST", "", "callee=1&" + name + "=1", form, ofName},
		"a name in JSON":               {"POST", "", `{"callee":"1","` + name + `":"1"}`, json, ofName},
		"a name in JSON-RPC":           {"POST", "", `{"jsonrpc":"2.0","id":1,"method":"route","params":{"callee":"1","` + name + `":"1"}}`, json, ofName},
		"a name and a value":           {"POST", "", "callee=1&" + name + "=" + value, form, ofName},
		"a name that is cut in a rune": {"GET", "?callee=1&" + name[:maxName-1] + "%D0%9A=1", "", "", `"` + name[:maxName-1] + `… left out: a name of 129 bytes; want at most 128"`},
	} {
		answer, body := s.do(t, c.method, "/v1/route"+c.query, c.body, c.header)
		if answer.StatusCode != 200 || !strings.Contains(body, `"warnings":[`+c.warning+`]`) {
			t.Errorf("%s: %d %s; want %s", what, answer.StatusCode, body, c.warning)
		}
	}
}

func readAnswer(t *testing.T, c net.Conn) *http.Response {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestAPanicIsA500InTheAskersDialect(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	s := start(t, func(o *Options) {
		o.Log = zap.New(core)
		o.Decide = decideFunc(func(c *schema.Call, d *schema.Decision) {
			if c.Callee() == "13" {
				panic("unlucky")
			}
			decideOK(c, d)
		})
	})
	for path, want := range map[string]string{
		"/v1/route?callee=13":              `{"error":{"code":"internal",`,
		"/v1/route?callee=13&format=plain": "error: internal: ",
	} {
		answer, body := s.do(t, "GET", path, "")
		if answer.StatusCode != 500 || !strings.HasPrefix(body, want) {
			t.Errorf("%s: %d %s; want 500 %s…", path, answer.StatusCode, body, want)
		}
	}
	answer, body := s.do(t, "POST", "/v1/route", `{"jsonrpc":"2.0","method":"route","params":{"callee":"13"},"id":"a"}`)
	if answer.StatusCode != 500 || !strings.Contains(body, `"code":-32603`) || !strings.HasSuffix(body, `,"id":"a"}`+"\n") {
		t.Errorf("json-rpc: %d %s; want 500, -32603 and the id", answer.StatusCode, body)
	}
	if n := logs.FilterField(zap.Any("panic", "unlucky")).Len(); n != 3 {
		t.Errorf("%d log lines name the panic; want 3", n)
	}
	if answer, _ := s.do(t, "GET", "/v1/route?callee=1", ""); answer.StatusCode != 200 {
		t.Errorf("after the panics: %d; want 200", answer.StatusCode)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	s := start(t, func(o *Options) {
		o.Log = zap.New(core)
		o.Settings.Tokens = []schema.Secret{schema.NewSecret("s3cret")}
	})
	s.do(t, "GET", "/v1/route?callee=1", "", "Authorization: Bearer s3cret-mistyped")
	c := s.dial(t)
	fmt.Fprintf(c, "GET /v1/route HTTP/1.1\r\nAuthorization: Bearer s3cret\r\nnot a header\r\n\r\n")
	answer := readAnswer(t, c)
	body, _ := io.ReadAll(answer.Body)
	if code, _ := errorOf(t, string(body)); answer.StatusCode != 400 || code != "bad_request" {
		t.Errorf("a broken header: %s %s; want 400 bad_request", answer.Status, body)
	}
	if logs.Len() < 2 {
		t.Fatalf("%d log lines; want both refusals at debug", logs.Len())
	}
	for _, e := range logs.All() {
		if line := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(line, "s3cret") {
			t.Errorf("a secret was logged: %s", line)
		}
	}
}

func TestUnknownNumbersAreNotFoundInEachDialect(t *testing.T) {
	s := start(t, func(o *Options) {
		o.Decide = decideFunc(func(_ *schema.Call, d *schema.Decision) { d.NotFound, d.Reason = true, schema.ReasonUnknownNumber })
	})
	answer, body := s.do(t, "GET", "/v1/route?callee=1", "")
	if code, field := errorOf(t, body); answer.StatusCode != 404 || code != "unknown_number" || field != "callee" {
		t.Errorf("json: %d %s", answer.StatusCode, body)
	}
	answer, body = s.do(t, "GET", "/v1/route/plain?callee=1", "")
	if answer.StatusCode != 404 || !strings.HasPrefix(body, "error: unknown_number: ") || bytes.ContainsAny([]byte(body), "\r\n") {
		t.Errorf("plain: %d %q", answer.StatusCode, body)
	}
	answer, body = s.do(t, "POST", "/v1/route", `{"jsonrpc":"2.0","method":"route","params":{"callee":"1"},"id":1}`)
	if answer.StatusCode != 200 || !strings.Contains(body, `"code":-32004`) || !strings.Contains(body, `"data":{"code":"unknown_number","field":"callee"}`) {
		t.Errorf("json-rpc: %d %s", answer.StatusCode, body)
	}
}

// The first thing that somebody who tries it with curl does.
func TestAPlusThatIsNotEscapedCostsNoCall(t *testing.T) {
	asked := make(chan [2]string, 1)
	s := start(t, func(o *Options) {
		o.Decide = decideFunc(func(c *schema.Call, d *schema.Decision) {
			asked <- [2]string{strings.Clone(c.Caller()), strings.Clone(c.Callee())}
			decideOK(c, d)
		})
	})
	for _, path := range []string{"/v1/route", "/v1/route/plain", "/v1/route/asterisk"} {
		s.do(t, "GET", path+"?caller=+380501112233&callee=+380442223344", "")
		if got, want := <-asked, [2]string{"380501112233", "380442223344"}; got != want {
			t.Errorf("%s: caller and callee are %q; want %q", path, got, want)
		}
	}
}
