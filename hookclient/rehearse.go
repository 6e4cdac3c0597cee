package hookclient

import (
	"net"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"hookswitch/schema"
)

// Test asks project p's hook h about the call as Ask does, by the deadline, over new connections that
// are closed afterwards, and tells how long each stage took. It fails where the hook cannot be made
// ready, as Prepare does; how asking it went is a's to say. With call.Explain the attempts are told in
// full.
func (c *Client) Test(p *schema.Project, h *schema.Hook, call *schema.Call, deadline time.Time, a *schema.Answer) (schema.Times, error) {
	hook, err := c.Prepare(p, h)
	if err != nil {
		return schema.Times{}, err
	}
	defer hook.Close()
	watch := &stopwatch{}
	watch.time(hook.primary)
	if hook.fallback != nil {
		watch.time(hook.fallback)
	}
	began := time.Now()
	hook.Ask(call, deadline, a)
	return watch.read(time.Since(began)), nil
}

// Read fills a with what an answer of that status, headers and body would mean, had project p's hook h
// given it. Nobody is asked. A JSON-RPC answer may have any id.
func (c *Client) Read(p *schema.Project, h *schema.Hook, status int, header map[string]string, body []byte, a *schema.Answer) {
	resp := response{status: status, body: body}
	for name, value := range header {
		switch {
		case strings.EqualFold(name, "Content-Type"):
			resp.contentType = []byte(value)
		case strings.EqualFold(name, "Content-Encoding"):
			resp.contentEncoding = []byte(value)
		}
	}
	hook := &Hook{conf: h, reader: newReader(h, p.Destinations.Region)}
	hook.read(a, &resp, nil, gjson.GetBytes(body, "id").Uint())
	a.Attempts = append(a.Attempts, schema.Attempt{
		URL: "a pasted answer", Status: status, Reason: a.Reason, Error: a.Detail, Body: excerpt(body, 2048),
	})
}

// stopwatch times the connections of one question.
type stopwatch struct {
	mu    sync.Mutex // guards all below: a dial that comes too late may still be at it
	times schema.Times
	last  time.Time // when the stage under way began
	sent  time.Time // when the request's first byte left
}

// time has t's connections timed. t must not have been used yet.
func (s *stopwatch) time(t *target) {
	t.dialer.reached = s.reached
	t.pool.dial = func(timeout time.Duration) (*conn, error) {
		c, err := t.dialer.dial(timeout)
		if err != nil {
			return nil, err
		}
		c.Conn = &timedConn{Conn: c.Conn, close: (&conn{Conn: c.Conn, tcp: c.tcp}).Close, watch: s}
		return c, nil
	}
}

// reached notes the end of a stage of connecting.
func (s *stopwatch) reached(at stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	took := now.Sub(s.last)
	switch at {
	case dialBegun:
		s.times, s.sent = schema.Times{}, time.Time{}
	case nameResolved:
		s.times.DNS = took
	case connected:
		s.times.Connect = took
	case handshaken:
		s.times.TLS = took
	}
	s.last = now
}

// wrote and answered note the first byte each way.
func (s *stopwatch) wrote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent.IsZero() {
		s.sent = time.Now()
	}
}

func (s *stopwatch) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times.FirstByte == 0 && !s.sent.IsZero() {
		s.times.FirstByte = time.Since(s.sent)
	}
}

func (s *stopwatch) read(total time.Duration) schema.Times {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times.Total = total
	return s.times
}

// timedConn tells the stopwatch when bytes go and come.
type timedConn struct {
	net.Conn
	close func() error
	watch *stopwatch
}

func (c *timedConn) Write(b []byte) (int, error) {
	c.watch.wrote()
	return c.Conn.Write(b)
}

func (c *timedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.watch.answered()
	}
	return n, err
}

func (c *timedConn) Close() error { return c.close() }
