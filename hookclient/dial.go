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

// dialer connects to one host. Everything happens inside the time that it is given: name
// resolution, the race between addresses, and the TLS handshake.
type dialer struct {
	host, port string
	servers    nameServers
	guard      func(netip.Addr) error // refuses addresses that may not be dialled
	tls        *tls.Config            // nil for plain http
	reached    func(stage)            // is told of each stage of connecting; nil for nobody

	mu    sync.Mutex // guards known
	known resolution
}

// newDialer returns a dialer to addr, "host:port".
func newDialer(addr string, servers nameServers, guard func(netip.Addr) error, secured *tls.Config) (*dialer, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if secured != nil && secured.ServerName == "" {
		secured = secured.Clone()
		secured.ServerName = host
	}
	return &dialer{host: host, port: port, servers: servers, guard: guard, tls: secured}, nil
}

// dial connects within timeout. Its errors are *dialError.
func (d *dialer) dial(timeout time.Duration) (*conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	d.reach(dialBegun)
	addrs, err := d.resolve(ctx)
	if err != nil {
		return nil, &dialError{schema.ReasonDNSError, fmt.Errorf("resolve %s: %w", d.host, err)}
	}
	d.reach(nameResolved)
	if addrs, err = d.allowed(addrs); err != nil {
		return nil, &dialError{schema.ReasonHookBlocked, err}
	}
	tcp, err := d.connect(ctx, addrs)
	if err != nil {
		return nil, &dialError{schema.ReasonConnectError, err}
	}
	d.reach(connected)
	c, err := newConn(tcp)
	if err != nil {
		tcp.Close()
		return nil, &dialError{schema.ReasonConnectError, err}
	}
	if err := d.handshake(ctx, c); err != nil {
		tcp.Close()
		return nil, err
	}
	d.prefer(tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
	return c, nil
}

// allowed keeps the addresses that the guard lets pass; it fails where there is none.
func (d *dialer) allowed(addrs []netip.Addr) (kept []netip.Addr, refused error) {
	for _, a := range addrs {
		if err := d.guard(a); err != nil {
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

// connect connects to the first of addrs that answers. net.Dialer races only the two families, and
// gives all its time to the first of two IPv4 addresses.
func (d *dialer) connect(ctx context.Context, addrs []netip.Addr) (*net.TCPConn, error) {
	tcp, err := race(ctx, len(addrs), func(ctx context.Context, i int) (*net.TCPConn, error) {
		var nd net.Dialer
		c, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(addrs[i].String(), d.port))
		if err != nil {
			return nil, err
		}
		return c.(*net.TCPConn), nil
	}, func(late *net.TCPConn) { late.Close() })
	if err != nil && isTimeout(err) {
		return nil, fmt.Errorf("connect to %s: no answer in time", net.JoinHostPort(addrs[0].String(), d.port))
	}
	return tcp, err
}

// handshake puts TLS over c, where it is wanted. fasthttp would leave that to the first write, where
// no deadline bounds it.
func (d *dialer) handshake(ctx context.Context, c *conn) error {
	if d.tls == nil {
		return nil
	}
	secured := tls.Client(c.tcp, d.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil || isTimeout(err) {
			return &dialError{schema.ReasonTimeout, errors.New("the connection stood, but no TLS handshake came in time")}
		}
		return &dialError{schema.ReasonTLSError, fmt.Errorf("TLS with %s: %w", d.host, err)}
	}
	c.Conn = secured
	d.reach(handshaken)
	return nil
}

// stage is how far connecting has come.
type stage uint8

const (
	dialBegun stage = iota
	nameResolved
	connected
	handshaken
)

func (d *dialer) reach(s stage) {
	if d.reached != nil {
		d.reached(s)
	}
}

// stagger is how long a try may stay silent before the next one is made beside it: an eighth of the
// time there is, within 10 ms and the 250 ms of RFC 8305, section 5.
func stagger(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return min(max(time.Until(deadline)/8, 10*time.Millisecond), 250*time.Millisecond)
}

// race makes n tries until one succeeds, and returns what that gave, or the first error. The next
// try is made after each failure, and after a while of silence (Happy Eyeballs, RFC 8305). It
// returns when ctx ends at the latest, which must have a deadline; what succeeds too late is given
// to late.
func race[T any](ctx context.Context, n int, try func(ctx context.Context, i int) (T, error), late func(T)) (T, error) {
	wait := stagger(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		value T
		err   error
	}
	outcomes := make(chan outcome)
	start := func(i int) {
		value, err := try(ctx, i)
		select {
		case outcomes <- outcome{value, err}:
		case <-ctx.Done():
			if err == nil {
				late(value)
			}
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var none T
	var firstErr error
	for started, ended := 0, 0; ; {
		if started < n {
			go start(started)
			started++
			timer.Reset(wait)
		}
		select {
		case o := <-outcomes:
			if o.err == nil {
				return o.value, nil
			}
			if firstErr == nil {
				firstErr = o.err
			}
			if ended++; ended == n {
				return none, firstErr
			}
		case <-timer.C:
		case <-ctx.Done():
			if firstErr == nil {
				firstErr = ctx.Err()
			}
			return none, firstErr
		}
	}
}
