package load

import (
	"bytes"
	"fmt"
	"strings"
)

// Marks in a request's text that each send replaces: {{callid}} by 16 digits that no other send has,
// {{callee}} by 12 digits that the stream chooses.
const (
	markCallID = "{{callid}}"
	markCallee = "{{callee}}"

	callIDDigits = 16
	calleeDigits = 12
)

// Template is a request made beforehand, of which only fixed places change from send to send.
type Template struct {
	raw            []byte
	callID, callee []int // where their digits begin
}

// Get makes a template of a GET of target ("/path?query").
func Get(host, target string) Template {
	return newTemplate(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host))
}

// Post makes a template of a POST of a JSON body.
func Post(host, target, body string) Template {
	return newTemplate(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		target, host, len(widen(body)), body))
}

// PerConnection returns the template with a Connection: close header: a connection for each request.
func (t Template) PerConnection() Template {
	line := bytes.Index(t.raw, []byte("\r\n")) + 2
	const header = "Connection: close\r\n"
	out := Template{raw: bytes.Join([][]byte{t.raw[:line], []byte(header), t.raw[line:]}, nil)}
	shift := func(at []int) (moved []int) {
		for _, i := range at {
			if i >= line {
				i += len(header)
			}
			moved = append(moved, i)
		}
		return moved
	}
	out.callID, out.callee = shift(t.callID), shift(t.callee)
	return out
}

// widen puts placeholders of the digits' width where the marks are.
func widen(text string) string {
	return strings.NewReplacer(markCallID, strings.Repeat("0", callIDDigits), markCallee, strings.Repeat("0", calleeDigits)).Replace(text)
}

func newTemplate(text string) Template {
	var t Template
	for text != "" {
		i := strings.Index(text, "{{")
		if i < 0 {
			i = len(text)
		}
		t.raw = append(t.raw, text[:i]...)
		text = text[i:]
		switch {
		case strings.HasPrefix(text, markCallID):
			t.callID = append(t.callID, len(t.raw))
			t.raw, text = append(t.raw, widen(markCallID)...), text[len(markCallID):]
		case strings.HasPrefix(text, markCallee):
			t.callee = append(t.callee, len(t.raw))
			t.raw, text = append(t.raw, widen(markCallee)...), text[len(markCallee):]
		case text != "":
			t.raw, text = append(t.raw, text[:2]...), text[2:]
		}
	}
	return t
}

// fill writes one send's digits into raw, a copy of the template's own.
func (t *Template) fill(raw []byte, callID, callee uint64) {
	for _, at := range t.callID {
		putDigits(raw[at:at+callIDDigits], callID)
	}
	for _, at := range t.callee {
		putDigits(raw[at:at+calleeDigits], callee)
	}
}

func putDigits(b []byte, n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
}
