package load

import (
	"bytes"
	"errors"
	"strconv"
)

// response is one answer as read off a connection; it points into the connection's buffer.
type response struct {
	status int
	body   []byte
	close  bool // the server closes the connection after it
}

var (
	errNotHTTP  = errors.New("not an HTTP/1.1 answer")
	errNoLength = errors.New("an answer without Content-Length; the generator reads no other kind")
	headerEnd   = []byte("\r\n\r\n")
	lineEnd     = []byte("\r\n")
)

// parseResponse reads an answer from the start of b and returns how long it is: 0 while some of it is
// still to come. It reads what the servers under test send, not all of HTTP.
func parseResponse(b []byte) (r response, n int, err error) {
	end := bytes.Index(b, headerEnd)
	if end < 0 {
		return r, 0, nil
	}
	head := b[:end+2]
	if len(head) < len("HTTP/1.1 200") || string(head[:7]) != "HTTP/1." {
		return r, 0, errNotHTTP
	}
	if r.status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return r, 0, errNotHTTP
	}
	length := -1
	for line := range bytes.SplitSeq(head, lineEnd) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 {
				return r, 0, errNotHTTP
			}
		case len(name) == len("connection") && bytes.EqualFold(name, []byte("connection")):
			r.close = bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		}
	}
	if r.status == 204 {
		length = 0
	}
	if length < 0 {
		return r, 0, errNoLength
	}
	n = end + len(headerEnd) + length
	if n > len(b) {
		return r, 0, nil
	}
	r.body = b[n-length : n]
	return r, n, nil
}

// field returns the text of a string field of a one-line JSON answer, nil where it has none. It trusts
// the servers under test to write "name":"text" without blanks or escapes.
func field(body []byte, name string) []byte {
	for rest := body; ; {
		i := bytes.Index(rest, []byte(name))
		if i < 0 {
			return nil
		}
		before, after := rest[:i], rest[i+len(name):]
		if value, ok := bytes.CutPrefix(after, []byte(`":"`)); ok && bytes.HasSuffix(before, []byte(`"`)) {
			text, _, _ := bytes.Cut(value, []byte(`"`))
			return text
		}
		rest = after
	}
}
