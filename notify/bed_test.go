package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"hookswitch/schema"
	"hookswitch/store"
)

// childEnv names what this test binary does when a test starts it again, on a file system of its own.
const childEnv = "HOOKSWITCH_NOTIFY_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "fill" {
		flag.Parse()
		fillDisk(flag.Arg(0))
		return
	}
	// A go-redis pool whose server has died notices its own end within a second, longer than goleak waits.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until done says true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// request is what a receiver got.
type request struct {
	Path, Delivery, CallID, Event, Variables string
	Attempt                                  int
	At                                       time.Time // by the receiver's clock
}

// receiver is a customer's endpoint, a real listener: what it answers depends on the path.
type receiver struct {
	*httptest.Server
	now func() time.Time

	mu     sync.Mutex
	got    []request
	answer map[string]http.HandlerFunc
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{now: time.Now, answer: map[string]http.HandlerFunc{}}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(func() {
		r.CloseClientConnections() // ends handlers that hang
		r.Close()
	})
	return r
}

func (r *receiver) serve(w http.ResponseWriter, q *http.Request) {
	var got request
	body, _ := io.ReadAll(q.Body)
	_ = json.Unmarshal(body, &got)
	got.Path = q.URL.Path
	r.mu.Lock()
	got.At = r.now()
	r.got = append(r.got, got)
	answer := r.answer[q.URL.Path]
	r.mu.Unlock()
	if answer != nil {
		answer(w, q)
	}
}

// on says what a path answers from now on; nil for 200.
func (r *receiver) on(path string, answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer[path] = answer
}

// requests returns what came to a path so far, "" for all.
func (r *receiver) requests(path string) []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.got), func(q request) bool { return path != "" && q.Path != path })
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func hang(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }

// wire is a Sender that sends for real, each endpoint by a client of its own.
type wire struct {
	prepared, closed atomic.Int64
	refuse           atomic.Pointer[string] // a URL that can't be prepared
	sent             atomic.Pointer[func()] // runs when an answer has come
}

func (s *wire) Prepare(_ *schema.Project, w *schema.Webhook) (Endpoint, error) {
	if bad := s.refuse.Load(); bad != nil && *bad == w.URL {
		return nil, fmt.Errorf("url: found %s; want another", w.URL)
	}
	s.prepared.Add(1)
	return &wireEndpoint{s, w, &http.Client{Transport: &http.Transport{}}}, nil
}

type wireEndpoint struct {
	wire    *wire
	webhook *schema.Webhook
	client  *http.Client
}

func (p *wireEndpoint) Close() {
	p.wire.closed.Add(1)
	p.client.CloseIdleConnections()
}

func (p *wireEndpoint) Send(e *schema.Event, deliveryID string, attempt int, variables string, deadline time.Time) (sent schema.Sent) {
	began := time.Now()
	defer func() {
		sent.Took = time.Since(began)
		if then := p.wire.sent.Load(); then != nil {
			(*then)()
		}
	}()
	body := mustJSON(request{Delivery: deliveryID, CallID: e.CallID, Event: e.Kind, Attempt: attempt, Variables: variables})
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, "POST", p.webhook.URL, bytes.NewReader(body))
	if err != nil {
		return schema.Sent{Reason: schema.ReasonInternal, Detail: err.Error()}
	}
	sent.Request = "POST " + p.webhook.URL + " " + string(body)
	resp, err := p.client.Do(q)
	if err != nil {
		sent.Reason, sent.Detail = schema.ReasonConnectError, err.Error()
		if ctx.Err() != nil {
			sent.Reason = schema.ReasonTimeout
		}
		return sent
	}
	defer resp.Body.Close()
	sent.Body, _ = io.ReadAll(resp.Body)
	sent.Status, sent.Answer = resp.StatusCode, string(sent.Body)
	after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	sent.RetryAfter = time.Duration(after) * time.Second
	return sent
}

// clock is moved by a test.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	waiting []waiter
	polls   int // waits for the next poll so far
}

type waiter struct {
	at time.Time
	ch chan time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d == pollEvery {
		c.polls++
	}
	w := waiter{c.now.Add(d), make(chan time.Time, 1)}
	c.waiting = append(c.waiting, w)
	return w.ch
}

func (c *clock) move(d time.Duration) (polls int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	polls = c.polls
	c.waiting = slices.DeleteFunc(c.waiting, func(w waiter) bool {
		due := !w.at.After(c.now)
		if due {
			w.ch <- c.now
		}
		return due
	})
	return polls
}

// bed is one instance with its store, and receivers to send to.
type bed struct {
	*Notify
	t     testing.TB
	store store.Store
	wire  *wire
	clock *clock // nil for the real one
	stop  func() // ends Run, as an operator would
}

// start runs an instance on s with the webhooks of one project. A clock of nil is the real one.
func start(t testing.TB, s store.Store, c *clock, o Options, webhooks ...schema.Webhook) *bed {
	t.Helper()
	b := &bed{t: t, store: s, wire: &wire{}, clock: c}
	o.Store, o.Sender = s, b.wire
	if c != nil {
		o.Now, o.After = c.Now, c.After
	}
	if o.Settings.Workers == 0 {
		o.Settings = schema.Events{Workers: 64, LogFor: 24 * 7 * time.Hour, LogEntries: 1000, EmitCreate: true}
	}
	if testing.Verbose() {
		o.Log = zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(os.Stderr), zap.WarnLevel))
	}
	b.Notify = New(o)
	must(t, b.Load(config(o.Settings, webhooks...)))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	b.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		b.Close()
	})
	t.Cleanup(b.stop)
	return b
}

// config has one project, "p", with the webhooks.
func config(e schema.Events, webhooks ...schema.Webhook) *schema.Config {
	return &schema.Config{Events: e, Projects: []*schema.Project{{ID: "p", Webhooks: webhooks}}}
}

// webhook is one for "create" events that retries at once, changed by change.
func webhook(id int64, url string, change ...func(*schema.Webhook)) schema.Webhook {
	var w schema.Webhook
	w.SetDefaults()
	w.ID, w.URL, w.Event, w.Retry = id, url, "create", "1ms..5ms x 1000"
	for _, c := range change {
		c(&w)
	}
	return w
}

func event(callID string, values ...schema.Custom) *schema.Event {
	return &schema.Event{Project: "p", Kind: "create", Direction: "inbound", CallID: callID, At: time.Now(), Values: values}
}

// accept accepts an event of a call, or fails.
func (b *bed) accept(callID string) *schema.Event {
	b.t.Helper()
	e := event(callID)
	b.acceptEvent(e)
	return e
}

func (b *bed) acceptEvent(e *schema.Event) {
	b.t.Helper()
	if a := b.Accept(b.t.Context(), e, ""); a != schema.EventAccepted {
		b.t.Fatalf("event %s of %s: got %s; want it accepted", e.Kind, e.CallID, acceptances[a])
	}
}

// idle reports whether nothing is under way in this instance.
func (b *bed) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.busy == 0
}

// empty reports whether the outbox is, and this instance has said so.
func (b *bed) empty() bool {
	held, err := b.store.Held(b.t.Context())
	must(b.t, err)
	return len(held) == 0 && b.idle()
}

// pass moves the clock, and waits until the outbox has been looked at since, and what was due is done.
func (b *bed) pass(d time.Duration) {
	b.t.Helper()
	polls := b.clock.move(d)
	eventually(b.t, "the outbox is polled", func() bool {
		b.clock.mu.Lock()
		defer b.clock.mu.Unlock()
		return b.clock.polls > polls
	})
	eventually(b.t, "what was due is done", func() bool { return b.idle() && len(b.wake) == 0 && b.idle() })
}

// delivery returns the log's view of an event's delivery, once it has it in a state.
func (b *bed) delivery(e *schema.Event, webhook int64, state schema.DeliveryState) (d schema.Delivery) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("the log has %s as %s", e.ID, state), func() bool {
		var err error
		d, err = b.Get(b.t.Context(), deliveryID(e.ID, webhook))
		return err == nil && d.State == state
	})
	return d
}

// backends opens an empty store of each kind.
var backends = map[string]func(testing.TB) store.Store{
	"bbolt": func(t testing.TB) store.Store { return openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db")) },
	"Redis": func(t testing.TB) store.Store { return openRedis(t, startRedis(t)) },
}

func onBoth(t *testing.T, test func(*testing.T, store.Store)) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func openBolt(t testing.TB, path string) store.Store {
	t.Helper()
	s, err := store.OpenBolt(context.Background(), path)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func openRedis(t testing.TB, addr string) store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), "redis://"+addr)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// startRedis starts a redis-server of the test's own on a free port and returns its address.
func startRedis(t testing.TB, args ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed; run scripts/setup")
	}
	c := exec.Command(binary, append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "",
		"--appendonly", "yes", "--appendfsync", "no", "--logfile", ""}, args...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // Pdeathsig is of the thread that starts it
		err := c.Start()
		started <- err
		if err == nil {
			c.Wait()
		}
		close(ended)
	}()
	must(t, <-started)
	t.Cleanup(func() {
		c.Process.Kill()
		<-ended
	})
	eventually(t, "redis-server listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}

// metric is the sum of a metric's series whose labels hold all of those given, "name=value".
func metric(t testing.TB, reg *prometheus.Registry, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() != "hookswitch_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetName()+"="+l.GetValue())
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(have, l) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// callIDs are the calls of requests, in their order.
func callIDs(requests []request) string {
	var ids []string
	for _, q := range requests {
		ids = append(ids, q.CallID)
	}
	return strings.Join(ids, " ")
}
