package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"hookswitch/bench/hooksim"
)

// The numbers of the project that the store's tests manage through the API, and what they lead to.
const (
	dialledNumber = "380442223301" // a destination
	askedNumber   = "380442223302" // a hook
	recallNumber  = "380442223303" // a hook that is told how often the caller called, so that the store is asked
)

// storeConfig is a service on a shared store, without any project of its own.
func storeConfig(storeURL string) string {
	return `store: ` + storeURL + `
intake: {budget: 20s}
admin: {listen: 127.0.0.1:0, tokens: [{name: ops, token: ` + controlToken + `, scopes: [read, write]}]}
`
}

// wholeEdition is the project managed by update n, in which every part bears n: a decision by parts of
// two editions shows it.
func wholeEdition(n int, hookURL string) map[string]any {
	type object = map[string]any
	number := func(called, schema string) object {
		return object{"number": called, "schema": fmt.Sprint(schema, n), "pool": fmt.Sprint(n)}
	}
	scheme := func(id string, steps ...any) object { return object{"id": id, "steps": steps} }
	hook := func(id string, params ...any) object {
		return object{
			"id": fmt.Sprint(id, n), "url": fmt.Sprintf("%s%d", hookURL, n), "request_timeout": "5s", "max_in_flight": 4096,
			"breaker": object{"slow_call": 1}, "params": append(params, object{"name": "pool", "param": "pool"}),
		}
	}
	dial := object{"dial": []string{destinationOf(n)}}
	return object{
		"id": "managed", "default_schema": fmt.Sprint("s", n), "allow_private_hooks": true,
		"numbers": []any{number(dialledNumber, "s"), number(askedNumber, "ask"), number(recallNumber, "recall")},
		"schemas": []any{
			scheme(fmt.Sprint("s", n), dial), scheme("answered", dial),
			scheme(fmt.Sprint("ask", n), object{"hook": fmt.Sprint("crm", n)}), scheme(fmt.Sprint("recall", n), object{"hook": fmt.Sprint("known", n)}),
		},
		"hooks": []any{hook("crm"), hook("known", object{"name": "calls", "param": "callnum"})},
	}
}

// startEditionHook is the webhook of all editions. It answers with a scheme's id, which each edition has
// leading elsewhere, and holds the number's edition against the hook's.
func startEditionHook(t *testing.T) *hooksim.Server {
	return startSim(t, hooksim.Options{Answer: `{"schema":"answered"}`, OnRequest: func(_, uri, _ string) {
		u, err := url.Parse(uri)
		if err != nil || strings.TrimPrefix(u.Path, "/") != u.Query().Get("pool") {
			t.Errorf("a hook was asked by parts of two editions: %s, %v", uri, err)
		}
	}})
}

// editionOf returns which edition made a decision about called, and what is wrong where it was not made
// by one alone.
func editionOf(called string, d *decision, status int, err error) (n int, wrong string) {
	if err != nil {
		return 0, err.Error()
	}
	source, schema, hook := "schema", "s%d", ""
	switch called {
	case askedNumber:
		source, schema, hook = "hook", "answered", "crm%d"
	case recallNumber:
		source, schema, hook = "hook", "answered", "known%d"
	}
	_, err = fmt.Sscanf(d.DstPhone, "38044%d", &n)
	fill := func(pattern string) string { return strings.Replace(pattern, "%d", fmt.Sprint(n), 1) }
	if err != nil || status != http.StatusOK || d.Reason != "ok" || d.Version == 0 || d.Source != source || value(d.Schema) != fill(schema) || value(d.Hook) != fill(hook) {
		return n, fmt.Sprintf("%s: status %d, scheme %s, hook %s, %+v; want all of it by one edition", called, status, value(d.Schema), value(d.Hook), *d)
	}
	return n, ""
}

// follows waits until the service decides by edition n.
func (s *service) follows(n int) time.Duration {
	s.t.Helper()
	began := time.Now()
	waitFor(s.t, 90*time.Second, fmt.Sprint("decisions by edition ", n), func() bool {
		d, _ := s.route(call(dialledNumber))
		return d.DstPhone == destinationOf(n)
	})
	return time.Since(began)
}

// answered is an answer of the admin API, or of a door, and how long it took.
type answered struct {
	status int
	header http.Header
	body   string
	took   time.Duration
	err    error
}

// ask sends a request with a JSON body and the operators' token; for any goroutine.
func ask(method, url string, body any) (a answered) {
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	sent, err := json.Marshal(body)
	if err != nil {
		return answered{err: err}
	}
	req, err := http.NewRequest(method, url, strings.NewReader(string(sent)))
	if err != nil {
		return answered{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+controlToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return answered{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answered{status: resp.StatusCode, header: resp.Header, body: string(text), err: err}
}

func (a *answered) ok() bool { return a.err == nil && a.status < 300 }

func (a answered) String() string {
	return fmt.Sprintf("%d %s, Retry-After %q, after %s, %v", a.status, a.body, a.header.Get("Retry-After"), a.took.Round(time.Millisecond), a.err)
}

// wire is a way to a server that can be cut: then nothing that is sent arrives, on either side, and
// nobody is told. Mended, it lets new connections through; those of before stay dead, as behind a
// firewall that has forgotten them.
type wire struct {
	address string // of this end
	to      string

	mu   sync.Mutex // guards what follows
	cut  bool
	ways map[*way]bool
}

// way is one connection.
type way struct {
	near, far net.Conn
	mu        sync.Mutex // guards dead
	dead      bool
}

func startWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: l.Addr().String(), to: to, ways: map[*way]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.carry(near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		for c := range w.ways {
			c.close()
		}
		w.mu.Unlock()
		running.Wait()
	})
	return w
}

// carry moves what comes on a connection until either end is done with it.
func (w *wire) carry(near net.Conn) {
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		near.Close()
		return
	}
	c := &way{near: near, far: far}
	w.mu.Lock()
	c.dead = w.cut
	w.ways[c] = true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { c.move(far, near) })
	both.Go(func() { c.move(near, far) })
	both.Wait()
	w.mu.Lock()
	delete(w.ways, c)
	w.mu.Unlock()
}

func (c *way) close() {
	c.near.Close()
	c.far.Close()
}

func (c *way) move(to, from net.Conn) {
	defer c.close()
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		dead := c.dead
		c.mu.Unlock()
		if dead {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// sever cuts the wire.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.ways {
		c.mu.Lock()
		c.dead = true
		c.mu.Unlock()
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}
