package hookclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// errRedirect is a redirect that is not followed.
var errRedirect = errors.New("redirect not followed")

func redirects(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// follow goes where a redirect points, at most follow_redirects times, within the deadline. Only a
// GET is followed, and anything through 307 and 308, which repeat it as it was (RFC 9110, section
// 15.4); never from https to http. Another origin is asked through the same guard, and sees
// neither credentials nor configured headers.
func (h *Hook) follow(t *target, req *fasthttp.Request, resp *fasthttp.Response, deadline time.Time) error {
	at := &url.URL{Scheme: string(req.URI().Scheme()), Host: string(req.Host()), Path: string(req.URI().Path())}
	home, pool := at, t.pool
	for range h.conf.FollowRedirects {
		to, err := h.next(at, resp)
		if err != nil {
			return err
		}
		if !sameOrigin(at, to) {
			if pool, err = t.elsewhere(to); err != nil {
				return err
			}
			req.SetConnectionClose() // nobody keeps what was dialled for one call
		}
		if !sameOrigin(home, to) {
			h.stripSecrets(req)
		}
		req.SetRequestURI(to.String())
		req.URI().DisablePathNormalizing = true // URI also parses it: else it would go out whole
		req.Header.SetHost(to.Host)
		if err := t.exchange(pool, req, resp, deadline); err != nil {
			return err
		}
		if !redirects(resp.StatusCode()) {
			return nil
		}
		at = to
	}
	return fmt.Errorf("%w: more than follow_redirects, %d", errRedirect, h.conf.FollowRedirects)
}

// next returns where the redirect in resp leads from at, if it may be followed.
func (h *Hook) next(at *url.URL, resp *fasthttp.Response) (*url.URL, error) {
	status := resp.StatusCode()
	if h.conf.Method != "GET" && status != 307 && status != 308 {
		return nil, fmt.Errorf("%w: status %d after %s; only 307 and 308 keep the method", errRedirect, status, h.conf.Method)
	}
	location := string(resp.Header.Peek("Location"))
	to, err := at.Parse(location)
	if err != nil || location == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, fmt.Errorf("%w: status %d without a usable Location", errRedirect, status)
	}
	if at.Scheme == "https" && to.Scheme == "http" {
		return nil, fmt.Errorf("%w: from https to http", errRedirect)
	}
	host, err := asciiHost(to.Hostname())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRedirect, err)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if to.Port() != "" {
		host += ":" + to.Port()
	}
	to.Host, to.User = host, nil
	return to, nil
}

// elsewhere returns a pool for a redirect's origin, with the same guard and trust, but without the
// name and the certificate that are the configured origin's.
func (t *target) elsewhere(to *url.URL) (*fasthttp.HostClient, error) {
	port, secured := "80", (*tls.Config)(nil)
	if to.Scheme == "https" {
		port, secured = "443", t.secured.Clone()
		secured.ServerName, secured.Certificates, secured.ClientSessionCache = "", nil, nil
	}
	if to.Port() != "" {
		port = to.Port()
	}
	addr := net.JoinHostPort(to.Hostname(), port)
	d, err := newDialer(addr, t.dialer.servers, t.dialer.guard, secured)
	if err != nil {
		return nil, err
	}
	return newPool(addr, d, 1), nil
}

// stripSecrets removes what only the configured origin may see.
func (h *Hook) stripSecrets(req *fasthttp.Request) {
	for _, name := range []string{"Authorization", "Cookie", "webhook-signature"} {
		req.Header.Del(name)
	}
	for name := range h.conf.Headers {
		req.Header.Del(name)
	}
}
