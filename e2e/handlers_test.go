package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
)

// conversation is what a misbehaving webhook does with one connection. It returns when it is done
// with it, or when the connection has been closed.
type conversation func(net.Conn)

// serveTCP holds the conversation with every connection to a loopback port, and returns the port's
// address. Everything ends with the test.
func serveTCP(t *testing.T, talk conversation) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards open and ended
	var ended bool
	open := map[net.Conn]bool{}
	var talking sync.WaitGroup
	track := func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return false
		}
		open[c] = true
		talking.Add(1)
		return true
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			if !track(c) {
				c.Close()
				return
			}
			go func() {
				defer talking.Done()
				talk(c)
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			}()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		ended = true
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		talking.Wait()
	})
	return listener.Addr().String()
}

// answers is a webhook that gives every request of a kept connection the same bytes.
func answers(response string) conversation {
	return func(c net.Conn) {
		for r := bufio.NewReader(c); readRequest(r) == nil; {
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	}
}

// echoes answers each request with the value of one of its own parameters.
func echoes(param string) conversation {
	return func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.WriteString(c, reply(200, fmt.Sprintf(`{"dst_phone":%q}`, req.FormValue(param))))
		}
	}
}

// hangs reads the request, sends what it is given, and then nothing any more.
func hangs(after string) conversation {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		if readRequest(r) != nil {
			return
		}
		io.WriteString(c, after)
		untilClosed(r)
	}
}

// interrupts answers to the first bytes that come, whatever they are, as a plain server does to TLS.
func interrupts(response string) conversation {
	return func(c net.Conn) {
		if _, err := c.Read(make([]byte, 8<<10)); err == nil {
			io.WriteString(c, response)
		}
	}
}

// silent accepts the connection and takes no notice of what comes.
func silent(c net.Conn) { untilClosed(c) }

// drips sends atOnce in one piece and the rest one byte a second.
func drips(atOnce, slowly string) conversation {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		if readRequest(r) != nil {
			return
		}
		closed := make(chan struct{})
		go func() { untilClosed(r); close(closed) }()
		io.WriteString(c, atOnce)
		for i := range len(slowly) {
			if _, err := io.WriteString(c, slowly[i:i+1]); err != nil {
				break
			}
			select {
			case <-closed:
				return
			case <-time.After(time.Second):
			}
		}
		c.Close()
		<-closed
	}
}

// resets sends the beginning of an answer and has the kernel send RST in place of the rest.
func resets(beginning string) conversation {
	return func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) != nil {
			return
		}
		io.WriteString(c, beginning)
		c.(*net.TCPConn).SetLinger(0)
	}
}

// closes sends what it is given, which is less than it promises, and closes in an orderly way.
func closes(after string) conversation {
	return func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) == nil {
			io.WriteString(c, after)
		}
	}
}

// floods sends the header and then size bytes of a body, as fast as they are taken.
func floods(header string, size int) conversation {
	block := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	return func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) != nil {
			return
		}
		io.WriteString(c, header)
		for sent := 0; sent < size; sent += len(block) {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}
}

// readRequest reads one whole request.
func readRequest(r *bufio.Reader) error {
	req, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err
}

func untilClosed(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

// reply is an HTTP/1.1 answer with a Content-Length and, between the two, further header lines.
func reply(status int, body string, headers ...string) string {
	return replyHeader(status, len(body), headers...) + body
}

// replyHeader is the header of an answer that promises length bytes.
func replyHeader(status, length int, headers ...string) string {
	lines := append([]string{
		fmt.Sprintf("HTTP/1.1 %d %s", status, http.StatusText(status)),
		fmt.Sprintf("Content-Length: %d", length),
	}, headers...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// bomb is a good answer with so many MiB of padding in it, compressed.
func bomb(size int, compress func(io.Writer) io.WriteCloser) string {
	var b bytes.Buffer
	w := compress(&b)
	io.WriteString(w, `{"padding":"`)
	for range size {
		io.WriteString(w, strings.Repeat("0", 1<<20)) // in pieces: the caller's own memory must stay quiet
	}
	io.WriteString(w, `",`+good[1:])
	w.Close()
	return b.String()
}

func gzipped(w io.Writer) io.WriteCloser  { return gzip.NewWriter(w) }
func brotlied(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }

// refusingAddress is a loopback address on which nobody listens, and nobody else can begin to.
func refusingAddress(t *testing.T) string {
	t.Helper()
	return boundSocket(t, func(int) {})
}

// deafAddress is a loopback address whose listener accepts nothing, with its queue full: the kernel
// drops further SYNs, as a firewall would.
func deafAddress(t *testing.T) string {
	t.Helper()
	address := boundSocket(t, func(fd int) {
		if err := syscall.Listen(fd, 0); err != nil {
			t.Fatal(err)
		}
	})
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address // the queue is full
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the kernel goes on accepting connections that nobody accepts")
	return ""
}

// boundSocket binds a socket to a free loopback port, has it prepared, and keeps it for the test.
func boundSocket(t *testing.T, prepare func(fd int)) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	prepare(fd)
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}
