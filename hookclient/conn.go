package hookclient

import (
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// exchange sends req over a kept or a new connection of the pool and reads the answer into resp, by
// the deadline. It stands in place of the pool's own Do, which repeats requests of its own accord,
// bounds no TLS handshake, and sends a request to a connection that is closed already.
func (t *target) exchange(pool *fasthttp.HostClient, req *fasthttp.Request, resp *fasthttp.Response, deadline time.Time) error {
	left := time.Until(deadline)
	if left <= 0 {
		return fasthttp.ErrTimeout
	}
	cc, err := pool.AcquireConn(left, req.ConnectionClose())
	for err == nil && rested(cc.LastUseTime()) && cc.Conn().(*conn).closedByPeer() {
		pool.CloseConn(cc)
		cc, err = pool.AcquireConn(time.Until(deadline), req.ConnectionClose())
	}
	if err != nil {
		return err
	}
	reusable, err := t.converse(pool, cc.Conn().(*conn), req, resp, deadline)
	if reusable {
		pool.ReleaseConn(cc)
	} else {
		pool.CloseConn(cc)
	}
	return err
}

// converse writes req to c and reads the answer, and reports whether c is fit for another request.
func (t *target) converse(pool *fasthttp.HostClient, c *conn, req *fasthttp.Request, resp *fasthttp.Response, deadline time.Time) (reusable bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return false, err
	}
	bw := pool.AcquireWriter(c)
	defer pool.ReleaseWriter(bw)
	unsent := req.Write(bw)
	if unsent == nil {
		unsent = bw.Flush()
	}
	if unsent != nil && !closed(unsent) {
		return false, unsent
	}
	// Others' turn: by then the answer is often there, and the read need not fail first and wait.
	runtime.Gosched()
	// A server that hangs up before it has read everything may have said why.
	br := pool.AcquireReader(c)
	defer pool.ReleaseReader(br)
	if err := resp.ReadLimitBody(br, t.maxAnswer); err != nil {
		return false, cmp.Or(c.failure, err)
	}
	// What is left in the reader belongs to no request. It must not become the next one's answer.
	surplus := br.Buffered() > 0
	return !surplus && unsent == nil && !req.ConnectionClose() && !resp.ConnectionClose(), nil
}

// conn is a connection to a webhook: TCP, or TLS over it.
type conn struct {
	net.Conn
	tcp  *net.TCPConn
	raw  syscall.RawConn
	look func(fd uintptr) // c.peek, bound once, so that looking allocates nothing
	open bool             // what look found
	// failure is why reading ended, other than at an end of file.
	failure error
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

// Read notes why reading failed: fasthttp calls all that goes wrong before an answer's first byte an
// end of file, be it TLS's word that a certificate is missing.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && err != io.EOF {
		c.failure = err
	}
	return n, err
}

// pauseChecked is the pause after which a kept connection is looked at before it is used again.
// Under load connections rest less, and cost nothing.
const pauseChecked = time.Millisecond

// rested tells a connection that has lain idle for a while from a new one and one just used.
func rested(lastUse time.Time) bool {
	return !lastUse.IsZero() && time.Since(lastUse) > pauseChecked
}

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
