package hookclient

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// drip sends text a byte at a time for as long as anybody listens.
func drip(c net.Conn, text string) bool {
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

func TestAnAskEndsByItsDeadlineAndLeavesNothing(t *testing.T) {
	const within = 500 * time.Millisecond
	const margin = patience // machines are busy at times; without a deadline, these would take minutes
	long := strings.Repeat("a", 10_000)
	plain := func(answer answerer) func(*testing.T) string {
		return func(t *testing.T) string { return "http://" + newWebhook(t, nil, answer).addr }
	}
	for _, tc := range []struct {
		name   string
		url    func(*testing.T) string
		set    func(*schema.Hook)
		want   schema.Reason
		detail string
	}{
		{"the connection is never accepted", func(t *testing.T) string {
			return "http://" + blackHole(t, [4]byte{127, 0, 0, 1}, 0)
		}, nil, schema.ReasonConnectError, "no answer in time"},
		{"the webhook accepts and says nothing", plain(silent), nil, schema.ReasonTimeout, "no complete answer"},
		{"a webhook with TLS accepts and says nothing", func(t *testing.T) string {
			return "https://" + silentListener(t)
		}, nil, schema.ReasonTimeout, "no TLS handshake"},
		{"the headers come a byte at a time", plain(func(c net.Conn, _ int, _ *http.Request) bool {
			return drip(c, "HTTP/1.1 200 OK\r\nX-Long: "+long)
		}), nil, schema.ReasonTimeout, "no complete answer"},
		{"the body comes a byte at a time", plain(func(c net.Conn, _ int, _ *http.Request) bool {
			return drip(c, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"+long)
		}), nil, schema.ReasonTimeout, "no complete answer"},
		{"the chunks come a byte at a time", plain(func(c net.Conn, _ int, _ *http.Request) bool {
			return drip(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1\r\na\r\n", 2000))
		}), nil, schema.ReasonTimeout, "no complete answer"},
		{"the body has no end", plain(func(c net.Conn, _ int, r *http.Request) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+good)
			return silent(c, 0, r)
		}), nil, schema.ReasonTimeout, "no complete answer"},
		{"interim answers never end", plain(func(c net.Conn, _ int, _ *http.Request) bool {
			return drip(c, "HTTP/1.1 103 Early Hints\r\nX-Long: "+long)
		}), nil, schema.ReasonTimeout, "no complete answer"},
		{"redirects lead in a circle, slowly", plain(func(c net.Conn, _ int, _ *http.Request) bool {
			time.Sleep(50 * time.Millisecond)
			io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
			return true
		}), func(h *schema.Hook) { h.FollowRedirects = 1000 }, schema.ReasonTimeout, "no complete answer"},
		{"both attempts and both URLs hang", plain(func(c net.Conn, n int, r *http.Request) bool {
			if n == 1 {
				return reset(c)
			}
			return silent(c, n, r)
		}), func(h *schema.Hook) { h.FallbackURL = h.URL }, schema.ReasonTimeout, "fallback_url: no complete answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leavesNothing(t)
			h := prepare(t, New(nil), tc.url(t), tc.set)
			began := time.Now()
			a := ask(h, within)
			if took := time.Since(began); took > within+margin {
				t.Errorf("took %v; want at most %v", took, within)
			}
			wantFailure(t, a, tc.want, tc.detail)
		})
	}
}

func TestAWebhookThatReadsNothingHoldsACallNoLongerThanItsDeadline(t *testing.T) {
	// More than the kernel keeps for a connection; a TLS connection then can't even say goodbye.
	const large = 12 << 20
	const within = 3 * time.Second // a busy machine takes one to build that
	authority := newAuthority(t)
	for _, tc := range []struct {
		name, scheme string
		accept       func(t testing.TB) string
	}{
		{"plain", "http", silentListener},
		{"TLS", "https", func(t testing.TB) string { return deafAfterHandshake(t, authority.server("127.0.0.1")) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leavesNothing(t)
			h := prepare(t, New(nil), tc.scheme+"://"+tc.accept(t), func(h *schema.Hook) { post(h); h.TLS.CA = authority.file })
			call := smallCall()
			call.SetNamed([]byte("note"), bytes.Repeat([]byte("a"), large))
			began := time.Now()
			a := askAbout(h, call, within)
			if took := time.Since(began); took > within+patience {
				t.Errorf("took %v; want at most %v", took, within)
			}
			wantFailure(t, a, schema.ReasonTimeout, "no complete answer")
		})
	}
}

// deafAfterHandshake does the TLS handshake with whoever connects, and never reads again.
func deafAfterHandshake(t testing.TB, secured *tls.Config) string {
	l := listen(t, "127.0.0.1:0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		tls.Server(c, secured).Handshake()
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestATLSConnectionThatIsFullIsClosedAtOnce(t *testing.T) {
	ca := newAuthority(t)
	d, err := newDialer(deafAfterHandshake(t, ca.server("127.0.0.1")), nil, guard(true), &tls.Config{RootCAs: ca.pool()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.dial(patience)
	if err != nil {
		t.Fatal(err)
	}
	c.tcp.SetWriteBuffer(4 << 10)
	for full, size := 0, 1<<20; full < 5; size = max(size/2, 1) {
		c.tcp.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		if n, _ := c.tcp.Write(make([]byte, size)); n > 0 {
			full = 0
		} else if size == 1 {
			full++
		}
	}
	began := time.Now()
	c.Close()
	if took := time.Since(began); took > 4*time.Second { // tls.Conn takes five
		t.Errorf("closing took %v", took)
	}
}

func TestADeadlineThatHasPassedSendsNothing(t *testing.T) {
	w := newWebhook(t, nil, always("HTTP/1.1 204 No Content\r\n\r\n"))
	a := ask(prepare(t, New(nil), "http://"+w.addr, nil), -time.Second)
	wantFailure(t, a, schema.ReasonTimeout, "")
	if w.connections() != 0 {
		t.Error("the webhook was connected to")
	}
}
