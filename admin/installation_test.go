package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
	"hookswitch/store"
)

func TestTheTrailTellsWhoChangedWhat(t *testing.T) {
	h := newHouse(t)
	h.want(200, "PUT", "/api/v1/hooks/crm", ownToken, `{"url":"https://crm.example/2","on_failure":"1"}`)
	h.want(200, "DELETE", "/api/v1/webhooks/5", opsToken, "")
	page := h.want(200, "GET", "/api/v1/audit?project=10553", eyeToken, "").json(t)
	data := page["data"].([]any)
	if len(data) != 3 {
		t.Fatalf("found %v; want three changes", data)
	}
	for i, want := range []string{`{"who":"ops","action":"update","project":"10553"}`, `{"who":"own","action":"update"}`, `{"who":"ops","action":"create"}`} {
		wantFields(t, fmt.Sprintf("change %d", i), answer{body: encode(t, data[i])}, want)
	}
	sameJSON(t, "what changed", encode(t, data[1].(map[string]any)["fields"]),
		`[{"key":"hooks[crm].url","from":"https://crm.example/route","to":"https://crm.example/2"}]`)

	var seen []string
	for path := "/api/v1/audit?per_page=1"; path != ""; {
		page := h.want(200, "GET", path, eyeToken, "").json(t)
		for _, one := range page["data"].([]any) {
			seen = append(seen, one.(map[string]any)["who"].(string))
		}
		next, _ := page["next_page_url"].(string)
		path = strings.TrimPrefix(next, h.url)
	}
	if got := strings.Join(seen, " "); got != "ops own ops" {
		t.Errorf("page by page: found %s; want ops own ops", got)
	}
	if a := h.ask("GET", "/api/v1/audit?before=none", eyeToken, ""); a.status != 422 || a.fields(t)["before"] == nil {
		t.Errorf("found %d %s; want 422 for before", a.status, a.body)
	}
}

func TestTheTrailIsOfTheProjectThatIsNamedOrTheTokensOwn(t *testing.T) {
	h := newHouse(t)
	h.want(201, "POST", "/api/v1/projects", opsToken, strings.NewReplacer("10553", "other", "3804422", "3804433", "-customer", "-other-customer").Replace(customer))
	for name, tc := range map[string]struct {
		token, client, query string
		status               int
		projects             string // of the changes
	}{
		"all":                          {eyeToken, "", "", 200, "other 10553"},
		"the header":                   {eyeToken, "other", "", 200, "other"},
		"the parameter":                {eyeToken, "", "?project=other", 200, "other"},
		"both, and they differ":        {eyeToken, "10553", "?project=other", 400, ""},
		"the token's":                  {ownToken, "", "", 200, "10553"},
		"the token's, by the header":   {ownToken, "10553", "", 200, "10553"},
		"not the token's, by header":   {ownToken, "other", "", 403, ""},
		"not the token's, by the name": {ownToken, "", "?project=other", 403, ""},
	} {
		a := h.want(tc.status, "GET", "/api/v1/audit"+tc.query, tc.token, "", "Client", tc.client)
		data, _ := a.json(t)["data"].([]any)
		var projects []string
		for _, one := range data {
			projects = append(projects, one.(map[string]any)["project"].(string))
		}
		if got := strings.Join(projects, " "); got != tc.projects {
			t.Errorf("%s: found the changes of %q; want %q", name, got, tc.projects)
		}
	}
}

func TestTheTrailTellsOfTokensToo(t *testing.T) {
	h := newHouse(t)
	made := h.want(201, "POST", "/api/v1/tokens", opsToken, `{"name":"ci","scopes":["read"],"project":"10553"}`)
	text, _ := made.json(t)["token"].(string)
	id := strings.TrimPrefix(made.header.Get("Location"), "/api/v1/tokens/")
	h.want(200, "DELETE", made.header.Get("Location"), opsToken, "")
	h.want(404, "DELETE", made.header.Get("Location"), opsToken, "")
	trail := h.want(200, "GET", "/api/v1/audit?per_page=2", opsToken, "")
	if strings.Contains(trail.body, text) {
		t.Errorf("found the token in %s", trail.body)
	}
	data := trail.json(t)["data"].([]any)
	for i, action := range []string{"delete", "create"} {
		wantFields(t, action, answer{body: encode(t, data[i])}, fmt.Sprintf(`{"who":"ops","action":%q,"project":"10553","token":"%s ci"}`, action, id))
	}
}

func TestABackupIsWholeAndRestores(t *testing.T) {
	h := newHouse(t)
	h.want(403, "GET", "/api/v1/backup", eyeToken, "")
	backup := h.want(200, "GET", "/api/v1/backup", opsToken, "").body
	path := filepath.Join(t.TempDir(), "restored.db")
	if err := store.Restore(t.Context(), path, bytes.NewReader([]byte(backup))); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenBolt(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	doc, err := s.GetDoc(t.Context(), "project", "10553")
	if err != nil || !bytes.Contains(doc.Body, []byte("Ask the CRM")) {
		t.Errorf("found %s, %v; want the customer's project", doc.Body, err)
	}
}

func TestWhileTheStoreIsDownWhatIsKnownIsReadAndNothingIsChanged(t *testing.T) {
	h := newHouse(t)
	token := h.want(201, "POST", "/api/v1/tokens", opsToken, `{"name":"ci","scopes":["read","write"]}`).json(t)["token"].(string)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/v1/projects", "/api/v1/projects/10553", "/api/v1/hooks", "/api/v1/webhooks/5"} {
		h.want(200, "GET", path, token, "")
	}
	for _, q := range [][3]string{
		{"POST", "/api/v1/webhooks", `{"url":"https://test.com","event":"create"}`},
		{"PUT", "/api/v1/hooks/crm", `{"url":"https://crm.example/2","on_failure":"1"}`},
		{"DELETE", "/api/v1/webhooks/5", ""},
		{"DELETE", "/api/v1/projects/10553", ""},
		{"POST", "/api/v1/projects", `{"id":"new","default_schema":"1","schemas":[{"id":"1","steps":[{"hangup":"busy"}]}]}`},
		{"POST", "/api/v1/tokens", `{"name":"x","scopes":["read"]}`},
		{"GET", "/api/v1/audit", ""},
	} {
		a := h.ask(q[0], q[1], opsToken, q[2])
		if message, _ := a.json(t)["message"].(string); a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(message, "store") {
			t.Errorf("%s %s: found %d %s; want 503, when to come back, and that it is the store", q[0], q[1], a.status, a.body)
		}
	}
	if a := h.ask("POST", "/api/v1/hooks", opsToken, `{}`, "Idempotency-Key", "k"); a.status != 503 {
		t.Errorf("with a key: found %d %s; want 503", a.status, a.body)
	}
}

func TestWithoutAStoreNothingIsChanged(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.Store = nil })
	h.want(200, "GET", "/api/v1/hooks", opsToken, "", "Client", "filed")
	for _, q := range [][3]string{
		{"POST", "/api/v1/tokens", `{"name":"x","scopes":["read"]}`},
		{"POST", "/api/v1/projects", `{"id":"new","default_schema":"1","schemas":[{"id":"1","steps":[{"hangup":"busy"}]}]}`},
		{"GET", "/api/v1/backup", ""}, {"GET", "/api/v1/tokens", ""}, {"GET", "/api/v1/deliveries", ""},
	} {
		a := h.ask(q[0], q[1], opsToken, q[2], "Client", "filed")
		if message, _ := a.json(t)["message"].(string); a.status != 503 || !strings.Contains(message, "store") {
			t.Errorf("%s %s: found %d %s; want 503, and that there is no store", q[0], q[1], a.status, a.body)
		}
	}
}

func TestAnErrorHasItsStatus(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("project 1: %w", store.ErrNotFound), 404},
		{fmt.Errorf("project 1: %w", store.ErrConflict), 412},
		{fmt.Errorf("project 1: %w: refused", store.ErrUnavailable), 503},
		{fmt.Errorf("project 1: %w", store.ErrFull), 507},
		{context.DeadlineExceeded, 503},
		{schema.Faults{{Key: "url", Found: "nothing", Want: "a URL"}}, 422},
		{schema.Faults{{Key: "document", Found: "text", Want: "a JSON object"}}, 400},
		{errors.New("what nobody thought of"), 500},
	} {
		f := refusalOf(tc.err)
		if f.status != tc.status || f.message == "" || strings.Contains(f.message, "nobody thought of") {
			t.Errorf("%v: found %d %q; want %d", tc.err, f.status, f.message, tc.status)
		}
		if (f.status == 503) != (f.retryAfter > 0) {
			t.Errorf("%v: found Retry-After %d", tc.err, f.retryAfter)
		}
	}
}

func TestTheConsoleHasAllThatIsNotTheAPIs(t *testing.T) {
	h := newHouse(t, func(o *Options) {
		o.Console = func(http *fasthttp.RequestCtx) { http.SetBodyString("console " + string(http.Path())) }
	})
	for path, want := range map[string]string{"/": "console /", "/app.js": "console /app.js", "/apiary": "console /apiary"} {
		if a := h.want(200, "GET", path, "", ""); a.body != want {
			t.Errorf("%s: found %q; want %q", path, a.body, want)
		}
	}
	h.want(401, "GET", "/api", "", "")
	h.want(401, "GET", "/api/", "", "")
	h.want(401, "GET", "/api/v1/none", "", "")
}

func TestAPanicIsAnsweredAndTheServerGoesOn(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.Router = breakers(func(string, string, string) bool { panic("broken") }) })
	a := h.want(500, "POST", "/api/v1/hooks/crm/breaker", opsToken, `{"state":"open"}`)
	if strings.Contains(a.body, "broken") {
		t.Errorf("found %s; want nothing of the insides", a.body)
	}
	h.want(200, "GET", "/api/v1/hooks", opsToken, "")
}
