package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// writes is every route that changes something, with a form that would.
func writes() map[string]url.Values {
	return map[string]url.Values{
		"/p/own/schemas/new":                 {"id": {"9"}, "steps.0.kind": {"dial"}, "steps.0.dial": {"380440000009"}},
		"/p/own/schemas/1":                   {"name": {"changed"}, "steps.0.kind": {"hangup"}, "steps.0.hangup": {"busy"}},
		"/p/own/numbers/380442223344/delete": {},
		"/p/own/hooks/crm":                   {"url": {"https://evil.example"}},
		"/p/own/incoming/new":                {"id": {"link"}, "key": {"phone"}},
		"/p/own/webhooks/new":                {"url": {"https://evil.example"}, "event": {"create"}},
		"/projects":                          {"id": {"another"}},
		"/projects/own":                      {"name": {"changed"}},
		"/projects/own/delete":               {},
		"/tokens":                            {"name": {"mine"}, "scopes": {"read"}},
		"/tokens/0011223344556677/revoke":    {},
		"/try":                               {"p.callee": {"380442223344"}},
		"/deliveries/replay":                 {},
		"/deliveries/some/replay":            {},
		"/p/own/incoming/crm/rotate":         {},
		"/p/own/incoming/crm/finish":         {},
		"/p/own/webhooks/1/enable":           {},
	}
}

// whole is all that the API has of the customer, to see that nothing changed.
func (h *house) whole() string {
	_, project := h.api("GET", "/projects/own", "")
	_, all := h.api("GET", "/projects", "")
	_, tokens := h.api("GET", "/tokens", "")
	return project + all + tokens
}

func TestAWriteIsRefusedToWhomItIsNotAllowedAndChangesNothing(t *testing.T) {
	h := newHouse(t)
	expired := h.signIn(opsToken)
	h.ahead.Store(int64(sessionIdle + time.Minute))
	cases := []struct {
		name   string
		v      *visitor
		header http.Header
		change func(url.Values)
		status int
	}{
		{"signed out", h.visitor(), nil, nil, http.StatusUnauthorized},
		{"with a session that is over", expired, nil, nil, http.StatusUnauthorized},
		{"with a token that reads", h.signIn(eyeToken), nil, nil, http.StatusForbidden},
		{"without the session's form", h.signIn(opsToken), nil, func(f url.Values) { f.Set("form", "guessed") }, http.StatusForbidden},
		{"from another site", h.signIn(opsToken), http.Header{"Origin": {"https://evil.example"}}, nil, http.StatusForbidden},
		{"from a page without an origin", h.signIn(opsToken), http.Header{"Origin": {"null"}}, nil, http.StatusForbidden},
		{"from another site by a browser that says so", h.signIn(opsToken), http.Header{"Sec-Fetch-Site": {"cross-site"}}, nil, http.StatusForbidden},
	}
	before := h.whole()
	for _, tc := range cases {
		for path, form := range writes() {
			if tc.change != nil {
				tc.change(form)
			}
			if a := tc.v.send("POST", path, form, tc.header); a.status != tc.status {
				t.Errorf("POST %s %s: found %d; want %d", path, tc.name, a.status, tc.status)
			} else if !strings.Contains(a.body, "nothing was done") {
				t.Errorf("POST %s %s: the page does not say that nothing was done", path, tc.name)
			}
		}
	}
	if after := h.whole(); after != before {
		t.Errorf("something has changed:\n%s\nwas\n%s", after, before)
	}
	// The same forms are good for something where they are allowed.
	ops := h.signIn(opsToken)
	if a := ops.post("/p/own/schemas/new", writes()["/p/own/schemas/new"]); a.status != http.StatusSeeOther {
		t.Errorf("making a scheme: found %d; want 303", a.status)
	}
	if h.whole() == before {
		t.Error("nothing has changed where it should")
	}
}
