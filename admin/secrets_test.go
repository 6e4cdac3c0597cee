package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"hookswitch/schema"
)

// secretive is a project with a secret in every place for one; MARK stands before each.
const secretive = `{
	"id": "secretive", "default_schema": "1", "allow_private_hooks": true,
	"schemas": [{"id": "1", "steps": [{"dial": ["380440000001"]}]}],
	"hooks": [
		{"id": "a", "url": "https://crm.example/", "headers": {"X-Key": "MARK-header"}, "auth": {"bearer": "MARK-bearer"}, "sign": "MARK-sign-of-the-hook-in-full", "sign_next": "MARK-sign-next-of-the-hook"},
		{"id": "b", "url": "https://crm.example/", "auth": {"basic": {"user": "u", "password": "MARK-password"}}}
	],
	"webhooks": [
		{"url": "https://crm.example/", "event": "create", "headers": [{"name": "X-Key", "value": "MARK-webhook-header"}], "auth": {"bearer": "MARK-webhook-bearer"}, "sign": "MARK-webhook-sign-in-full", "sign_next": "MARK-webhook-sign-next"},
		{"url": "https://crm.example/", "event": "answer", "auth": {"basic": {"user": "u", "password": "MARK-webhook-password"}}}
	],
	"incoming": [{"id": "x", "key": "phone", "token": "MARK-link-token-0001", "token_next": "MARK-link-token-0002"}]
}`

// marks are the secrets of the project above, and the hashes by which its links are kept.
func marks(t *testing.T) []string {
	t.Helper()
	list := []string{"MARK", opsToken, ownToken, eyeToken}
	for _, token := range []string{"MARK-link-token-0001", "MARK-link-token-0002"} {
		sum := sha256.Sum256([]byte(token))
		list = append(list, hex.EncodeToString(sum[:]))
	}
	return list
}

func TestNoAnswerShowsASecret(t *testing.T) {
	h := newHouse(t)
	about := []string{"Client", "secretive"}
	var answers []answer
	ask := func(method, path, body string) answer {
		t.Helper()
		a := h.ask(method, path, opsToken, body, about...)
		answers = append(answers, a)
		return a
	}
	if a := ask("POST", "/api/v1/projects", secretive); a.status != 201 {
		t.Fatalf("found %d %s; want 201", a.status, a.body)
	}
	everything := []string{
		"/api/v1/projects", "/api/v1/projects/secretive", "/api/v1/hooks", "/api/v1/hooks/a", "/api/v1/hooks/b", "/api/v1/webhooks", "/api/v1/webhooks/1",
		"/api/v1/incoming", "/api/v1/incoming/x", "/api/v1/tokens", "/api/v1/me", "/api/v1/audit", "/api/v1/audit?project=secretive",
	}
	look := func() {
		for _, path := range everything {
			ask("GET", path, "")
		}
		for _, p := range h.plane.Current().Projects {
			if p.ID == "secretive" {
				for i := range p.Webhooks {
					ask("GET", "/api/v1/webhooks/"+webhooks.id(&p.Webhooks[i]), "")
				}
			}
		}
	}
	look()
	// Changed, refused and sent back, with the secrets in the request.
	ask("PUT", "/api/v1/hooks/a", `{"url":"https://crm.example/2","headers":{"X-Key":"MARK-2"},"sign":"MARK-2-sign-of-the-hook-in-full"}`)
	ask("PUT", "/api/v1/incoming/x", `{"key":"phone","token":"MARK-link-token-0003"}`)
	ask("PUT", "/api/v1/hooks/a", `{"url":"MARK not shown either","headers":{"X-Key":"MARK\n"},"sign":"file:MARK"}`)
	ask("PUT", "/api/v1/hooks/a", `{"url":"https://u:MARK@crm.example/"}`)
	ask("PUT", "/api/v1/incoming/x", `{"key":"phone","token":"MARK"}`)
	ask("PUT", "/api/v1/projects/secretive", secretive)
	look()
	shown := 0
	for i := range answers { // to a token that may set it, as documented
		answers[i].body = strings.Replace(answers[i].body, `"value":"MARK-webhook-header"`, `"value":"shown"`, 1)
		shown += strings.Count(answers[i].body, `"value":"shown"`)
	}
	if shown != 2 {
		t.Errorf("found the webhook's header shown %d times; want it where that webhook was read", shown)
	}
	if len(answers) < 2*len(everything) {
		t.Fatalf("found %d answers; want all of them", len(answers))
	}
	for _, a := range answers {
		for _, mark := range marks(t) {
			text := a.body + strings.Join(a.header.Values("Location"), "")
			// A URL's fault shows the URL, which is no secret; one with a password in it does not.
			if strings.Contains(strings.ReplaceAll(text, "MARK not shown either", ""), mark) {
				t.Errorf("found %q in %d %s", mark, a.status, a.body)
			}
		}
	}
}

func TestWhatIsSentBackAsItWasReadKeepsItsSecrets(t *testing.T) {
	h := newHouse(t)
	h.want(201, "POST", "/api/v1/projects", opsToken, secretive)
	current := func() *schema.Project {
		for _, p := range h.plane.Current().Projects {
			if p.ID == "secretive" {
				return p
			}
		}
		t.Fatal("the project is gone")
		return nil
	}
	before := *current()
	paths := []string{"/api/v1/projects/secretive", "/api/v1/hooks/a", "/api/v1/hooks/b", "/api/v1/incoming/x"}
	for i := range before.Webhooks {
		paths = append(paths, "/api/v1/webhooks/"+webhooks.id(&before.Webhooks[i]))
	}
	for _, path := range paths {
		read := h.want(200, "GET", path, opsToken, "", "Client", "secretive")
		h.want(200, "PUT", path, opsToken, read.body, "Client", "secretive")
		after := *current()
		after.Version = before.Version
		if !reflect.DeepEqual(after, before) {
			t.Errorf("%s: found another project after it was sent back as it was read:\n%+v\nwant\n%+v", path, after, before)
		}
	}
	// A setting of the project is changed without its lists.
	h.want(200, "PUT", "/api/v1/projects/secretive", opsToken, `{"name":"New","default_schema":"1","allow_private_hooks":true}`)
	after := *current()
	if after.Name != "New" {
		t.Errorf("found the name %q; want New", after.Name)
	}
	after.Name, after.Version = before.Name, before.Version
	if !reflect.DeepEqual(after, before) {
		t.Errorf("found more changed than the name:\n%+v\nwant\n%+v", after, before)
	}
}

func TestWhatLeadsElsewhereNeedsItsSecretsAgain(t *testing.T) {
	h := newHouse(t)
	h.want(201, "POST", "/api/v1/projects", opsToken, secretive)
	about := []string{"Client", "secretive"}
	read := h.want(200, "GET", "/api/v1/hooks/a", opsToken, "", about...).body
	moved := strings.Replace(read, "https://crm.example/", "https://evil.example/", 1)
	a := h.want(422, "PUT", "/api/v1/hooks/a", opsToken, moved, about...)
	for _, field := range []string{"headers.X-Key", "auth.bearer", "sign", "sign_next"} {
		if a.fields(t)[field] == nil {
			t.Errorf("found %s; want to be asked for %s", a.body, field)
		}
	}
	h.want(200, "PUT", "/api/v1/hooks/a", opsToken, strings.ReplaceAll(moved, `"***"`, `"one-that-is-known"`), about...)
	whole := h.want(200, "GET", "/api/v1/projects/secretive", opsToken, "").body
	a = h.want(422, "PUT", "/api/v1/projects/secretive", opsToken, strings.ReplaceAll(whole, "https://crm.example/", "http://crm.example/"))
	if a.fields(t)["webhooks[0].sign"] == nil || a.fields(t)["hooks[0].sign"] != nil {
		t.Errorf("found %s; want to be asked for the secrets of what leads elsewhere alone", a.body)
	}
}
