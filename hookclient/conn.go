package hookclient

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// errStale is a kept connection that the webhook's side has closed in the meantime. Nothing was
// written to it, so the request can go out on another one, whatever its method.
var errStale = errors.New("the kept connection had been closed by the webhook's side")

// watchedConn is a kept connection that looks, before a request goes out after a pause, whether
// the other side has closed it: otherwise a POST would be lost in the time between.
type watchedConn struct {
	net.Conn
	wrote time.Time // the last write
}

// pauseChecked is the pause after which a connection is looked at before it is written to. Under
// load connections never rest so long, and cost nothing.
const pauseChecked = 100 * time.Millisecond

// Write writes b, or fails with errStale before anything of it has left.
func (c *watchedConn) Write(b []byte) (int, error) {
	now := time.Now()
	if now.Sub(c.wrote) > pauseChecked && c.closedByPeer() {
		return 0, errStale
	}
	c.wrote = now
	return c.Conn.Write(b)
}

// closedByPeer peeks at what the kernel holds for this connection. Nothing should be there between
// an answer and the next request: an end of file is a close, and data is TLS's notice of one.
func (c *watchedConn) closedByPeer() bool {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	alive := false
	// Control, not Read: the last request's read deadline has long passed.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	})
	return err != nil || !alive
}

// roundRobin takes turns.
type roundRobin struct{ n atomic.Uint32 }

func (r *roundRobin) next(of int) int { return int((r.n.Add(1) - 1) % uint32(of)) }
