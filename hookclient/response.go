package hookclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// response is a webhook's answer as HTTP/1.x sends it (RFC 9112). Its slices lie in the buffer that it
// was read into.
type response struct {
	status int
	head   []byte // the status line and the headers
	body   []byte // without its chunks
	// contentType and contentEncoding are the last of their name; nil for none.
	contentType, contentEncoding []byte
	// reusable: the connection may carry another request, since the webhook keeps it open and nothing
	// has come beyond the answer.
	reusable bool
	// kept is the connection, until it is given back; nil where it is not reusable.
	kept *conn

	http11, closes, chunked bool
	length                  int // -1 where no header says
}

// What can be wrong with an answer, besides that it is not HTTP.
var (
	errBodyTooLarge = errors.New("the answer is larger than max_answer_bytes")
	errHeadTooLarge = fmt.Errorf("the answer's headers are larger than %d bytes", answerHeader)
)

// malformed is an answer that is not HTTP, or not in one way only. The text quotes none of its headers:
// there may be cookies among them.
type malformed string

func (m malformed) Error() string { return string(m) }

const (
	// maxInterim bounds the interim answers (1xx) before the final one.
	maxInterim = 5
	// maxChunkLine bounds a chunk's size line with its extensions, in bytes.
	maxChunkLine = 256
	// readAtLeast is the room that is made for a read, in bytes.
	readAtLeast = 1 << 10
)

// readResponse reads the answer to a request, other than HEAD, that was sent over from. It appends
// what comes to buf, which it returns, and takes a body of at most limit bytes. What can be read in
// more than one way is refused, since nobody knows where it ends. An end of file before the first byte
// is io.EOF, one within the answer io.ErrUnexpectedEOF.
func readResponse(from io.Reader, buf []byte, limit int) (resp response, _ []byte, err error) {
	m := incoming{from: from, buf: buf, at: len(buf)}
	for interim := 0; ; interim++ {
		if resp, err = m.readHead(); err != nil {
			return resp, m.buf, err
		}
		if resp.status == 101 { // what follows is another protocol, which nobody asked for
			return resp, m.buf, nil
		}
		if resp.status >= 200 {
			break
		}
		if interim == maxInterim {
			return resp, m.buf, malformed("too many 1xx answers before the one that counts")
		}
	}
	ends := resp.http11 && !resp.closes
	switch {
	case resp.status == 204 || resp.status == 304: // without a body, whatever the headers say (RFC 9112, 6.3)
	case resp.chunked:
		resp.body, err = m.readChunks(limit)
	case resp.length >= 0:
		resp.body, err = m.readLength(resp.length, limit)
	default:
		ends = false
		resp.body, err = m.readAll(limit)
	}
	// What is left in the buffer belongs to no request. It must not become the next one's answer.
	resp.reusable = err == nil && ends && m.at == len(m.buf)
	return resp, m.buf, err
}

// header returns the value of the first header of that name, nil where there is none.
func (r *response) header(name string) []byte {
	_, rest, _ := bytes.Cut(r.head, []byte("\n"))
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if n, value, _ := bytes.Cut(line, []byte(":")); equalFold(n, name) {
			return bytes.Trim(value, blanks)
		}
	}
	return nil
}

// incoming is what arrives on a connection: buf from at on is not read yet.
type incoming struct {
	from io.Reader
	buf  []byte
	at   int
}

// more waits for more to arrive.
func (m *incoming) more() error {
	if cap(m.buf)-len(m.buf) < readAtLeast {
		m.buf = slices.Grow(m.buf, readAtLeast)
	}
	n, err := m.from.Read(m.buf[len(m.buf):cap(m.buf)])
	m.buf = m.buf[:len(m.buf)+n]
	switch {
	case n > 0:
		return nil // an error comes again
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// within is more, where an end of file is a loss.
func (m *incoming) within() error {
	err := m.more()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// lineEnd returns where the line that begins at m.at+done ends: the place of its line feed, which is
// within most bytes of m.at.
func (m *incoming) lineEnd(done, most int, tooLong error) (int, error) {
	for {
		if i := bytes.IndexByte(m.buf[m.at+done:], '\n'); i >= 0 && done+i < most {
			return m.at + done + i, nil
		}
		if done = len(m.buf) - m.at; done >= most {
			return 0, tooLong
		}
		if err := m.within(); err != nil {
			return 0, err
		}
	}
}

// readHead reads a status line and headers, to the empty line behind them.
func (m *incoming) readHead() (r response, err error) {
	if m.at == len(m.buf) {
		if err := m.more(); err != nil {
			return r, err
		}
	}
	start := m.at
	end, err := m.lineEnd(0, answerHeader, errHeadTooLarge)
	if err != nil {
		return r, err
	}
	r.length = -1
	if err := r.readStatus(withoutCR(m.buf[m.at:end])); err != nil {
		return r, err
	}
	for m.at = end + 1; ; {
		line, err := m.field(answerHeader - (m.at - start))
		if err != nil {
			return r, err
		}
		if len(line) == 0 {
			break
		}
		if err := r.readField(line); err != nil {
			return r, err
		}
	}
	r.head = m.buf[start:m.at]
	if r.chunked && (r.length >= 0 || !r.http11) {
		return r, malformed("Transfer-Encoding beside a Content-Length, or in HTTP/1.0") // RFC 9112, 6.1
	}
	return r, nil
}

// field takes one header, unfolded (RFC 9112, 5.2); empty for the end of the headers.
func (m *incoming) field(most int) ([]byte, error) {
	start, done := m.at, 0
	for {
		end, err := m.lineEnd(done, most, errHeadTooLarge)
		if err != nil {
			return nil, err
		}
		line := withoutCR(m.buf[start:end])
		if len(line) == 0 {
			m.at = end + 1
			return line, nil
		}
		if done = end + 1 - start; start+done == len(m.buf) {
			if err := m.within(); err != nil {
				return nil, err
			}
		}
		if c := m.buf[end+1]; c != ' ' && c != '\t' {
			m.at = end + 1
			return line, nil
		}
		for i := start + len(line); i <= end; i++ {
			m.buf[i] = ' '
		}
	}
}

func withoutCR(line []byte) []byte { return bytes.TrimSuffix(line, []byte("\r")) }

// readStatus reads "HTTP/1.1 200 OK".
func (r *response) readStatus(line []byte) error {
	const version = "HTTP/1."
	if len(line) < len("HTTP/1.1 200") || string(line[:len(version)]) != version || line[8] != ' ' ||
		line[7] != '0' && line[7] != '1' || len(line) > 12 && line[12] != ' ' || !allOf(line, inValue) {
		return malformed("its first line is " + excerpt(line, maxExcerpt) + "; want HTTP/1.1 and a status")
	}
	r.http11 = line[7] == '1'
	n, ok := decimal(line[9:12])
	if r.status = n; !ok || n < 100 {
		return malformed("its first line is " + excerpt(line, maxExcerpt) + "; want a status of three digits")
	}
	return nil
}

// readField takes up a header that says where the answer ends or how to read it.
func (r *response) readField(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !allOf(line[:colon], inName) || !allOf(line[colon+1:], inValue) {
		return malformed("a header that is none")
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	switch {
	case len(name) == len("Connection") && equalFold(name, "Connection"):
		for token := range bytes.SplitSeq(value, []byte(",")) {
			r.closes = r.closes || equalFold(bytes.Trim(token, " \t"), "close")
		}
	case len(name) == len("Content-Type") && equalFold(name, "Content-Type"):
		r.contentType = value
	case len(name) == len("Content-Length") && equalFold(name, "Content-Length"):
		n, ok := decimal(value)
		if !ok || r.length >= 0 && r.length != n {
			return malformed("a Content-Length that is no number, or two of them")
		}
		r.length = n
	case len(name) == len("Content-Encoding") && equalFold(name, "Content-Encoding"):
		r.contentEncoding = value
	case len(name) == len("Transfer-Encoding") && equalFold(name, "Transfer-Encoding"):
		if r.chunked || !equalFold(value, "chunked") {
			return malformed("a Transfer-Encoding other than chunked")
		}
		r.chunked = true
	}
	return nil
}

// readLength reads a body of n bytes.
func (m *incoming) readLength(n, limit int) ([]byte, error) {
	if n > limit {
		return nil, errBodyTooLarge
	}
	m.buf = slices.Grow(m.buf, max(m.at+n-len(m.buf), 0))
	for len(m.buf)-m.at < n {
		if err := m.within(); err != nil {
			return nil, err
		}
	}
	m.at += n
	return m.buf[m.at-n : m.at], nil
}

// readAll reads a body that ends with the connection.
func (m *incoming) readAll(limit int) ([]byte, error) {
	start := m.at
	for len(m.buf)-start <= limit {
		if err := m.more(); err == io.EOF {
			m.at = len(m.buf)
			return m.buf[start:], nil
		} else if err != nil {
			return nil, err
		}
	}
	return nil, errBodyTooLarge
}

// readChunks reads a chunked body (RFC 9112, 7.1), and moves its chunks together where they are.
func (m *incoming) readChunks(limit int) ([]byte, error) {
	start := m.at
	for end := start; ; {
		m.closeUp(end)
		size, err := m.chunkSize()
		if err != nil {
			return nil, err
		}
		if size == 0 {
			return m.buf[start:end:end], m.skipTrailers()
		}
		if size > limit-(end-start) {
			return nil, errBodyTooLarge
		}
		for left := size; left > 0; {
			if m.closeUp(end); m.at == len(m.buf) {
				if err := m.within(); err != nil {
					return nil, err
				}
			}
			n := min(left, len(m.buf)-m.at)
			copy(m.buf[end:], m.buf[m.at:m.at+n])
			end, left, m.at = end+n, left-n, m.at+n
		}
		if line, err := m.chunkLine(); err != nil {
			return nil, err
		} else if len(line) > 0 {
			return nil, malformed("a chunk that is longer than it says")
		}
	}
}

// closeUp moves what is not read yet down to end, where the body ends so far, once that is worth it.
func (m *incoming) closeUp(end int) {
	if m.at-end >= 4<<10 || m.at == len(m.buf) {
		m.buf = m.buf[:end+copy(m.buf[end:], m.buf[m.at:])]
		m.at = end
	}
}

// chunkLine takes a line within a chunked body, which must end with CR and LF.
func (m *incoming) chunkLine() ([]byte, error) {
	end, err := m.lineEnd(0, maxChunkLine, malformed("a chunk without a size"))
	if err != nil {
		return nil, err
	}
	line := m.buf[m.at:end]
	m.at = end + 1
	if !bytes.HasSuffix(line, []byte("\r")) {
		return nil, malformed("a line among the chunks that ends without a carriage return")
	}
	return line[:len(line)-1], nil
}

func (m *incoming) chunkSize() (n int, err error) {
	line, err := m.chunkLine()
	if err != nil {
		return 0, err
	}
	digits, _, _ := bytes.Cut(bytes.TrimRight(line, " \t"), []byte(";")) // an extension, which nobody knows
	if len(digits) == 0 || len(digits) > 7 {
		return 0, malformed("a chunk's size that is none, or too large")
	}
	for _, c := range digits {
		d := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if c < '0' || d < 0 {
			return 0, malformed("a chunk's size that is no number")
		}
		n = n<<4 | d
	}
	return n, nil
}

// skipTrailers reads over the headers behind the last chunk.
func (m *incoming) skipTrailers() error {
	var none response
	for start := m.at; m.at-start < answerHeader; {
		end, err := m.lineEnd(0, answerHeader, errHeadTooLarge)
		if err != nil {
			return err
		}
		line, ok := bytes.CutSuffix(m.buf[m.at:end], []byte("\r"))
		if m.at = end + 1; !ok {
			return malformed("a line behind the chunks that ends without a carriage return")
		}
		if len(line) == 0 {
			return nil
		}
		if err := none.readField(line); err != nil {
			return err
		}
	}
	return errHeadTooLarge
}

// decimal reads a number of at most 15 digits, and nothing else.
func decimal(text []byte) (n int, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(text) > 0 && len(text) <= 15
}

// inName are the bytes of a header's name, inValue those of a value (RFC 9110, 5.6.2 and 5.5).
var inName, inValue = headerBytes()

func headerBytes() (name, value *[256]bool) {
	name, value = new([256]bool), new([256]bool)
	for c := range 256 {
		name[c] = c < len(tokenBytes) && (tokenBytes[c] || c == '%')
		value[c] = c >= ' ' && c != 0x7f || c == '\t'
	}
	return name, value
}

func allOf(text []byte, set *[256]bool) bool {
	for _, c := range text {
		if !set[c] {
			return false
		}
	}
	return true
}
