package hookclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"hookswitch/schema"
)

// dialError is a connection that did not come about, with the reason that a decision gives.
type dialError struct {
	reason schema.Reason
	err    error
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dialer connects to one hook's hosts. Everything happens inside the time it is given: name
// resolution, the race between addresses, and the TLS handshake, which fasthttp would leave to the
// first write, outside any deadline.
type dialer struct {
	resolver     *net.Resolver
	allowPrivate bool
	tls          *tls.Config // nil for plain http

	mu    sync.Mutex              // guards names
	names map[string]resolvedName // by host
}

// resolvedName is what a name last resolved to. The first address is the one that last answered.
type resolvedName struct {
	addrs []netip.Addr
	at    time.Time
}

const (
	// nameFresh is how long a resolution is used without asking again. Short, because the system's
	// resolver does not tell the TTL.
	nameFresh = 10 * time.Second
	// nameStale is how long an old resolution stands in for a resolver that fails (RFC 8767).
	nameStale = time.Hour
	// dialWithin bounds a dial that comes without a time of its own.
	dialWithin = 5 * time.Second
)

// dial connects to addr ("host:port") within timeout. Its errors are *dialError.
func (d *dialer) dial(addr string, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 {
		timeout = dialWithin
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &dialError{schema.ReasonConnectError, err}
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, &dialError{schema.ReasonDNSError, fmt.Errorf("resolve %s: %w", host, err)}
	}
	addrs, err = d.allowed(addrs)
	if err != nil {
		return nil, &dialError{schema.ReasonHookBlocked, err}
	}
	conn, winner, err := race(ctx, addrs, port, stagger(timeout))
	if err != nil {
		return nil, &dialError{schema.ReasonConnectError, err}
	}
	d.prefer(host, winner)
	conn = &watchedConn{Conn: conn, wrote: time.Now()}
	if d.tls == nil {
		return conn, nil
	}
	return d.handshake(ctx, conn, host)
}

func (d *dialer) handshake(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	cfg := d.tls
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		if ctx.Err() != nil || isTimeout(err) {
			return nil, &dialError{schema.ReasonTimeout, errors.New("the connection stood, but no TLS handshake came in time")}
		}
		return nil, &dialError{schema.ReasonTLSError, fmt.Errorf("TLS with %s: %w", host, err)}
	}
	return secured, nil
}

// allowed keeps the addresses that the guard lets pass; it fails where there is none.
func (d *dialer) allowed(addrs []netip.Addr) ([]netip.Addr, error) {
	var kept []netip.Addr
	var refused error
	for _, a := range addrs {
		if err := guard(a, d.allowPrivate); err != nil {
			refused = err
			continue
		}
		kept = append(kept, a)
	}
	if len(kept) == 0 {
		return nil, refused
	}
	return kept, nil
}

// resolve returns host's addresses: a literal's own, a recent resolution's, a new one's, or, where
// the resolver fails, an old one's. A resolver that hangs is given half the time if there is an
// old resolution to fall back on.
func (d *dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	d.mu.Lock()
	known := d.names[host]
	d.mu.Unlock()
	age := time.Since(known.at)
	if known.addrs != nil && age < nameFresh {
		return known.addrs, nil
	}
	within := ctx
	if known.addrs != nil && age < nameStale {
		deadline, _ := ctx.Deadline()
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	addrs, err := lookupBoth(within, d.resolver, host)
	if err != nil {
		if known.addrs != nil && age < nameStale {
			return known.addrs, nil
		}
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names == nil {
		d.names = make(map[string]resolvedName)
	}
	if len(known.addrs) > 0 {
		addrs = first(addrs, known.addrs[0])
	}
	d.names[host] = resolvedName{addrs, time.Now()}
	return addrs, nil
}

// prefer puts the address that answered first, so that a dead one costs one call and not each.
func (d *dialer) prefer(host string, winner netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, ok := d.names[host]; ok {
		known.addrs = first(known.addrs, winner)
		d.names[host] = known
	}
}

// first returns addrs with a moved to the front, where it is among them; addrs is left alone.
func first(addrs []netip.Addr, a netip.Addr) []netip.Addr {
	for i := range addrs {
		if addrs[i] == a && i > 0 {
			ordered := append(make([]netip.Addr, 0, len(addrs)), a)
			ordered = append(ordered, addrs[:i]...)
			return append(ordered, addrs[i+1:]...)
		}
	}
	return addrs
}

// lookup is what one address family's resolution gave.
type lookup struct {
	addrs []netip.Addr
	err   error
}

// lookupBoth asks for both families at once and does not let one that hangs hold up the other. The
// result takes turns between the families, IPv6 first (RFC 8305, section 4).
func lookupBoth(ctx context.Context, r *net.Resolver, host string) ([]netip.Addr, error) {
	ask := func(network string) <-chan lookup {
		c := make(chan lookup, 1)
		go func() {
			addrs, err := r.LookupNetIP(ctx, network, host)
			c <- lookup{addrs, err}
		}()
		return c
	}
	four, six := ask("ip4"), ask("ip6")
	var v4, v6 lookup
	select {
	case v6 = <-six:
		v4 = settle(v6, four)
	case v4 = <-four:
		v6 = settle(v4, six)
	}
	addrs := make([]netip.Addr, 0, len(v4.addrs)+len(v6.addrs))
	for i := range max(len(v4.addrs), len(v6.addrs)) {
		if i < len(v6.addrs) {
			addrs = append(addrs, v6.addrs[i])
		}
		if i < len(v4.addrs) {
			addrs = append(addrs, v4.addrs[i].Unmap())
		}
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	if v4.err != nil {
		return nil, v4.err
	}
	return nil, errors.Join(v6.err, errors.New("the name has no addresses"))
}

// settle waits for the second family: as long as it takes where the first has no addresses, else
// for the 50 ms of RFC 8305, section 3.
func settle(first lookup, second <-chan lookup) lookup {
	if len(first.addrs) == 0 {
		return <-second
	}
	patience := time.NewTimer(50 * time.Millisecond)
	defer patience.Stop()
	select {
	case l := <-second:
		return l
	case <-patience.C:
		return lookup{}
	}
}

// stagger is how long an address may stay silent before the next one is tried beside it: an eighth
// of the time there is, within the bounds of RFC 8305, section 5 (250 ms, and at least 10 ms).
func stagger(timeout time.Duration) time.Duration {
	return min(max(timeout/8, 10*time.Millisecond), 250*time.Millisecond)
}

// race connects to the first of addrs that answers (Happy Eyeballs, RFC 8305): the next one is
// tried after each failure, and after wait without an answer. net.Dialer races only families, and
// gives all its time to the first of two IPv4 addresses.
func race(ctx context.Context, addrs []netip.Addr, port string, wait time.Duration) (net.Conn, netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		addr netip.Addr
		err  error
	}
	results := make(chan result, len(addrs))
	start := func(a netip.Addr) {
		var nd net.Dialer
		conn, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port))
		results <- result{conn, a, err}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var firstErr error
	started, ended := 0, 0
	next := func() {
		if started < len(addrs) {
			go start(addrs[started])
			started++
			timer.Reset(wait)
		}
	}
	next()
	for ended < started {
		select {
		case r := <-results:
			ended++
			if r.err == nil {
				go func(left int) { // the losers' connections, made in the same instant
					for range left {
						if late := <-results; late.conn != nil {
							late.conn.Close()
						}
					}
				}(started - ended)
				return r.conn, r.addr, nil
			}
			if firstErr == nil {
				firstErr = r.err
			}
			next()
		case <-timer.C:
			next()
		}
	}
	return nil, netip.Addr{}, firstErr
}

// newResolver returns the system's resolver, or one that asks the given servers in turn.
func newResolver(servers []string) *net.Resolver {
	r := &net.Resolver{PreferGo: true} // cgo's would hold a thread past any deadline
	if len(servers) > 0 {
		var turn roundRobin
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var nd net.Dialer
			return nd.DialContext(ctx, network, servers[turn.next(len(servers))])
		}
	}
	return r
}
