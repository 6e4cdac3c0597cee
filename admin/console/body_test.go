package console

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// pouring is a body that says nothing of its length: so many bytes of a form.
func pouring(n int) io.Reader {
	return io.MultiReader(strings.NewReader("token="), io.LimitReader(endless{}, int64(n)))
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte("a"), len(p)))
	return len(p), nil
}

func TestAFormIsReadNoFurtherThanItMayBeLong(t *testing.T) {
	h := newHouse(t)
	ops := h.signIn(opsToken)
	for _, tc := range []struct {
		name, path string
		v          *visitor
		body       io.Reader
		length     int64
		status     int
	}{
		{"a language that says how long it is", "/preferences", h.visitor(), pouring(1 << 20), 1<<20 + 6, http.StatusRequestEntityTooLarge},
		{"a token in chunks", "/signin", h.visitor(), pouring(maxOpenForm), -1, http.StatusRequestEntityTooLarge},
		{"a language in chunks, far too long", "/preferences", h.visitor(), pouring(256 << 20), -1, http.StatusRequestEntityTooLarge},
		{"a short one in chunks", "/signin", h.visitor(), pouring(100), -1, http.StatusUnauthorized},
		{"a scheme of one who is signed out", "/p/own/schemas/new", h.visitor(), pouring(1 << 20), -1, http.StatusUnauthorized},
		{"a scheme in chunks", "/p/own/schemas/new", ops, pouring(maxForm), -1, http.StatusRequestEntityTooLarge},
		{"a scheme of a length that is allowed", "/p/own/schemas/new", ops, pouring(maxForm / 2), -1, http.StatusForbidden}, // not of the session
	} {
		req, err := http.NewRequest("POST", h.url+tc.path, tc.body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = tc.length
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		resp, err := tc.v.client.Do(req)
		runtime.ReadMemStats(&after)
		if err != nil {
			if strings.Contains(tc.name, "far too long") {
				continue // the connection was closed before all of it was sent
			}
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != tc.status {
			t.Errorf("%s: found %d; want %d", tc.name, resp.StatusCode, tc.status)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("%s: took %d MB of memory", tc.name, took>>20)
		}
	}
}

func TestAFormIsTakenBehindAProxyThatRewritesTheHost(t *testing.T) {
	h := newHouse(t)
	for _, tc := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"from the same origin, the browser says", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://pbx.example"}}, http.StatusSeeOther},
		{"from another host, by a browser that says no more", http.Header{"Origin": {"https://pbx.example"}}, http.StatusForbidden},
		{"from another site on the same domain", http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://pbx.example"}}, http.StatusForbidden},
	} {
		if a := h.visitor().send("POST", "/preferences", map[string][]string{"lang": {"uk"}}, tc.header); a.status != tc.status {
			t.Errorf("%s: found %d; want %d", tc.name, a.status, tc.status)
		}
	}
}
