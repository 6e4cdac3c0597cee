package hookclient

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hookswitch/schema"
)

// good is an answer that names a destination.
const good = `{"dst_phone":"380441111111"}`

// ok writes a 200 with the given body; it is what most webhooks of these tests end in.
func ok(c net.Conn, body string) bool {
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return true
}

// webhook is a server of the test's own, which answers on the wire as the test likes.
type webhook struct {
	addr string // host:port

	mu     sync.Mutex // guards what follows
	seen   []*http.Request
	bodies []string
	conns  []net.Conn
	closed int // connections that the webhook's side has closed
	done   bool
}

// answerer answers the n-th request that a webhook sees, from 1, and says whether to go on with the
// connection or to close it.
type answerer func(c net.Conn, n int, r *http.Request) (goOn bool)

// newWebhook serves on 127.0.0.1 until the test ends; with TLS where secured is not nil.
func newWebhook(t testing.TB, secured *tls.Config, answer answerer) *webhook {
	t.Helper()
	return serve(t, listen(t, "127.0.0.1:0"), secured, answer)
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func serve(t testing.TB, l net.Listener, secured *tls.Config, answer answerer) *webhook {
	w := &webhook{addr: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !w.keep(c) {
				return
			}
			running.Go(func() {
				if secured != nil {
					c = tls.Server(c, secured)
				}
				w.converse(c, answer)
				c.Close()
				w.mu.Lock()
				defer w.mu.Unlock()
				w.closed++
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.hangUp(true)
		running.Wait()
	})
	return w
}

func (w *webhook) converse(c net.Conn, answer answerer) {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.seen = append(w.seen, req)
		w.bodies = append(w.bodies, string(body))
		n := len(w.seen)
		w.mu.Unlock()
		if !answer(c, n, req) {
			return
		}
	}
}

// keep notes a connection; false means that the test is over.
func (w *webhook) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		c.Close()
		return false
	}
	w.conns = append(w.conns, c)
	return true
}

// hangUp closes all connections, as a server does that is restarted.
func (w *webhook) hangUp(forGood bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = w.done || forGood
	for _, c := range w.conns {
		c.Close()
	}
}

// awaitClosed waits until the webhook has closed n connections.
func (w *webhook) awaitClosed(t testing.TB, n int) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		closed := w.closed
		w.mu.Unlock()
		if closed >= n {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("the webhook closed %d connections; want %d", closed, n)
		}
	}
}

// requests is how many requests the webhook has read.
func (w *webhook) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// connections is how many connections it has accepted.
func (w *webhook) connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

// request returns the n-th request, from 1, and its body.
func (w *webhook) request(t testing.TB, n int) (*http.Request, string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) < n {
		t.Fatalf("%d requests arrived; want %d", len(w.seen), n)
	}
	return w.seen[n-1], w.bodies[n-1]
}

// always answers every request alike.
func always(raw string) answerer {
	return func(c net.Conn, _ int, _ *http.Request) bool {
		io.WriteString(c, raw)
		return true
	}
}

// reset closes a connection so that the other side gets a reset.
func reset(c net.Conn) bool {
	if s, isTLS := c.(*tls.Conn); isTLS {
		c = s.NetConn()
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	return false
}

// silent says nothing, until the other side gives up.
func silent(c net.Conn, _ int, _ *http.Request) bool {
	io.Copy(io.Discard, c)
	return false
}

// silentListener accepts connections and never says or reads anything.
func silentListener(t testing.TB) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	var accepted []net.Conn
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted = append(accepted, c)
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
		for _, c := range accepted {
			c.Close()
		}
	})
	return l.Addr().String()
}

// refusing returns an address where nobody listens.
func refusing(t testing.TB) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}

// blackHole listens on addr with a queue that is full, so that further connections get no answer.
func blackHole(t testing.TB, addr [4]byte, port int) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: addr, Port: port}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := net.JoinHostPort(net.IP(addr[:]).String(), fmt.Sprint(bound.(*syscall.SockaddrInet4).Port))
	for {
		c, err := net.DialTimeout("tcp", at, 200*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { c.Close() })
	}
}

// prepare makes a hook ready to be asked as a project would that allows private addresses.
func prepare(t testing.TB, c *Client, url string, set func(*schema.Hook)) *Hook {
	t.Helper()
	conf := &schema.Hook{}
	conf.SetDefaults()
	conf.ID, conf.URL = "crm", url
	if set != nil {
		set(conf)
	}
	h, err := c.Prepare(&schema.Project{AllowPrivateHooks: true}, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// post makes a hook's requests POSTs.
func post(h *schema.Hook) { h.Method = "POST" }

// patience is enough for whatever shall succeed, on a machine that is busy with other things.
const patience = 10 * time.Second

// ask asks about a small call, within the given time.
func ask(h *Hook, within time.Duration) *schema.Answer {
	return askAbout(h, smallCall(), within)
}

func askAbout(h *Hook, call *schema.Call, within time.Duration) *schema.Answer {
	call.At = time.Now()
	a := new(schema.Answer)
	h.Ask(call, call.At.Add(within), a)
	return a
}

// wantOK fails the test where the answer is not that of good.
func wantOK(t testing.TB, a *schema.Answer) {
	t.Helper()
	if got := summary(a); got != "380441111111" {
		t.Fatalf("got %s\nattempts: %+v", got, a.Attempts)
	}
}

// wantFailure fails the test where the answer is another failure, or its words lack some.
func wantFailure(t testing.TB, a *schema.Answer, reason schema.Reason, words string) {
	t.Helper()
	if a.Reason != reason || !strings.Contains(a.Detail, words) {
		t.Fatalf("got %s: %s\nwant %s: … %s", a.Reason, a.Detail, reason, words)
	}
}

// leavesNothing fails the test where, at its end, goroutines or file descriptors are left that were
// not there before. It must be called before anything is opened.
func leavesNothing(t *testing.T) {
	t.Helper()
	before, running := descriptors(t), goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, running)
		var after string
		for range 50 {
			if after = descriptors(t); strings.Count(after, "\n") <= strings.Count(before, "\n") {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("descriptors are left; before:\n%safter:\n%s", before, after)
	})
}

// descriptors lists what sockets and files this process has open.
func descriptors(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var list bytes.Buffer
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			fmt.Fprintf(&list, "%s %s\n", e.Name(), to)
		}
	}
	return list.String()
}

// answersWell is a webhook that does its job.
func answersWell(c net.Conn, _ int, _ *http.Request) bool { return ok(c, good) }

func portOf(t testing.TB, w *webhook) int {
	t.Helper()
	return int(netip.MustParseAddrPort(w.addr).Port())
}
