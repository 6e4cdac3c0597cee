package hookclient

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"hookswitch/schema"
)

// redirecting answers with a redirect to what location returns.
func redirecting(code int, location func() string) answerer {
	return func(c net.Conn, _ int, _ *http.Request) bool {
		fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", code, http.StatusText(code), location())
		return true
	}
}

func to(location string) func() string { return func() string { return location } }

// following lets a hook follow some redirects.
func following(h *schema.Hook) { h.FollowRedirects = 3 }

func TestARedirectIsNotFollowedUnlessThatIsAllowed(t *testing.T) {
	other := answering(t)
	for _, code := range []int{301, 302, 303, 307, 308} {
		w := newWebhook(t, nil, redirecting(code, to("http://"+other.addr+"/")))
		a := ask(prepare(t, New(nil), "http://"+w.addr, nil), patience)
		wantFailure(t, a, schema.ReasonBadStatus, fmt.Sprintf("status %d to another place; want 2xx, or set follow_redirects", code))
		if w.requests() != 1 || other.connections() != 0 || a.Attempts[0].Status != code {
			t.Errorf("%d: %d requests, %d connections elsewhere, status %d", code, w.requests(), other.connections(), a.Attempts[0].Status)
		}
	}
}

func TestARedirectIsFollowedWithinItsOrigin(t *testing.T) {
	for _, tc := range []struct{ location, want string }{
		{"/there?x=1", "/there?x=1"},
		{"there?x=1", "/there?x=1"},
		{"?x=1", "/here?x=1"},
		{"//{addr}/there?x=1", "/there?x=1"},
		{"http://{addr}/there?x=1#part", "/there?x=1"},
		{"http://{addr}", "/"},
		{"/a//b%2Fc", "/a//b%2Fc"}, // as it was written
	} {
		var w *webhook
		w = newWebhook(t, nil, func(c net.Conn, n int, r *http.Request) bool {
			if n == 1 {
				return redirecting(302, to(strings.ReplaceAll(tc.location, "{addr}", w.addr)))(c, n, r)
			}
			return ok(c, good)
		})
		h := prepare(t, New(nil), "http://"+w.addr+"/here", func(h *schema.Hook) {
			following(h)
			h.Auth.Bearer = schema.NewSecret("s3cret")
		})
		a := ask(h, patience)
		if wantOK(t, a); len(a.Attempts) != 1 {
			t.Errorf("%d attempts; want 1", len(a.Attempts))
		}
		r, _ := w.request(t, 2)
		if r.RequestURI != tc.want || r.Host != w.addr || r.Header.Get("Authorization") != "Bearer s3cret" || w.connections() != 1 {
			t.Errorf("%s: asked for %s of %s with %v over %d connections", tc.location, r.RequestURI, r.Host, r.Header, w.connections())
		}
	}
}

func TestAnotherOriginSeesNoSecrets(t *testing.T) {
	leavesNothing(t)
	other := answering(t)
	w := newWebhook(t, nil, redirecting(307, to("http://user:pass@"+other.addr+"/there")))
	h := prepare(t, New(nil), "http://"+w.addr, func(h *schema.Hook) {
		following(h)
		post(h)
		h.Auth.Bearer = schema.NewSecret("s3cret-bearer")
		h.Sign = schema.NewSecret("s3cret-key")
		h.Headers = secrets("x-api-key", "s3cret-header", "X-Tagged", "s3cret-{{caller}}", "cookie", "s3cret-cookie", "User-Agent", "s3cret-agent")
	})
	wantOK(t, ask(h, patience))
	first, body := w.request(t, 1)
	second, repeated := other.request(t, 1)
	if second.Method != "POST" || repeated != body || body == "" || second.RequestURI != "/there" || second.Host != other.addr {
		t.Errorf("%s %s of %s, body %q; want POST /there of %s, body %q", second.Method, second.RequestURI, second.Host, repeated, other.addr, body)
	}
	if n := strings.Count(fmt.Sprint(first.Header), "s3cret"); n != 5 {
		t.Errorf("the first origin got %v; want the secrets", first.Header)
	}
	for name, values := range second.Header {
		if strings.Contains(fmt.Sprint(values), "s3cret") || slices.Contains([]string{"Authorization", "Cookie", "Webhook-Signature"}, name) {
			t.Errorf("the other origin got %s: %s", name, values)
		}
	}
}

func TestSecretsDoNotComeBackWithTheWayHome(t *testing.T) {
	var home *webhook
	other := newWebhook(t, nil, redirecting(302, func() string { return "http://" + home.addr + "/home" }))
	home = newWebhook(t, nil, func(c net.Conn, n int, r *http.Request) bool {
		if n == 1 {
			return redirecting(302, to("http://"+other.addr))(c, n, r)
		}
		return ok(c, good)
	})
	h := prepare(t, New(nil), "http://"+home.addr, func(h *schema.Hook) {
		following(h)
		h.Headers = secrets("X-Key", "s3cret")
	})
	wantOK(t, ask(h, patience))
	if r, _ := home.request(t, 2); r.Header.Get("X-Key") != "" {
		t.Error("what another origin asked for was asked with the secret") // which names what is asked for
	}
}

func TestRedirectsThatLeadNowhereAreBadStatus(t *testing.T) {
	ca := newAuthority(t)
	for _, tc := range []struct {
		name, method string
		answer       answerer
		want         string
		requests     int
	}{
		{"a POST answered 302", "POST", redirecting(302, to("/there")), "status 302 after POST; only 307 and 308 keep the method", 1},
		{"a POST answered 303", "POST", redirecting(303, to("/there")), "status 303 after POST", 1},
		{"from https to http", "GET", redirecting(302, to("http://127.0.0.1/")), "from https to http", 1},
		{"no Location", "GET", always("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "without a usable Location", 1},
		{"a Location that is no URL", "GET", redirecting(302, to("http://%zz/")), "without a usable Location", 1},
		{"to a file", "GET", redirecting(302, to("file:///etc/passwd")), "without a usable Location", 1},
		{"to no host", "GET", redirecting(302, to("https:///there")), "no host", 1},
		{"in a circle", "GET", redirecting(302, to("/again")), "more than follow_redirects, 3", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWebhook(t, ca.server("127.0.0.1"), tc.answer)
			h := prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) {
				following(h)
				h.Method, h.TLS.CA = tc.method, ca.file
			})
			a := ask(h, patience)
			wantFailure(t, a, schema.ReasonBadStatus, tc.want)
			if w.requests() != tc.requests || len(a.Attempts) != 1 || a.Attempts[0].Status/100 != 3 {
				t.Errorf("%d requests, attempts %+v; want %d requests in one attempt", w.requests(), a.Attempts, tc.requests)
			}
		})
	}
}

func TestARedirectToAPrivateAddressIsBlocked(t *testing.T) {
	inside := answering(t)
	port := portOf(t, inside)
	names := newNameServer(t, hosts(map[string][]string{"inside.example": {"127.0.0.1"}}))
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "inside.example"} {
		w := serve(t, listen(t, "127.0.0.2:0"), nil, redirecting(302, to(fmt.Sprintf("http://%s:%d/", host, port))))
		h := public(t, New([]string{names.addr}), "http://"+w.addr, following)
		asIfPublic(h, "127.0.0.2")
		a := ask(h, patience)
		wantFailure(t, a, schema.ReasonHookBlocked, "which may not be asked")
		if len(a.Attempts) != 1 {
			t.Errorf("%s: %d attempts; want 1", host, len(a.Attempts))
		}
	}
	if inside.connections() != 0 {
		t.Error("the private address was connected to")
	}
}

func TestAPOSTWhoseRedirectCannotBeReachedIsNotSentTwice(t *testing.T) {
	w := newWebhook(t, nil, redirecting(307, to("http://"+refusing(t))))
	h := prepare(t, New(nil), "http://"+w.addr, func(h *schema.Hook) { following(h); post(h) })
	wantFailure(t, ask(h, patience), schema.ReasonConnectError, "refused")
	if w.requests() != 1 {
		t.Errorf("the webhook saw %d requests; want 1", w.requests())
	}
}

func TestARedirectToAnotherHostShowsNoClientCertificate(t *testing.T) {
	ca := newAuthority(t)
	secured := ca.server("127.0.0.1")
	secured.ClientAuth = tls.RequestClientCert
	shown := -1
	other := newWebhook(t, secured, func(c net.Conn, _ int, _ *http.Request) bool {
		shown = certificates(c)
		return ok(c, good)
	})
	w := newWebhook(t, secured.Clone(), func(c net.Conn, _ int, _ *http.Request) bool {
		if certificates(c) != 1 {
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			return true
		}
		return redirecting(302, to("https://"+other.addr))(c, 0, nil)
	})
	h := prepare(t, New(nil), "https://"+w.addr, func(h *schema.Hook) {
		following(h)
		h.TLS.CA = ca.file
		h.TLS.Cert, h.TLS.Key = ca.clientFiles("the switch")
	})
	wantOK(t, ask(h, patience))
	if shown != 0 {
		t.Errorf("the other host was shown %d certificates; want none", shown)
	}
}

// certificates is how many certificates the client has shown.
func certificates(c net.Conn) int { return len(c.(*tls.Conn).ConnectionState().PeerCertificates) }
