package intake

import "github.com/valyala/fasthttp"

// probe answers /healthz and /readyz, which stand open: they tell nothing of anybody.
func (s *Server) probe(ctx *fasthttp.RequestCtx, q *question, ok bool) {
	switch {
	case !ctx.IsGet():
		s.refuse(ctx, q, notAllowed(ctx, "GET"))
	case ok:
		ctx.SuccessString("text/plain; charset=utf-8", "ok\n")
	default:
		ctx.SuccessString("text/plain; charset=utf-8", "not ready\n")
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
	}
}

// serveMetrics answers /metrics, behind the door: its labels name customers' hooks.
func (s *Server) serveMetrics(ctx *fasthttp.RequestCtx, q *question) {
	f := s.allowed(ctx, &s.settings.Load().door, q)
	switch {
	case f != nil:
	case s.scrape == nil:
		f = &fault{code: codeNotFound, message: "no metrics are gathered here"}
	case !ctx.IsGet():
		f = notAllowed(ctx, "GET")
	}
	if f != nil {
		s.refuse(ctx, q, f)
		return
	}
	s.scrape(ctx)
}
