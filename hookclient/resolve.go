package hookclient

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// resolution is what a name last resolved to.
type resolution struct {
	addrs    []netip.Addr // the first is the one that last answered; never written to
	at       time.Time
	askAgain time.Time
}

const (
	// nameFresh is how long a resolution is used without asking again. Short, because the system's
	// resolver does not tell the TTL.
	nameFresh = 10 * time.Second
	// nameStale is how long an old resolution stands in for name servers that fail (RFC 8767).
	nameStale = time.Hour
	// maxAddrs bounds the addresses of a name that are tried.
	maxAddrs = 16
)

// resolve returns the host's addresses: a literal's own, a recent resolution's, a new one's, or,
// where the name servers fail, an old one's.
func (d *dialer) resolve(ctx context.Context) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(d.host); err == nil {
		return []netip.Addr{a}, nil
	}
	known, ask := d.remembered(time.Now())
	if !ask {
		return known, nil
	}
	within := ctx
	if known != nil { // a name server that hangs must leave time to use it
		deadline, _ := ctx.Deadline()
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	addrs, err := d.servers.lookup(within, d.host)
	switch {
	case err == nil:
		return d.remember(addrs, time.Now()), nil
	case isNotFound(err): // the name is gone; what it was is no longer true
		d.remember(nil, time.Now())
	case known != nil:
		return known, nil
	}
	return nil, err
}

// remembered returns the addresses known, if any, and whether to ask for new ones. One call is told
// to ask; meanwhile, and for a while after it has failed, the others go on with what is known.
func (d *dialer) remembered(now time.Time) (addrs []netip.Addr, ask bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known.addrs) == 0 || now.Sub(d.known.at) > nameStale {
		return nil, true
	}
	if ask = now.After(d.known.askAgain); ask {
		d.known.askAgain = now.Add(nameFresh)
	}
	return d.known.addrs, ask
}

// remember notes a new resolution, or that there is none any more, and returns its addresses in the
// order to try them.
func (d *dialer) remember(addrs []netip.Addr, now time.Time) []netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known.addrs) > 0 {
		addrs = toFront(addrs, d.known.addrs[0])
	}
	d.known = resolution{addrs, now, now.Add(nameFresh)}
	return addrs
}

// prefer puts the address that answered first, so that a dead one costs one call and not each.
func (d *dialer) prefer(winner netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known.addrs = toFront(d.known.addrs, winner)
}

// toFront returns addrs with a moved to the front, where it is among them; addrs is left alone.
func toFront(addrs []netip.Addr, a netip.Addr) []netip.Addr {
	i := slices.Index(addrs, a)
	if i <= 0 {
		return addrs
	}
	return slices.Concat(addrs[i:i+1], addrs[:i], addrs[i+1:])
}

// nameServers are who resolves names, "address:port" each; the system's own where there are none.
type nameServers []string

// lookup is what one address family's resolution gave: addresses, or word that there are none.
type lookup struct {
	addrs []netip.Addr
	err   error
}

// lookup asks for both families at once and does not let one that hangs hold up the other. The
// result takes turns between the families, IPv6 first (RFC 8305, section 4).
func (s nameServers) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ask := func(network string) <-chan lookup {
		c := make(chan lookup, 1)
		go func() { c <- s.lookupFamily(ctx, network, host) }()
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
	var addrs []netip.Addr
	for i := range max(len(v4.addrs), len(v6.addrs)) {
		if i < len(v6.addrs) {
			addrs = append(addrs, v6.addrs[i])
		}
		if i < len(v4.addrs) {
			addrs = append(addrs, v4.addrs[i].Unmap())
		}
	}
	switch {
	case len(addrs) > 0:
		return addrs[:min(len(addrs), maxAddrs)], nil
	case isNotFound(v4.err):
		return nil, v6.err // be it that there is none there either
	}
	return nil, v4.err
}

// lookupFamily asks the servers in turn, the next one when one fails or is silent for a while. Two
// questions at least are asked, since a lost packet would otherwise cost the call.
func (s nameServers) lookupFamily(ctx context.Context, network, host string) lookup {
	found, err := race(ctx, max(2, len(s)), func(ctx context.Context, i int) (lookup, error) {
		addrs, err := s.resolver(i).LookupNetIP(ctx, network, host)
		if isNotFound(err) {
			return lookup{err: notFound{}}, nil // an answer, and no reason to ask elsewhere
		}
		return lookup{addrs: addrs}, err
	}, func(lookup) {})
	var dns *net.DNSError
	switch {
	case err == nil:
		return found
	case isTimeout(err):
		err = errors.New("no name server answered in time")
	case errors.As(err, &dns):
		err = errors.New(dns.Err) // the rest names the system's server, whoever was asked
	}
	return lookup{err: err}
}

// notFound is a name server's word that a name has no addresses.
type notFound struct{}

func (notFound) Error() string { return "no such host" }

func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound || errors.As(err, &notFound{})
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

// resolver returns a resolver that asks one server, the i-th in turn. Each question has its own: the
// callers of one net.Resolver share their questions, and would share one that was lost.
func (s nameServers) resolver(i int) *net.Resolver {
	return &net.Resolver{
		PreferGo: true, // cgo's would hold a thread past any deadline
		Dial: func(ctx context.Context, network, server string) (net.Conn, error) {
			if len(s) > 0 {
				server = s[i%len(s)]
			}
			var nd net.Dialer
			c, err := nd.DialContext(ctx, network, server)
			if err == nil {
				// net.Resolver waits its own five seconds for an answer, whatever becomes of ctx.
				context.AfterFunc(ctx, func() { c.Close() })
			}
			return c, err
		},
	}
}
