package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pair returns the two ends of a connection.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(near.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); far.Close() })
	return c, far.(*net.TCPConn)
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	c, far := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // far more than the kernel holds
	var writing sync.WaitGroup
	writing.Go(func() {
		if n, err := c.Write(sent); n != len(sent) || err != nil {
			t.Errorf("wrote %d bytes, %v", n, err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	writing.Go(func() { _, _ = io.Copy(far, far); far.CloseWrite() })
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d of %d bytes, %v", len(got), len(sent), err)
	}
	writing.Wait()
}

func TestDeadlinesHold(t *testing.T) {
	c, _ := pair(t)
	if err := c.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading: got %v", err)
	}
	if _, err := c.Write(make([]byte, 16<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing: got %v", err)
	}
}

func TestBeforeItWaitsItAsks(t *testing.T) {
	c, far := pair(t)
	asked := 0
	refused := errors.New("refused")
	c.BeforeWait = func() error {
		asked++
		return refused
	}
	if _, err := c.Read(make([]byte, 1)); err != refused || asked != 1 {
		t.Errorf("got %v, asked %d times", err, asked)
	}
	c.BeforeWait = nil
	if _, err := far.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

func TestQuietIsWhatHasNothingToRead(t *testing.T) {
	becomesLoud := func(c *Conn) bool {
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if !c.Quiet() {
				return true
			}
		}
		return false
	}
	c, far := pair(t)
	c.SetReadDeadline(time.Unix(1, 0)) // which it does not heed
	if !c.Quiet() {
		t.Error("a new connection is not quiet")
	}
	far.Write([]byte("a"))
	if !becomesLoud(c) {
		t.Error("one with a byte to read is quiet")
	}
	c.SetReadDeadline(time.Time{})
	if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil || !c.Quiet() {
		t.Errorf("read to its end: got %d bytes, %v, quiet %v", n, err, c.Quiet())
	}
	far.Close()
	if !becomesLoud(c) {
		t.Error("one that the other side has closed is quiet")
	}
	c.Close()
	if c.Quiet() {
		t.Error("a closed one is quiet")
	}
}

func TestErrorsAreTheNetPackages(t *testing.T) {
	c, far := pair(t)
	far.SetLinger(0)
	far.Close() // with a reset
	_, err := c.Read(make([]byte, 1))
	var op *net.OpError
	if !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &op) {
		t.Errorf("after a reset: got %v", err)
	}
	for errors.Is(err, syscall.ECONNRESET) || err == nil {
		_, err = c.Write([]byte("a"))
	}
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("writing after a reset: got %v", err)
	}
	c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading a closed one: got %v", err)
	}
	if _, err := c.Write([]byte("a")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing a closed one: got %v", err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: got %d, %v", n, err)
	}
}

func TestAClosedConnectionEndsTheReadUnderWay(t *testing.T) {
	c, _ := pair(t)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	c.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
