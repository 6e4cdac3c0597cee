package admin

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// oneOfEach is a new one of every collection, and how it is changed.
var oneOfEach = []struct {
	name, id, made, changed, shows string
}{
	{"numbers", "380442223355", `{"number":"+380442223355","schema":"1"}`, `{"schema":"100","pool":"ads"}`, `{"number":"380442223355","schema":"100","pool":"ads"}`},
	{"schemas", "2", `{"id":"2","steps":[{"dial":["380440000002"]}]}`, `{"name":"Night","steps":[{"voicemail":"100"}]}`, `{"id":"2","name":"Night","steps":[{"voicemail":"100"}]}`},
	{"hooks", "erp", `{"id":"erp","url":"https://erp.example/"}`, `{"url":"https://erp.example/2","method":"POST","request_timeout":"500ms"}`, `{"id":"erp","url":"https://erp.example/2","method":"POST","request_timeout":"500ms","send":"http"}`},
	{"intakes", "asterisk", `{"format":"asterisk","rename":{"caller":"cid"}}`, `{"rename":{"caller":"num"}}`, `{"format":"asterisk","rename":{"caller":"num"}}`},
	{"incoming", "erp", `{"id":"erp","key":"phone"}`, `{"key":"tel","keep":"1h"}`, `{"id":"erp","key":"tel","keep":"1h","token":"***"}`},
}

func TestEveryCollectionIsMadeReadChangedAndEnded(t *testing.T) {
	h := newHouse(t)
	for _, tc := range oneOfEach {
		all, one := "/api/v1/"+tc.name, "/api/v1/"+tc.name+"/"+tc.id
		h.want(404, "GET", one, opsToken, "")
		before := h.want(200, "GET", all, opsToken, "").json(t)["total"].(float64)
		made := h.want(201, "POST", all, opsToken, tc.made)
		if place := made.header.Get("Location"); place != one {
			t.Errorf("%s: found Location %q; want %q", tc.name, place, one)
		}
		if made.json(t)["success"] != true {
			t.Errorf("%s: found %s; want success true", tc.name, made.body)
		}
		read := h.want(200, "GET", one, opsToken, "")
		if tag := read.header.Get("ETag"); tag == "" || tag != made.header.Get("ETag") {
			t.Errorf("%s: found ETag %q, made with %q; want them the same", tc.name, tag, made.header.Get("ETag"))
		}
		if total := h.want(200, "GET", all, opsToken, "").json(t)["total"]; total != before+1 {
			t.Errorf("%s: found %v in all; want one more than %v", tc.name, total, before)
		}
		if a := h.ask("POST", all, opsToken, tc.made); a.status != 422 || len(a.fields(t)) != 1 {
			t.Errorf("%s: made twice: found %d %s; want 422 for the id", tc.name, a.status, a.body)
		}
		// What was read can be sent back as it is.
		h.want(200, "PUT", one, opsToken, read.body)
		sameJSON(t, tc.name+" sent back", h.want(200, "GET", one, opsToken, "").body, read.body)

		sameJSON(t, tc.name, h.want(200, "PUT", one, opsToken, tc.changed).body, done)
		wantFields(t, tc.name+" changed", h.want(200, "GET", one, opsToken, ""), tc.shows)
		if a := h.ask("PUT", one, opsToken, strings.Replace(tc.made, tc.made[1:strings.Index(tc.made, ",")], tc.made[1:strings.Index(tc.made, ":")]+`:"other"`, 1)); a.status != 422 {
			t.Errorf("%s under another id: found %d %s; want 422", tc.name, a.status, a.body)
		}
		sameJSON(t, tc.name, h.want(200, "DELETE", one, opsToken, "").body, done)
		h.want(404, "GET", one, opsToken, "")
		h.want(404, "DELETE", one, opsToken, "")
		h.want(404, "PUT", one, opsToken, tc.changed)
	}
}

func TestAPartThatOthersReferToIsNotEnded(t *testing.T) {
	h := newHouse(t)
	for path, field := range map[string]string{
		"/api/v1/schemas/1": "default_schema",
		"/api/v1/hooks/crm": "schemas[1].steps[0].hook",
	} {
		before := h.state()
		a := h.ask("DELETE", path, opsToken, "")
		if a.status != 422 || a.fields(t)[field] == nil {
			t.Errorf("%s: found %d %s; want 422 that names %s", path, a.status, a.body, field)
		}
		if h.state() != before {
			t.Errorf("%s: found the store changed", path)
		}
	}
}

func TestEveryFaultOfAResourceIsNamedByItsField(t *testing.T) {
	h := newHouse(t)
	for _, tc := range []struct{ path, body, field string }{
		{"numbers", `{"number":"12","schema":"9"}`, "schema"},
		{"numbers", `{"number":"x","schema":"1"}`, "number"},
		{"numbers", `{"schema":"1"}`, "number"},
		{"numbers", `{"number":"380442223344","schema":"1"}`, "number"},
		{"numbers", `{"number":"380440000009","schema":"1"}`, "number"}, // another project's
		{"numbers", `{"number":"380442223355","schema":"1","replacement":"magic"}`, "replacement"},
		{"schemas", `{"id":"a b","steps":[{"dial":["380440000002"]}]}`, "id"},
		{"schemas", `{"id":"2"}`, "steps"},
		{"schemas", `{"id":"2","steps":[{"dial":["Error!"]}]}`, "steps[0].dial[0]"},
		{"schemas", `{"id":"2","steps":[{"hook":"none"}]}`, "steps[0].hook"},
		{"schemas", `{"id":"2","steps":[{"dial":["380440000002"],"timeout":30}]}`, "steps[0].timeout"},
		{"hooks", `{"id":"erp"}`, "url"},
		{"hooks", `{"id":"erp","url":"https://erp.example","method":"FETCH"}`, "method"},
		{"hooks", `{"id":"erp","url":"https://erp.example","verb":"GET"}`, "verb"},
		{"hooks", `{"id":"erp","url":"https://erp.example","on_failure":"9"}`, "on_failure"},
		{"hooks", `{"id":"erp","url":"https://erp.example","sign":"***"}`, "sign"},
		{"hooks", `{"id":"erp","url":"https://erp.example","headers":{"X-Key":"file:/etc/passwd"}}`, "headers.X-Key"},
		{"hooks", `{"id":"erp","url":"https://erp.example","breaker":{"failures":-1}}`, "breaker.failures"},
		{"intakes", `{"format":"morse","rename":{"caller":"x"}}`, "format"},
		{"intakes", `{"format":"plain","rename":{"colour":"x"}}`, "rename.colour"},
		{"incoming", `{"id":"x"}`, "key"},
		{"incoming", `{"id":"x","key":"phone","token":"short"}`, "token"},
		{"incoming", `{"id":"x","key":"phone","token":"a token with blanks"}`, "token"},
		{"incoming", `{"id":"x","key":"phone","token":"a-token-of-the-customer"}`, "token_sha256"},
		{"incoming", `{"id":"x","key":"phone","keep":"1 day"}`, "keep"},
	} {
		before := h.state()
		a := h.ask("POST", "/api/v1/"+tc.path, opsToken, tc.body)
		if a.status != 422 || a.fields(t)[tc.field] == nil || len(a.fields(t)) != 1 {
			t.Errorf("%s %s: found %d %s; want 422 for %s alone", tc.path, tc.body, a.status, a.body, tc.field)
		}
		if h.state() != before {
			t.Errorf("%s %s: found the store changed", tc.path, tc.body)
		}
	}
}

func TestWhatTheFileDeclaresIsNotChangedHereAndTheAnswerNamesTheFile(t *testing.T) {
	h := newHouse(t)
	for _, q := range [][3]string{
		{"POST", "/api/v1/numbers", `{"number":"380442223355","schema":"1"}`},
		{"PUT", "/api/v1/numbers/380440000009", `{"schema":"1"}`},
		{"DELETE", "/api/v1/numbers/380440000009", ""},
		{"POST", "/api/v1/webhooks", `{"url":"https://test.com","event":"create"}`},
		{"DELETE", "/api/v1/webhooks/1", ""},
		{"POST", "/api/v1/incoming/crm/rotate", ""},
		{"PUT", "/api/v1/projects/filed", `{"default_schema":"1"}`},
		{"DELETE", "/api/v1/projects/filed", ""},
		{"POST", "/api/v1/projects", `{"id":"filed","default_schema":"1","schemas":[{"id":"1","steps":[{"hangup":"busy"}]}]}`},
	} {
		before := h.state()
		a := h.ask(q[0], q[1], opsToken, q[2], "Client", "filed")
		if message, _ := a.json(t)["message"].(string); a.status != 409 || !strings.Contains(message, "hookswitch.yaml") {
			t.Errorf("%s %s: found %d %s; want 409 and the file's name", q[0], q[1], a.status, a.body)
		}
		if h.state() != before {
			t.Errorf("%s %s: found the store changed", q[0], q[1])
		}
	}
	h.want(200, "GET", "/api/v1/numbers/380440000009", opsToken, "", "Client", "filed")
}

func TestAListOfTenThousandIsSearchedAndTurnedPageByPage(t *testing.T) {
	h := newHouse(t)
	var b bytes.Buffer
	b.WriteString(`{"id":"many","default_schema":"1","schemas":[{"id":"1","steps":[{"hangup":"busy"}]}],"numbers":[`)
	for i := range 10_000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"number":"3805000%05d","schema":"1"}`, i)
	}
	b.WriteString(`]}`)
	h.want(201, "POST", "/api/v1/projects", opsToken, b.String())
	page := h.want(200, "GET", "/api/v1/numbers?per_page=100&page=100", opsToken, "", "Client", "many").json(t)
	data := page["data"].([]any)
	if page["total"] != 10_000.0 || page["last_page"] != 100.0 || page["from"] != 9901.0 || page["to"] != 10_000.0 || page["next_page_url"] != nil ||
		len(data) != 100 || data[99].(map[string]any)["number"] != "380500009999" {
		t.Errorf("the last page: found %v; want 9901 to 10000 of 10000", page)
	}
	page = h.want(200, "GET", "/api/v1/numbers?q=%2B38050000123", opsToken, "", "Client", "many").json(t)
	if page["total"] != 10.0 || page["next_page_url"] != nil {
		t.Errorf("a search: found %v; want the 10 numbers that hold 38050000123", page)
	}
}

func TestAPageIsTheDocumentedEnvelope(t *testing.T) {
	h := newHouse(t)
	url := h.url + "/api/v1/webhooks"
	for _, tc := range []struct{ query, want string }{
		{"", `{"current_page":1,"first_page_url":"URL?page=1","from":1,"last_page":1,"last_page_url":"URL?page=1","next_page_url":null,"path":"URL","per_page":15,"prev_page_url":null,"to":3,"total":3}`},
		{"?per_page=2", `{"current_page":1,"first_page_url":"URL?per_page=2&page=1","from":1,"last_page":2,"last_page_url":"URL?per_page=2&page=2","next_page_url":"URL?per_page=2&page=2","path":"URL","per_page":2,"prev_page_url":null,"to":2,"total":3}`},
		{"?per_page=2&page=2", `{"current_page":2,"first_page_url":"URL?per_page=2&page=1","from":3,"last_page":2,"last_page_url":"URL?per_page=2&page=2","next_page_url":null,"path":"URL","per_page":2,"prev_page_url":"URL?per_page=2&page=1","to":3,"total":3}`},
		{"?page=7", `{"current_page":7,"first_page_url":"URL?page=1","from":null,"last_page":1,"last_page_url":"URL?page=1","next_page_url":null,"path":"URL","per_page":15,"prev_page_url":"URL?page=6","to":null,"total":3}`},
		{"?type=none", `{"current_page":1,"first_page_url":"URL?type=none&page=1","from":null,"last_page":1,"last_page_url":"URL?type=none&page=1","next_page_url":null,"path":"URL","per_page":15,"prev_page_url":null,"to":null,"total":0}`},
		{"?q=a%20%26b", `{"current_page":1,"first_page_url":"URL?q=a+%26b&page=1","from":null,"last_page":1,"last_page_url":"URL?q=a+%26b&page=1","next_page_url":null,"path":"URL","per_page":15,"prev_page_url":null,"to":null,"total":0}`},
	} {
		a := h.want(200, "GET", "/api/v1/webhooks"+tc.query, opsToken, "")
		page := a.json(t)
		if _, ok := page["data"].([]any); !ok {
			t.Errorf("%s: found data %v; want an array", tc.query, page["data"])
		}
		delete(page, "data")
		sameJSON(t, tc.query, encode(t, page), strings.ReplaceAll(tc.want, "URL", url))
	}
	for query, field := range map[string]string{"?page=0": "page", "?page=x": "page", "?per_page=101": "per_page", "?per_page=0": "per_page", "?per_page=-1": "per_page"} {
		if a := h.ask("GET", "/api/v1/webhooks"+query, opsToken, ""); a.status != 422 || a.fields(t)[field] == nil {
			t.Errorf("%s: found %d %s; want 422 for %s", query, a.status, a.body, field)
		}
	}
}

func TestALinksTokenIsShownOnceAndRotated(t *testing.T) {
	h := newHouse(t)
	made := h.want(201, "POST", "/api/v1/incoming", opsToken, `{"key":"phone"}`)
	token, _ := made.json(t)["token"].(string)
	if len(token) != 43 || made.json(t)["path"] != "/in/"+token {
		t.Fatalf("found %s; want a token of 256 bits and its path", made.body)
	}
	place := made.header.Get("Location")
	opens := func(token string) bool {
		t.Helper()
		for _, p := range h.plane.Current().Projects {
			for i := range p.Incoming {
				for _, sum := range p.Incoming[i].TokenSums() {
					if p.ID == "10553" && place == "/api/v1/incoming/"+p.Incoming[i].ID && sum == sha(token) {
						return true
					}
				}
			}
		}
		return false
	}
	if !opens(token) {
		t.Error("the token does not open the link")
	}
	if a := h.ask("POST", place+"/rotate/finish", opsToken, ""); a.status != 409 {
		t.Errorf("finishing what was not begun: found %d %s; want 409", a.status, a.body)
	}
	second, _ := h.want(200, "POST", place+"/rotate", opsToken, "").json(t)["token"].(string)
	if !opens(token) || !opens(second) || second == token {
		t.Error("while it is rotated: want both tokens to open the link")
	}
	// A change of something else keeps both.
	h.want(200, "PUT", place, opsToken, h.want(200, "GET", place, opsToken, "").body)
	h.want(200, "PUT", place, opsToken, `{"key":"tel"}`)
	if !opens(token) || !opens(second) {
		t.Error("after a change of the link: want both tokens to open it")
	}
	h.want(200, "POST", place+"/rotate/finish", opsToken, "")
	if opens(token) || !opens(second) {
		t.Error("at the end: want the second token alone to open the link")
	}
	h.want(200, "PUT", place, opsToken, `{"key":"tel","token":"a-token-of-my-own-choosing"}`)
	if opens(second) || !opens("a-token-of-my-own-choosing") {
		t.Error("a token of the owner's choosing: want it alone to open the link")
	}
}

func TestABreakerIsForcedOfAHookThatThereIs(t *testing.T) {
	var forced []string
	h := newHouse(t, func(o *Options) {
		o.Router = breakers(func(project, hook, state string) bool {
			forced = append(forced, project+" "+hook+" "+state)
			return hook == "crm"
		})
	})
	h.want(200, "POST", "/api/v1/hooks/crm/breaker", opsToken, `{"state":"open"}`)
	h.want(404, "POST", "/api/v1/hooks/none/breaker", opsToken, `{"state":"auto"}`)
	if a := h.ask("POST", "/api/v1/hooks/crm/breaker", opsToken, `{"state":"ajar"}`); a.status != 422 || a.fields(t)["state"] == nil {
		t.Errorf("found %d %s; want 422 for state", a.status, a.body)
	}
	if got, want := fmt.Sprint(forced), "[10553 crm open 10553 none auto]"; got != want {
		t.Errorf("found %s; want %s", got, want)
	}
}

func TestWhatIsNoOperationIsRefusedAsHTTPHasIt(t *testing.T) {
	h := newHouse(t)
	for _, tc := range []struct {
		method, path, body string
		status             int
		header, value      string
	}{
		{"PATCH", "/api/v1/hooks", "", 405, "Allow", "GET, POST"},
		{"POST", "/api/v1/hooks/crm", "", 405, "Allow", "DELETE, GET, PUT"},
		{"GET", "/api/v1/none", "", 404, "", ""},
		{"GET", "/api/v2/hooks", "", 404, "", ""},
		{"GET", "/other", "", 404, "", ""},
		{"GET", "/api/v1/hooks", "", 200, "Cache-Control", "no-store"},
		{"POST", "/api/v1/hooks", "{", 400, "", ""},
		{"POST", "/api/v1/hooks", "", 400, "", ""},
		{"POST", "/api/v1/hooks", "[]", 400, "", ""},
		{"POST", "/api/v1/hooks", `{} {}`, 400, "", ""},
		{"POST", "/api/v1/tokens", `{"name":`, 400, "", ""},
		{"POST", "/api/v1/tokens", `"x"`, 400, "", ""},
		{"POST", "/api/v1/hooks", strings.Repeat(" ", maxBody+1), 413, "", ""},
	} {
		a := h.ask(tc.method, tc.path, opsToken, tc.body)
		if a.status != tc.status || tc.header != "" && a.header.Get(tc.header) != tc.value {
			t.Errorf("%s %s %.20q: found %d %s %q; want %d %s %q", tc.method, tc.path, tc.body, a.status, a.body, a.header.Get(tc.header), tc.status, tc.header, tc.value)
		}
		if v := a.json(t); a.status != 200 && (v["success"] != false || v["message"] == "") {
			t.Errorf("%s %s: found %s; want success false and a message", tc.method, tc.path, a.body)
		}
	}
}

func TestABodyIsReadOnceItsSenderIsKnown(t *testing.T) {
	h := newHouse(t)
	large := strings.Repeat(" ", maxProject)
	a, err := h.try("POST", "/api/v1/projects", "", large)
	if err != nil || a.status != http.StatusUnauthorized {
		t.Errorf("without a token: found %d, %v; want 401", a.status, err)
	}
}
