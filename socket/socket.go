// Package socket reads and writes TCP connections that do not block, without announcing each system call to Go's
// scheduler. It knows nothing of what goes over them, and dials and listens for nobody.
//
// The net package announces a read or a write as one that may take long: Go's monitor thread, asleep while
// nothing runs, is woken to take the processor away from one that does. A service that is asked 500 times a
// second sleeps in between, so every question would wake that thread, which then looks about every 20 µs until
// all is asleep again: several switches of threads for each, on the processor that is to answer
// (runtime/proc.go, entersyscallWakeSysmon and sysmon). A call on a socket that does not block returns at once,
// and needs none of that.
package socket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// Conn is a TCP connection. As with any net.Conn Close and the deadlines may be called at any time; one goroutine
// may read while one writes, but no two may do the same.
type Conn struct {
	*net.TCPConn
	raw syscall.RawConn

	// BeforeWait, where it is set, is called each time when there is nothing to read yet, before Read waits for
	// it; its error ends Read.
	BeforeWait func() error

	// What the functions that RawConn calls, bound once, work on, and what came of it.
	receive func(fd uintptr) bool
	into    []byte
	got     int
	readErr error

	send     func(fd uintptr) bool
	from     []byte
	sent     int
	writeErr error

	look  func(fd uintptr)
	quiet bool
}

// New returns c as a Conn, which closes it when it is closed. Its error is that of a closed connection.
func New(c *net.TCPConn) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Conn{TCPConn: c, raw: raw}
	s.receive, s.send, s.look = s.tryRead, s.tryWrite, s.peek
	return s, nil
}

// Read reads what has come, waiting, until the deadline, where nothing has. Its errors are net.Conn's.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.into, c.got, c.readErr = b, 0, nil
	err := c.raw.Read(c.receive)
	c.into = nil
	if err != nil {
		return 0, err
	}
	return c.got, c.readErr
}

// tryRead reads what there is; false means that there is nothing yet.
func (c *Conn) tryRead(fd uintptr) bool {
	n, errno := read(fd, c.into)
	for errno == syscall.EINTR {
		n, errno = read(fd, c.into)
	}
	switch {
	case errno == syscall.EAGAIN:
		if c.BeforeWait != nil {
			c.readErr = c.BeforeWait()
		}
		return c.readErr != nil
	case errno != 0:
		c.readErr = &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", errno)}
	case n == 0:
		c.readErr = io.EOF
	default:
		c.got = n
	}
	return true
}

// Write writes all of b, waiting, until the deadline, where there is no room for it. Its errors are net.Conn's.
func (c *Conn) Write(b []byte) (int, error) {
	c.from, c.sent, c.writeErr = b, 0, nil
	err := c.raw.Write(c.send)
	c.from = nil
	if err == nil {
		err = c.writeErr
	}
	return c.sent, err
}

// tryWrite writes what there is room for; false means that there is more.
func (c *Conn) tryWrite(fd uintptr) bool {
	for c.sent < len(c.from) {
		n, errno := write(fd, c.from[c.sent:])
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return false
		case errno != 0:
			c.writeErr = &net.OpError{Op: "write", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("write", errno)}
			return true
		default:
			c.sent += n
		}
	}
	return true
}

// Quiet reports whether nothing waits to be read, no end and no error either. It heeds no deadline.
func (c *Conn) Quiet() bool {
	return c.raw.Control(c.look) == nil && c.quiet
}

func (c *Conn) peek(fd uintptr) {
	errno := peek(fd)
	c.quiet = errno == syscall.EAGAIN || errno == syscall.EINTR
}
