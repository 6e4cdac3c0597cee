package load

import (
	"bytes"
	"errors"
	"testing"
)

func TestATemplatesMarksAreFilledForEachSend(t *testing.T) {
	for _, c := range []struct {
		name string
		t    Template
		want string
	}{
		{"a GET", Get("h:1", "/r?id={{callid}}&to={{callee}}"),
			"GET /r?id=0000000000000042&to=380440000007 HTTP/1.1\r\nHost: h:1\r\n\r\n"},
		{"a GET on a connection of its own", Get("h:1", "/r?id={{callid}}&to={{callee}}").PerConnection(),
			"GET /r?id=0000000000000042&to=380440000007 HTTP/1.1\r\nConnection: close\r\nHost: h:1\r\n\r\n"},
		{"a POST, whose length is that of the digits", Post("h:1", "/r", `{"id":"{{callid}}"}`),
			"POST /r HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n{\"id\":\"0000000000000042\"}"},
		{"a POST on a connection of its own", Post("h:1", "/r", `{"id":"{{callid}}","again":"{{callid}}"}`).PerConnection(),
			"POST /r HTTP/1.1\r\nConnection: close\r\nHost: h:1\r\nContent-Type: application/json\r\nContent-Length: 52\r\n\r\n{\"id\":\"0000000000000042\",\"again\":\"0000000000000042\"}"},
		{"other braces stay", Get("h:1", "/{{x}}{{"), "GET /{{x}}{{ HTTP/1.1\r\nHost: h:1\r\n\r\n"},
	} {
		raw := bytes.Clone(c.t.raw)
		c.t.fill(raw, 7, 1)
		c.t.fill(raw, 42, 380440000007)
		if string(raw) != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, raw, c.want)
		}
	}
}

func TestAnAnswerIsReadWholeOrNotYet(t *testing.T) {
	for _, c := range []struct {
		name, text string
		n, status  int
		body       string
		close      bool
		err        error
	}{
		{"a whole one", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 40, 200, "hi", false, nil},
		{"and the start of the next", "HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nhiHTTP/1.1", 39, 200, "hi", false, nil},
		{"a body still to come", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", 0, 200, "", false, nil},
		{"a header still to come", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", 0, 0, "", false, nil},
		{"nothing yet", "", 0, 0, "", false, nil},
		{"a refusal", "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 64, 404, "", true, nil},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", 27, 204, "", false, nil},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 200, "", false, errNoLength},
		{"a length of no number", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 0, 200, "", false, errNotHTTP},
		{"a length below nothing", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, 200, "", false, errNotHTTP},
		{"another protocol", "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0, 0, "", false, errNotHTTP},
		{"a status of no number", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", 0, 0, "", false, errNotHTTP},
	} {
		r, n, err := parseResponse([]byte(c.text))
		if n != c.n || r.status != c.status || string(r.body) != c.body || r.close != c.close || !errors.Is(err, c.err) {
			t.Errorf("%s: got %d bytes, status %d, body %q, close %v, error %v", c.name, n, r.status, r.body, r.close, err)
		}
	}
}

func TestAFieldIsFoundByItsNameAlone(t *testing.T) {
	for _, c := range []struct{ body, name, want string }{
		{`{"source":"hook","reason":"ok"}`, "reason", "ok"},
		{`{"a":"reason","reason":"timeout"}`, "reason", "timeout"},
		{`{"the_reason":"no","reason":"loop"}`, "reason", "loop"},
		{`{"reason":null}`, "reason", ""},
		{`{}`, "reason", ""},
	} {
		if got := string(field([]byte(c.body), c.name)); got != c.want {
			t.Errorf("%s of %s: got %q; want %q", c.name, c.body, got, c.want)
		}
	}
}
