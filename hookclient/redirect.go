package hookclient

import (
	"errors"
	"fmt"
	"net"
	"net/url"
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
	scheme := map[bool]string{false: "http", true: "https"}[t.builder.isTLS]
	at := &url.URL{Scheme: scheme, Host: string(req.Host()), Path: string(req.URI().Path())}
	home, client := at, t.client
	for range h.conf.FollowRedirects {
		status := resp.StatusCode()
		if !redirects(status) {
			return nil
		}
		if h.conf.Method != "GET" && status != 307 && status != 308 {
			return fmt.Errorf("%w: status %d after %s; only 307 and 308 keep the method", errRedirect, status, h.conf.Method)
		}
		to, err := at.Parse(string(resp.Header.Peek("Location")))
		if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
			return fmt.Errorf("%w: status %d without a usable Location", errRedirect, status)
		}
		if at.Scheme == "https" && to.Scheme == "http" {
			return fmt.Errorf("%w: from https to http", errRedirect)
		}
		if !sameOrigin(at, to) {
			client = h.elsewhere(t, to)
			defer client.CloseIdleConnections()
		}
		if !sameOrigin(home, to) {
			h.stripSecrets(req)
		}
		req.SetRequestURI(to.String())
		req.Header.SetHost(to.Host)
		if err := client.DoDeadline(req, resp, deadline); err != nil {
			return err
		}
		at = to
	}
	return nil
}

// elsewhere returns a client for a redirect's origin, with the same guard and trust.
func (h *Hook) elsewhere(t *target, to *url.URL) *fasthttp.HostClient {
	isTLS := to.Scheme == "https"
	port := to.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[isTLS]
	}
	d := &dialer{resolver: t.dialer.resolver, allowPrivate: t.dialer.allowPrivate}
	if isTLS {
		d.tls = t.secured.Clone()
		d.tls.ServerName, d.tls.Certificates = "", nil
	}
	return newHostClient(net.JoinHostPort(to.Hostname(), port), isTLS, d, spareConns, h.conf.MaxAnswer)
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
