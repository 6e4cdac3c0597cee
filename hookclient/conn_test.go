package hookclient

import (
	"io"
	"net"
	"testing"
	"time"
)

// wired returns a connection and its other end.
func wired(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConn(near.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); far.Close(); l.Close() })
	return c, far
}

func begin(t *testing.T, c *conn, within time.Duration) time.Time {
	t.Helper()
	now := time.Now()
	if err := c.begin(now, now.Add(within)); err != nil {
		t.Fatal(err)
	}
	return now
}

func TestADeadlineOfBeforeStrikesNoLaterRequest(t *testing.T) {
	const before = 60 * time.Millisecond
	for what, request := range map[string]func(c *conn, far net.Conn) error{
		"while it waits for its answer": func(c *conn, far net.Conn) error {
			time.AfterFunc(3*before, func() { far.Write([]byte("late")) })
			_, err := io.ReadFull(c, make([]byte, 4))
			return err
		},
		"before it reads": func(c *conn, far net.Conn) error {
			far.Write([]byte("late"))
			time.Sleep(2 * before)
			_, err := io.ReadFull(c, make([]byte, 4))
			return err
		},
		"while it is being written": func(c *conn, far net.Conn) error {
			const size = 16 << 20 // more than two sockets' buffers hold
			time.AfterFunc(3*before, func() { io.CopyN(io.Discard, far, size) })
			_, err := c.Write(make([]byte, size))
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			c, far := wired(t)
			begin(t, c, before) // sets it, the connection being new
			begin(t, c, patience)
			if c.armed() {
				t.Fatal("a deadline was set although there was nothing to wait for yet")
			}
			if err := request(c, far); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestARequestHasItsOwnDeadlineWhateverOneIsSet(t *testing.T) {
	for what, before := range map[string]time.Duration{"a later one": time.Hour, "an earlier one": 50 * time.Millisecond, "one that is over": time.Nanosecond} {
		for doing, wait := range map[string]func(c *conn) error{
			"reading": func(c *conn) error { _, err := c.Read(make([]byte, 1)); return err },
			"writing": func(c *conn) error { _, err := c.Write(make([]byte, 16<<20)); return err },
		} {
			t.Run(what+", "+doing, func(t *testing.T) {
				c, _ := wired(t)
				begin(t, c, before)
				time.Sleep(time.Millisecond)
				const within = 120 * time.Millisecond
				began := begin(t, c, within)
				if err := wait(c); !isTimeout(err) {
					t.Errorf("got %v; want a time-out", err)
				}
				if took := time.Since(began); took < within {
					t.Errorf("it ended after %v; want %v or more", took, within)
				}
			})
		}
	}
}

func TestTheEndOfAnAnswerIsToldWhetherWaitedForOrNot(t *testing.T) {
	for what, end := range map[string]struct {
		how  func(far *net.TCPConn)
		want func(error) bool
	}{
		"closed": {func(far *net.TCPConn) { far.Close() }, func(err error) bool { return err == io.EOF }},
		"reset":  {func(far *net.TCPConn) { far.SetLinger(0); far.Close() }, closed},
	} {
		for when, pause := range map[string]time.Duration{"at once": 0, "later": 50 * time.Millisecond} {
			t.Run(what+" "+when, func(t *testing.T) {
				c, far := wired(t)
				begin(t, c, time.Second)
				begin(t, c, patience)
				if pause > 0 {
					time.AfterFunc(pause, func() { end.how(far.(*net.TCPConn)) })
				} else {
					end.how(far.(*net.TCPConn))
				}
				if _, err := c.Read(make([]byte, 1)); !end.want(err) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}
