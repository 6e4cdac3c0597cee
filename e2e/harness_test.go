// Package e2e drives the built binary, from socket to socket, against webhooks that behave and
// webhooks that don't. It has no code that ships.
package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the built hookswitch; full says that the long form of the tests was asked for.
var (
	binary string
	full   = os.Getenv("HOOKSWITCH_E2E") == "full"
)

func TestMain(m *testing.M) {
	if os.Getenv(askerRole) != "" {
		if err := runAsker(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	dir, err := os.MkdirTemp("", "hookswitch-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "hookswitch")
	build := exec.Command("go", "build", "-o", binary, "../cmd/hookswitch")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the binary:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// service is a running hookswitch.
type service struct {
	t      *testing.T
	cmd    *exec.Cmd
	URL    string // of the PBX's door
	Config string // path of the configuration file
	log    *logBuffer
	done   chan struct{} // closed when the process has ended
	err    error         // how it ended; read after done
}

// start runs `hookswitch serve` on a configuration, in which "listen" is added, and "store: none" where it names none, and waits until it
// is ready. It is ended with the test.
func start(t *testing.T, config string, env ...string) *service {
	t.Helper()
	s := serving(t, config, env...)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening, read := s.follow(stderr)
	go func() {
		<-read
		s.ended()
	}()
	s.untilServing(listening)
	return s
}

// serving is start's service, before it runs.
func serving(t *testing.T, config string, env ...string) *service {
	t.Helper()
	s := &service{t: t, Config: filepath.Join(t.TempDir(), "hookswitch.yaml"), log: &logBuffer{}, done: make(chan struct{})}
	s.write(config)
	s.cmd = exec.Command(binary, "serve", "-c", s.Config)
	s.cmd.Env = append(os.Environ(), env...)
	return s
}

// follow keeps what the process logs; listening tells where it serves, read is closed with the log's end.
func (s *service) follow(log io.Reader) (listening <-chan string, read <-chan struct{}) {
	at, end := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(end)
		lines := bufio.NewScanner(log)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.log.add(lines.Text())
			var l struct{ Msg, Listen string }
			if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "serving" {
				at <- l.Listen
			}
		}
	}()
	return at, end
}

// ended waits until the process has ended.
func (s *service) ended() {
	s.err = s.cmd.Wait()
	close(s.done)
}

// untilServing waits for the address.
func (s *service) untilServing(listening <-chan string) {
	s.t.Helper()
	s.t.Cleanup(s.stop)
	select {
	case address := <-listening:
		s.URL = "http://" + address
	case <-s.done:
		s.t.Fatalf("the service ended: %v\n%s", s.err, s.log)
	case <-time.After(10 * time.Second):
		s.t.Fatalf("the service did not begin to serve\n%s", s.log)
	}
}

// write replaces the configuration file, at once and whole.
func (s *service) write(config string) {
	s.t.Helper()
	text := "listen: 127.0.0.1:0\n" + config
	if !strings.Contains(config, "store:") {
		text = "store: none\n" + text // not one file for all the services of a test
	}
	if err := os.WriteFile(s.Config+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.Config+".new", s.Config); err != nil {
		s.t.Fatal(err)
	}
}

// signal sends sig to the process.
func (s *service) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// stop ends the process, by force if it takes over 15 seconds. A race that the detector found in it
// (GOFLAGS=-race builds it in) fails the test.
func (s *service) stop() {
	client.CloseIdleConnections() // a drain gives those half a second
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(15 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	if strings.Contains(s.log.all(), "WARNING: DATA RACE") {
		s.t.Error("the race detector found something; see the log")
	}
	if s.t.Failed() {
		s.t.Logf("log of the service:\n%s", s.log)
	}
}

// decision is the JSON answer of /v1/route.
type decision struct {
	DecisionID string  `json:"decision_id"`
	CallID     string  `json:"callid"`
	Project    string  `json:"project"`
	Version    uint64  `json:"version"`
	Source     string  `json:"source"`
	Reason     string  `json:"reason"`
	Schema     *string `json:"schema"`
	DstPhone   string  `json:"dst_phone"`
	Steps      []struct {
		Dial      []string `json:"dial"`
		Strategy  string   `json:"strategy"`
		TimeoutS  float64  `json:"timeout_s"`
		Voicemail string   `json:"voicemail"`
		Playback  string   `json:"playback"`
		Hangup    string   `json:"hangup"`
	} `json:"steps"`
	Hook      *string  `json:"hook"`
	ElapsedMs float64  `json:"elapsed_ms"`
	Next      string   `json:"next"`
	Repeated  bool     `json:"repeated"`
	Warnings  []string `json:"warnings"`
	Error     *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Field   string `json:"field"`
	} `json:"error"`
}

// client keeps its connections, as a PBX's worker does.
var client = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000, DisableCompression: true},
}

// route asks for a decision by GET and returns it with its HTTP status.
func (s *service) route(params url.Values) (decision, int) {
	s.t.Helper()
	d, status, err := s.tryRoute(params)
	if err != nil {
		s.t.Fatal(err)
	}
	return d, status
}

// tryRoute is route for goroutines other than the test's.
func (s *service) tryRoute(params url.Values) (d decision, status int, err error) {
	resp, err := client.Get(s.URL + "/v1/route?" + params.Encode())
	if err != nil {
		return d, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return d, 0, err
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return d, resp.StatusCode, fmt.Errorf("the answer is not JSON: %w: %s", err, body)
	}
	return d, resp.StatusCode, nil
}

// call returns the parameters of a plain call to callee.
func call(callee string) url.Values {
	return url.Values{"caller": {"380501112233"}, "callee": {callee}, "callid": {fmt.Sprintf("call-%d", time.Now().UnixNano())}}
}

// metric returns the value of one series of /metrics, named as it stands there with its labels; 0
// where there is none.
func (s *service) metric(series string) float64 {
	s.t.Helper()
	resp, err := client.Get(s.URL + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			fmt.Sscan(rest, &v)
			return v
		}
	}
	return 0
}

// logBuffer holds the process's standard error.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.WriteString(line + "\n")
}

// all returns the whole of the log.
func (l *logBuffer) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// String returns the last 20 KiB.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buf.Bytes()
	return string(b[max(0, len(b)-20<<10):])
}

// waitFor waits until ok is true, for at most within, and fails the test otherwise.
func waitFor(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited %s in vain: %s", within, what)
}
