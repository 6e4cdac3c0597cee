package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"hookswitch/schema"
)

const (
	linkKey  = "3019b0ea-eb2a-40bf-aedb-4784d6879327" // the source document's own
	linkKey2 = "another-token-of-the-same-link"
)

// kept is a Rememberer that shows what it was given, or fails.
type kept struct {
	mu     sync.Mutex
	calls  int
	last   string // project caller ttl values
	failed error
}

func (k *kept) Remember(ctx context.Context, project, caller string, values []byte, ttl time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("no deadline was given")
	}
	k.calls++
	k.last = fmt.Sprintf("%s %s %s %s", project, caller, ttl, values)
	return k.failed
}

// projects reads a configuration with these links of project 1001.
func projects(t testing.TB, links string) []*schema.Project {
	t.Helper()
	c, err := schema.Load("test.yaml", []byte(`
projects:
  - id: "1001"
    default_schema: "1"
    destinations: {region: UA}
    schemas: [{id: "1", name: Operators, steps: [{dial: ["380440000001"]}]}]
    hooks: [{id: crm, url: "https://crm.example/route"}]
    incoming:
`+links), schema.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Projects
}

// startLinks serves these links.
func startLinks(t *testing.T, links string, adjust ...func(*Options)) (*site, *kept) {
	t.Helper()
	k := &kept{}
	s := start(t, append([]func(*Options){func(o *Options) { o.Remember = k }}, adjust...)...)
	if err := s.ApplyIncoming(projects(t, links)); err != nil {
		t.Fatal(err)
	}
	return s, k
}

const chatLink = `
      - {id: chat, token: ` + linkKey + `, token_next: ` + linkKey2 + `, fields: [chat_id, id, template_id], key: chat_id, keep: 24h}
      - {id: body, token: body-only-0123456789, key: chat_id, max_body_bytes: 4096}
      - {id: nested, token: nested-0123456789, key: "client.phone"}
`

func TestWhatComesThroughALinkIsKept(t *testing.T) {
	const wide = "%2B380%20(50)%20111-22-33"
	for _, c := range []struct {
		name, method, path, contentType, body string
		want, answer                          string // what was kept, and the answer
	}{
		{"the documented link, its placeholders filled in", "GET",
			"/api/request/?token=" + linkKey + "&chat_id=79991112233&id=17&template_id=19798", "", "",
			`1001 79991112233 24h0m0s {"chat_id":"79991112233","id":"17","template_id":"19798"}`, `{"success":true}`},
		{"the other documented path", "GET", "/get/?token=" + linkKey + "&chat_id=79991112233", "", "",
			`1001 79991112233 24h0m0s {"chat_id":"79991112233"}`, `{"success":true}`},
		{"the token in the path", "GET", "/in/" + linkKey + "?chat_id=79991112233&id=", "", "",
			`1001 79991112233 24h0m0s {"chat_id":"79991112233","id":""}`, `{"success":true}`},
		{"the second token while it is rotated", "GET", "/in/" + linkKey2 + "?chat_id=79991112233", "", "",
			`1001 79991112233 24h0m0s {"chat_id":"79991112233"}`, `{"success":true}`},
		{"the body wins over the documented link's empty placeholders", "POST",
			"/api/request/?token=" + linkKey + "&chat_id=&id=5&template_id=19798", "application/json", `{"chat_id":"79991112233","extra":[1,2]}`,
			`1001 79991112233 24h0m0s {"chat_id":"79991112233","id":"5","template_id":"19798","extra":[1,2]}`, `{"success":true}`},
		{"the documented body, of a link that has only the token", "POST", "/api/request/?token=body-only-0123456789", "application/json",
			`{"Email1":"v@gmail.com","name_client":"test","chat_id":"89999999999","tranid":"test","formid":"formtest","utm_source":"google","utm_medium":"cpc","utm_campaign":"promo"}`,
			`1001 89999999999 24h0m0s {"Email1":"v@gmail.com","name_client":"test","chat_id":"89999999999","tranid":"test","formid":"formtest","utm_source":"google","utm_medium":"cpc","utm_campaign":"promo"}`, `{"success":true}`},
		{"the documented nested parameters", "POST", "/in/body-only-0123456789", "application/json",
			`{"chat_id": 380501112233, "payment": {"name": "Вася", "Email1": "v@gmail.com"}}`,
			`1001 380501112233 24h0m0s {"chat_id":380501112233,"payment":{"name": "Вася", "Email1": "v@gmail.com"}}`, `{"success":true}`},
		{"the documented list", "POST", "/in/body-only-0123456789", "application/json",
			`{"chat_id":"380501112233","payment":[{"name":"Вася","email1":"v@mail.ru"},{"name":"Петя","email1":"p@yandex.ru"}]}`,
			`1001 380501112233 24h0m0s {"chat_id":"380501112233","payment":[{"name":"Вася","email1":"v@mail.ru"},{"name":"Петя","email1":"p@yandex.ru"}]}`, `{"success":true}`},
		{"a key inside a value", "POST", "/in/nested-0123456789", "application/json", `{"client":{"phone":"` + "+380 50 111 22 33" + `"}}`,
			`1001 380501112233 24h0m0s {"client":{"phone":"+380 50 111 22 33"}}`, `{"success":true}`},
		{"a number as people write it is the same caller", "GET", "/in/" + linkKey + "?chat_id=" + wide, "", "",
			`1001 380501112233 24h0m0s {"chat_id":"+380 (50) 111-22-33"}`, `{"success":true}`},
		{"a national number is the project's country's", "GET", "/in/" + linkKey + "?chat_id=0501112233", "", "",
			`1001 380501112233 24h0m0s {"chat_id":"0501112233"}`, `{"success":true}`},
		{"a form's fields need no declaration", "POST", "/in/body-only-0123456789", "application/x-www-form-urlencoded", "chat_id=380501112233&Name=A+B%21",
			`1001 380501112233 24h0m0s {"chat_id":"380501112233","Name":"A B!"}`, `{"success":true}`},
		{"what the query has beyond the declared is passed over, and named", "GET", "/in/" + linkKey + "?chat_id=380501112233&utm=x&source=y&utm=z", "", "",
			`1001 380501112233 24h0m0s {"chat_id":"380501112233"}`, `{"success":true,"ignored":["utm","source","utm"]}`},
		{"null says nothing, the last of a name counts", "POST", "/in/body-only-0123456789", "application/json", `{"chat_id":"1","a":null,"chat_id":"380501112233"}`,
			`1001 380501112233 24h0m0s {"chat_id":"380501112233"}`, `{"success":true}`},
		{"a byte order mark", "POST", "/in/body-only-0123456789", "application/json", "\ufeff" + `{"chat_id":"380501112233"}`,
			`1001 380501112233 24h0m0s {"chat_id":"380501112233"}`, `{"success":true}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, k := startLinks(t, chatLink)
			answer, body := s.do(t, c.method, c.path, c.body, "Content-Type: "+c.contentType)
			if answer.StatusCode != 200 || strings.TrimSpace(body) != c.answer {
				t.Errorf("answered %d %s; want %s", answer.StatusCode, body, c.answer)
			}
			if k.last != c.want {
				t.Errorf("\nkept %s\nwant %s", k.last, c.want)
			}
			_, values, _ := strings.Cut(k.last, "{")
			if !json.Valid([]byte("{" + values)) {
				t.Errorf("kept what is no JSON: %s", k.last)
			}
		})
	}
}

func TestWhatALinkRefuses(t *testing.T) {
	deep := `{"chat_id":"380501112233","a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`
	many := `{"chat_id":"380501112233"`
	for i := range maxLinkValues {
		many += fmt.Sprintf(`,"n%d":1`, i)
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, field, message     string
	}{
		{"a token that no link has", "GET", "/in/nobodys", "", 404, "not_found", "", "no such link"},
		{"no token", "GET", "/api/request/", "", 404, "not_found", "", "no such link"},
		{"an empty token", "GET", "/in/", "", 404, "not_found", "", "no such link"},
		{"another method", "PUT", "/in/" + linkKey, "", 405, "method_not_allowed", "", "GET, POST"},
		{"a missing key", "GET", "/in/" + linkKey + "?id=5", "", 422, "unprocessable", "chat_id", "missing"},
		{"an empty key", "GET", "/in/" + linkKey + "?chat_id=", "", 422, "unprocessable", "chat_id", "missing"},
		{"a key that is no number", "GET", "/in/" + linkKey + "?chat_id=no+number", "", 422, "unprocessable", "chat_id", "international form"},
		{"a withheld number", "GET", "/in/" + linkKey + "?chat_id=anonymous", "", 422, "unprocessable", "chat_id", "international form"},
		{"a name of the catalogue", "POST", "/in/body-only-0123456789", `{"chat_id":"380501112233","caller":"1"}`, 422, "unprocessable", "caller", "such as caller1"},
		{"a control parameter", "POST", "/in/body-only-0123456789", `{"chat_id":"380501112233","schema":"1"}`, 422, "unprocessable", "schema", "another"},
		{"the decision's own names", "POST", "/in/body-only-0123456789", `{"chat_id":"380501112233","dst_phone":"1"}`, 422, "unprocessable", "dst_phone", "another"},
		{"a token in the body", "POST", "/in/body-only-0123456789", `{"chat_id":"380501112233","token":"x"}`, 422, "unprocessable", "token", "another"},
		{"a name that is too long", "POST", "/in/body-only-0123456789", `{"chat_id":"1","` + strings.Repeat("n", 129) + `":1}`, 422, "unprocessable", strings.Repeat("n", 128) + "…", "at most 128"},
		{"too many values", "POST", "/in/body-only-0123456789", many + "}", 422, "unprocessable", "n199", "at most 200"},
		{"values nested too deep", "POST", "/in/body-only-0123456789", deep, 422, "unprocessable", "", "deeper than 64"},
		{"a list", "POST", "/in/body-only-0123456789", `["chat_id"]`, 400, "bad_request", "", "not a JSON object"},
		{"the documented body's typographic quotes", "POST", "/in/body-only-0123456789", "{\n\n“Email1”: “…@gmail.com”", 400, "bad_request", "", "line 3, column 1: found the typographic quote “; want the plain one"},
		{"the documented body's trailing comma", "POST", "/in/body-only-0123456789", `{"payment":{"name":"В","Email1":"…@gmail.com",}}`, 400, "bad_request", "", "line 1, column 47: found '}'; want a value before it, and no comma"},
		{"the documented list's missing commas", "POST", "/in/body-only-0123456789", `{"payment":[{"name":"В" "email1":"v"}]}`, 400, "bad_request", "", `line 1, column 25: found '"'; want a comma`},
		{"a body that ends too soon", "POST", "/in/body-only-0123456789", `{"chat_id":"3805`, 400, "bad_request", "", "it ends too soon"},
		{"a body larger than the link's limit", "POST", "/in/body-only-0123456789", `{"a":"` + strings.Repeat("x", 4096) + `"}`, 413, "too_large", "", "4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, k := startLinks(t, chatLink)
			answer, body := s.do(t, c.method, c.path, c.body, "Content-Type: application/json")
			code, field := errorOf(t, body)
			if answer.StatusCode != c.status || code != c.code || field != c.field || !strings.Contains(body, strings.ReplaceAll(c.message, `"`, `\"`)) {
				t.Errorf("answered %d %s\nwant %d %s, field %q, message with %q", answer.StatusCode, body, c.status, c.code, c.field, c.message)
			}
			if k.calls > 0 {
				t.Errorf("kept %s", k.last)
			}
		})
	}
}

func TestALinkTellsWhenNothingIsKept(t *testing.T) {
	for _, c := range []struct {
		failed error
		status int
		retry  string
	}{
		{errors.New("the store is down"), 503, "5"},
		{fmt.Errorf("wrapped: %w", schema.ErrNoSpace), 507, ""},
		{fmt.Errorf("wrapped: %w", schema.ErrTooMuch), 413, ""},
	} {
		core, logged := observer.New(zap.DebugLevel)
		s, k := startLinks(t, chatLink, func(o *Options) { o.Log = zap.New(core) })
		k.failed = c.failed
		answer, body := s.do(t, "GET", "/in/"+linkKey+"?chat_id=380501112233", "")
		if answer.StatusCode != c.status || answer.Header.Get("Retry-After") != c.retry {
			t.Errorf("%v: %d, Retry-After %q; want %d, %q", c.failed, answer.StatusCode, answer.Header.Get("Retry-After"), c.status, c.retry)
		}
		errorOf(t, body)
		for _, line := range logged.All() {
			if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, linkKey) || strings.Contains(text, "380501112233") {
				t.Errorf("the log has the token or the number: %s", text)
			}
		}
	}
	s, _ := startLinks(t, chatLink, func(o *Options) { o.Remember = nil })
	if answer, _ := s.do(t, "GET", "/in/"+linkKey+"?chat_id=380501112233", ""); answer.StatusCode != 503 {
		t.Errorf("without a store: %d; want 503", answer.StatusCode)
	}
}

func TestALinkHasARateOfItsOwn(t *testing.T) {
	registry := prometheus.NewRegistry()
	links := strings.ReplaceAll(chatLink, "keep: 24h}", "keep: 24h, rate: 2}")
	s, k := startLinks(t, links, func(o *Options) { o.Registerer, o.Gatherer = registry, registry })
	var statuses []int
	for range 3 { // at noon, all of them
		answer, _ := s.do(t, "GET", "/in/"+linkKey+"?chat_id=380501112233", "")
		statuses = append(statuses, answer.StatusCode)
		if answer.StatusCode == 429 && answer.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After %q; want 1", answer.Header.Get("Retry-After"))
		}
	}
	if !reflect.DeepEqual(statuses, []int{200, 200, 429}) || k.calls != 2 {
		t.Errorf("got %v with %d kept; want 200, 200, 429", statuses, k.calls)
	}
	if answer, _ := s.do(t, "POST", "/in/body-only-0123456789", `{"chat_id":"380501112233"}`); answer.StatusCode != 200 {
		t.Errorf("another link was limited too: %d", answer.StatusCode)
	}
	if err := s.ApplyIncoming(projects(t, links)); err != nil {
		t.Fatal(err)
	}
	if answer, _ := s.do(t, "GET", "/in/"+linkKey2+"?chat_id=380501112233", ""); answer.StatusCode != 429 {
		t.Errorf("a reload, or the other token, gave the link a fresh start: %d", answer.StatusCode)
	}
	_, body := s.do(t, "GET", "/metrics", "")
	for _, line := range []string{
		`hookswitch_incoming_requests_total{link="chat",project="1001",result="ok"} 2`,
		`hookswitch_incoming_requests_total{link="chat",project="1001",result="limited"} 2`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if strings.Contains(body, linkKey) {
		t.Error("/metrics has the token")
	}
	if err := s.ApplyIncoming(nil); err != nil {
		t.Fatal(err)
	}
	if _, body := s.do(t, "GET", "/metrics", ""); strings.Contains(body, `link="chat"`) {
		t.Error("/metrics still has a link that is gone")
	}
}

func TestABucketFillsAtItsRate(t *testing.T) {
	b, at := &bucket{}, noon
	for _, c := range []struct {
		after time.Duration
		want  time.Duration
	}{{0, 0}, {0, 2 * time.Second}, {time.Second, time.Second}, {time.Second, 0}, {time.Hour, 0}, {0, 2 * time.Second}, {-time.Hour, 2 * time.Second}} {
		at = at.Add(c.after)
		if got := b.take(at, 0.5); got != c.want {
			t.Errorf("at %s: wait %s; want %s", at.Sub(noon), got, c.want)
		}
	}
}

func TestLinksAreSwappedAllOrNone(t *testing.T) {
	s, _ := startLinks(t, chatLink)
	fresh := projects(t, "      - {id: fresh, token: fresh-0123456789ab, key: chat_id}\n")
	if err := s.ApplyIncoming(fresh); err != nil {
		t.Fatal(err)
	}
	if answer, _ := s.do(t, "GET", "/in/"+linkKey+"?chat_id=380501112233", ""); answer.StatusCode != 404 {
		t.Errorf("a token that is revoked: %d; want 404", answer.StatusCode)
	}
	twice := append(projects(t, "      - {id: other, token: fresh-0123456789ab, key: chat_id}\n"), fresh...)
	err := s.ApplyIncoming(twice)
	if err == nil || strings.Contains(err.Error(), "fresh-0123456789ab") {
		t.Errorf("two links with one token: %v; want an error without the token", err)
	}
	if answer, _ := s.do(t, "POST", "/in/fresh-0123456789ab", `{"chat_id":"380501112233"}`); answer.StatusCode != 200 {
		t.Errorf("after a refused swap: %d; want 200", answer.StatusCode)
	}
}

const routeLinks = `
      - {id: ask, token: ask-0123456789abcd, fields: [phone, did, who], key: phone,
         route: {caller: "{{phone}}", callee: "{{did}}"}}
      - {id: hook, token: hook-0123456789abc, route: {hook: crm, caller: "{{client.phone}}"}}
      - {id: json, token: json-0123456789abc, fields: [phone, who], route: {caller: "{{phone}}", schema: "1"},
         response: '{"to":"{{dst_phone}}","from":"{{source}}","why":"{{reason}}","by":"{{schema}}","id":"{{decision_id}}","who":"{{who}}"}'}
      - {id: xml, token: xml-0123456789abcd, fields: [who], route: {schema: "1"}, response_type: text/xml,
         response: "<go to='{{dst_phone}}' who='{{who}}'/>"}
      - {id: form, token: form-0123456789abc, fields: [who], route: {schema: "1"}, response_type: application/x-www-form-urlencoded,
         response: "to={{dst_phone}}&who={{who}}"}
      - {id: plain, token: plain-0123456789ab, fields: [who, phone], key: phone, response_type: text/plain, response: "thanks, {{who}}{{dst_phone}}"}
`

func TestALinkMayAskForADecision(t *testing.T) {
	hostile := url.QueryEscape(`"'<&` + "\n+")
	for _, c := range []struct {
		name, path, body string
		asked            string // of the decision; empty for none
		contentType      string
		want             string
	}{
		{"the decision itself", "/in/ask-0123456789abcd?phone=%2B380501112233&did=380442223344&who=me", "",
			"1001 +380501112233>380442223344 hook= schema= who=me", "application/json",
			`{"decision_id":"01JNAVMH0000000000000000AA","callid":"","project":"1001","source":"hook","reason":"ok","schema":null,"dst_phone":"380441111111","steps":[{"dial":["380441111111"],"strategy":"all","timeout_s":90}],"hook":"crm","elapsed_ms":4.2}`},
		{"by a hook, with a nested value", "/in/hook-0123456789abc", `{"client":{"phone":"380501112233"},"who":"me"}`,
			"1001 380501112233> hook=crm schema= who=me", "application/json", `"dst_phone":"380441111111"`},
		{"values in JSON strings", "/in/json-0123456789abc?phone=1&who=" + hostile, "",
			"1001 1> hook= schema=1 who=\"'<&\n+", "application/json",
			`{"to":"380441111111","from":"hook","why":"ok","by":"","id":"01JNAVMH0000000000000000AA","who":"\"'<&\n+"}`},
		{"values in XML", "/in/xml-0123456789abcd?who=" + hostile, "",
			"1001 > hook= schema=1 who=\"'<&\n+", "text/xml", `<go to='380441111111' who='&quot;&#39;&lt;&amp;+'/>`},
		{"values in a form", "/in/form-0123456789abc?who=" + hostile, "",
			"1001 > hook= schema=1 who=\"'<&\n+", "application/x-www-form-urlencoded", "to=380441111111&who=%22%27%3C%26%0A%2B"},
		{"a response without a decision", "/in/plain-0123456789ab?phone=380501112233&who=%3Cb%3E", "", "", "text/plain", "thanks, <b>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := ""
			s, _ := startLinks(t, routeLinks, func(o *Options) {
				o.Decide = decideFunc(func(call *schema.Call, d *schema.Decision) {
					who, _ := call.CustomValue("who")
					asked = fmt.Sprintf("%s %s>%s hook=%s schema=%s who=%s", call.Project, call.Caller(), call.Callee(), call.Hook, call.Schema, who)
					if !call.Inquiry || call.Deadline.Sub(call.At) != 10*time.Second {
						t.Errorf("inquiry %v, deadline after %s; want an inquiry with the budget's", call.Inquiry, call.Deadline.Sub(call.At))
					}
					decideOK(call, d)
				})
			})
			method := "GET"
			if c.body != "" {
				method = "POST"
			}
			answer, body := s.do(t, method, c.path, c.body, "Content-Type: application/json")
			if answer.StatusCode != 200 || !strings.Contains(body, c.want) || answer.Header.Get("Content-Type") != c.contentType {
				t.Errorf("answered %d %s %s\nwant %s", answer.StatusCode, answer.Header.Get("Content-Type"), body, c.want)
			}
			if asked != c.asked {
				t.Errorf("decided %q; want %q", asked, c.asked)
			}
		})
	}
}

func TestALinksDecisionThatCannotBeMade(t *testing.T) {
	s, _ := startLinks(t, routeLinks, func(o *Options) {
		o.Decide = decideFunc(func(_ *schema.Call, d *schema.Decision) { d.NotFound = true })
	})
	for path, want := range map[string]int{
		"/in/ask-0123456789abcd?phone=380501112233":                  422, // no callee
		"/in/ask-0123456789abcd?phone=380501112233&did=380442223344": 404,
		"/in/ask-0123456789abcd?phone=380501112233&did=%00":          422,
		"/in/json-0123456789abc?who=1":                               404,
	} {
		answer, body := s.do(t, "GET", path, "")
		if answer.StatusCode != want {
			t.Errorf("%s: %d %s; want %d", path, answer.StatusCode, body, want)
		}
		errorOf(t, body)
	}
}

func TestALinkNeedsNoTokenOfTheDoor(t *testing.T) {
	s, _ := startLinks(t, chatLink, func(o *Options) {
		o.Settings.Tokens, o.Settings.AllowFrom = []schema.Secret{schema.NewSecret("door")}, []string{"192.0.2.0/24"}
	})
	if answer, _ := s.do(t, "GET", "/in/"+linkKey+"?chat_id=380501112233", ""); answer.StatusCode != 200 {
		t.Errorf("through the link: %d; want 200", answer.StatusCode)
	}
	if answer, _ := s.do(t, "GET", "/v1/route?callee=1", ""); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a lookup from outside: %d; want 403", answer.StatusCode)
	}
}

// The documented tags find the documented values, when they stand in a hook's request.
func TestTheDocumentedTagsFindTheirValues(t *testing.T) {
	for file, tags := range map[string]map[string]string{
		"email.json":  {"Email1": "…@gmail.com", "name_client": "test", "utm_campaign": "promo"},
		"nested.json": {"payment.name": "Вася", "payment.Email1": "…@gmail.com"},
		"list.json":   {"payment[0].name": "Вася", "payment[1].name": "Петя", "payment[1].email1": "…@yandex.ru"},
	} {
		body, err := os.ReadFile(filepath.Join("testdata", "incoming", "valid", file))
		if err != nil {
			t.Fatal(err)
		}
		s, k := startLinks(t, chatLink)
		if answer, text := s.do(t, "POST", "/in/body-only-0123456789", string(body), "Content-Type: application/json"); answer.StatusCode != 200 {
			t.Fatalf("%s: %s", file, text)
		}
		_, values, _ := strings.Cut(k.last, "{")
		call := schema.Call{Variables: "{" + values}
		for name, want := range tags {
			if tag := schema.NamedTag(name); tag.Value(&call) != want {
				t.Errorf("%s: {{%s}} is %q; want %q", file, name, tag.Value(&call), want)
			}
		}
	}
}

func FuzzIncoming(f *testing.F) {
	files, _ := filepath.Glob("testdata/incoming/*/*")
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("token=x&chat_id=&id=5&template_id=19798", string(body))
	}
	f.Add("chat_id=%2B380&chat_id=1&source=x&%zz=%", `{"chat_id":"1","A":1.50,"b":{"c":[null]},"d":null,"\u0061":"\ud83d\ude00"}`)
	l := &link{conf: &schema.Incoming{MaxBody: 1 << 20}, declared: map[string]bool{"chat_id": true, "id": true, "a": true}}
	f.Fuzz(func(t *testing.T, query, body string) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.SetRequestURI("/in/x")
		ctx.URI().SetQueryString(query)
		ctx.Request.Header.SetContentType("application/json")
		ctx.Request.SetBodyString(body)
		var q question
		v, fault := readLink(&ctx, &q, l)
		if fault != nil {
			if codes[fault.code].status/100 != 4 || fault.message == "" {
				t.Errorf("refused with %+v", fault)
			}
			return
		}
		var found map[string]any
		if err := json.Unmarshal(v.appendObject(nil), &found); err != nil {
			t.Fatalf("kept %q, which is no JSON object: %v", v.appendObject(nil), err)
		}
		// The body, as encoding/json reads it, is there whole, and nothing else but declared fields.
		var sent map[string]any
		if strings.TrimSpace(body) != "" {
			if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "\ufeff")), &sent); err != nil {
				t.Fatalf("took a body that is none: %v", err)
			}
		}
		for name, value := range sent {
			if value != nil && name != "" && !reflect.DeepEqual(found[name], value) && !strings.Contains(body, "null") {
				// (Of a name that stands twice, once with null, encoding/json makes something else.)
				t.Errorf("%q: kept %#v; the body has %#v", name, found[name], value)
			}
		}
		for name := range found {
			value, inBody := sent[name]
			if !inBody && !l.declared[name] {
				t.Errorf("kept %q, which is neither in the body nor declared", name)
			}
			// What the body does not say is the query's, the last value of the name, as net/url reads it.
			pairs, err := url.ParseQuery(query)
			if inBody && value != nil || err != nil || !utf8.ValidString(strings.Join(pairs[name], "")) {
				continue
			}
			if in := pairs[name]; !strings.Contains(body, "null") && (len(in) == 0 || found[name] != in[len(in)-1]) {
				t.Errorf("%q: kept %#v; the query has %q", name, found[name], in)
			}
			if isOurs(name) {
				t.Errorf("kept %q, which is a name of ours", name)
			}
		}
	})
}
