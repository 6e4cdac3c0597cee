package hooksim

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"github.com/valyala/fasthttp"
)

// handle answers one request. Where nothing is asked of it but the answer, it allocates nothing.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	if string(ctx.Path()) == "/healthz" {
		s.counters.probes.Add(1)
		ctx.SetContentType("text/plain")
		ctx.SetBodyString("ok\n")
		return
	}
	s.counters.requests.Add(1)
	s.counters.inFlight.Add(1)
	defer s.counters.inFlight.Add(-1)

	b := s.behaviour.Load()
	if b.OnRequest != nil {
		b.OnRequest(string(ctx.Method()), string(ctx.RequestURI()), string(ctx.PostBody()))
	}
	fail, hang := b.fate()
	if hang {
		s.counters.hung.Add(1)
		hold(ctx)
		return
	}
	if !s.wait(b.latency()) {
		drop(ctx)
		return
	}
	status := fasthttp.StatusOK
	if fail {
		status = b.FailStatus
	}
	if b.OnAnswer != nil {
		b.OnAnswer(status, string(ctx.Method()), string(ctx.RequestURI()), string(ctx.PostBody()))
	}
	if fail {
		s.counters.failed.Add(1)
		// Not ctx.Error, which forgets the server's settings and starts fasthttp's clock goroutine.
		ctx.SetStatusCode(status)
		ctx.SetContentType("text/plain")
		ctx.SetBodyString("simulated failure\n")
		return
	}
	ctx.SetContentType("application/json")
	body := ctx.PostBody()
	if id, ok := rpcID(body); ok {
		ctx.Response.SetBodyRaw(appendRPC(nil, b.result, id))
		return
	}
	ctx.Response.SetBodyRaw(b.answer)
}

// fate decides what becomes of one request.
func (b *behaviour) fate() (fail, hang bool) {
	if b.FailRate == 0 && b.HangRate == 0 {
		return false, false
	}
	at := b.draw()
	return at >= b.HangRate && at < b.HangRate+b.FailRate, at < b.HangRate
}

// latency is how long one answer takes.
func (b *behaviour) latency() time.Duration {
	if b.Jitter == 0 {
		return b.Latency
	}
	return b.Latency + time.Duration((2*b.draw()-1)*float64(b.Jitter))
}

var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// wait lets d pass, and reports false when the server was closed meanwhile.
func (s *Server) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := timers.Get().(*time.Timer)
	defer timers.Put(t)
	t.Reset(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.closing:
		return false
	}
}

// hold leaves the request without an answer until the client, Close or maxHang ends the connection.
// It reads the connection itself, past fasthttp's buffer: nothing more is answered on it anyway.
func hold(ctx *fasthttp.RequestCtx) {
	conn := ctx.Conn()
	if conn.SetReadDeadline(time.Now().Add(maxHang)) == nil {
		_, _ = io.Copy(io.Discard, conn) // ends with the connection, which is all that is awaited
	}
	drop(ctx)
}

// drop ends the connection without a byte of an answer.
func drop(ctx *fasthttp.RequestCtx) { ctx.Conn().Close() }

// rpcID returns the id of a JSON-RPC 2.0 question as its JSON text, null where it has none, and
// whether the body is such a question.
func rpcID(body []byte) (string, bool) {
	if !bytes.Contains(body, []byte(`"jsonrpc"`)) || !gjson.ValidBytes(body) {
		return "", false
	}
	fields := gjson.GetManyBytes(body, "jsonrpc", "id")
	if !fields[0].Exists() {
		return "", false
	}
	if !fields[1].Exists() {
		return "null", true
	}
	return fields[1].Raw, true
}

func appendRPC(b, result []byte, id string) []byte {
	b = append(b, `{"jsonrpc":"2.0","result":`...)
	b = append(b, result...)
	b = append(b, `,"id":`...)
	b = append(b, id...)
	return append(b, '}')
}

// jsonValue is an answer as a JSON value: itself where it is one, else as a string, which keeps an
// answer broken on purpose from breaking the envelope around it.
func jsonValue(answer string) []byte {
	if gjson.Valid(answer) {
		return []byte(answer)
	}
	return gjson.AppendJSONString(nil, answer)
}
