package hookclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// answers are what servers send, good and bad: what is read of each, "" for a refusal, and whether the
// connection may be used again.
var answers = []struct {
	name, raw string
	want      string // of the body
	reusable  bool
	err       error // nil for one that is malformed
}{
	{"a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", true, nil},
	{"a length said twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "ok", true, nil},
	{"names in any case, blanks around values", "HTTP/1.1 200\r\ncontent-LENGTH: \t 2 \t\r\n\r\nok", "ok", true, nil},
	{"lines that end with a line feed alone", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok", true, nil},
	{"a folded header", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tc\r\nContent-Length: 2\r\n\r\nok", "ok", true, nil},
	{"a word to close", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", "ok", false, nil},
	{"the end of the connection", "HTTP/1.1 200 OK\r\n\r\nok", "ok", false, nil},
	{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", "ok", false, nil},
	{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1 \r\no\r\n1;x=\"y\"\r\nk\r\n0\r\nX: y\r\n\r\n", "ok", true, nil},
	{"no content, though it names a length", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", " ", true, nil},
	{"no content, and a body", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", " ", false, nil},
	{"nothing changed, in chunks that do not come", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", " ", true, nil},
	{"interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", true, nil},
	{"an answer to no request behind it", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", "ok", false, nil},
	{"a line end behind it", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", "ok", false, nil},
	{"chunks, and something behind them", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx", "ok", false, nil},

	{"a length beside chunks", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", false, nil},
	{"chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", false, nil},
	{"chunks twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", false, nil},
	{"another coding before the chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", false, nil},
	{"another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", "", false, nil},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "", false, nil},
	{"a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "", false, nil},
	{"a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "", false, nil},
	{"a length below zero", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", "", false, nil},
	{"a length in hex", "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", "", false, nil},
	{"an empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok", "", false, nil},
	{"a length beyond all numbers", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", "", false, nil},
	{"a folded length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n 0\r\n\r\nok", "", false, nil},
	{"a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", "", false, nil},
	{"a header that begins with a blank", "HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\nok", "", false, nil},
	{"a header without a colon", "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\nok", "", false, nil},
	{"a header without a name", "HTTP/1.1 200 OK\r\n: 2\r\n\r\nok", "", false, nil},
	{"a carriage return within a header", "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 2\r\n\r\nok", "", false, nil},
	{"a NUL in a header", "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\nok", "", false, nil},
	{"a line end before it", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "", false, nil},
	{"another version", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "", false, nil},
	{"a version in lower case", "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "", false, nil},
	{"a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", "", false, nil},
	{"a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", "", false, nil},
	{"a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", "", false, nil},
	{"a chunk's size with a sign", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n", "", false, nil},
	{"a chunk's size in hex as C writes it", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n", "", false, nil},
	{"a chunk without a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n", "", false, nil},
	{"a chunk's size beyond all numbers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "", false, nil},
	{"a chunk longer than it says", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n", "", false, nil},
	{"a chunk's size that ends with a line feed alone", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", "", false, nil},
	{"a chunk's extension without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 300), "", false, nil},
	{"a trailer that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n", "", false, nil},
	{"trailers without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("x: y\r\n", 2000), "", false, errHeadTooLarge},
	{"headers without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("x: y\r\n", 2000), "", false, errHeadTooLarge},
	{"a header without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 10000), "", false, errHeadTooLarge},
	{"a folded header without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y\r\n ", 3000), "", false, errHeadTooLarge},
	{"a body over the limit", "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "", false, errBodyTooLarge},
	{"chunks over the limit", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + strings.Repeat("x", 100) + "\r\n1\r\n", "", false, errBodyTooLarge},
	{"a body without a length over the limit", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 101), "", false, errBodyTooLarge},
	{"nothing", "", "", false, io.EOF},
	{"half a header", "HTTP/1.1 200 OK\r\nContent-Le", "", false, io.ErrUnexpectedEOF},
	{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", "", false, io.ErrUnexpectedEOF},
	{"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no", "", false, io.ErrUnexpectedEOF},
	{"chunks without the last", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "", false, io.ErrUnexpectedEOF},
}

func TestReadingAnswers(t *testing.T) {
	for _, tc := range answers {
		for how, from := range map[string]io.Reader{
			"at once": strings.NewReader(tc.raw), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.raw)),
			"with the end": iotest.DataErrReader(strings.NewReader(tc.raw)),
		} {
			resp, buf, err := readResponse(from, []byte("kept"), 100)
			if string(buf[:4]) != "kept" {
				t.Errorf("%s, %s: what was in the buffer is lost", tc.name, how)
			}
			var m malformed
			switch {
			case tc.want == "" && tc.err != nil && !errors.Is(err, tc.err):
				t.Errorf("%s, %s: got %v; want %v", tc.name, how, err, tc.err)
			case tc.want == "" && tc.err == nil && !errors.As(err, &m):
				t.Errorf("%s, %s: got %v and %q; want a refusal", tc.name, how, err, resp.body)
			case tc.want == "" && resp.reusable:
				t.Errorf("%s, %s: the connection would be used again", tc.name, how)
			case tc.want == "":
			case err != nil || string(resp.body) != strings.TrimSpace(tc.want):
				t.Errorf("%s, %s: got %q, %v; want %q", tc.name, how, resp.body, err, tc.want)
			case resp.reusable != tc.reusable && how == "at once":
				t.Errorf("%s, %s: reusable is %v", tc.name, how, resp.reusable)
			}
		}
	}
}

func TestAnAnswerMayComeInManySmallChunksWithoutFillingMemory(t *testing.T) {
	raw := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\na\r\n", 20000) + "0\r\n\r\n"
	resp, buf, err := readResponse(iotest.HalfReader(strings.NewReader(raw)), nil, 1<<20)
	if err != nil || string(resp.body) != strings.Repeat("a", 20000) {
		t.Errorf("%d bytes, %v", len(resp.body), err)
	}
	if cap(buf) > 64<<10 {
		t.Errorf("20 KB of body took %d bytes", cap(buf))
	}
}

func TestAHeaderIsFoundByItsName(t *testing.T) {
	resp, _, err := readResponse(strings.NewReader("HTTP/1.1 302 Found\r\nX-Location: /x\r\nLOCATION: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"), nil, 10)
	if got := string(resp.header("Location")); err != nil || got != "/a" {
		t.Errorf("got %q, %v", got, err)
	}
	if resp.header("Retry-After") != nil {
		t.Error("a header that did not come is found")
	}
}

// peerReads is what net/http makes of an answer, interim ones passed over; rest is what is left.
func peerReads(raw []byte) (status int, body []byte, rest int, err error) {
	from := bytes.NewReader(raw)
	br := bufio.NewReaderSize(from, 64<<10)
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return 0, nil, 0, err
		}
		if resp.StatusCode < 200 && resp.StatusCode != 101 {
			continue
		}
		if resp.StatusCode == 101 {
			return 101, nil, 0, nil
		}
		body, err = io.ReadAll(resp.Body)
		return resp.StatusCode, body, br.Buffered() + from.Len(), err
	}
}

// What we take, net/http takes as well, and makes the same of it: no two readers of one answer may be
// told different things. A connection is used again only where nothing is left on it.
func FuzzReadResponse(f *testing.F) {
	for _, tc := range answers {
		f.Add([]byte(tc.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		const limit = 1 << 20
		resp, buf, err := readResponse(bytes.NewReader(raw), nil, limit)
		slow, _, slowErr := readResponse(iotest.OneByteReader(bytes.NewReader(raw)), nil, limit)
		if (err == nil) != (slowErr == nil) || err == nil && (resp.status != slow.status || !bytes.Equal(resp.body, slow.body)) {
			t.Fatalf("at once: %d %q %v; byte by byte: %d %q %v", resp.status, resp.body, err, slow.status, slow.body, slowErr)
		}
		if err != nil {
			return
		}
		status, body, rest, peerErr := peerReads(raw)
		if peerErr != nil {
			t.Fatalf("we take %q as %d %q; net/http: %v", raw, resp.status, resp.body, peerErr)
		}
		if status != resp.status || !bytes.Equal(body, resp.body) {
			t.Fatalf("of %q we make %d %q, net/http %d %q", raw, resp.status, resp.body, status, body)
		}
		if resp.reusable && (rest > 0 || len(buf) < len(bytes.TrimSpace(resp.body))) {
			t.Fatalf("of %q %d bytes are left, and the connection would be used again", raw, rest)
		}
	})
}

func BenchmarkReadResponse(b *testing.B) {
	raw := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 22 Nov 2026 23:16:11 GMT\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n" + good)
	from := bytes.NewReader(raw)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		from.Reset(raw)
		_, buf, _ = readResponse(from, buf[:0], 1<<16)
	}
}

func TestReadingAnAnswerAllocatesNothing(t *testing.T) {
	raw := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\n" + good + "\r\n0\r\n\r\n")
	from, buf := bytes.NewReader(raw), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		from.Reset(raw)
		if resp, _, err := readResponse(from, buf, 1<<16); err != nil || len(resp.body) == 0 {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations an answer; want none", n)
	}
}
