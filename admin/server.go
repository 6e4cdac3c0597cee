// Package admin is the operators' door: a REST API under /api/v1/ by which projects and all that is
// in them are read and changed, deliveries are looked up and tokens made, and the console's place at
// "/". Its house style is that of the documented monitoring API, which /api/v1/webhooks follows to
// the letter. It validates nothing itself and keeps nothing but tokens: what may stand in a project
// is the schema's affair, changing it the control plane's. No call ever waits for it.
//
// Every operation is one line of a table (operations.go); openapi.yaml is held to it by a test.
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

// Router is what the API asks of the router.
type Router interface {
	// Decide decides a call as the PBX's door would have it decided.
	Decide(call *schema.Call, d *schema.Decision)
	// ForceBreaker sets a hook's breaker to open, closed or auto; false where there is no such hook.
	ForceBreaker(project, hook, state string) bool
}

// Options are what a Server is made of. Settings and Plane are required.
type Options struct {
	Settings schema.Admin
	Plane    Plane
	// Store keeps tokens and idempotency keys; nil for none: what needs one is then refused with 503.
	Store store.Store
	// Router decides and has the breakers; Deliveries is the delivery log. What needs one that is nil
	// is refused with 503.
	Router     Router
	Deliveries Deliveries
	// Live is what is shown of calls as they are decided.
	Live Live
	// Console gets the requests outside /api/; nil for no console.
	Console fasthttp.RequestHandler
	// Log gets recovered panics and what became of the store; nil for no log.
	Log *zap.Logger
	// Registerer gets the server's metrics; nil for nobody.
	Registerer prometheus.Registerer
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Server is the operators' listener. Its methods may be called from any goroutine.
type Server struct {
	plane      Plane
	store      store.Store
	router     Router
	deliveries Deliveries
	live       Live
	console    fasthttp.RequestHandler
	log        *zap.Logger
	now        func() time.Time
	metrics    *metrics

	paths    *segment
	tokens   *tokens
	failures *failures
	fast     *fasthttp.Server
	closing  atomic.Bool
	// overviews counts those who watch the overview.
	overviews atomic.Int32
	showing   showing
	end       context.CancelFunc // of what runs beside the requests
}

// What one client may have of us. A body is read only once its sender is known.
const (
	maxHeader    = 16 << 10
	maxBody      = 1 << 20
	maxProject   = 4 << 20 // of a whole project, with its numbers
	maxRequests  = 256     // connections at a time
	readTimeout  = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	storeTimeout = 10 * time.Second
)

// New makes a server, and begins to follow the tokens in the store. It fails where a metric's name is
// taken.
func New(o Options) (*Server, error) {
	s := &Server{
		plane: o.Plane, store: o.Store, router: o.Router, deliveries: o.Deliveries, live: o.Live, console: o.Console, log: o.Log, now: o.Now,
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, err
	}
	s.showing.by = map[string]*shownOverview{}
	s.paths = newPaths(operations())
	s.failures = newFailures()
	s.tokens = newTokens(o.Store, s.log)
	s.Apply(o.Settings)
	var ctx context.Context
	ctx, s.end = context.WithCancel(context.Background())
	s.tokens.follow(ctx)
	s.fast = &fasthttp.Server{
		Name:                         "hookswitch",
		Handler:                      s.Handle,
		ErrorHandler:                 s.unreadable,
		ReadBufferSize:               maxHeader,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 readTimeout,
		IdleTimeout:                  idleTimeout,
		Concurrency:                  maxRequests,
		MaxRequestBodySize:           maxHeader, // more is streamed, to be read when the token is known
		StreamRequestBody:            true,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true, // else it logs headers, the token's among them
		Logger:                       debugLog{s.log},
	}
	return s, nil
}

// Apply takes over the file's tokens: they hold from the next request on. The listen address is
// fixed.
func (s *Server) Apply(settings schema.Admin) { s.tokens.apply(settings.Tokens) }

// Serve answers on ln until Shutdown, and closes it. It is called once.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.fast.Serve(ln); err != nil && !s.closing.Load() {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown lets the requests under way finish, and ends what runs beside them. When ctx ends, it
// returns its error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	s.end()
	err := s.fast.ShutdownWithContext(ctx)
	s.tokens.wait()
	if err != nil {
		return fmt.Errorf("drain the admin listener: %w", err)
	}
	return nil
}

// Handle is the whole of the listener's HTTP: one call of it a request. The console asks the API by it.
func (s *Server) Handle(http *fasthttp.RequestCtx) {
	path := string(http.Path())
	if path != "/api" && !strings.HasPrefix(path, "/api/") && s.console != nil {
		s.console(http)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	r := &request{Server: s, http: http, ctx: ctx}
	defer r.finish()
	if err := s.serve(r, path); err != nil {
		r.refuse(err)
	} else if http.IsGet() {
		r.tag()
	}
}

// serve finds the operation, tries the door, and does what is asked.
func (s *Server) serve(r *request, path string) error {
	node, args := s.paths.find(path)
	if node == nil {
		return s.strangerFirst(r, refusal{status: fasthttp.StatusNotFound, message: "no such path; /api/v1/openapi.yaml lists them"})
	}
	op := node.operations[string(r.http.Method())]
	if op == nil {
		return s.strangerFirst(r, refusal{status: fasthttp.StatusMethodNotAllowed, message: "want the method " + node.allow(), allow: node.allow()})
	}
	r.op, r.args = op, args
	return s.do(r)
}

// strangerFirst refuses one without a token for that, and others for otherwise: only who may come in
// learns what there is.
func (s *Server) strangerFirst(r *request, otherwise refusal) error {
	if err := s.identify(r); err != nil {
		return err
	}
	return otherwise
}

// unreadable answers what fasthttp could not read. The connection is closed after it.
func (s *Server) unreadable(http *fasthttp.RequestCtx, err error) {
	r := &request{Server: s, http: http, ctx: context.Background()}
	var large *fasthttp.ErrSmallBuffer
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		// Browsers connect ahead of their requests: they would take what is said now for the answer to
		// the one that they send next.
		_ = http.Conn().Close()
		return
	case errors.As(err, &large):
		r.refuse(refusal{status: fasthttp.StatusRequestHeaderFieldsTooLarge, message: fmt.Sprintf("want a header of at most %d bytes", maxHeader)})
	default:
		r.refuse(refusal{status: fasthttp.StatusBadRequest, message: "this is no HTTP request that can be read"})
	}
	r.finish()
}

// debugLog gives fasthttp's own complaints to the log.
type debugLog struct{ log *zap.Logger }

func (l debugLog) Printf(format string, args ...any) {
	l.log.Debug("connection failed", zap.String("error", fmt.Sprintf(format, args...)))
}
