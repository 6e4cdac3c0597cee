package load

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// conn is one place for a connection: closed, being opened, idle, or waiting for an answer.
type conn struct {
	s     *stream
	index int32
	fd    int // -1 while closed
	state state
	raw   []byte // the request, this connection's own copy
	buf   []byte
	have  int // bytes of an answer in buf

	due  time.Duration // of the send under way
	sent time.Duration
	drop bool // to be closed after its answer
}

type state uint8

const (
	idle    state = iota // in the stream's list, be it open or closed
	dialing              // being opened ahead of use
	opening              // being opened for a send
	waiting              // for an answer
)

func contains(body, want []byte) bool { return bytes.Contains(body, want) }

// open begins to connect.
func (g *Generator) open(c *conn) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w; raise the limit on open files", err)
	}
	c.fd, c.have = fd, 0
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // whole requests are written at once anyway
	if err = unix.Connect(fd, &c.s.addr); err == nil || err == unix.EINPROGRESS {
		err = unix.EpollCtl(g.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: c.index})
	}
	if err != nil {
		g.close(c)
		return fmt.Errorf("connect to %s: %w", c.s.Addr, err)
	}
	return nil
}

func (g *Generator) close(c *conn) {
	if c.fd >= 0 {
		_ = unix.Close(c.fd) // takes it out of the epoll set too
	}
	c.fd, c.have, c.drop = -1, 0, false
}

// opened ends a connect, well or badly.
func (g *Generator) opened(c *conn, now time.Duration) {
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err == nil {
		err = unix.EpollCtl(g.poll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: c.index})
	}
	switch {
	case err != nil:
		g.fail(c, now, fmt.Errorf("connect to %s: %w", c.s.Addr, err))
	case c.state == opening:
		g.write(c, now)
	default:
		g.rest(c)
	}
}

// send asks on c what was due at the moment due.
func (g *Generator) send(c *conn, now, due time.Duration) {
	g.callID++
	callee := uint64(0)
	if c.s.Callee != nil {
		callee = c.s.Callee()
	}
	c.s.Template.fill(c.raw, g.callID, callee)
	c.due, c.sent = due, now
	c.s.busy++
	if c.fd >= 0 {
		g.write(c, now)
		return
	}
	c.state = opening
	if err := g.open(c); err != nil {
		g.fail(c, now, err)
	}
}

func (g *Generator) write(c *conn, now time.Duration) {
	c.state = waiting
	// A request is smaller than an empty socket's buffer, so that it is written whole or not at all.
	if n, err := unix.Write(c.fd, c.raw); err != nil || n < len(c.raw) {
		g.fail(c, now, fmt.Errorf("write to %s: %d of %d bytes: %w", c.s.Addr, n, len(c.raw), err))
	}
}

// read takes what has arrived on c.
func (g *Generator) read(c *conn) {
	n, err := unix.Read(c.fd, c.buf[c.have:])
	now := g.now()
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case c.state == idle:
		g.close(c) // the server has had enough of an idle connection; the next send opens another
		return
	case n <= 0:
		g.fail(c, now, fmt.Errorf("%s closed the connection without a whole answer: %v", c.s.Addr, err))
		return
	}
	c.have += n
	r, size, err := parseResponse(c.buf[:c.have])
	switch {
	case err != nil || size == 0 && c.have == len(c.buf):
		g.fail(c, now, fmt.Errorf("%s: unreadable answer %.100q: %v", c.s.Addr, c.buf[:c.have], err))
	case size > 0:
		c.have = 0
		c.s.took(now, c.due, r)
		if r.close || c.drop || c.s.PerRequest {
			g.close(c)
		}
		g.free(c, now)
	}
}

// fail ends whatever c was doing.
func (g *Generator) fail(c *conn, now time.Duration, err error) {
	g.close(c)
	if c.state != opening && c.state != waiting {
		g.rest(c)
		return
	}
	c.s.lost(err.Error())
	c.s.retry = now + 10*time.Millisecond
	c.s.busy--
	g.rest(c)
}

// free gives a connection its next send, if there is one to be made.
func (g *Generator) free(c *conn, now time.Duration) {
	s := c.s
	s.busy--
	switch {
	case s.Pace == nil && now < g.end:
		s.result.Offered++
		g.send(c, now, now)
	case len(s.queue) > 0:
		due := s.queue[0]
		s.queue = s.queue[1:]
		g.send(c, now, due)
	default:
		g.rest(c)
	}
}

func (g *Generator) rest(c *conn) {
	c.state = idle
	c.s.idle = append(c.s.idle, c)
}
