package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// slowHook answers none of its requests until the test lets it.
type slowHook struct {
	*httptest.Server
	release chan struct{}
	waiting atomic.Int64
}

func startSlowHook(t *testing.T) *slowHook {
	h := &slowHook{release: make(chan struct{})}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.waiting.Add(1)
		defer h.waiting.Add(-1)
		select {
		case <-h.release:
			fmt.Fprint(w, `{"dst_phone":"380441111111"}`)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(h.CloseClientConnections)
	t.Cleanup(h.Close)
	return h
}

// slowProject asks one hook with much patience; its parts are the hook's URL and further settings
// of the installation.
const slowProject = `
%[2]s
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "100"}]
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{hook: slow}]}
    hooks: [{id: slow, url: "%[1]s", request_timeout: 20s}]
`

// inFlight makes n calls at once and returns when the hook holds all of them.
func inFlight(t *testing.T, s *service, h *slowHook, n int) <-chan outcome {
	t.Helper()
	outcomes := make(chan outcome, n)
	for i := range n {
		go func() {
			d, status, err := s.tryRoute(url.Values{"callee": {"380442223344"}, "callid": {fmt.Sprintf("in-flight-%d", i)}})
			outcomes <- outcome{decision: d, status: status, err: err}
		}()
	}
	waitFor(t, 5*time.Second, "the hook holds the calls", func() bool { return h.waiting.Load() == int64(n) })
	return outcomes
}

func TestSIGTERMLetsEveryCallInFlightHaveItsDecision(t *testing.T) {
	const calls = 20
	hook := startSlowHook(t)
	s := start(t, fmt.Sprintf(slowProject, hook.URL, "intake: {budget: 20s}"))
	kept := dialKept(t, s)
	if status := kept.get(t, "/readyz"); status != 200 {
		t.Fatalf("/readyz before the drain: got %d; want 200", status)
	}
	outcomes := inFlight(t, s, hook, calls)

	s.signal(syscall.SIGTERM)
	waitFor(t, 3*time.Second, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if status := kept.get(t, "/readyz"); status != 503 {
		t.Errorf("/readyz while draining: got %d; want 503", status)
	}
	select {
	case <-s.done:
		t.Fatalf("the process ended with calls in flight: %v\n%s", s.err, s.log)
	case <-time.After(700 * time.Millisecond): // past the moment when idle connections are closed
	}
	close(hook.release)
	for range calls {
		if o := <-outcomes; o.err != nil || o.status != 200 || o.Source != "hook" || o.DstPhone != "380441111111" {
			t.Errorf("a call in flight: got %d %+v, %v; want the hook's own answer", o.status, o.decision, o.err)
		}
	}
	s.wantExit(0, 5*time.Second)
}

func TestAnIdleServiceEndsAtOnceOnSIGTERM(t *testing.T) {
	hook := startSlowHook(t)
	s := start(t, fmt.Sprintf(slowProject, hook.URL, ""))
	s.signal(syscall.SIGTERM)
	s.wantExit(0, 5*time.Second)
}

func TestADrainEndsWithItsTimeoutAndSaysWhatItCutOff(t *testing.T) {
	hook := startSlowHook(t)
	s := start(t, fmt.Sprintf(slowProject, hook.URL, "intake: {budget: 20s, drain_timeout: 1s}"))
	outcomes := inFlight(t, s, hook, 3)
	s.signal(syscall.SIGTERM)
	s.wantExit(1, 5*time.Second)
	if !strings.Contains(s.log.String(), "closed 3 connections that were not done") {
		t.Errorf("the log doesn't say that 3 connections were cut off:\n%s", s.log)
	}
	for range 3 {
		if o := <-outcomes; o.err == nil {
			t.Errorf("a call that was cut off: got %d %+v; want a closed connection", o.status, o.decision)
		}
	}
}

func TestADrainKeepsToTheTimeoutOfTheLastReload(t *testing.T) {
	hook := startSlowHook(t)
	s := start(t, fmt.Sprintf(slowProject, hook.URL, "intake: {budget: 20s, drain_timeout: 15s}"))
	s.write(fmt.Sprintf(slowProject, hook.URL, "intake: {budget: 20s, drain_timeout: 1s}"))
	s.signal(syscall.SIGHUP)
	waitFor(t, 3*time.Second, "the reload", func() bool { return s.metric(`hookswitch_config_reloads_total{result="ok"}`) == 1 })
	inFlight(t, s, hook, 1)
	s.signal(syscall.SIGTERM)
	s.wantExit(1, 5*time.Second)
}

func TestASecondSIGTERMEndsADrainAtOnce(t *testing.T) {
	hook := startSlowHook(t)
	s := start(t, fmt.Sprintf(slowProject, hook.URL, "intake: {budget: 20s, drain_timeout: 20s}"))
	inFlight(t, s, hook, 1)
	s.signal(syscall.SIGTERM)
	waitFor(t, 3*time.Second, "the drain begins", func() bool { return strings.Contains(s.log.String(), `"msg":"draining"`) })
	s.signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		t.Fatal("still draining 5 s after the second SIGTERM")
	}
	if state := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() || state.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v; want by the signal itself", s.cmd.ProcessState)
	}
}

// wantExit waits for the process to end by itself with code.
func (s *service) wantExit(code int, within time.Duration) {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(within):
		s.t.Fatalf("the process still runs %s after it was told to end\n%s", within, s.log)
	}
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.t.Errorf("the process ended with %v; want exit code %d", s.cmd.ProcessState, code)
	}
}

// keptConn is one connection of a PBX's worker, kept whatever happens.
type keptConn struct {
	net.Conn
	read *bufio.Reader
}

func dialKept(t *testing.T, s *service) *keptConn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &keptConn{c, bufio.NewReader(c)}
}

// get asks for path on this very connection and returns the status.
func (c *keptConn) get(t *testing.T, path string) int {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: pbx\r\n\r\n", path)
	resp, err := http.ReadResponse(c.read, nil)
	if err != nil {
		t.Fatalf("GET %s on a kept connection: %v", path, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
