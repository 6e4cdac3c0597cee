// Package hookclient asks a customer's webhook where a call shall go: it builds the request, sends
// it within one deadline, and reads the answer in three formats. By the same means it sends call events
// to those who subscribed to them. It knows nothing of schemes, policies, breakers or retries; what it
// returns is grammatical, and not yet allowed.
package hookclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"hookswitch/schema"
)

// Client makes hooks that can be asked. It holds what all of them share.
type Client struct{ servers nameServers }

// New returns a client whose names are resolved by the given servers ("address:port"), or by the
// system's resolver where there are none.
func New(dnsServers []string) *Client {
	return &Client{servers: dnsServers}
}

// Hook is one webhook, ready to be asked: by many calls at once.
type Hook struct {
	conf     *schema.Hook
	primary  *target
	fallback *target // nil without a fallback_url
	probe    *target // nil without a probe_url
	reader   *reader
	lastID   atomic.Uint64 // of JSON-RPC requests and signatures
}

// target is one URL of a hook with its own connections.
type target struct {
	builder   *builder
	pool      *pool
	dialer    *dialer
	secured   *tls.Config // for https, here or behind a redirect
	maxAnswer int         // bytes of a body as sent
	patient   bool        // no call waits for the answer
	label     string      // the URL without its query and userinfo, for logs
}

// Prepare makes project's hook h ready to be asked. It fails where h names a URL, a template or a
// PEM file that cannot be used; the loader has checked all but the files.
func (c *Client) Prepare(p *schema.Project, h *schema.Hook) (*Hook, error) {
	loc, err := location(h.TZ, p.TZ)
	if err != nil {
		return nil, err
	}
	secured, err := tlsConfig(h.TLS)
	if err != nil {
		return nil, err
	}
	hook := &Hook{conf: h, reader: newReader(h, p.Destinations.Region)}
	if hook.primary, err = c.newTarget(p, h, h.URL, loc, secured); err != nil {
		return nil, err
	}
	if h.FallbackURL != "" {
		if hook.fallback, err = c.newTarget(p, h, h.FallbackURL, loc, secured); err != nil {
			return nil, renamed(err, map[string]string{"url": "fallback_url"})
		}
	}
	if h.Breaker.ProbeURL != "" {
		probing := &schema.Hook{Method: "GET", Send: "raw", Headers: h.Headers, Auth: h.Auth, MaxAnswer: h.MaxAnswer}
		if hook.probe, err = c.newTarget(p, probing, h.Breaker.ProbeURL, loc, secured); err != nil {
			return nil, renamed(err, map[string]string{"url": "breaker.probe_url"})
		}
	}
	return hook, nil
}

// nextID is the id of a question's requests: part of JSON-RPC and of a signature. Where there is neither,
// calls need not share a counter.
func (h *Hook) nextID() uint64 {
	if b := h.primary.builder; !b.rpc && b.signer == nil && h.reader.receive != "json-rpc" {
		return 0
	}
	return h.lastID.Add(1)
}

// Close lets go of the idle connections. Requests under way end as they would.
func (h *Hook) Close() {
	for _, t := range []*target{h.primary, h.fallback, h.probe} {
		if t != nil {
			t.pool.close()
		}
	}
}

const (
	// idleConn is below the keep-alive time of the servers in common use (5 s with Apache and
	// node), so that a connection is rarely closed under a request.
	idleConn = 4 * time.Second
	// answerHeader bounds an answer's status line and headers, in bytes.
	answerHeader = 8 << 10
	// spareConns are the connections beyond max_in_flight: for probes, and for those that a
	// timed-out request has not let go of yet.
	spareConns = 16
	// sessions are the TLS sessions that a hook keeps for resumption: its own, as its trust is.
	sessions = 8
)

func (c *Client) newTarget(p *schema.Project, h *schema.Hook, rawURL string, loc *time.Location, secured *tls.Config) (*target, error) {
	b, err := newBuilder(h, rawURL, loc)
	if err != nil {
		return nil, err
	}
	t := &target{builder: b, secured: secured, maxAnswer: h.MaxAnswer}
	t.label, _, _ = strings.Cut(b.shown, "?")
	if !b.isTLS {
		secured = nil
	}
	if t.dialer, err = newDialer(b.addr, c.servers, guard(p.AllowPrivateHooks), secured); err != nil {
		return nil, err
	}
	t.pool = newPool(t.dialer, h.MaxInFlight+spareConns)
	return t, nil
}

func tlsConfig(t schema.TLS) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.ServerName, NextProtos: []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	if t.CA != "" {
		pem, err := readPEM(t.CA)
		if err != nil {
			return nil, at("tls.ca", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, at("tls.ca", fmt.Errorf("%s holds no PEM certificate", t.CA))
		}
	}
	if t.Cert != "" {
		pair, err := readPair(t.Cert, t.Key)
		if err != nil {
			return nil, at("tls.cert and tls.key", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func readPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := readPEM(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

func readPEM(name string) ([]byte, error) {
	text, err := schema.ReadRegular(name, schema.MaxPEM)
	if err == nil && len(text) > schema.MaxPEM {
		err = fmt.Errorf("%s has more than %d bytes", name, schema.MaxPEM)
	}
	return text, err
}

// location returns the first zone that is named, else UTC.
func location(names ...string) (*time.Location, error) {
	for _, name := range names {
		if name != "" {
			loc, err := time.LoadLocation(name)
			if err != nil {
				return nil, at("tz", err)
			}
			return loc, nil
		}
	}
	return time.UTC, nil
}

// Probe asks the probe_url whether the hook is well again: any 2xx is a yes. Without a probe_url
// it fails. Deadline is the instant by which it returns.
func (h *Hook) Probe(deadline time.Time) error {
	if h.probe == nil {
		return errors.New("the hook has no breaker.probe_url")
	}
	var (
		none schema.Call
		a    schema.Answer
		now  = time.Now()
	)
	req := h.probe.builder.build(&none, now, h.nextID())
	defer req.release()
	resp, err := h.probe.exchange(h.probe.pool, req, &a, now, deadline)
	defer func() { h.probe.release(&resp, a.At, false) }()
	if err != nil && !errors.Is(err, errBodyTooLarge) { // what it says is of no interest
		_, detail := classify(err)
		return errors.New(detail)
	}
	if s := resp.status; s < 200 || s > 299 {
		return fmt.Errorf("status %d; want 2xx", s)
	}
	return nil
}

// sameOrigin reports whether two URLs have one scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}
