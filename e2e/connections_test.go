package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Short of file descriptors, a caller who comes is worth more than a connection that nobody uses.
func TestWithNoFileLeftToOpenIdleConnectionsMakeRoomForCallers(t *testing.T) {
	s := start(t, `
projects:
  - id: "1001"
    default_schema: "1"
    numbers: [{number: "380442223344", schema: "1"}]
    schemas: [{id: "1", steps: [{dial: ["380440000001"]}]}]
`)
	const files = 100
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: files}, nil); err != nil {
		t.Fatal(err)
	}
	ask := func(c net.Conn) error {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(c, "GET /v1/route?callee=380442223344 HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %s", answer.Status)
		}
		return err
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	kept := make([]net.Conn, files+20) // the last of them wait in the system's queue
	for i := range kept {
		kept[i] = dial()
	}
	for _, c := range kept[:files/2] {
		if err := ask(c); err != nil {
			t.Fatalf("while there is room: %v", err)
		}
	}
	time.Sleep(1200 * time.Millisecond) // they rest
	for i := range 20 {
		if err := ask(dial()); err != nil {
			t.Fatalf("caller %d: %v", i+1, err)
		}
	}
	if !strings.Contains(s.log.String(), "raise the limit of open files") {
		t.Errorf("the log does not tell an operator what to do:\n%s", s.log)
	}
}
