package hookclient

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"time"

	"hookswitch/schema"
	"hookswitch/socket"
)

// exchange sends a request over a kept or a new connection of the pool and reads the answer, by the
// deadline. The answer lies in a.Buf, behind what is there already; a.At tells when it was complete,
// or why there is none was known. now is the time. What it returns is given to release in the end.
func (t *target) exchange(pool *pool, req *request, a *schema.Answer, now, deadline time.Time) (resp response, err error) {
	if !now.Before(deadline) {
		a.At = now
		return resp, os.ErrDeadlineExceeded
	}
	c, err := pool.take(deadline)
	if err != nil {
		a.At = time.Now()
		return resp, err
	}
	defer func() {
		if resp.kept == nil {
			pool.drop(c)
		}
	}()
	resp, err = t.converse(c, req, a, now, deadline)
	if a.At = time.Now(); err == nil && resp.reusable {
		resp.kept = c
	}
	return resp, err
}

// release gives back the connection of an answer, where there is one to be used again. Where the answer was
// not what the request asks for, which makes it doubtful, it may be another's, and its own yet to come: nobody
// else must get that. at is the time.
func (t *target) release(resp *response, at time.Time, doubtful bool) {
	switch {
	case resp.kept == nil:
	case doubtful:
		t.pool.drop(resp.kept)
	default:
		t.pool.put(resp.kept, at)
	}
	resp.kept = nil
}

// converse writes req to c and reads the answer.
func (t *target) converse(c *conn, req *request, a *schema.Answer, now, deadline time.Time) (resp response, err error) {
	if err := c.begin(now, deadline); err != nil {
		return resp, err
	}
	_, unsent := c.Write(req.raw)
	if unsent != nil && !closed(unsent) {
		return resp, unsent
	}
	if !t.patient {
		// Others' turn: by then the answer is often there, and the read need not fail first and wait.
		runtime.Gosched()
	}
	// A server that hangs up before it has read everything may have said why.
	resp, a.Buf, err = readResponse(c, a.Buf, t.maxAnswer)
	resp.reusable = resp.reusable && unsent == nil && !req.closes
	return resp, err
}

// conn is a connection to a webhook: TCP, or TLS over it.
//
// A deadline is set on it only when there is something to wait for: setting one costs as much as reading
// an answer that is there already.
type conn struct {
	net.Conn
	tcp  *socket.Conn
	used time.Time // when the last answer was complete

	surplus [1]byte // what should not be there

	deadline time.Time // of the request under way
	set      time.Time // the one that is set, of this request or of an earlier one
}

func newConn(tcp *net.TCPConn) (*conn, error) {
	s, err := socket.New(tcp)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: s, tcp: s}
	s.BeforeWait = c.beforeWait
	return c, nil
}

// begin says by when a request and its answer must have gone over the connection. A deadline that is set
// already may stand until there is something to wait for, where it is neither over nor later.
func (c *conn) begin(now, deadline time.Time) error {
	c.deadline = deadline
	if c.Conn == net.Conn(c.tcp) && c.set.After(now) && !c.set.After(deadline) {
		return nil
	}
	return c.arm()
}

// arm sets the deadline of the request under way.
func (c *conn) arm() error {
	c.set = c.deadline
	return c.SetDeadline(c.deadline)
}

// armed reports that the deadline that is set is the request's own.
func (c *conn) armed() bool { return c.set == c.deadline }

// Write sends a request. Where a deadline of before strikes it goes on with its own.
func (c *conn) Write(b []byte) (n int, err error) {
	n, err = c.Conn.Write(b)
	if err != nil && !c.armed() && isTimeout(err) {
		if err = c.arm(); err == nil {
			var rest int
			rest, err = c.Conn.Write(b[n:])
			n += rest
		}
	}
	return n, err
}

// Read reads of the answer what has come, and waits, until the deadline, where nothing has.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil || c.armed() || !isTimeout(err) {
		return n, err
	}
	// A deadline of before struck.
	if err := c.arm(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// beforeWait sets the deadline of the request, where that of an earlier one still stands.
func (c *conn) beforeWait() error {
	if c.armed() {
		return nil
	}
	return c.arm()
}

// quiet reports whether a kept connection may carry another request. Nothing should wait to be read between
// an answer and the next request: an end of file is the other side's close, after which a request would be
// lost; data is TLS's notice of one, or an answer that nobody asked for, which would be taken for the next
// call's, and that one's for the call after it. What has not come yet can't be seen.
func (c *conn) quiet() bool {
	if c.Conn != net.Conn(c.tcp) && c.holdsMore() {
		return false
	}
	return c.tcp.Quiet()
}

// holdsMore reports whether TLS has read more from the connection than was read from it.
func (c *conn) holdsMore() bool {
	if c.SetReadDeadline(time.Unix(1, 0)) != nil { // so that it looks at what it has, and nowhere else
		return true
	}
	_, err := c.Conn.Read(c.surplus[:])
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// farewell is how long TLS's closing notice may take to leave.
const farewell = time.Millisecond

// Close closes the connection. With TLS it gives notice first, for which tls.Conn would wait up to
// five seconds where the webhook's side does not read.
func (c *conn) Close() error {
	if _, ok := c.Conn.(*tls.Conn); ok {
		defer time.AfterFunc(farewell, func() { c.tcp.Close() }).Stop()
	}
	return c.Conn.Close()
}
