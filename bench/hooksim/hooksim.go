// Package hooksim is a simulated customer's webhook: it answers a routing question at a given pace,
// and fails or hangs as often as it is told to. The end-to-end tests, the load harness and
// `hookswitch hooksim` run it. It knows nothing of hookswitch and imports nothing of ours; a request
// can't change its settings, so that hostile input meets a webhook like any other.
package hooksim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// What a server does where Options do not say.
const (
	DefaultListen = "127.0.0.1:8079"
	DefaultAnswer = `{"dst_phone":"380441111111,380441111112"}`
)

// maxHang bounds how long a connection that gets no answer is held open.
const maxHang = 10 * time.Minute

// Options say how the webhook behaves. The zero value answers DefaultAnswer at once.
type Options struct {
	// Listen is the TCP address to listen on; empty for DefaultListen, port 0 for any free one.
	Listen string
	// Latency is how long each answer takes, Jitter how far it strays to either side, evenly. An
	// answer never takes less than nothing.
	Latency, Jitter time.Duration
	// FailRate is the share of requests, 0 to 1, answered FailStatus, 500 where that is 0, instead, after
	// the same latency.
	// HangRate is the share never answered: the connection is held until the client closes it, for
	// at most ten minutes. Together they are at most 1.
	FailRate, HangRate float64
	FailStatus         int
	// Answer is the body of an answer, and the result of a JSON-RPC one; empty for DefaultAnswer.
	Answer string
	// Seed fixes which requests are late, fail or hang, in the order of their arrival; 0 draws one.
	Seed uint64
	// OnRequest, where given, is called with each request before it is answered, from the request's
	// own goroutine: several at once. The strings are copies. Probes of /healthz are not reported.
	OnRequest func(method, uri, body string)
	// OnAnswer is the same with each request that is answered, and as what, when that is about to be
	// sent: what was only received has not been taken.
	OnAnswer func(status int, method, uri, body string)
}

// Stats count what a server has done since it was made.
type Stats struct {
	Requests uint64 // all but probes
	Probes   uint64 // of /healthz
	InFlight int64  // waiting for their answer now, hung ones included
	Failed   uint64 // answered FailStatus
	Hung     uint64 // left without an answer
}

// Server is a simulated webhook. Make one with New. Its methods may be called from any goroutine.
type Server struct {
	behaviour atomic.Pointer[behaviour]
	counters  struct {
		requests, probes, failed, hung atomic.Uint64
		inFlight                       atomic.Int64
	}
	http     fasthttp.Server
	listener net.Listener
	closing  chan struct{}  // closed by Close
	serving  sync.WaitGroup // one for each connection being served

	mu     sync.Mutex // guards conns and closed
	conns  map[net.Conn]struct{}
	closed bool
}

// New checks the options and starts to listen, so that Addr is known; Serve answers. A server that
// was made must be closed.
func New(o Options) (*Server, error) {
	b, err := newBehaviour(o)
	if err != nil {
		return nil, err
	}
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("simulated webhook can't listen: %w", err)
	}
	s := &Server{listener: listener, closing: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	s.behaviour.Store(b)
	s.http = fasthttp.Server{
		Handler:       s.handle,
		Name:          "hooksim",
		IdleTimeout:   maxHang,
		NoDefaultDate: true, // and with it, fasthttp's clock goroutine
		Logger:        silent{},
	}
	return s, nil
}

// Addr is the address listened on, "127.0.0.1:8079".
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is the webhook's address for a hook's configuration.
func (s *Server) URL() string { return "http://" + s.Addr() + "/" }

// Set changes the behaviour of a running server for the requests that follow; those already waiting
// keep what they met, and hung ones stay hung. Listen is not looked at.
func (s *Server) Set(o Options) error {
	b, err := newBehaviour(o)
	if err != nil {
		return err
	}
	s.behaviour.Store(b)
	return nil
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{
		Requests: c.requests.Load(), Probes: c.probes.Load(), InFlight: c.inFlight.Load(),
		Failed: c.failed.Load(), Hung: c.hung.Load(),
	}
}

// Serve answers requests until Close, after which it returns nil.
//
// Each connection has its own goroutine here rather than in fasthttp's pool, whose workers outlive
// the server by up to ten seconds: tests look for leaks.
func (s *Server) Serve() error {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("simulated webhook can't accept: %w", err)
		}
		if !s.track(conn) {
			return nil
		}
		go func() {
			defer s.untrack(conn)
			// The error is the client's, or that of a connection dropped on purpose.
			_ = s.http.ServeConn(conn)
		}()
	}
}

// Close stops listening, drops every connection, answered or not, and returns when no connection is
// served any more. Further calls only wait for the same.
func (s *Server) Close() error {
	err := s.shut()
	s.serving.Wait()
	return err
}

func (s *Server) shut() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.closing)
	for conn := range s.conns {
		conn.Close()
	}
	return s.listener.Close()
}

// track notes a connection for Close, or closes it and reports false when that has happened.
func (s *Server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Server) untrack(conn net.Conn) {
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	s.serving.Done()
}

// silent keeps fasthttp's remarks about bad clients out of the test's output.
type silent struct{}

func (silent) Printf(string, ...any) {}

// behaviour is Options, checked and made ready; it never changes, but for the place in its draws.
type behaviour struct {
	Options
	answer []byte // the body
	result []byte // the same as a JSON value, for JSON-RPC
	draws  atomic.Uint64
}

func newBehaviour(o Options) (*behaviour, error) {
	switch {
	case o.Latency < 0 || o.Jitter < 0:
		return nil, fmt.Errorf("latency %v, jitter %v: want neither below 0", o.Latency, o.Jitter)
	case !(o.FailRate >= 0 && o.HangRate >= 0 && o.FailRate+o.HangRate <= 1): // NaN fails it too
		return nil, fmt.Errorf("fail rate %v, hang rate %v: want each from 0 to 1, and at most 1 together", o.FailRate, o.HangRate)
	}
	if o.Answer == "" {
		o.Answer = DefaultAnswer
	}
	if o.FailStatus == 0 {
		o.FailStatus = 500
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	b := &behaviour{Options: o, answer: []byte(o.Answer), result: jsonValue(o.Answer)}
	b.draws.Store(o.Seed)
	return b, nil
}

// draw returns the next number of the behaviour's sequence, from 0 to just under 1: SplitMix64
// (Steele, Lea and Flood, 2014), whose whole state is one counter, so that no lock is needed.
func (b *behaviour) draw() float64 {
	z := b.draws.Add(0x9e3779b97f4a7c15)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}
