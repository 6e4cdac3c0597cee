package hooksim

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a simulated webhook until the test ends, and returns a client that leaves nothing
// behind.
func start(t *testing.T, o Options) (*Server, *http.Client) {
	t.Helper()
	o.Listen = "127.0.0.1:0"
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, &http.Client{Transport: transport}
}

func ask(t *testing.T, c *http.Client, method, url, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Latency", "1h")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// until waits for something that another goroutine is about to bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
	}
}

func TestAnswers(t *testing.T) {
	const custom = `{"schema":26076}`
	for _, tc := range []struct{ name, answer, method, path, body, want string }{
		{"a GET gets the default answer", "", "GET", "/?caller=380501112233", "", DefaultAnswer},
		{"a POST gets the configured answer", custom, "POST", "/route", "caller=380501112233", custom},
		{"a request can't ask for a failure", "", "GET", "/?latency=1h&fail-rate=1&status=500", "", DefaultAnswer},
		{"a JSON-RPC question keeps its number id", custom, "POST", "/", `{"jsonrpc":"2.0","method":"route","params":{},"id":7}`, `{"jsonrpc":"2.0","result":{"schema":26076},"id":7}`},
		{"a JSON-RPC question keeps its text id", custom, "POST", "/", `{"id":"a\"b","jsonrpc":"2.0"}`, `{"jsonrpc":"2.0","result":{"schema":26076},"id":"a\"b"}`},
		{"a JSON-RPC question without an id gets null", custom, "POST", "/", `{"jsonrpc":"2.0"}`, `{"jsonrpc":"2.0","result":{"schema":26076},"id":null}`},
		{"an answer that isn't JSON is a JSON-RPC string", "oops\n", "POST", "/", `{"jsonrpc":"2.0","id":1}`, `{"jsonrpc":"2.0","result":"oops\n","id":1}`},
		{"jsonrpc deeper down is no JSON-RPC", custom, "POST", "/", `{"params":{"jsonrpc":"2.0"},"id":1}`, custom},
		{"jsonrpc in a broken body is no JSON-RPC", custom, "POST", "/", `{"jsonrpc":"2.0","id":1`, custom},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := start(t, Options{Answer: tc.answer})
			status, body, header := ask(t, c, tc.method, "http://"+s.Addr()+tc.path, tc.body)
			if status != 200 || body != tc.want {
				t.Errorf("found %d %s\nwant  200 %s", status, body, tc.want)
			}
			if got := header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type: found %q; want application/json", got)
			}
			if got, want := s.Stats(), (Stats{Requests: 1}); got != want {
				t.Errorf("found %+v; want %+v", got, want)
			}
		})
	}
}

func TestSetTakesEffectOnARunningServer(t *testing.T) {
	s, c := start(t, Options{FailRate: 1})
	if status, _, _ := ask(t, c, "GET", s.URL(), ""); status != 500 {
		t.Errorf("found %d; want 500 of a webhook that always fails", status)
	}
	if err := s.Set(Options{}); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := ask(t, c, "GET", s.URL(), ""); status != 200 {
		t.Errorf("found %d; want 200 after recovery", status)
	}
	if err := s.Set(Options{FailRate: 2}); err == nil {
		t.Error("a fail rate of 2 was taken")
	}
	if got, want := s.Stats(), (Stats{Requests: 2, Failed: 1}); got != want {
		t.Errorf("found %+v; want %+v", got, want)
	}
}

func TestHealthzAnswersWhateverElseHappens(t *testing.T) {
	s, c := start(t, Options{HangRate: 1, Latency: time.Hour, OnRequest: func(_, uri, _ string) {
		t.Errorf("a probe was reported as a request: %s", uri)
	}})
	if status, body, _ := ask(t, c, "GET", s.URL()+"healthz", ""); status != 200 || body != "ok\n" {
		t.Errorf("found %d %q; want 200 ok", status, body)
	}
	if got, want := s.Stats(), (Stats{Probes: 1}); got != want {
		t.Errorf("found %+v; want %+v", got, want)
	}
}

func TestOnRequestSeesWhatWasSent(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	s, c := start(t, Options{OnRequest: func(method, uri, body string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, method+" "+uri+" "+body)
	}})
	ask(t, c, "POST", s.URL()+"a%20b?x=%D1%96", "from=380501112233")
	mu.Lock()
	defer mu.Unlock()
	if want := "POST /a%20b?x=%D1%96 from=380501112233"; len(seen) != 1 || seen[0] != want {
		t.Errorf("found %q; want %q alone", seen, want)
	}
}

func TestAHungRequestIsHeldUntilItsClientLeaves(t *testing.T) {
	s, _ := start(t, Options{HangRate: 1})
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	until(t, "the request in flight", func() bool { return s.Stats() == Stats{Requests: 1, InFlight: 1, Hung: 1} })
	conn.Close()
	until(t, "the request let go", func() bool { return s.Stats().InFlight == 0 })
}

func TestCloseDropsWhatIsUnanswered(t *testing.T) {
	for _, tc := range []struct {
		name string
		Options
	}{
		{"a late answer", Options{Latency: time.Hour}},
		{"a hung one", Options{HangRate: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := start(t, tc.Options)
			failed := make(chan error, 1)
			go func() {
				resp, err := c.Get(s.URL())
				if err == nil {
					resp.Body.Close()
				}
				failed <- err
			}()
			until(t, "the request in flight", func() bool { return s.Stats().InFlight == 1 })
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-failed; !errors.Is(err, io.EOF) {
				t.Errorf("found %v; want the connection dropped without an answer", err)
			}
			if conn, err := net.Dial("tcp", s.Addr()); err == nil {
				conn.Close()
				t.Error("it still accepts connections")
			}
		})
	}
}

func TestFateFollowsTheRates(t *testing.T) {
	for _, tc := range []struct{ fail, hang float64 }{{0, 0}, {1, 0}, {0, 1}, {0.5, 0.5}, {0.1, 0.02}} {
		b, err := newBehaviour(Options{FailRate: tc.fail, HangRate: tc.hang, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		const n = 100_000
		var fails, hangs int
		for range n {
			fail, hang := b.fate()
			if fail && hang {
				t.Fatal("one request both failed and hung")
			}
			fails += count(fail)
			hangs += count(hang)
		}
		if !near(fails, tc.fail, n) || !near(hangs, tc.hang, n) {
			t.Errorf("rates %v and %v: %d failed and %d hung of %d", tc.fail, tc.hang, fails, hangs, n)
		}
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// near allows half a percentage point, over three standard deviations of any rate at 100,000 draws;
// never and always are exact.
func near(found int, rate float64, n int) bool {
	if rate == 0 || rate == 1 {
		return found == int(rate)*n
	}
	off := float64(found)/float64(n) - rate
	return off > -0.005 && off < 0.005
}

func TestTheSameSeedDrawsTheSameLatencies(t *testing.T) {
	const latency, jitter = 50 * time.Millisecond, 20 * time.Millisecond
	a, _ := newBehaviour(Options{Latency: latency, Jitter: jitter, Seed: 42})
	b, _ := newBehaviour(Options{Latency: latency, Jitter: jitter, Seed: 42})
	low, high := time.Hour, time.Duration(0)
	for i := range 10_000 {
		x, y := a.latency(), b.latency()
		if x != y {
			t.Fatalf("draw %d: %v and %v of one seed", i, x, y)
		}
		low, high = min(low, x), max(high, x)
	}
	if low < latency-jitter || low > latency-jitter*9/10 || high > latency+jitter || high < latency+jitter*9/10 {
		t.Errorf("latencies from %v to %v; want them to fill %v ± %v", low, high, latency, jitter)
	}
}

func TestNewRefusesWhatMakesNoSense(t *testing.T) {
	nan := 0.0
	nan /= nan
	for _, o := range []Options{
		{Latency: -1}, {Jitter: -1}, {FailRate: -0.1}, {FailRate: 1.1}, {HangRate: -0.1},
		{FailRate: 0.6, HangRate: 0.6}, {FailRate: nan}, {Listen: "127.0.0.1:99999"},
	} {
		if s, err := New(o); err == nil {
			s.Close()
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	lines := make(chan string, 10)
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, Options{Listen: "127.0.0.1:0"}, func(line string) { lines <- line }) }()
	if line := <-lines; !strings.HasPrefix(line, "simulated webhook listens on http://127.0.0.1:") {
		t.Errorf("found %q", line)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if line, want := <-lines, "simulated webhook ends: 0 requests, 0 failed, 0 hung, 0 probes"; line != want {
		t.Errorf("found %q; want %q", line, want)
	}
}

func TestAPlainAnswerAllocatesNothing(t *testing.T) {
	s, ctx := bare(t)
	if n := testing.AllocsPerRun(1000, func() { answerOnce(s, ctx) }); n != 0 {
		t.Errorf("%v allocations an answer; want 0", n)
	}
}

func BenchmarkAnswer(b *testing.B) {
	s, ctx := bare(b)
	b.ReportAllocs()
	for b.Loop() {
		answerOnce(s, ctx)
	}
}

// bare is a server without a listener, and one GET for its handler.
func bare(t testing.TB) (*Server, *fasthttp.RequestCtx) {
	behaviour, err := newBehaviour(Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{}
	s.behaviour.Store(behaviour)
	ctx := &fasthttp.RequestCtx{}
	ctx.Request.SetRequestURI("http://a/route?caller=380501112233&callee=380442223344")
	return s, ctx
}

func answerOnce(s *Server, ctx *fasthttp.RequestCtx) {
	ctx.Response.Reset()
	s.handle(ctx)
}

func TestWhatWasAnsweredIsToldWithItsStatus(t *testing.T) {
	var told []int
	o := Options{FailRate: 1, FailStatus: 410, OnAnswer: func(status int, method, uri, body string) {
		if method != "POST" || uri != "/x" || body != "hello" {
			t.Errorf("told of %s %s %q", method, uri, body)
		}
		told = append(told, status)
	}}
	s, c := start(t, o)
	first, _, _ := ask(t, c, "POST", s.URL()+"x", "hello")
	o.FailRate = 0
	if err := s.Set(o); err != nil {
		t.Fatal(err)
	}
	second, _, _ := ask(t, c, "POST", s.URL()+"x", "hello")
	if first != 410 || second != 200 || len(told) != 2 || told[0] != first || told[1] != second {
		t.Errorf("answered %d and %d, told %v; want 410 and 200", first, second, told)
	}
}
