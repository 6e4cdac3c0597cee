//go:build !race

package hookclient

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"hookswitch/schema"
)

// responder answers every request on one connection after another with raw, and allocates nothing.
func responder(t testing.TB, raw string) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer, request := []byte(raw), make([]byte, 16<<10)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			respond(c, request, answer)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func respond(c net.Conn, request, answer []byte) {
	defer c.Close()
	for n := 0; ; {
		more, err := c.Read(request[n:])
		if err != nil {
			return
		}
		if n += more; bytes.HasSuffix(request[:n], []byte("\r\n\r\n")) || bytes.HasSuffix(request[:n], []byte("}")) {
			if _, err := c.Write(answer); err != nil {
				return
			}
			n = 0
		}
	}
}

// asking returns a function that asks a webhook about the documented call, again and again.
func asking(t testing.TB, method string) func() {
	addr := responder(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(good), good))
	h := prepare(t, New(nil), "http://"+addr+"/route", func(h *schema.Hook) { h.Method, h.Send = method, "json" })
	call, a := documentedCall(), new(schema.Answer)
	return func() {
		a.Reset()
		call.At = time.Now()
		if h.Ask(call, call.At.Add(patience), a); a.Reason != schema.ReasonOK {
			t.Fatal(a.Reason, a.Detail)
		}
	}
}

func TestAskingAllocatesNothingOnceItHasWarmedUp(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		once := asking(t, method)
		const calls = 2000
		if n := testing.AllocsPerRun(calls, once); n > 0 {
			t.Errorf("%s: %v allocations a call; want none", method, n)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			once()
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / calls; n > 64 {
			t.Errorf("%s: %d bytes a call; want at most 64", method, n)
		}
	}
}

func BenchmarkAskGET(b *testing.B)  { benchmarkAsk(b, "GET") }
func BenchmarkAskPOST(b *testing.B) { benchmarkAsk(b, "POST") }

func benchmarkAsk(b *testing.B, method string) {
	once := asking(b, method)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}
