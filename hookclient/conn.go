package hookclient

import (
	"crypto/tls"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"hookswitch/schema"
)

// exchange sends a request over a kept or a new connection of the pool and reads the answer, by the
// deadline. The answer lies in a.Buf, behind what is there already; a.At tells when it was complete,
// or why there is none was known. now is the time.
func (t *target) exchange(pool *pool, req *request, a *schema.Answer, now, deadline time.Time) (resp response, err error) {
	if !now.Before(deadline) {
		a.At = now
		return resp, os.ErrDeadlineExceeded
	}
	c, err := pool.take(now, deadline)
	if err != nil {
		a.At = time.Now()
		return resp, err
	}
	resp, err = t.converse(c, req, a, deadline)
	if a.At = time.Now(); err == nil && resp.reusable {
		pool.put(c, a.At)
	} else {
		pool.drop(c)
	}
	return resp, err
}

// converse writes req to c and reads the answer.
func (t *target) converse(c *conn, req *request, a *schema.Answer, deadline time.Time) (resp response, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return resp, err
	}
	_, unsent := c.Write(req.raw)
	if unsent != nil && !closed(unsent) {
		return resp, unsent
	}
	// Others' turn: by then the answer is often there, and the read need not fail first and wait.
	runtime.Gosched()
	// A server that hangs up before it has read everything may have said why.
	resp, a.Buf, err = readResponse(c, a.Buf, t.maxAnswer)
	resp.reusable = resp.reusable && unsent == nil && !req.closes
	return resp, err
}

// conn is a connection to a webhook: TCP, or TLS over it.
type conn struct {
	net.Conn
	tcp  *net.TCPConn
	raw  syscall.RawConn
	look func(fd uintptr) // c.peek, bound once, so that looking allocates nothing
	open bool             // what look found
	used time.Time        // when the last answer was complete
}

func newConn(tcp *net.TCPConn) (*conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: tcp, tcp: tcp, raw: raw}
	c.look = c.peek
	return c, nil
}

// pauseChecked is the pause after which a kept connection is looked at before it is used again.
// Under load connections rest less, and cost nothing.
const pauseChecked = time.Millisecond

// closedByPeer reports whether the webhook's side has closed the connection since its last answer:
// a request sent then would be lost. Nothing should wait to be read between an answer and the next
// request: an end of file is a close, data is TLS's notice of one, or an answer that nobody asked for.
func (c *conn) closedByPeer() bool {
	// Control, not Read: the last request's deadline may have passed.
	if err := c.raw.Control(c.look); err != nil {
		return true
	}
	return !c.open
}

func (c *conn) peek(fd uintptr) {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	c.open = err == syscall.EAGAIN || err == syscall.EINTR
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
