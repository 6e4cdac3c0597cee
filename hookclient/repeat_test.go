package hookclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/sys/unix"

	"hookswitch/schema"
)

// status answers with a status and nothing else.
func status(code int) answerer {
	return always(fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n", code, http.StatusText(code)))
}

func TestHowOftenAWebhookSeesARequest(t *testing.T) {
	resets := func(c net.Conn, _ int, _ *http.Request) bool { return reset(c) }
	closes := func(net.Conn, int, *http.Request) bool { return false }
	inTheBody := func(c net.Conn, _ int, _ *http.Request) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+good)
		return false
	}
	idempotent := func(h *schema.Hook) { h.Idempotent = true }
	for _, tc := range []struct {
		name   string
		method string
		answer answerer
		set    func(*schema.Hook)
		want   int
	}{
		{"a POST that is reset once it was read", "POST", resets, nil, 1},
		{"a PATCH that is reset", "PATCH", resets, nil, 1},
		{"a GET that is reset", "GET", resets, nil, 2},
		{"a PUT that is reset", "PUT", resets, nil, 2},
		{"a DELETE that is reset", "DELETE", resets, nil, 2},
		{"a POST declared idempotent that is reset", "POST", resets, idempotent, 2},
		{"a POST whose connection is closed", "POST", closes, nil, 1},
		{"a GET whose connection is closed", "GET", closes, nil, 2},
		{"a POST whose connection is closed in the body", "POST", inTheBody, nil, 1},
		{"a GET whose connection is closed in the body", "GET", inTheBody, nil, 2},
		{"a GET answered 429", "GET", status(429), nil, 2},
		{"a GET answered 502", "GET", status(502), nil, 2},
		{"a GET answered 503", "GET", status(503), nil, 2},
		{"a GET answered 504", "GET", status(504), nil, 2},
		{"a POST answered 429", "POST", status(429), nil, 1},
		{"a POST answered 502", "POST", status(502), nil, 1},
		{"a POST answered 503", "POST", status(503), nil, 1},
		{"a POST answered 504", "POST", status(504), nil, 1},
		{"a POST declared idempotent that is answered 503", "POST", status(503), idempotent, 2},
		{"a GET answered 500", "GET", status(500), nil, 1},
		{"a GET answered 404", "GET", status(404), nil, 1},
		{"a GET answered 501", "GET", status(501), nil, 1},
		{"a GET whose answer makes no sense", "GET", always("SSH-2.0-x\r\n"), nil, 1},
		{"a GET whose answer is no JSON", "GET", func(c net.Conn, _ int, _ *http.Request) bool { return ok(c, "<html>") }, nil, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWebhook(t, nil, tc.answer)
			h := prepare(t, New(nil), "http://"+w.addr, func(h *schema.Hook) {
				if h.Method = tc.method; tc.set != nil {
					tc.set(h)
				}
			})
			if a := ask(h, patience); a.Reason == schema.ReasonOK || len(a.Attempts) != tc.want || a.Detail == "" {
				t.Errorf("got %s: %s, and %d attempts; want a failure and %d", a.Reason, a.Detail, len(a.Attempts), tc.want)
			}
			if w.requests() != tc.want {
				t.Errorf("the webhook saw %d requests; want %d", w.requests(), tc.want)
			}
		})
	}
}

func TestATimeoutIsNeverRepeated(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		w := newWebhook(t, nil, silent)
		h := prepare(t, New(nil), "http://"+w.addr, func(h *schema.Hook) { h.Method, h.Idempotent = method, true })
		wantFailure(t, ask(h, time.Second), schema.ReasonTimeout, "")
		if w.requests() != 1 {
			t.Errorf("%s: the webhook saw %d requests; want 1", method, w.requests())
		}
	}
}

func TestARequestThatIsAnsweredTheSecondTimeLands(t *testing.T) {
	w := newWebhook(t, nil, func(c net.Conn, n int, _ *http.Request) bool {
		if n == 1 {
			return reset(c)
		}
		return ok(c, good)
	})
	a := ask(prepare(t, New(nil), "http://"+w.addr, nil), patience)
	wantOK(t, a)
	if len(a.Attempts) != 2 || a.Attempts[0].Reason != schema.ReasonConnectError || a.Attempts[1].Reason != schema.ReasonOK {
		t.Errorf("attempts: %+v", a.Attempts)
	}
}

func TestARefusedPOSTLandsWhenTheServerIsBack(t *testing.T) {
	addr := refusing(t)
	h := prepare(t, New(nil), "http://"+addr, post)
	var back *webhook
	dials := 0
	h.primary.dialer.guard = func(netip.Addr) error { // is asked before each dial
		if dials++; dials == 2 {
			back = serve(t, listen(t, addr), nil, answersWell)
		}
		return nil
	}
	wantOK(t, ask(h, patience))
	if back.requests() != 1 {
		t.Errorf("the webhook saw %d requests; want 1", back.requests())
	}
}

func TestAConnectionClosedWhileIdleCostsNoRequest(t *testing.T) {
	ca := newAuthority(t)
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			secured := ca.server("127.0.0.1")
			if scheme == "http" {
				secured = nil
			}
			w := newWebhook(t, secured, func(c net.Conn, _ int, _ *http.Request) bool {
				ok(c, good)
				return false // closes, and does not say so
			})
			h := prepare(t, New(nil), scheme+"://"+w.addr, func(h *schema.Hook) { post(h); h.TLS.CA = ca.file })
			for n := 1; n <= 3; n++ {
				a := ask(h, patience)
				if wantOK(t, a); len(a.Attempts) != 1 {
					t.Errorf("POST %d took %d attempts", n, len(a.Attempts))
				}
				if w.requests() != n {
					t.Errorf("the webhook saw %d requests; want %d", w.requests(), n)
				}
				w.awaitClosed(t, n)
			}
		})
	}
}

func TestAServerThatRestartsCostsNoRequestHoweverManyConnectionsWereKept(t *testing.T) {
	const calls = 5
	var all sync.WaitGroup
	all.Add(calls)
	w := newWebhook(t, nil, func(c net.Conn, n int, _ *http.Request) bool {
		if n <= calls { // all at once, so that each has a connection of its own
			all.Done()
			all.Wait()
		}
		return ok(c, good)
	})
	h := prepare(t, New(nil), "http://"+w.addr, post)
	var asked sync.WaitGroup
	for range calls {
		asked.Go(func() { ask(h, patience) })
	}
	asked.Wait()
	if w.connections() != calls {
		t.Fatalf("%d connections; want %d", w.connections(), calls)
	}
	w.hangUp(false)
	w.awaitClosed(t, calls)
	wantOK(t, ask(h, patience))
	if w.requests() != calls+1 {
		t.Errorf("the webhook saw %d requests; want %d", w.requests(), calls+1)
	}
}

func TestAKeptConnectionIsUsedAgainAfterAPause(t *testing.T) {
	ca := newAuthority(t)
	for _, tc := range []struct {
		name    string
		version uint16 // of TLS, 0 for none
	}{{"plain", 0}, {"TLS 1.2", 0x0303}, {"TLS 1.3 with its session tickets", 0x0304}} {
		t.Run(tc.name, func(t *testing.T) {
			scheme, secured := "http", ca.server("127.0.0.1")
			if tc.version == 0 {
				secured = nil
			} else {
				scheme, secured.MinVersion, secured.MaxVersion = "https", tc.version, tc.version
			}
			w := newWebhook(t, secured, answersWell)
			h := prepare(t, New(nil), scheme+"://"+w.addr, func(h *schema.Hook) { post(h); h.TLS.CA = ca.file })
			for range 3 {
				wantOK(t, ask(h, patience))
			}
			if w.connections() != 1 {
				t.Errorf("%d connections for 3 calls; want 1", w.connections())
			}
		})
	}
}

func TestWhatComesAfterAnAnswerIsNotTheNextCallsAnswer(t *testing.T) {
	surplus := "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n" + `{"dst_phone":"380449999999"}`
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(good), good)
	// What the client's buffer doesn't hold waits in the connection for the next call.
	beyond := answer + strings.Repeat("x", answerHeader-len(answer)) + surplus
	for _, tc := range []struct{ name, first, later string }{
		{"with it", answer + surplus, ""},
		{"with it, and more than is read at once", beyond, ""},
		{"later", answer, surplus},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answered, later := make(chan bool), make(chan bool)
			w := newWebhook(t, nil, func(c net.Conn, _ int, _ *http.Request) bool {
				io.WriteString(c, tc.first)
				if tc.later != "" {
					<-answered
					io.WriteString(c, tc.later)
					later <- true
				}
				return true
			})
			h := prepare(t, New(nil), "http://"+w.addr, nil)
			for range 3 {
				wantOK(t, ask(h, patience))
				if tc.later != "" {
					answered <- true
					<-later
				}
			}
		})
	}
}

// Between an answer and what comes after it there is no time at all: both are in one packet, of which TLS
// reads all, and gives the client the first record.
func TestASecondRecordBesideAnAnswersIsNotTheNextCallsAnswer(t *testing.T) {
	ca := newAuthority(t)
	w := newWebhook(t, ca.server("127.0.0.1"), func(c net.Conn, _ int, _ *http.Request) bool {
		cork(t, c, 1)
		defer cork(t, c, 0)
		return ok(c, good) && ok(c, `{"dst_phone":"380449999999"}`)
	})
	h := prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) { h.TLS.CA = ca.file })
	for n := 1; n <= 3; n++ {
		wantOK(t, ask(h, patience))
		if w.connections() != n {
			t.Errorf("%d connections for %d calls; want each its own", w.connections(), n)
		}
	}
}

// cork holds what is written to a TLS connection back (1), or sends it off (0): tcp(7), TCP_CORK.
func cork(t testing.TB, c net.Conn, how int) {
	raw, err := c.(*tls.Conn).NetConn().(*net.TCPConn).SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_CORK, how)
		}), err)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestAnAnswerToAnotherRequestCostsOneCallAndNotTheNext(t *testing.T) {
	over := make(chan bool)
	defer close(over)
	var w *webhook
	w = newWebhook(t, nil, func(c net.Conn, n int, _ *http.Request) bool {
		_, body := w.request(t, n)
		own := fmt.Sprintf(`{"jsonrpc":"2.0","result":"380441111111","id":%s}`, gjson.Get(body, "id").Raw)
		if n == 2 {
			ok(c, `{"jsonrpc":"2.0","result":"380449999999","id":1}`)
			<-over // its own answer comes when others have been asked for
		}
		return ok(c, own)
	})
	h := prepare(t, New(nil), "http://"+w.addr, func(h *schema.Hook) { post(h); h.Send, h.Receive = "json-rpc", "json-rpc" })
	wantOK(t, ask(h, patience))
	wantFailure(t, ask(h, patience), schema.ReasonBadAnswer, "id is 1")
	wantOK(t, ask(h, patience))
	if w.connections() != 2 {
		t.Errorf("%d connections; want 2", w.connections())
	}
}
