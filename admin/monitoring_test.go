package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

// curlRequest is one of the documented curl commands, taken apart.
type curlRequest struct {
	method, path string
	asQuery      bool // -G: what -d holds goes into the URL
	headers      [][2]string
	data         string
}

var (
	curlMethod = regexp.MustCompile(`-X (\w+)`)
	curlURL    = regexp.MustCompile(`"(https://[^"]+)"`)
	curlHeader = regexp.MustCompile(`-H "([^:]+): ([^"]*)"`)
	curlData   = regexp.MustCompile(`-d '([^']*)'`)
)

// documented reads the document's five curl commands, which are in testdata as they stand there.
func documented(t *testing.T) map[string]curlRequest {
	t.Helper()
	text, err := os.ReadFile("testdata/monitoring/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]curlRequest{}
	for command := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		u, err := url.Parse(curlURL.FindStringSubmatch(command)[1])
		if err != nil {
			t.Fatal(err)
		}
		q := curlRequest{method: curlMethod.FindStringSubmatch(command)[1], path: u.Path, asQuery: strings.Contains(command, "-G ")}
		for _, m := range curlHeader.FindAllStringSubmatch(command, -1) {
			q.headers = append(q.headers, [2]string{m[1], m[2]})
		}
		if m := curlData.FindStringSubmatch(command); m != nil {
			q.data = m[1]
		}
		all[q.method+" "+q.path] = q
	}
	if len(all) != 5 {
		t.Fatalf("found %d documented requests; want 5", len(all))
	}
	return all
}

// send writes the request as curl would, byte for byte; the host is the one in the document's answers.
func (q curlRequest) send(t *testing.T, h *house) answer {
	t.Helper()
	target, body := q.path, q.data
	if q.asQuery && body != "" {
		target, body = target+"?"+body, ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\n", q.method, target)
	for _, header := range q.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], strings.ReplaceAll(header[1], "{token}", opsToken))
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, b.String()+"\r\n"+body); err != nil {
		t.Fatal(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{a.StatusCode, a.Header, string(text)}
}

func documentedAnswer(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/monitoring/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const done = `{"success": true}`

func TestTheDocumentedListIsAnsweredAsDocumented(t *testing.T) {
	h, q := newHouse(t), documented(t)["GET /api/v1/webhooks"]
	h.want(200, "DELETE", "/api/v1/webhooks/42", opsToken, "")
	for how, q := range map[string]curlRequest{
		"without a filter":              {method: "GET", path: q.path, headers: q.headers},
		"with the filter in the body":   {method: "GET", path: q.path, headers: q.headers, data: `{"type":"lk"}`},
		"with an empty filter":          {method: "GET", path: q.path, headers: q.headers, data: `{}`},
		"with the filter null":          {method: "GET", path: q.path, headers: q.headers, data: `{"type":null}`},
		"with the filter of another's":  {method: "GET", path: q.path, headers: append(q.headers, [2]string{"Accept-Language", "uk"})},
		"with a proxy's idea of a host": {method: "GET", path: q.path, headers: append(q.headers, [2]string{"X-Forwarded-Host", "evil.example"})},
	} {
		a := q.send(t, h)
		if a.status != 200 {
			t.Errorf("%s: found %d; want 200", how, a.status)
		}
		sameJSON(t, how, a.body, documentedAnswer(t, "list"))
	}
}

func TestTheTypeFilterHoldsInTheBodyTheQueryAndWhatCurlMakesOfIt(t *testing.T) {
	h, q := newHouse(t), documented(t)["GET /api/v1/webhooks"]
	inBody, inQuery := q, q
	inBody.asQuery = false
	inQuery.path, inQuery.data = q.path+"?type=et", ""
	for how, q := range map[string]curlRequest{"as curl -G sends it": q, "as every other client sends it": inBody, "as a parameter": inQuery} {
		a := q.send(t, h)
		page := a.json(t)
		data, _ := page["data"].([]any)
		if a.status != 200 || page["total"] != 1.0 || len(data) != 1 || data[0].(map[string]any)["id"] != 42.0 {
			t.Errorf("%s: found %d %s; want the one webhook of type et", how, a.status, a.body)
		}
	}
	if a := h.ask("GET", "/api/v1/webhooks", opsToken, `{"type":7}`); a.status != 422 || a.fields(t)["type"] == nil {
		t.Errorf("a type that is no text: found %d %s; want 422 for type", a.status, a.body)
	}
}

func TestTheDocumentedGetIsAnsweredAsDocumented(t *testing.T) {
	h, q := newHouse(t), documented(t)["GET /api/v1/webhooks/42"]
	body := `{"url":"https:\/\/test.com\/hook","type_call":"inbound","event":"destroy","type_style":"short","type":"lk",
		"params":[{"name":"my-param","value":"my-param value"}],"headers":[{"name":"my-header","value":"my_header_value"}],
		"fields":[{"before":"call_id","after":"my_call_id"},{"before":"direction","after":"my_direction"}]}`
	h.want(200, "PUT", "/api/v1/webhooks/5", opsToken, body)
	q.path = "/api/v1/webhooks/5"
	a := q.send(t, h)
	if a.status != 200 {
		t.Fatalf("found %d %s; want 200", a.status, a.body)
	}
	found, want := a.json(t), answer{body: documentedAnswer(t, "get")}.json(t)
	for field := range want {
		sameJSON(t, field, encode(t, found[field]), encode(t, want[field]))
	}
	// Who may not set a header's value, which may be a key, does not see it.
	hidden := h.want(200, "GET", "/api/v1/webhooks/5", eyeToken, "").json(t)
	sameJSON(t, "to one who may read only", encode(t, hidden["headers"]), `[{"name":"my-header","value":"***"}]`)
	q.path = "/api/v1/webhooks/42"
	bare := q.send(t, h).json(t)
	for field := range want {
		if _, there := bare[field]; !there {
			t.Errorf("a webhook with nothing in %s: found no such field; want it, empty", field)
		}
	}
}

func TestTheDocumentedCreateUpdateAndDeleteAreDoneAndAnsweredAsDocumented(t *testing.T) {
	h, all := newHouse(t), documented(t)
	a := all["POST /api/v1/webhooks"].send(t, h)
	if a.status != 200 {
		t.Fatalf("create: found %d %s; want 200", a.status, a.body)
	}
	sameJSON(t, "create", a.body, done)
	made := h.want(200, "GET", a.header.Get("Location"), opsToken, "")
	wantFields(t, "create", made, `{"url":"http://my-url.com","event":"create","type_call":"all","type_style":"long","type":"lk","template":"quos",
		"headers":[{"name":"Special-Header","value":"header_value"}],"params":[{"name":"special_parameter","value":"123"}],
		"fields":[{"before":"to","after":"dest_number"}]}`)

	a = all["PUT /api/v1/webhooks/42"].send(t, h)
	if a.status != 200 {
		t.Fatalf("update: found %d %s; want 200", a.status, a.body)
	}
	sameJSON(t, "update", a.body, done)
	wantFields(t, "update", h.want(200, "GET", "/api/v1/webhooks/42", opsToken, ""),
		`{"id":42,"url":"http://my-url.com","event":"create","type":"et","template":"expedita"}`)

	a = all["DELETE /api/v1/webhooks/42"].send(t, h)
	if a.status != 200 {
		t.Fatalf("delete: found %d %s; want 200", a.status, a.body)
	}
	sameJSON(t, "delete", a.body, done)
	a = all["DELETE /api/v1/webhooks/42"].send(t, h)
	if v := a.json(t); a.status != 404 || v["success"] != false || v["message"] == "" {
		t.Errorf("delete again: found %d %s; want 404, success false and a message", a.status, a.body)
	}
}

func TestAWebhooksIDIsNeverGivenAgain(t *testing.T) {
	h := newHouse(t)
	seen := map[string]bool{"/api/v1/webhooks/5": true, "/api/v1/webhooks/6": true, "/api/v1/webhooks/42": true}
	for range 8 {
		place := h.want(200, "POST", "/api/v1/webhooks", opsToken, `{"url":"https://test.com","event":"create"}`).header.Get("Location")
		if seen[place] {
			t.Fatalf("found %s a second time", place)
		}
		seen[place] = true
		h.want(200, "DELETE", place, opsToken, "")
	}
}

func TestEveryFaultOfAWebhookIsNamedByItsField(t *testing.T) {
	h := newHouse(t)
	base := answer{body: `{"url":"https://test.com","event":"create"}`}
	for _, tc := range []struct{ with, field string }{
		{`{"url":null}`, "url"},
		{`{"url":"test.com"}`, "url"},
		{`{"url":"ftp://test.com"}`, "url"},
		{`{"url":7}`, "url"},
		{`{"event":null}`, "event"},
		{`{"event":"ring"}`, "event"},
		{`{"type_call":"both"}`, "type_call"},
		{`{"type_style":"tiny"}`, "type_style"},
		{`{"fields":{}}`, "fields"},
		{`{"fields":[{"before":"to"}]}`, "fields[0].after"},
		{`{"fields":[{"after":"to"}]}`, "fields[0].before"},
		{`{"headers":[{"name":"a b","value":"1"}]}`, "headers[0].name"},
		{`{"headers":[{"value":"1"}]}`, "headers[0].name"},
		{`{"headers":[{"name":"X-Key","value":"***"}]}`, "headers[0].value"},
		{`{"params":[{"value":"1"}]}`, "params[0].name"},
		{`{"template":"{{"}`, "template"},
		{`{"retry":"often"}`, "retry"},
		{`{"request_timeout":10}`, "request_timeout"},
		{`{"sign":"file:/etc/passwd"}`, "sign"},
		{`{"tls":{"ca":"/etc/passwd"}}`, "tls.ca"},
		{`{"colour":"red"}`, "colour"},
		{`{"id":9}`, "id"},
	} {
		body := base.json(t)
		for key, value := range (answer{body: tc.with}).json(t) {
			body[key] = value
		}
		before := h.state()
		for _, q := range [][2]string{{"POST", "/api/v1/webhooks"}, {"PUT", "/api/v1/webhooks/5"}} {
			a := h.ask(q[0], q[1], opsToken, encode(t, body))
			if v := a.json(t); a.status != 422 || v["success"] != false || v["message"] == "" || len(a.fields(t)) != 1 || a.fields(t)[tc.field] == nil {
				t.Errorf("%s with %s: found %d %s; want 422 for %s alone", q[0], tc.with, a.status, a.body, tc.field)
			}
		}
		if after := h.state(); after != before {
			t.Errorf("%s: found the store changed", tc.with)
		}
	}
}
