package hookclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"hookswitch/schema"
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
func (h *Hook) follow(t *target, req *request, resp response, a *schema.Answer, deadline time.Time) (response, error) {
	path, _, _ := strings.Cut(req.target(), "?")
	scheme := "http://"
	if t.builder.isTLS {
		scheme = "https://"
	}
	at, err := url.Parse(scheme + t.builder.hostHeader + path)
	if err != nil {
		return resp, fmt.Errorf("%w: from an address that is none", errRedirect)
	}
	home, pool := at, t.pool
	for range h.conf.FollowRedirects {
		to, err := h.next(at, &resp)
		if err != nil {
			return resp, err
		}
		if !sameOrigin(at, to) {
			if pool, err = t.elsewhere(to); err != nil {
				return resp, err
			}
			req.closes = true // nobody keeps what was dialled for one call
		}
		h.redirect(req, to, !sameOrigin(home, to))
		t.release(&resp, a.At, false)
		if resp, err = t.exchange(pool, req, a, time.Now(), deadline); err != nil || !redirects(resp.status) {
			return resp, err
		}
		at = to
	}
	return resp, fmt.Errorf("%w: more than follow_redirects, %d", errRedirect, h.conf.FollowRedirects)
}

// target is what the request asks for, path and query.
func (r *request) target() string {
	line, _, _ := strings.Cut(string(r.raw), " HTTP/1.1\r\n")
	_, target, _ := strings.Cut(line, " ")
	return target
}

// redirect writes req anew, to go to another URL; abroad, that is of another origin, it is without
// what only the configured one may see.
func (h *Hook) redirect(req *request, to *url.URL, abroad bool) {
	head, body, _ := strings.Cut(string(req.raw), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	method, _, _ := strings.Cut(lines[0], " ")
	raw := appendPercent([]byte(method+" "), to.RequestURI(), &uriBytes)
	raw = append(raw, " HTTP/1.1\r\nHost: "+to.Host+"\r\n"...)
	for _, line := range lines[1:] {
		name, _, _ := strings.Cut(line, ":")
		replaced := strings.EqualFold(name, "Host") || req.closes && strings.EqualFold(name, "Connection")
		if !replaced && !(abroad && h.secret(name)) {
			raw = append(raw, line+"\r\n"...)
		}
	}
	if req.closes {
		raw = append(raw, "Connection: close\r\n"...)
	}
	req.raw = append(append(raw, "\r\n"...), body...)
}

// next returns where the redirect in resp leads from at, if it may be followed.
func (h *Hook) next(at *url.URL, resp *response) (*url.URL, error) {
	status := resp.status
	if h.conf.Method != "GET" && status != 307 && status != 308 {
		return nil, fmt.Errorf("%w: status %d after %s; only 307 and 308 keep the method", errRedirect, status, h.conf.Method)
	}
	location := string(resp.header("Location"))
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
func (t *target) elsewhere(to *url.URL) (*pool, error) {
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
	return newPool(d, 1), nil
}

// secret tells a header that only the configured origin may see.
func (h *Hook) secret(name string) bool {
	for _, ours := range []string{"Authorization", "Cookie", headerWebhookSignature} {
		if strings.EqualFold(name, ours) {
			return true
		}
	}
	for configured := range h.conf.Headers {
		if strings.EqualFold(name, configured) {
			return true
		}
	}
	return false
}
