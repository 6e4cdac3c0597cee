package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"hookswitch/schema"
)

// Rememberer keeps what comes through incoming links. history.History is the one there is.
type Rememberer interface {
	// Remember keeps the members of values, a JSON object, as variables of the project's caller for ttl.
	// It returns nil once they are kept; schema.ErrNoSpace, schema.ErrTooMuch, or an error of something
	// that is out of reach for now.
	Remember(ctx context.Context, project, caller string, values []byte, ttl time.Duration) error
}

// rememberTime is how long a link's asker waits for its values to be kept.
const rememberTime = time.Second

// links are the incoming links in use, by the SHA-256 of each token: what a look-up's time could tell
// is about a digest that nobody can choose the token to.
type links map[tokenDigest]*link

// link is one incoming link, compiled.
type link struct {
	project  string
	region   string // in whose national numbers callers may be given
	conf     *schema.Incoming
	declared map[string]bool // conf.Fields
	key      schema.Tag
	route    *linkRoute       // nil for none
	response *schema.Template // nil for the usual answer
	escape   func([]byte, string) []byte
	rate     *bucket
}

// linkRoute is what a link's decision is asked with.
type linkRoute struct{ caller, callee, hook, schema *schema.Template }

// ApplyIncoming takes over the projects' incoming links, all or none, from the next request on. How
// often a link has been used of late is kept.
func (s *Server) ApplyIncoming(projects []*schema.Project) error {
	old := map[string]*link{}
	if was := s.links.Load(); was != nil {
		for _, l := range *was {
			old[l.name()] = l
		}
	}
	next := links{}
	for _, p := range projects {
		for i := range p.Incoming {
			l, err := newLink(p, &p.Incoming[i])
			if err != nil {
				return &schema.ProjectError{ID: p.ID, Err: fmt.Errorf("incoming link %s: %w", p.Incoming[i].ID, err)}
			}
			if was := old[l.name()]; was != nil {
				l.rate = was.rate
			}
			delete(old, l.name())
			for _, sum := range p.Incoming[i].TokenSums() {
				if other := next[sum]; other != nil && other != l {
					return &schema.ProjectError{ID: p.ID, Err: fmt.Errorf("incoming link %s: has the token of link %s of project %s; want one of its own", l.conf.ID, other.conf.ID, other.project)}
				}
				next[sum] = l
			}
		}
	}
	s.links.Store(&next)
	for _, l := range old {
		s.metrics.forgetLink(l.project, l.conf.ID)
	}
	return nil
}

func newLink(p *schema.Project, in *schema.Incoming) (*link, error) {
	l := &link{project: p.ID, region: p.Destinations.Region, conf: in, key: schema.NamedTag(in.Key),
		escape: escaper(in.ResponseType), rate: &bucket{}, declared: map[string]bool{}}
	for _, name := range in.Fields {
		l.declared[name] = true
	}
	var errs []error
	parse := func(text string) *schema.Template {
		t, err := schema.ParseTemplate(text)
		errs = append(errs, err)
		return t
	}
	if in.Response != "" {
		l.response = parse(in.Response)
	}
	if r := in.Route; r != nil {
		l.route = &linkRoute{parse(r.Caller), parse(r.Callee), parse(r.Hook), parse(r.Schema)}
	}
	return l, errors.Join(errs...)
}

func (l *link) name() string { return l.project + "/" + l.conf.ID }

// linkToken returns the token of a request for an incoming link, and whether path is one's at all:
// /in/TOKEN, or the two forms of the source document, which have it in the query.
func linkToken(ctx *fasthttp.RequestCtx, path []byte) (token []byte, ok bool) {
	if rest, ok := bytes.CutPrefix(path, []byte("/in/")); ok {
		return rest, true
	}
	switch string(path) {
	case "/api/request/", "/api/request", "/get/", "/get":
		return ctx.QueryArgs().Peek("token"), true
	}
	return nil, false
}

// incoming answers one request for a link. The door stands open for it: the token is the link's own.
func (s *Server) incoming(ctx *fasthttp.RequestCtx, q *question, token []byte) {
	q.call.At = s.now()
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if !ctx.IsGet() && !ctx.IsPost() {
		s.refuse(ctx, q, notAllowed(ctx, "GET, POST"))
		return
	}
	var l *link
	if all := s.links.Load(); all != nil && len(token) > 0 {
		l = (*all)[sha256.Sum256(token)]
	}
	if l == nil {
		s.refuse(ctx, q, &fault{code: codeNotFound, message: "no such link"})
		return
	}
	f := s.takeIn(ctx, q, l)
	result := "ok"
	if f != nil {
		s.refuse(ctx, q, f)
		switch f.code {
		case codeTooMany:
			result = "limited"
		case codeUnavailable, codeNoSpace:
			result = "failed"
		default:
			result = "refused"
		}
	}
	s.metrics.links.WithLabelValues(l.project, l.conf.ID, result).Inc()
}

// takeIn reads what comes through the link, has it kept, decides where the link asks for that, and
// answers; or says why not, in which case nothing was kept, but for a decision that can't be made.
func (s *Server) takeIn(ctx *fasthttp.RequestCtx, q *question, l *link) *fault {
	if wait := l.rate.take(q.call.At, l.conf.Rate); wait > 0 {
		retryAfter(ctx, wait)
		return &fault{code: codeTooMany, message: "more requests than the link's rate; try again later"}
	}
	v, f := readLink(ctx, q, l)
	if f != nil {
		return f
	}
	for _, name := range v.names {
		q.scratch = q.scratch[:0]
		q.call.SetNamed([]byte(name), q.unquoted(v.raw[name]))
	}
	if f := s.keep(ctx, q, l, v); f != nil {
		return f
	}
	if l.route != nil {
		if f := s.inquire(ctx, q, l); f != nil {
			return f
		}
	}
	q.answerLink(ctx, l, v)
	return nil
}

func retryAfter(ctx *fasthttp.RequestCtx, wait time.Duration) {
	ctx.Response.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
}

// keep has the values remembered as the caller's.
func (s *Server) keep(ctx *fasthttp.RequestCtx, q *question, l *link, v *linkValues) *fault {
	if l.conf.Key == "" {
		return nil
	}
	given := l.key.Value(&q.call)
	caller := schema.CallerKey(given, l.region)
	switch {
	case given == "":
		return unprocessable(l.conf.Key, "missing; want the caller's number, under which the values are kept")
	case caller == "":
		return unprocessable(l.conf.Key, "no caller's number; want the international form, such as 380501112233")
	case s.remember == nil:
		return s.unkept(ctx, l, errors.New("there is no store"))
	}
	q.out = v.appendObject(q.out[:0])
	until, cancel := context.WithTimeout(context.Background(), rememberTime)
	defer cancel()
	if err := s.remember.Remember(until, l.project, caller, q.out, l.conf.Keep); err != nil {
		return s.unkept(ctx, l, err)
	}
	return nil
}

func (s *Server) unkept(ctx *fasthttp.RequestCtx, l *link, err error) *fault {
	s.log.Warn("what came through an incoming link could not be kept",
		zap.String("project", l.project), zap.String("link", l.conf.ID), zap.Error(err))
	switch {
	case errors.Is(err, schema.ErrTooMuch):
		return &fault{code: codeTooLarge, message: "more values than are kept of one caller"}
	case errors.Is(err, schema.ErrNoSpace):
		return &fault{code: codeNoSpace, message: "no space left to keep the values; nothing was kept"}
	}
	retryAfter(ctx, 5*time.Second)
	return &fault{code: codeUnavailable, message: "the values can't be kept for now; try again"}
}

// inquire has the link's decision made. Nothing is dialled.
func (s *Server) inquire(ctx *fasthttp.RequestCtx, q *question, l *link) *fault {
	c := &q.call
	c.Project, c.Inquiry = l.project, true
	if t := ctx.Request.Header.Peek("traceparent"); validTraceparent(t) {
		c.Traceparent = c.Keep(t)
	}
	text := func(t *schema.Template) []byte {
		q.scratch = t.Append(q.scratch[:0], c, nil)
		return q.scratch
	}
	if caller := text(l.route.caller); len(caller) > 0 {
		c.Set(schema.ParamCaller, caller)
	}
	if callee := text(l.route.callee); len(callee) > 0 {
		c.Set(schema.ParamCallee, callee)
	}
	c.Hook = c.Keep(text(l.route.hook))
	c.Schema = c.Keep(text(l.route.schema))
	if f := q.check(); f != nil {
		f.code = codeUnprocessable
		return f
	}
	c.Deadline = c.At.Add(s.settings.Load().budget)
	s.decide.Decide(c, &q.decision)
	if q.decision.NotFound {
		return &fault{code: codeUnknownNumber, field: "callee", message: "nobody's number, and no default scheme"}
	}
	return nil
}

// bucket is a token bucket: it holds a second's worth of requests, one at least.
type bucket struct {
	mu   sync.Mutex // guards all below
	left float64
	at   time.Time // when left was so
}

// take takes a request at rate a second, 0 for any number; or says how long until there is one.
func (b *bucket) take(now time.Time, rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	most := max(1, rate)
	switch {
	case b.at.IsZero():
		b.left = most
	case now.After(b.at):
		b.left = min(most, b.left+now.Sub(b.at).Seconds()*rate)
	}
	b.at = now
	if b.left < 1 {
		return time.Duration((1 - b.left) / rate * float64(time.Second))
	}
	b.left--
	return 0
}
