package hookclient

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hookswitch/schema"
)

func TestWhatEachStatusMeans(t *testing.T) {
	for _, tc := range []struct {
		status int
		want   schema.Reason
		detail string
	}{
		{200, schema.ReasonOK, ""},
		{201, schema.ReasonOK, ""},
		{299, schema.ReasonOK, ""},
		{204, schema.ReasonNoDestination, "status 204: an answer without content"},
		{302, schema.ReasonBadStatus, "status 302 to another place; want 2xx, or set follow_redirects"},
		{304, schema.ReasonBadStatus, "status 304 Not Modified; want 2xx"},
		{401, schema.ReasonBadStatus, "status 401 Unauthorized; want 2xx"},
		{404, schema.ReasonBadStatus, "status 404 Not Found; want 2xx"},
		{500, schema.ReasonBadStatus, "status 500 Internal Server Error; want 2xx"},
		{503, schema.ReasonBadStatus, "status 503 Service Unavailable; want 2xx"},
	} {
		body := good
		if tc.status == 204 || tc.status == 304 {
			body = ""
		}
		w := newWebhook(t, nil, always(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", tc.status, len(body), body)))
		a := ask(prepare(t, New(nil), "http://"+w.addr, nil), patience)
		if a.Reason != tc.want || a.Detail != tc.detail || a.Attempts[0].Status != tc.status {
			t.Errorf("%d: got %s: %s, status %d; want %s: %s", tc.status, a.Reason, a.Detail, a.Attempts[0].Status, tc.want, tc.detail)
		}
	}
}

func TestAnswersOfServersThatMisbehave(t *testing.T) {
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tc := range []struct {
		name, raw string // the server writes raw and closes
		want      schema.Reason
		detail    string
	}{
		{"nothing at all", "", schema.ReasonConnectError, "closed the connection before its answer was complete"},
		{"half a header", "HTTP/1.1 200 OK\r\nContent-Le", schema.ReasonConnectError, "closed the connection"},
		{"a body cut short", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + good, schema.ReasonConnectError, "closed the connection"},
		{"chunks cut short", chunked + "1c\r\n" + good + "\r\n", schema.ReasonConnectError, "closed the connection"},
		{"a chunk cut short", chunked + "ff\r\n" + good, schema.ReasonConnectError, "closed the connection"},
		{"a chunk of no length", chunked + "zz\r\n" + good + "\r\n0\r\n\r\n", schema.ReasonBadAnswer, "not HTTP"},
		{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", schema.ReasonBadAnswer, `the answer is not HTTP: its first line is "SSH-2.0-OpenSSH_9.2"; want HTTP/1.1 and a status`},
		{"JSON without HTTP", good + "\r\n\r\n", schema.ReasonBadAnswer, "not HTTP"},
		{"binary", "\x15\x03\x01\x00\x02\x02\x28\r\n\r\n", schema.ReasonBadAnswer, "not HTTP"},
		{"a status in words", "HTTP/1.1 OK\r\n\r\n", schema.ReasonBadAnswer, "not HTTP"},
		{"headers of 9 KiB", "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("a", 9<<10) + "\r\n\r\n", schema.ReasonBadAnswer, "the answer's headers are larger than 8192 bytes"},
		{"two lengths", "HTTP/1.1 200 OK\r\nSet-Cookie: s3cret\r\nContent-Length: 1\r\nContent-Length: 28\r\n\r\n" + good, schema.ReasonBadAnswer, "not HTTP"},
		{"another protocol that was not asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", schema.ReasonBadStatus, "status 101"},
		{"interim answers without end", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000), schema.ReasonBadAnswer, "too many 1xx"},

		{"interim answers first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n" + good, schema.ReasonOK, ""},
		{"a body without a length", "HTTP/1.1 200 OK\r\n\r\n" + good, schema.ReasonOK, ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n" + good, schema.ReasonOK, ""},
		{"a body in chunks", chunked + "a\r\n" + good[:10] + "\r\n12;x=y\r\n" + good[10:] + "\r\n0\r\nX-Trailer: 1\r\n\r\n", schema.ReasonOK, ""},
		{"headers of 7 KiB", "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("a", 7<<10) + "\r\n\r\n" + good, schema.ReasonOK, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWebhook(t, nil, func(c net.Conn, _ int, _ *http.Request) bool {
				io.WriteString(c, tc.raw)
				return false
			})
			a := ask(prepare(t, New(nil), "http://"+w.addr, post), patience)
			if tc.want == schema.ReasonOK {
				wantOK(t, a)
			} else {
				wantFailure(t, a, tc.want, tc.detail)
			}
			if strings.Contains(a.Detail, "s3cret") || len(a.Detail) > 300 {
				t.Errorf("the detail tells too much: %s", a.Detail)
			}
		})
	}
}

func TestWhichErrorsMayBeFollowedByAnotherAttempt(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want repetition
	}{
		{&dialError{schema.ReasonConnectError, syscall.ECONNREFUSED}, ifUnread},
		{&dialError{schema.ReasonConnectError, syscall.EHOSTUNREACH}, ifUnread},
		{&dialError{schema.ReasonDNSError, notFound{}}, ifUnread},
		{&dialError{schema.ReasonTLSError, io.EOF}, ifUnread},
		{&dialError{schema.ReasonTLSError, errors.New("a certificate")}, never},
		{&dialError{schema.ReasonHookBlocked, &blockedError{}}, never},
		{&dialError{schema.ReasonConnectError, syscall.ETIMEDOUT}, never},
		{io.EOF, ifIdempotent},
		{io.ErrUnexpectedEOF, ifIdempotent},
		{syscall.ECONNRESET, ifIdempotent},
		{syscall.EPIPE, ifIdempotent},
		{os.ErrDeadlineExceeded, never},
		{errNoFreeConns, never},
		{errBodyTooLarge, never},
		{errHeadTooLarge, never},
		{malformed("a header that is none"), never},
		{errRedirect, never},
	} {
		if got := repeatAfter(tc.err); got != tc.want {
			t.Errorf("after %v: %d; want %d", tc.err, got, tc.want)
		}
	}
}

func TestAnEarlyRefusalIsReadThoughTheRequestWasNot(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Read(make([]byte, 1000))
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		c.Close() // with much unread, which resets the connection
	}()
	t.Cleanup(func() { l.Close(); <-done })
	call := smallCall()
	call.SetNamed([]byte("note"), bytes.Repeat([]byte("a"), 12<<20))
	a := askAbout(prepare(t, New(nil), "http://"+l.Addr().String(), post), call, patience)
	wantFailure(t, a, schema.ReasonBadStatus, "status 413")
}

func TestAHugeAnswerCostsLittle(t *testing.T) {
	const huge = 50 << 20
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, huge))
	z.Close()
	flood := func(c net.Conn, chunked bool) bool {
		block := make([]byte, 64<<10)
		for sent := 0; sent < huge; sent += len(block) {
			if chunked {
				fmt.Fprintf(c, "%x\r\n", len(block))
			}
			if _, err := c.Write(block); err != nil {
				return false
			}
			if chunked {
				io.WriteString(c, "\r\n")
			}
		}
		return false
	}
	for _, tc := range []struct {
		name   string
		answer answerer
	}{
		{"of a length", func(c net.Conn, _ int, _ *http.Request) bool {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", huge)
			return flood(c, false)
		}},
		{"without a length", func(c net.Conn, _ int, _ *http.Request) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			return flood(c, false)
		}},
		{"in chunks", func(c net.Conn, _ int, _ *http.Request) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			return flood(c, true)
		}},
		{"in one chunk", func(c net.Conn, _ int, _ *http.Request) bool {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", huge)
			return flood(c, false)
		}},
		{"of a gzip bomb", func(c net.Conn, _ int, _ *http.Request) bool {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", bomb.Len(), bomb.Bytes())
			return true
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leavesNothing(t)
			w := newWebhook(t, nil, tc.answer)
			h := prepare(t, New(nil), "http://"+w.addr, nil)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := ask(h, patience)
			runtime.ReadMemStats(&after)
			wantFailure(t, a, schema.ReasonBadAnswer, "larger than")
			if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
				t.Errorf("%d bytes were allocated for an answer of at most %d", used, h.conf.MaxAnswer)
			}
			if w.requests() != 1 {
				t.Errorf("the webhook saw %d requests; want 1", w.requests())
			}
		})
	}
}

func TestTheFallbackURLIsAskedAfterFailuresOnly(t *testing.T) {
	ca := newAuthority(t)
	plain := func(answer answerer) func(*testing.T) string {
		return func(t *testing.T) string { return "http://" + newWebhook(t, nil, answer).addr }
	}
	says := func(body string) func(*testing.T) string {
		return plain(func(c net.Conn, _ int, _ *http.Request) bool { return ok(c, body) })
	}
	for _, tc := range []struct {
		name  string
		url   func(*testing.T) string
		first schema.Reason
		asked bool
	}{
		{"refused", func(t *testing.T) string { return "http://" + refusing(t) }, schema.ReasonConnectError, true},
		{"reset", plain(func(c net.Conn, _ int, _ *http.Request) bool { return reset(c) }), schema.ReasonConnectError, true},
		{"silent", plain(silent), schema.ReasonTimeout, true},
		{"never accepted", func(t *testing.T) string { return "http://" + blackHole(t, [4]byte{127, 0, 0, 1}, 0) }, schema.ReasonConnectError, true},
		{"unresolved", func(t *testing.T) string { return "http://crm.example" }, schema.ReasonDNSError, true},
		{"untrusted", func(t *testing.T) string { return "https://" + newWebhook(t, ca.server("x.example"), answersWell).addr }, schema.ReasonTLSError, true},
		{"forbidden to ask", func(t *testing.T) string { return "http://169.254.169.254" }, schema.ReasonHookBlocked, true},
		{"500", plain(status(500)), schema.ReasonBadStatus, true},
		{"404", plain(status(404)), schema.ReasonBadStatus, true},
		{"302", plain(redirecting(302, to("/"))), schema.ReasonBadStatus, true},
		{"a page", says("<html>"), schema.ReasonBadAnswer, true},
		{"no HTTP", plain(always("hello\r\n\r\n")), schema.ReasonBadAnswer, true},
		{"204", plain(status(204)), schema.ReasonNoDestination, false},
		{"nothing in it", says("{}"), schema.ReasonNoDestination, false},
		{"nobody to dial", says(`{"dst_phone":""}`), schema.ReasonNoDestination, false},
		{"a destination that is none", says(`{"dst_phone":"${x}"}`), schema.ReasonInvalidDestination, false},
		{"a good answer", says(good), schema.ReasonOK, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			second := answering(t)
			names := newNameServer(t, hosts(nil))
			h := prepare(t, New([]string{names.addr}), tc.url(t), func(h *schema.Hook) {
				post(h)
				h.FallbackURL, h.TLS.CA = "http://"+second.addr, ca.file
			})
			a := ask(h, 2*time.Second)
			if a.Attempts[0].Reason != tc.first {
				t.Errorf("the first URL gave %s: %s; want %s", a.Attempts[0].Reason, a.Attempts[0].Error, tc.first)
			}
			if second.requests() == 1 != tc.asked {
				t.Errorf("the fallback_url saw %d requests", second.requests())
			}
			if tc.asked {
				wantOK(t, a)
			} else if a.Reason != tc.first {
				t.Errorf("got %s: %s", a.Reason, a.Detail)
			}
		})
	}
}

func TestAFailureOfBothURLsTellsOfBoth(t *testing.T) {
	h := prepare(t, New(nil), "http://"+newWebhook(t, nil, status(500)).addr, func(h *schema.Hook) {
		h.FallbackURL = "http://" + newWebhook(t, nil, status(404)).addr
	})
	wantFailure(t, ask(h, patience), schema.ReasonBadStatus,
		"url: status 500 Internal Server Error; want 2xx; fallback_url: status 404 Not Found; want 2xx")
}

func TestEachQuestionHasItsOwnIDAndARepetitionKeepsIt(t *testing.T) {
	var hook *webhook
	hook = newWebhook(t, nil, func(c net.Conn, n int, _ *http.Request) bool {
		if n == 1 {
			return reset(c)
		}
		_, body := hook.request(t, n)
		return ok(c, fmt.Sprintf(`{"jsonrpc":"2.0","result":"380441111111","id":%s}`, gjson.Get(body, "id").Raw))
	})
	h := prepare(t, New(nil), "http://"+hook.addr, func(h *schema.Hook) {
		post(h)
		h.Send, h.Receive, h.Idempotent = "json-rpc", "json-rpc", true
	})
	for range 3 {
		wantOK(t, ask(h, patience))
	}
	var ids []string
	for n := range 4 { // three calls and a repetition of the first
		_, body := hook.request(t, n+1)
		ids = append(ids, gjson.Get(body, "id").Raw)
	}
	if got, want := strings.Join(ids, " "), "1 1 2 3"; got != want {
		t.Errorf("the ids of the requests are %s; want %s", got, want)
	}
}

func TestAttemptsTellOfEachRequestAndKeepSecrets(t *testing.T) {
	w := newWebhook(t, nil, func(c net.Conn, n int, _ *http.Request) bool {
		if n == 1 {
			return status(503)(c, n, nil)
		}
		return ok(c, good)
	})
	h := prepare(t, New(nil), "http://user:s3cret-password@"+w.addr+"/route?api_key=s3cret-query&lang=uk#part", func(h *schema.Hook) {
		h.Headers = secrets("X-Api-Key", "s3cret-header")
		h.Sign = schema.NewSecret("s3cret-sign")
	})
	for _, explain := range []bool{false, true} {
		call := smallCall()
		call.Explain = explain
		a := askAbout(h, call, patience)
		wantOK(t, a)
		if strings.Contains(fmt.Sprintf("%+v", a), "s3cret") {
			t.Errorf("a secret is in %+v", a)
		}
		last := a.Attempts[len(a.Attempts)-1]
		if want := "http://" + w.addr + "/route"; last.URL != want || last.Status != 200 || last.Took <= 0 || last.Began < 0 {
			t.Errorf("got %+v; want URL %s", last, want)
		}
		if !explain {
			first := a.Attempts[0]
			if len(a.Attempts) != 2 || first.Status != 503 || first.Reason != schema.ReasonBadStatus || first.Error == "" || last.Began < first.Began+first.Took {
				t.Errorf("got %+v; want a 503, then a 200", a.Attempts)
			}
			if first.Request+first.Body+last.Request+last.Body != "" {
				t.Errorf("unasked, it explains: %+v", a.Attempts)
			}
			continue
		}
		if !strings.HasPrefix(last.Request, "GET /route?api_key=***&lang=uk") || !strings.Contains(last.Body, "380441111111") {
			t.Errorf("explained as %q and %q", last.Request, last.Body)
		}
	}
}

func TestProbe(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer answerer
		want   string // of the error; "" for none
	}{
		{"a 200 is a yes, whatever it says", func(c net.Conn, _ int, _ *http.Request) bool { return ok(c, "<html>") }, ""},
		{"a 204 is a yes", status(204), ""},
		{"a large page is a yes", func(c net.Conn, _ int, _ *http.Request) bool { return ok(c, strings.Repeat("a", 1<<20)) }, ""},
		{"a 503 is a no", status(503), "status 503; want 2xx"},
		{"a 302 is a no", redirecting(302, to("/")), "status 302; want 2xx"},
		{"a reset is a no", func(c net.Conn, _ int, _ *http.Request) bool { return reset(c) }, "closed the connection"},
		{"silence is a no", silent, "no complete answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leavesNothing(t)
			w := newWebhook(t, nil, tc.answer)
			h := prepare(t, New(nil), "http://"+refusing(t), func(h *schema.Hook) {
				post(h)
				h.Breaker.ProbeURL = "http://" + w.addr + "/health?deep=1"
				h.Auth.Bearer = schema.NewSecret("token")
				h.Params = []schema.ParamRule{{Name: "from", Param: "caller"}}
			})
			within := patience
			if tc.name == "silence is a no" {
				within = time.Second
			}
			err := h.Probe(time.Now().Add(within))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v; want %q", err, tc.want)
			}
			r, body := w.request(t, 1)
			if r.Method != "GET" || r.RequestURI != "/health?deep=1" || r.Header.Get("Authorization") != "Bearer token" || body != "" {
				t.Errorf("asked with %s %s, %v, body %q", r.Method, r.RequestURI, r.Header, body)
			}
			if w.requests() != 1 {
				t.Errorf("%d requests; want 1", w.requests())
			}
		})
	}
	h := prepare(t, New(nil), "http://127.0.0.1", nil)
	if err := h.Probe(time.Now().Add(time.Second)); err == nil {
		t.Error("without a probe_url, a probe succeeds")
	}
}

func TestAWebhookThatEchoesItsRequestTellsNoSecret(t *testing.T) {
	w := newWebhook(t, nil, func(c net.Conn, n int, r *http.Request) bool {
		return ok(c, "you sent "+r.Header.Get("X-Api-Key")+" and "+r.Header.Get("Authorization"))
	})
	h := prepare(t, New(nil), "http://"+w.addr, func(h *schema.Hook) {
		h.Headers = map[string]schema.Secret{"X-Api-Key": schema.NewSecret("key-4711")}
		h.Auth.Basic = &schema.BasicAuth{User: "u", Password: schema.NewSecret("pass-4712")}
	})
	call := smallCall()
	call.Explain = true
	a := askAbout(h, call, patience)
	if a.Reason != schema.ReasonBadAnswer {
		t.Fatalf("%s: %s", a.Reason, a.Detail)
	}
	for _, text := range []string{a.Detail, a.Attempts[0].Error, a.Attempts[0].Body, a.Attempts[0].Request} {
		for _, secret := range []string{"4711", "4712", "dTpwYXNzLTQ3MTI="} {
			if strings.Contains(text, secret) {
				t.Errorf("%q tells %s", text, secret)
			}
		}
	}
}
