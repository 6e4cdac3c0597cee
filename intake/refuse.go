package intake

import (
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// refuse writes a fault in the question's dialect.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, q *question, f *fault) {
	d := &dialects[q.format]
	q.out = d.fault(q.out[:0], q, f)
	ctx.SetStatusCode(d.status(f))
	ctx.SetContentType(d.contentType)
	ctx.SetBody(q.out)
	s.metrics.fault(f.code)
	if e := s.log.Check(zap.DebugLevel, "question refused"); e != nil {
		e.Write(zap.String("code", f.code.String()), zap.String("field", f.field), zap.String("message", f.message),
			zap.Stringer("from", ctx.RemoteAddr()))
	}
}

// unreadable answers a request that fasthttp could not read. The connection is closed after it.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	q := s.questions.Get().(*question)
	defer s.finish(ctx, q)
	s.refuseUnread(ctx, q, err)
}

// refuseUnread says, in the asker's dialect, why a request was not read to its end.
func (s *Server) refuseUnread(ctx *fasthttp.RequestCtx, q *question, err error) {
	f := faultOfRead(err)
	path, query := target(ctx)
	format, route := formatOfPath(path)
	if route {
		q.readURL(ctx, format, query) // for the dialect alone; the first fault is the one to tell
	}
	s.refuse(ctx, q, f)
	if route {
		s.metrics.request(q.format, ctx.Response.StatusCode())
	}
	if c, ok := ctx.Conn().(*conn); ok {
		c.linger = f.code == codeTooLarge || f.code == codeHeaderTooLarge
	}
}

func notFound() *fault {
	return &fault{code: codeUnknownNumber, field: "callee",
		message: "nobody's number, and no default scheme; add it to a project's numbers, or set default_schema"}
}

func notAllowed(ctx *fasthttp.RequestCtx, allow string) *fault {
	ctx.Response.Header.Set("Allow", allow)
	return &fault{code: codeMethodNotAllowed, message: "want the method " + allow}
}
