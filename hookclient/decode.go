package hookclient

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"hookswitch/schema"
)

// decoder turns a body as it was sent into UTF-8 text. It is safe for concurrent use.
type decoder struct {
	limit    int       // bytes of a body: as sent, decompressed, and as UTF-8
	gunzips  sync.Pool // of *gunzip
	tooLarge *refusal
}

// gunzip is what reading a gzip body takes, kept because a flate window is 32 KiB.
type gunzip struct {
	body bytes.Reader
	gzip gzip.Reader
}

func newDecoder(limit int) *decoder {
	if limit <= 0 {
		limit = 64 << 10
	}
	return &decoder{
		limit:    limit,
		gunzips:  sync.Pool{New: func() any { return new(gunzip) }},
		tooLarge: refuse(schema.ReasonBadAnswer, "the body is larger than %d bytes (max_answer_bytes)", limit),
	}
}

// decode appends body to a.Buf as UTF-8 text and returns it there, without its byte order mark.
// Bytes that no charset explains stay as they are: the grammar of what is read from them is ASCII.
func (d *decoder) decode(a *schema.Answer, body, contentType, contentEncoding []byte) ([]byte, *refusal) {
	if len(body) > d.limit {
		return nil, d.tooLarge
	}
	start := len(a.Buf)
	if refused := d.decompress(a, body, contentEncoding); refused != nil {
		return nil, refused
	}
	if len(a.Buf)-start > d.limit {
		return nil, d.tooLarge
	}
	charset, refused := charsetOf(a.Buf[start:], contentType)
	if refused != nil {
		return nil, refused
	}
	if charset != nil {
		raw := a.Buf[start:]
		start = len(a.Buf)
		// A byte becomes three at most, so the limit bounds this before it is checked.
		text, _, err := transform.Append(charset.NewDecoder(), a.Buf, raw)
		if err != nil {
			return nil, refuse(schema.ReasonBadAnswer, "the body is not in the charset that it claims: %v", err)
		}
		if a.Buf = text; len(text)-start > d.limit {
			return nil, d.tooLarge
		}
	}
	text := a.Buf[start:]
	for bytes.HasPrefix(text, bomUTF8) { // several, where PHP files that begin with one include each other
		text = text[len(bomUTF8):]
	}
	return text, nil
}

// decompress appends body to a.Buf without its content coding (RFC 9110, section 8.4.1), and stops
// at the first byte over the limit.
func (d *decoder) decompress(a *schema.Answer, body, coding []byte) *refusal {
	coding = bytes.Trim(coding, blanks)
	switch {
	case len(body) == 0 || len(coding) == 0 || equalFold(coding, "identity"):
		a.Buf = append(a.Buf, body...)
		return nil
	case equalFold(coding, "gzip") || equalFold(coding, "x-gzip"):
		g := d.gunzips.Get().(*gunzip)
		defer d.gunzips.Put(g)
		defer g.body.Reset(nil) // body is not ours to keep
		g.body.Reset(body)
		err := g.gzip.Reset(&g.body)
		return d.drain(a, &g.gzip, err, coding)
	case equalFold(coding, "deflate"):
		z, err := zlib.NewReader(bytes.NewReader(body))
		return d.drain(a, z, err, coding)
	case equalFold(coding, "br"):
		// Not kept: a stream may ask for a window of 16 MiB.
		first := [1]byte{smallWindow(body[0], d.limit)}
		whole := io.MultiReader(bytes.NewReader(first[:]), bytes.NewReader(body[1:]))
		return d.drain(a, brotli.NewReader(whole), nil, coding)
	}
	return refuse(schema.ReasonBadAnswer, "Content-Encoding is %s; want gzip, br, deflate, or none", excerpt(coding, maxExcerpt))
}

// smallWindow returns the first byte of a brotli stream with the window that it declares made as
// small as limit bytes of text allow. They decode to the same, since nothing in them can point
// further back than to their beginning; but a few bytes that declare a window of 16 MiB make the
// decoder fill that much before it gives any of it.
//
// A window of 2^(17+n) bytes less 16, n from 1 to 7, is declared by n in bits 1 to 3, bit 0 being
// set (RFC 7932, section 9.1).
func smallWindow(first byte, limit int) byte {
	n := first >> 1 & 7
	if first&1 == 0 || n == 0 {
		return first // a window of 64 or 128 KiB, or less
	}
	for n > 1 && 1<<(16+n)-16 > limit {
		n--
	}
	return first&^0xe | n<<1
}

// drain appends what from holds to a.Buf, to one byte over the limit at most. err is what came of
// opening it.
func (d *decoder) drain(a *schema.Answer, from io.Reader, err error, coding []byte) *refusal {
	if err == nil {
		text := bytes.NewBuffer(a.Buf)
		_, err = text.ReadFrom(io.LimitReader(from, int64(d.limit)+1))
		a.Buf = text.Bytes()
	}
	if err != nil {
		return refuse(schema.ReasonBadAnswer, "the body is damaged or cut short: its Content-Encoding is %s, and reading that gave: %v", excerpt(coding, maxExcerpt), err)
	}
	return nil
}

var bomUTF8 = []byte("\xef\xbb\xbf")

// charsetOf finds what text must be converted from; nil for UTF-8. A byte order mark counts more
// than the Content-Type, as in the WHATWG Encoding Standard.
func charsetOf(text, contentType []byte) (encoding.Encoding, *refusal) {
	switch {
	case bytes.HasPrefix(text, bomUTF8):
		return nil, nil
	case bytes.HasPrefix(text, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM), nil
	case bytes.HasPrefix(text, []byte("\xff\xfe")):
		return unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM), nil
	}
	name := charsetParameter(contentType)
	if len(name) == 0 || equalFold(name, "utf-8") || equalFold(name, "utf8") {
		return nil, nil
	}
	charset, err := htmlindex.Get(string(name))
	if err != nil || charset == nil {
		return nil, refuse(schema.ReasonBadAnswer, "Content-Type names the charset %s, which nobody knows; want utf-8", excerpt(name, maxExcerpt))
	}
	if _, oneByte := charset.(*charmap.Charmap); oneByte && isASCII(text) {
		return nil, nil // each of these charsets begins with ASCII
	}
	return charset, nil
}

// charsetParameter returns the value of a Content-Type's charset, empty where there is none.
func charsetParameter(contentType []byte) []byte {
	_, rest, more := bytes.Cut(contentType, []byte(";"))
	for more {
		var parameter []byte
		parameter, rest, more = bytes.Cut(rest, []byte(";"))
		if name, value, _ := bytes.Cut(parameter, []byte("=")); equalFold(bytes.Trim(name, blanks), "charset") {
			return bytes.Trim(value, blanks+`"'`)
		}
	}
	return nil
}

func equalFold(b []byte, s string) bool { return bytes.EqualFold(b, []byte(s)) }

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
