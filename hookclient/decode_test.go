package hookclient

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"hookswitch/schema"
)

const plainAnswer = `{"dst_phone":"380441111111","who":"Олег"}`

func gzipped(t testing.TB, text string) string {
	var b bytes.Buffer
	return compressed(t, &b, gzip.NewWriter(&b), text)
}

func brotlied(t testing.TB, text string) string {
	var b bytes.Buffer
	return compressed(t, &b, brotli.NewWriter(&b), text)
}

func compressed(t testing.TB, b *bytes.Buffer, w io.WriteCloser, text string) string {
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func encoded(t testing.TB, e interface{ String(string) (string, error) }, text string) string {
	s, err := e.String(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestABodyIsReadInEveryCodingAndCharset(t *testing.T) {
	var b bytes.Buffer
	deflated := compressed(t, &b, zlib.NewWriter(&b), plainAnswer)
	le, be := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	cp1251 := encoded(t, charmap.Windows1251.NewEncoder(), plainAnswer)
	gz := gzipped(t, plainAnswer)
	for _, c := range []struct{ name, contentType, coding, body string }{
		{"as it is", "", "", plainAnswer},
		{"under the type that PHP sends by default", "text/html; charset=UTF-8", "", plainAnswer},
		{"identity", "application/json", "identity", plainAnswer},
		{"gzip", "application/json", "gzip", gz},
		{"gzip in capitals and blanks", "application/json", " GZIP ", gz},
		{"x-gzip", "application/json", "x-gzip", gz},
		{"gzip in two members", "", "gzip", gzipped(t, plainAnswer[:10]) + gzipped(t, plainAnswer[10:])},
		{"deflate", "application/json", "deflate", deflated},
		{"brotli", "application/json", "br", brotlied(t, plainAnswer)},
		{"windows-1251", "application/json; charset=windows-1251", "", cp1251},
		{"windows-1251 in quotes and capitals", `text/html; a=b; Charset="Windows-1251"`, "", cp1251},
		{"windows-1251 that says nothing, Cyrillic only where it doesn't matter", "", "", cp1251},
		{"windows-1251 compressed", "text/html;charset=cp1251", "gzip", gzipped(t, cp1251)},
		{"koi8-u", "text/html; charset=koi8-u", "", encoded(t, charmap.KOI8U.NewEncoder(), plainAnswer)},
		{"a wrong charset that ASCII doesn't suffer from", "text/html; charset=iso-8859-1", "", `{"dst_phone":"380441111111"}`},
		{"UTF-8 with a byte order mark", "", "", "\xef\xbb\xbf" + plainAnswer},
		{"two byte order marks", "", "", "\xef\xbb\xbf\xef\xbb\xbf" + plainAnswer},
		{"a byte order mark against the charset", "text/html; charset=windows-1251", "", "\xef\xbb\xbf" + plainAnswer},
		{"UTF-16, little endian, by its mark", "", "", encoded(t, le.NewEncoder(), plainAnswer)},
		{"UTF-16, big endian, by its mark", "text/html; charset=utf-8", "", encoded(t, be.NewEncoder(), plainAnswer)},
		{"UTF-16 by its charset", "application/json; charset=utf-16le", "", encoded(t, unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder(), plainAnswer)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReader(&schema.Hook{Receive: "json"}, "")
			a := &schema.Answer{Buf: []byte("kept")}
			r.read(a, []byte(c.body), []byte(c.contentType), []byte(c.coding), 0)
			if got := summary(a); got != "380441111111" {
				t.Error(got)
			}
		})
	}
}

func TestCyrillicTextSurvivesItsCharset(t *testing.T) {
	a := new(schema.Answer)
	text, refused := newDecoder(0).decode(a, []byte(encoded(t, charmap.KOI8U.NewEncoder(), plainAnswer)), []byte("text/html; charset=koi8-u"), nil)
	if refused != nil || string(text) != plainAnswer {
		t.Errorf("%s, %v", text, refused)
	}
}

func TestABodyThatCannotBeDecodedIsABadAnswer(t *testing.T) {
	gz, br := gzipped(t, plainAnswer), brotlied(t, plainAnswer)
	damaged := gz[:len(gz)-8] + "\x00\x00\x00\x00" + gz[len(gz)-4:] // another checksum
	for _, c := range []struct{ name, contentType, coding, body, want string }{
		{"gzip cut short", "", "gzip", gz[:len(gz)-9], `bad_answer: the body is damaged or cut short: its Content-Encoding is "gzip", and reading that gave: unexpected EOF`},
		{"gzip without its checksum", "", "gzip", gz[:len(gz)-8], `bad_answer: the body is damaged or cut short: its Content-Encoding is "gzip", and reading that gave: unexpected EOF`},
		{"gzip with a wrong checksum", "", "gzip", damaged, `bad_answer: the body is damaged or cut short: its Content-Encoding is "gzip", and reading that gave: gzip: invalid checksum`},
		{"text that claims to be gzip", "", "gzip", plainAnswer, `bad_answer: the body is damaged or cut short: its Content-Encoding is "gzip", and reading that gave: gzip: invalid header`},
		{"text that claims to be deflate", "", "deflate", plainAnswer, `bad_answer: the body is damaged or cut short: its Content-Encoding is "deflate", and reading that gave: zlib: invalid header`},
		{"brotli cut short", "", "br", br[:len(br)-4], `bad_answer: the body is damaged or cut short: its Content-Encoding is "br", and reading that gave: unexpected EOF`},
		{"gzip that doesn't say so", "", "", gz, `bad_answer: the body is not a JSON object: found "\x1f\x8b`},
		{"two codings", "", "gzip, br", gz, `bad_answer: Content-Encoding is "gzip, br"; want gzip, br, deflate, or none`},
		{"an unknown coding", "", "zstd", gz, `bad_answer: Content-Encoding is "zstd"; want gzip, br, deflate, or none`},
		{"an unknown charset", "text/html; charset=utf8mb4", "", plainAnswer, `bad_answer: Content-Type names the charset "utf8mb4", which nobody knows; want utf-8`},
		{"UTF-16 that isn't", "text/html; charset=utf-16le", "", plainAnswer, `bad_answer: the body is not a JSON object: found "`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReader(&schema.Hook{Receive: "json"}, "")
			a := new(schema.Answer)
			r.read(a, []byte(c.body), []byte(c.contentType), []byte(c.coding), 0)
			if got := summary(a); !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAnEmptyBodyIsNoDestinationWhateverItsCoding(t *testing.T) {
	for _, c := range [][2]string{{"", ""}, {"", "gzip"}, {"", "br"}, {" \r\n", ""}, {"\xef\xbb\xbf", ""}, {gzipped(t, ""), "gzip"}} {
		for _, receive := range []string{"http", "json", "json-rpc"} {
			r := newReader(&schema.Hook{Receive: receive}, "")
			a := new(schema.Answer)
			r.read(a, []byte(c[0]), nil, []byte(c[1]), 0)
			if got := summary(a); got != "no_destination: the body is empty" {
				t.Errorf("%q, %s, %s: %s", c[0], c[1], receive, got)
			}
		}
	}
}

func TestAnAnswerOverTheLimitIsRefused(t *testing.T) {
	const limit = 1000
	cyrillic := "{a:'" + strings.Repeat("\xee", 600) + "'}" // 600 letters in windows-1251, 1,200 bytes of UTF-8
	fits := `{"dst_phone":"380441111111"` + strings.Repeat(" ", limit-28) + "}"
	for _, c := range []struct {
		name, contentType, coding, body string
		accepted                        bool
	}{
		{"as sent, just within", "", "", fits, true},
		{"as sent", "", "", fits + " ", false},
		{"decompressed, just within", "", "gzip", gzipped(t, fits), true},
		{"decompressed from gzip", "", "gzip", gzipped(t, fits+" "), false},
		{"decompressed from brotli", "", "br", brotlied(t, fits+" "), false},
		{"as UTF-8", "text/html; charset=windows-1251", "", cyrillic, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReader(&schema.Hook{Receive: "json", MaxAnswer: limit}, "")
			a := new(schema.Answer)
			r.read(a, []byte(c.body), []byte(c.contentType), []byte(c.coding), 0)
			want := "bad_answer: the body is larger than 1000 bytes (max_answer_bytes)"
			if c.accepted {
				want = "380441111111"
			}
			if got := summary(a); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestABombCostsLittleMemory(t *testing.T) {
	bomb := strings.Repeat("0", 50<<20)
	for _, c := range []struct {
		coding, body string
		most         uint64 // bytes; a brotli stream has a window of its own choosing, 4 MiB here
	}{
		{"gzip", gzipped(t, bomb), 1 << 20},
		{"br", brotlied(t, bomb), 6 << 20},
	} {
		t.Run(c.coding, func(t *testing.T) {
			if len(c.body) > 64<<10 {
				t.Fatalf("%d bytes; want a bomb that arrives within the limit", len(c.body))
			}
			r := newReader(&schema.Hook{Receive: "json"}, "")
			a, sent := new(schema.Answer), []byte(c.body)
			cost := allocated(func() { r.read(a, sent, nil, []byte(c.coding), 0) })
			if got := summary(a); got != "bad_answer: the body is larger than 65536 bytes (max_answer_bytes)" || cost > c.most {
				t.Errorf("%s, for %d bytes of memory; want at most %d", got, cost, c.most)
			}
		})
	}
}

func TestGzipAnswersShareTheirWindows(t *testing.T) {
	r := newReader(&schema.Hook{Receive: "json"}, "")
	a, body := new(schema.Answer), []byte(gzipped(t, plainAnswer))
	const runs = 200
	cost := allocated(func() {
		for range runs {
			a.Reset()
			r.read(a, body, nil, []byte("gzip"), 0)
		}
	})
	// A window alone has 32 KiB; the race detector has sync.Pool forget one in four.
	if cost > runs*16<<10 || a.Reason != schema.ReasonOK {
		t.Errorf("%d bytes an answer, %s", cost/runs, summary(a))
	}
}

// allocated measures the memory, in bytes, that f asks for.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
