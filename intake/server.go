// Package intake is the PBX's door: it reads the question in whatever dialect the PBX speaks, stamps
// the one deadline, has it decided, and writes the decision in the same dialect. Everything HTTP
// lives here: limits, tokens, statuses, draining. It knows no hooks and no schemes.
//
// A dialect is one file and one line in format.go.
package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"go.uber.org/zap"

	"hookswitch/schema"
)

// Decider decides a call: it fills d, within call.Deadline, and never fails. What it leaves in d
// may point into call; both are reused once the answer is written.
type Decider interface {
	Decide(call *schema.Call, d *schema.Decision)
}

// Options are what a Server is made of. Decide and Settings are required.
type Options struct {
	Decide   Decider
	Settings schema.Intake
	// Remember keeps what comes through incoming links; nil for nobody, so that links with a key answer 503.
	Remember Rememberer
	// Watching says whether somebody wants the whole story of how this call is decided; nil for nobody.
	Watching func(*schema.Call) bool
	// Events takes call events; nil for nobody, so that there is no such path. ProjectOf finds the project
	// of a number, for events that name none; nil finds nobody's.
	Events    Events
	ProjectOf func(number string) (id string, ok bool)
	// Log gets refused questions at debug, and recovered panics at error; nil for no log.
	Log *zap.Logger
	// Ready says whether calls can be decided, for /readyz; nil for always.
	Ready func() bool
	// Gatherer is what /metrics shows; nil for no /metrics. Registerer gets the server's own
	// metrics; nil for nobody.
	Gatherer   prometheus.Gatherer
	Registerer prometheus.Registerer
	// Now is the clock that stamps a question; nil for time.Now.
	Now func() time.Time
}

// Server is the PBX listener. Its methods may be called from any goroutine.
type Server struct {
	decide   Decider
	remember Rememberer
	events   Events
	projects func(number string) (id string, ok bool)
	watching func(*schema.Call) bool // nil for nobody
	log      *zap.Logger
	ready    func() bool
	now      func() time.Time
	scrape   fasthttp.RequestHandler
	metrics  *metrics

	settings  atomic.Pointer[settings]
	links     atomic.Pointer[links]
	questions sync.Pool
	conns     conns
	draining  atomic.Bool
	fast      *fasthttp.Server
}

// settings are the ones that Apply swaps while calls are decided.
type settings struct {
	budget   time.Duration
	maxBody  int
	maxConns int
	door     door
	// publicURL stands before the path in a URL that we give a cloud to come back to.
	publicURL string
}

// New makes a server. It fails where a setting is out of range, or a metric's name is taken.
func New(o Options) (*Server, error) {
	s := &Server{decide: o.Decide, remember: o.Remember, events: o.Events, projects: o.ProjectOf, watching: o.Watching, log: o.Log, ready: o.Ready, now: o.Now}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.projects == nil {
		s.projects = func(string) (string, bool) { return "", false }
	}
	if s.ready == nil {
		s.ready = func() bool { return true }
	}
	if s.now == nil {
		s.now = time.Now
	}
	if o.Gatherer != nil {
		s.scrape = fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{}))
	}
	if err := s.Apply(o.Settings); err != nil {
		return nil, err
	}
	s.questions.New = func() any { return new(question) }
	s.conns.log = s.log
	s.conns.limit = func() int { return s.settings.Load().maxConns }
	s.conns.patience, s.conns.idle = o.Settings.ReadTimeout, o.Settings.IdleTimeout
	s.metrics = newMetrics(s.conns.count, s.conns.turnedAway.Load)
	if err := s.metrics.register(o.Registerer); err != nil {
		return nil, err
	}
	s.fast = s.newFastHTTP(o.Settings)
	return s, nil
}

func (s *Server) newFastHTTP(in schema.Intake) *fasthttp.Server {
	return &fasthttp.Server{
		Name:         "hookswitch",
		Handler:      s.handle,
		ErrorHandler: s.unreadable,
		HeaderReceived: func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
			return fasthttp.RequestConfig{MaxRequestBodySize: s.settings.Load().maxBody}
		},
		ConnState:      func(c net.Conn, state fasthttp.ConnState) { c.(*conn).setState(state) },
		ReadBufferSize: in.MaxHeader,
		// Its deadlines are conn's, which sets one only where the earlier one would be wrong; the
		// question has a time of its own.
		LazyRequestTime: true,
		// The body is read by takeBody: fasthttp would set aside what a header announces.
		StreamRequestBody: true,
		// conns holds max_connections; this only sizes the worker pool, with room for connections
		// that are closed and whose worker is not back yet.
		Concurrency: 2 * in.MaxConns,
		// When all PBXes reconnect at once there are for a moment two goroutines to each connection.
		MaxIdleWorkerDuration:        time.Second,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true, // else it logs headers, the token's among them
		Logger:                       debugLog{s.log},
	}
}

// Apply takes new settings over: budget, tokens, allow_from, max_body_bytes and max_connections
// hold from the next question or connection on. max_header_bytes, read_timeout and idle_timeout are
// fixed when the server is made, since fasthttp reads them without a lock: they need a restart.
// Faulty settings change nothing and are returned as an error.
func (s *Server) Apply(in schema.Intake) error {
	if err := inRange(in); err != nil {
		return err
	}
	d, err := newDoor(in.Tokens, in.AllowFrom)
	if err != nil {
		return err
	}
	if d.signatures, err = newSignatures(in); err != nil {
		return err
	}
	s.settings.Store(&settings{budget: in.Budget, maxBody: in.MaxBody, maxConns: in.MaxConns, door: d, publicURL: in.PublicURL})
	return nil
}

// inRange refuses settings of which fasthttp would make "no limit".
func inRange(in schema.Intake) error {
	var errs []error
	for _, n := range []struct {
		key   string
		value int64
	}{
		{"max_body_bytes", int64(in.MaxBody)}, {"max_header_bytes", int64(in.MaxHeader)},
		{"max_connections", int64(in.MaxConns)}, {"budget", int64(in.Budget)},
		{"read_timeout", int64(in.ReadTimeout)}, {"idle_timeout", int64(in.IdleTimeout)},
	} {
		if n.value <= 0 {
			errs = append(errs, fmt.Errorf("intake.%s: found %d; want more than 0", n.key, n.value))
		}
	}
	return errors.Join(errs...)
}

// Serve answers on ln until Shutdown, and closes it. It is called once; it returns nil after
// Shutdown, and an error where ln fails for good.
func (s *Server) Serve(ln net.Listener) error {
	if !s.conns.listen(ln) {
		return nil
	}
	if err := s.fast.Serve(&s.conns); err != nil && !s.draining.Load() {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown drains: from now on /readyz says 503, no connection is accepted, and every answer
// carries "Connection: close". Calls being decided are answered. Idle connections are closed after
// quietTime, so that a PBX about to use one is told to close it rather than cut off. When ctx ends,
// what is left is closed as it is, and the error says how many connections that were.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.conns.stopListening()
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	sweep := time.NewTicker(10 * time.Millisecond)
	defer sweep.Stop()
	quietOver := false
	for s.conns.count() > 0 {
		select {
		case <-ctx.Done():
			n := s.conns.closeAll()
			return fmt.Errorf("drain: closed %d connections that were not done; raise intake.drain_timeout if calls take longer: %w", n, context.Cause(ctx))
		case <-quiet.C:
			quietOver = true
		case <-sweep.C:
			if quietOver {
				s.conns.endIdle()
			}
		}
	}
	return nil
}

const quietTime = 500 * time.Millisecond

const routePath = "/v1/route"

// handle is the whole of the listener's HTTP: one call of it a request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	q := s.questions.Get().(*question)
	defer s.finish(ctx, q)
	if err := q.takeBody(ctx, s.settings.Load().maxBody); err != nil {
		ctx.SetConnectionClose()
		s.refuseUnread(ctx, q, err)
		return
	}
	s.serve(ctx, q)
}

// serve answers one request, with q as its scratch. On the way of a lookup it allocates nothing.
func (s *Server) serve(ctx *fasthttp.RequestCtx, q *question) {
	path, query := target(ctx)
	if format, ok := formatOfPath(path); ok {
		s.route(ctx, q, format, query)
		return
	}
	switch string(path) {
	case "/healthz":
		s.probe(ctx, q, true)
	case "/readyz":
		s.probe(ctx, q, s.ready() && !s.draining.Load())
	case "/metrics":
		s.serveMetrics(ctx, q)
	case eventsPath:
		if s.events != nil {
			s.event(ctx, q)
			return
		}
		s.refuse(ctx, q, &fault{code: codeNotFound, message: "no call events are taken here"})
	default:
		if token, ok := linkToken(ctx, path); ok {
			s.incoming(ctx, q, token)
			return
		}
		s.refuse(ctx, q, &fault{code: codeNotFound, message: "no such path; want " + routePath})
	}
}

// target returns a request's path and query. Those of a lookup lie in what was sent as they are to be read;
// all others are fasthttp's to take apart, which copies and mends them.
func target(ctx *fasthttp.RequestCtx) (path, query []byte) {
	path, query, _ = bytes.Cut(ctx.Request.Header.RequestURI(), []byte("?"))
	if rest, ok := bytes.CutPrefix(path, []byte(routePath)); ok && formatName(rest) && bytes.IndexByte(query, '#') < 0 {
		return path, query
	}
	return ctx.Path(), ctx.URI().QueryString()
}

// formatName reports whether rest is nothing, or a slash and a word such as formats' names are.
func formatName(rest []byte) bool {
	for i, c := range rest {
		if i == 0 && c != '/' || i > 0 && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return true
}

// formatOfPath returns what stands behind /v1/route/, and whether path is a lookup's at all.
func formatOfPath(path []byte) (format []byte, ok bool) {
	rest, ok := bytes.CutPrefix(path, []byte(routePath))
	if !ok || len(rest) == 0 {
		return nil, ok
	}
	return rest[1:], rest[0] == '/' && len(rest) > 1
}

// finish answers 500 in the asker's dialect where the handler panicked (fasthttp would let the
// process die), tells a draining server's client to close, and takes q back.
func (s *Server) finish(ctx *fasthttp.RequestCtx, q *question) {
	if r := recover(); r != nil {
		s.log.Error("recovered a panic; please report it", zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
		ctx.Response.Reset()
		s.refuse(ctx, q, &fault{code: codeInternal, message: "an internal fault; the log has the details"})
		q = nil // whatever holds it now may keep it
	}
	if s.draining.Load() {
		ctx.SetConnectionClose()
	}
	if q != nil {
		q.reset()
		s.questions.Put(q)
	}
}

// route answers one lookup.
func (s *Server) route(ctx *fasthttp.RequestCtx, q *question, pathFormat, query []byte) {
	f := s.ask(ctx, q, pathFormat, query)
	switch {
	case q.rpc.notification && (f == nil || f.code == codeBadRequest):
		// JSON-RPC 2.0 section 4.1: a notification is never answered.
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	case f != nil:
		s.refuse(ctx, q, f)
	default:
		d := &dialects[q.format]
		q.out = d.decision(q.out[:0], q, &q.decision)
		ctx.SetContentType(d.contentType)
		ctx.SetBody(q.out)
	}
	s.metrics.request(q.format, ctx.Response.StatusCode())
}

// ask reads the question, at the door first, and has it decided.
func (s *Server) ask(ctx *fasthttp.RequestCtx, q *question, pathFormat, query []byte) *fault {
	now := s.settings.Load()
	q.call.At = s.now()
	// The query is read before the door is tried, since it may say in which dialect to refuse.
	queryFault := q.readURL(ctx, pathFormat, query)
	q.publicURL = now.publicURL
	asked := q.format
	if f := s.allowed(ctx, &now.door, q); f != nil {
		return f
	}
	if !ctx.IsGet() && !ctx.IsPost() {
		return notAllowed(ctx, "GET, POST")
	}
	if queryFault != nil {
		return queryFault
	}
	if f := dialects[q.format].read(q, ctx); f != nil {
		return f
	}
	if q.format != asked { // the body named another dialect, whose door may be another
		if f := s.allowed(ctx, &now.door, q); f != nil {
			return f
		}
	}
	q.adopt(dialects[q.format].aliases)
	q.call.Dialect, q.call.OneStep = formatNames[q.format], dialects[q.format].oneStep
	if q.rpc.notification {
		return nil // nobody would hear the decision, so no hook is asked
	}
	if q.over {
		return nil
	}
	if f := q.check(); f != nil {
		return f
	}
	q.call.Deadline = q.call.At.Add(patience(now.budget, q.budget))
	q.call.Explain = s.watching != nil && s.watching(&q.call)
	s.decide.Decide(&q.call, &q.decision)
	q.decision.Warnings = append(q.decision.Warnings, q.dropped...)
	if q.decision.NotFound {
		return notFound()
	}
	return nil
}

// allowed tries the door, and challenges where a token is what was missing (RFC 9110, 11.6.1).
func (s *Server) allowed(ctx *fasthttp.RequestCtx, d *door, q *question) *fault {
	f := d.check(ctx, q)
	if f != nil && f.code == codeUnauthorized {
		ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="hookswitch"`)
	}
	return f
}

// debugLog gives fasthttp's own complaints to the log.
type debugLog struct{ log *zap.Logger }

func (l debugLog) Printf(format string, args ...any) {
	l.log.Debug("connection failed", zap.String("error", fmt.Sprintf(format, args...)))
}
