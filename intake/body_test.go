package intake

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// Memory that a header could claim would be everybody's: with the usual limits, gigabytes for a few hundred
// kilobytes sent.
func TestABodyThatIsAnnouncedTakesNoMemoryUntilItComes(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.ReadTimeout = 20 * time.Second })
	const conns, announced = 200, 256 << 10
	before := heap()
	for range conns {
		fmt.Fprintf(s.dial(t), "POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", announced)
	}
	for s.conns.count() < conns {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // the last of them are read
	// Of the connection alone: its buffers, and the first 8 KB of a body.
	if taken := (heap() - before) / conns; taken > 64<<10 {
		t.Errorf("a connection that announces %d bytes takes %d; want 64 KB at most", announced, taken)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestBodiesOfEachLengthAreReadWholeAndEachIsItsOwnRequests(t *testing.T) {
	seen := make(chan int, 100)
	s := start(t, func(o *Options) {
		o.Decide = decideFunc(func(c *schema.Call, d *schema.Decision) {
			seen <- strings.Count(c.Callee(), "8") - 1
			decideOK(c, d)
		})
	})
	lengths := []int{0, 1, 2<<10 - 1, 2 << 10, 8<<10 - 1, 8 << 10, 8<<10 + 1, 100_000, 256 << 10}
	for _, chunked := range []bool{false, true} {
		c := s.dial(t)
		go func() { // all of them at once, one behind the other
			for i, n := range lengths {
				body := fmt.Sprintf("callee=38044%s&", strings.Repeat("8", i+1))
				body += strings.Repeat("&", max(0, n-len(body)))
				if chunked {
					fmt.Fprintf(c, "POST /v1/route HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 5, body[:5], len(body)-5, body[5:])
				} else {
					fmt.Fprintf(c, "POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				}
			}
		}()
		answers := bufio.NewReader(c)
		for i, n := range lengths {
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("a body of %d bytes, chunked %t: %v", n, chunked, err)
			}
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("a body of %d bytes, chunked %t: %d %s; want 200", n, chunked, answer.StatusCode, body)
			}
			if got := <-seen; got != i+1 {
				t.Errorf("a body of %d bytes, chunked %t: the callee of request %d; want %d", n, chunked, got-1, i)
			}
		}
	}
}

func TestABodyThatIsCutOffOrTooLongIsRefusedAndItsConnectionClosed(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.ReadTimeout = 300 * time.Millisecond })
	long := strings.Repeat("&", 20_000)
	for _, c := range []struct {
		name, head, body string
		hangsUp          bool
		status           int
	}{
		{"a body that ends early", "Content-Length: 30000", long, true, 400},
		{"a chunked body that ends early", "Transfer-Encoding: chunked", "4e20\r\n" + long, true, 400},
		{"a chunked body that ends between chunks", "Transfer-Encoding: chunked", "4e20\r\n" + long + "\r\n", true, 400},
		{"a body whose end doesn't come", "Content-Length: 30000", long, false, 408},
		{"a chunk whose end doesn't come", "Transfer-Encoding: chunked", "4e21\r\n" + long, false, 408},
		{"a chunk's length that is none", "Transfer-Encoding: chunked", "what\r\n", false, 400},
		{"chunks beyond the limit", "Transfer-Encoding: chunked", strings.Repeat("4e20\r\n"+long+"\r\n", 14) + "0\r\n\r\n", false, 413},
	} {
		conn := s.dial(t)
		fmt.Fprintf(conn, "POST /v1/route/plain?callee=1 HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s", c.head, c.body)
		if c.hangsUp {
			_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
		answers := bufio.NewReader(conn)
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		body, _ := io.ReadAll(answer.Body)
		if answer.StatusCode != c.status || !strings.HasPrefix(string(body), "error: ") {
			t.Errorf("%s: %d %q; want %d, in the asker's dialect", c.name, answer.StatusCode, body, c.status)
		}
		if _, err := answers.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection is left open (%v)", c.name, err)
		}
	}
}

func TestWhatIsTooLargeIsRefusedReadably(t *testing.T) {
	s := start(t, func(o *Options) { o.Settings.MaxBody, o.Settings.MaxHeader = 10_000, 4096 })
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		name, method, path, body, header string
		status                           int
		code, field                      string
	}{
		{"a body", "POST", "/v1/route", "callee=1&note=" + strings.Repeat("x", 400_000), "", 413, "too_large", ""},
		{"a header", "GET", "/v1/route?callee=1", "", "X-Note: " + long, 431, "header_too_large", ""},
		{"a query", "GET", "/v1/route?callee=1&note=" + long, "", "", 431, "header_too_large", ""},
		{"a value", "POST", "/v1/route", "callee=1&callid=" + long, "Content-Type: application/x-www-form-urlencoded", 400, "bad_request", "callid"},
		{"a value in JSON", "POST", "/v1/route", `{"callee":"1","caller":"` + long + `"}`, "", 400, "bad_request", "caller"},
		{"a callee", "GET", "/v1/route?callee=" + long[:65], "", "", 400, "bad_request", "callee"},
	} {
		answer, body := s.do(t, c.method, c.path, c.body, c.header)
		code, field := errorOf(t, body)
		if answer.StatusCode != c.status || code != c.code || field != c.field {
			t.Errorf("%s: %d %s; want %d, %s, field %q", c.name, answer.StatusCode, body, c.status, c.code, c.field)
		}
	}
	answer, body := s.do(t, "POST", "/v1/route/plain", strings.Repeat("x", 20_000))
	if answer.StatusCode != 413 || !strings.HasPrefix(body, "error: too_large: ") {
		t.Errorf("plain: %d %q; want 413 and an error line", answer.StatusCode, body)
	}
}

func TestWhoSendsAHugeBodyWholeStillReadsTheRefusal(t *testing.T) {
	s := start(t)
	for range 5 {
		conn := s.dial(t)
		fmt.Fprintf(conn, "POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
		if _, err := conn.Write(make([]byte, 3_000_000)); err != nil { // and then reads, as a simple client does
			t.Errorf("cut off while sending: %v", err)
		}
		if answer := readAnswer(t, conn); answer.StatusCode != 413 {
			t.Errorf("%s; want 413", answer.Status)
		}
	}
}

func TestAReloadChangesTheBodyLimit(t *testing.T) {
	s := start(t)
	in := testSettings()
	in.MaxBody = 100
	if err := s.Apply(in); err != nil {
		t.Fatal(err)
	}
	if answer, _ := s.do(t, "POST", "/v1/route", `{"callee":"1","note":"`+strings.Repeat("x", 100)+`"}`); answer.StatusCode != 413 {
		t.Errorf("a body over the new limit: %d; want 413", answer.StatusCode)
	}
}
