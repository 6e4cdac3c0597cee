package admin

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// path is the operation's, with something for each {name}.
func (op operation) path() string {
	return strings.NewReplacer("{id}", "crm", "{project}", "10553").Replace(op.Path)
}

func TestWhoMayNotIsRefusedByEveryOperationAndNothingChanges(t *testing.T) {
	h := newHouse(t)
	made := func(body string) string {
		t.Helper()
		return h.want(201, "POST", "/api/v1/tokens", opsToken, body).json(t)["token"].(string)
	}
	writer := made(`{"name":"writer","scopes":["write"]}`)
	reader := made(`{"name":"reader","scopes":["read"]}`)
	other := made(`{"name":"other","scopes":["read","write"],"project":"filed"}`)
	before := h.state()
	for _, op := range operations() {
		if op.Scope == "" {
			continue
		}
		for _, tc := range []struct {
			who, token string
			refused    bool
			status     int
		}{
			{"nobody", "", true, 401},
			{"one whose token lacks the scope read", writer, op.Scope == scopeRead, 403},
			{"one whose token lacks the scope write", reader, op.Scope == scopeWrite, 403},
			{"one whose token lacks the scope admin", writer, op.Scope == scopeAdmin, 403},
			{"one of another project", other, op.Project || op.Scope == scopeAdmin, 403},
		} {
			if !tc.refused {
				continue
			}
			a := h.ask(op.Method, op.path(), tc.token, "")
			if v := a.json(t); a.status != tc.status || v["success"] != false || v["message"] == "" {
				t.Errorf("%s %s by %s: found %d %s; want %d", op.Method, op.Path, tc.who, a.status, a.body, tc.status)
			}
			if tc.status == 401 && a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: found no WWW-Authenticate", op.Method, op.Path)
			}
		}
	}
	if after := h.state(); after != before {
		t.Errorf("found the store at change %s; want %s", after, before)
	}
}

func TestTheProjectIsNamedByTheHeaderTheParameterOrTheToken(t *testing.T) {
	h := newHouse(t)
	for _, tc := range []struct {
		what, token, client, query string
		status                     int
		total                      float64
	}{
		{"the header", opsToken, "10553", "", 200, 3},
		{"the parameter", opsToken, "", "?project=10553", 200, 3},
		{"both", opsToken, "10553", "?project=10553", 200, 3},
		{"both, and they differ", opsToken, "10553", "?project=filed", 400, 0},
		{"nothing", opsToken, "", "", 400, 0},
		{"no such project", opsToken, "none", "", 404, 0},
		{"the token", ownToken, "", "", 200, 3},
		{"the token and the header", ownToken, "10553", "", 200, 3},
		{"the token and another header", ownToken, "filed", "", 403, 0},
		{"the token and another parameter", ownToken, "", "?project=filed", 403, 0},
		{"the token and no such project", ownToken, "none", "", 403, 0},
	} {
		a := h.ask("GET", "/api/v1/webhooks"+tc.query, tc.token, "", "Client", tc.client)
		if total := a.json(t)["total"]; a.status != tc.status || tc.status == 200 && total != tc.total {
			t.Errorf("%s: found %d %s; want %d and %v webhooks", tc.what, a.status, a.body, tc.status, tc.total)
		}
	}
}

func TestATokenOfOneProjectSeesNoOther(t *testing.T) {
	h := newHouse(t)
	page := h.want(200, "GET", "/api/v1/projects", ownToken, "").json(t)
	if page["total"] != 1.0 || page["data"].([]any)[0].(map[string]any)["id"] != "10553" {
		t.Errorf("found %v; want project 10553 alone", page)
	}
	h.want(200, "GET", "/api/v1/projects/10553", ownToken, "")
	h.want(403, "GET", "/api/v1/projects/filed", ownToken, "")
	h.want(403, "GET", "/api/v1/projects/none", ownToken, "")
	h.want(403, "PUT", "/api/v1/projects/10553", ownToken, `{"default_schema":"1","allow_private_hooks":true}`)
	h.want(403, "GET", "/api/v1/audit?project=filed", ownToken, "", "Client", "")
	h.want(201, "POST", "/api/v1/projects", opsToken, strings.NewReplacer("10553", "other", "3804422", "3804433", "-customer", "-other-customer").Replace(customer))
	a := h.want(200, "GET", "/api/v1/audit", ownToken, "")
	if strings.Contains(a.body, "other") || !strings.Contains(a.body, "10553") {
		t.Errorf("found the trail %s; want project 10553's alone", a.body)
	}
}

func TestATokenIsMadeUsedAndRevokedByTheAPI(t *testing.T) {
	h := newHouse(t)
	made := h.want(201, "POST", "/api/v1/tokens", opsToken, `{"name":"ci","scopes":["read"],"project":"10553"}`)
	token := made.json(t)["token"].(string)
	h.want(200, "GET", "/api/v1/webhooks", token, "", "Client", "")
	sameJSON(t, "me", h.want(200, "GET", "/api/v1/me", token, "").body, `{"name":"ci","scopes":["read"],"project":"10553"}`)
	wantFields(t, "the token", h.want(200, "GET", made.header.Get("Location"), opsToken, ""), `{"name":"ci","scopes":["read"],"project":"10553","created_by":"ops","expires":null}`)
	if list := h.want(200, "GET", "/api/v1/tokens", opsToken, ""); strings.Contains(list.body, token) || strings.Contains(list.body, "sha256") {
		t.Errorf("found %s; want neither the token nor its hash", list.body)
	}
	h.want(200, "DELETE", made.header.Get("Location"), opsToken, "")
	h.want(401, "GET", "/api/v1/webhooks", token, "", "Client", "")
	h.want(404, "DELETE", made.header.Get("Location"), opsToken, "")
	for body, field := range map[string]string{
		`{"scopes":["read"]}`:                             "name",
		`{"name":"ci","scopes":["all"]}`:                  "scopes[0]",
		`{"name":"ci","scopes":["read"],"project":"nil"}`: "project",
		`{"name":"ci","scopes":"read"}`:                   "scopes",
		`{"name":"ci","scopes":["read"],"colour":1}`:      "colour",
	} {
		if a := h.ask("POST", "/api/v1/tokens", opsToken, body); a.status != 422 || a.fields(t)[field] == nil {
			t.Errorf("%s: found %d %s; want 422 for %s", body, a.status, a.body, field)
		}
	}
}

func TestAnAddressWithTooManyWrongTokensWaits(t *testing.T) {
	h := newHouse(t)
	for range 3 * maxFailures {
		h.want(401, "GET", "/api/v1/webhooks", "", "") // no token is no guess
	}
	for i := range maxFailures {
		h.want(401, "GET", "/api/v1/webhooks", "guess-"+strconv.Itoa(i), "")
	}
	for _, token := range []string{"guess", "guess-1"} {
		h.want(200, "GET", "/api/v1/webhooks", opsToken, "") // somebody else behind the same proxy
		a := h.want(429, "GET", "/api/v1/webhooks", token, "")
		if wait, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || wait < 1 || wait > 3 {
			t.Errorf("found Retry-After %q; want 1 to 3 seconds", a.header.Get("Retry-After"))
		}
	}
	h.clock.Add(int64(maxFailures * refill / time.Nanosecond))
	h.want(401, "GET", "/api/v1/webhooks", "guess", "")
}

func TestTheFilesTokensChangeWithAReload(t *testing.T) {
	h := newHouse(t)
	h.want(200, "GET", "/api/v1/me", eyeToken, "")
	h.server.Apply(schema.Admin{Tokens: []schema.Token{{Name: "new", Token: schema.NewSecret("new-token-of-the-file"), Scopes: []string{"read"}}}})
	h.want(401, "GET", "/api/v1/me", eyeToken, "")
	h.want(200, "GET", "/api/v1/me", "new-token-of-the-file", "")
}
