package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf16"
)

// hostileValues are what no PBX must ever be given to dial. Each is put where a destination is
// expected, in every format of answer.
var hostileValues = []struct{ name, value string }{
	{"a second destination behind an ampersand", "380441111111&SIP/evil"},
	{"a dialplan function", "${SYSTEM(id)}"},
	{"a dialplan function behind a number", "380441111111${SHELL(id)}"},
	{"a channel variable in braces", "{origination_caller_id_number=1}380441111111"},
	{"a channel variable in brackets", "[leg_timeout=1]380441111111"},
	{"an inline application", "380441111111:_:380441111112"},
	{"a dial option", "380441111111@context,30,g"},
	{"a pipe of destinations", "380441111111|380441111112"},
	{"a line of its own behind CR and LF", "380441111111\r\nX-Injected: yes"},
	{"a line of its own behind LF", "380441111111\n380441111112"},
	{"a tab within", "38044\t1111111"},
	{"a NUL", "380441111111\x00"},
	{"a NUL in the middle", "38044\x001111111"},
	{"an escape sequence", "\x1b[2J380441111111"},
	{"double quotes", `380441111111"x`},
	{"single quotes", `380441111111'x`},
	{"a backslash", `380441111111\x`},
	{"the end of a JSON string", `380441111111","dial":"evil`},
	{"the end of an XML attribute", `380441111111"/><action application="system" data="id`},
	{"the end of a query pair", "380441111111&status=ok&dst=evil"},
	{"a percent escape", "380441111111%26SIP/evil"},
	{"digits of another script", "٣٨٠٤٤١١١١١١١"},
	{"full-width digits", "３８０４４１１１１１１１"},
	{"a line separator", "380441111111\u2028"},
	{"text that runs from right to left", "\u202e111111144083"},
	{"an invisible character", "38044\u200b1111111"},
	{"bytes that are no UTF-8", "380441111111\xff\xfe"},
	{"URI parameters and headers", "sip:a@b;x=1?h=v"},
	{"a password in a URI", "sip:a:secret@b.example"},
	{"a route in a URI", "sip:a@b.example;lr"},
	{"a blank in a URI", "sip:a@b.example evil"},
	{"two hosts in a URI", "sip:a@b.example@evil.example"},
	{"another scheme", "sips:a@b.example"},
	{"a telephone URI", "tel:380441111111"},
	{"a channel technology", "Local/s@default"},
	{"a path", "../../../etc/passwd"},
	{"a URI outside the allow list", "sip:ops@evil.example"},
	{"a look-alike of an allowed host", "sip:ops@pbx.example.evil.example"},
	{"a login outside the allow list", "Error"},
	{"a number outside the allow list", "15551234567"},
	{"a number on the deny list", "380900111111"},
	{"a number of 16 digits", "3804411111111111"},
	{"a national number", "0441111111"},
	{"a number with an exponent", "3.80441111111e11"},
	{"a negative number", "-380441111111"},
	{"a hexadecimal number", "0x58917F2C97"},
	{"ten thousand destinations", manyDestinations()},
	{"a number of 60 kB", "380441111111" + strings.Repeat("1", 60_000)},
	{"a number of 1 MB", "380441111111" + strings.Repeat("1", 1_000_000)},
	{"64 kB of brackets", strings.Repeat("[", 64<<10)},
	{"60 kB of brackets", strings.Repeat("[", 60_000)},
	{"60 kB of braces", strings.Repeat(`{"a":`, 12_000)},
}

// hostileResults are JSON values, for the formats that speak it: where a destination is expected
// stands something that is none.
var hostileResults = []struct{ name, value string }{
	{"an array in an array", `[["380441111111"]]`},
	{"an array of objects", `[{"number":"380441111111"}]`},
	{"an object", `{"dial":"380441111111"}`},
	{"a good number before a bad one", `["380441111111","380441111112&SIP/evil"]`},
	{"a bad number before a good one", `["${SYSTEM(id)}","380441111111"]`},
	{"a bad number in a comma list", `"380441111111,380441111112;evil"`},
	{"true", `true`},
	{"a number with an exponent", `3.80441111111e11`},
	{"a negative number", `-380441111111`},
	{"a fraction", `380441111111.0`},
	{"a number of 16 digits", `3804411111111111`},
	{"an escaped CR and LF", `"380441111111\u000d\u000aX: y"`},
	{"an escaped NUL", `"380441111111\u0000"`},
	{"an escaped ampersand", `"380441111111\u0026SIP/evil"`},
	{"escaped full-width digits", `"\uff13\uff18\uff10\uff14\uff14\uff11\uff11\uff11\uff11\uff11\uff11\uff11"`},
	{"half a surrogate pair", `"380441111111\ud800"`},
	{"an escaped quote", `"380441111111\""`},
	{"a deep array", strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)},
}

// manyDestinations are well-formed and allowed; only there are ten thousand of them.
func manyDestinations() string {
	var list []string
	for i := range 10_000 {
		list = append(list, fmt.Sprintf("38044%07d", i))
	}
	return strings.Join(list, ",")
}

// hostileHook is a webhook that answers with the bytes it was last given. A JSON-RPC request gets
// them as its result.
type hostileHook struct {
	*httptest.Server
	body atomic.Pointer[string]
}

func newHostileHook(t *testing.T) *hostileHook {
	h := &hostileHook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := *h.body.Load()
		if r.URL.Path != "/rpc" {
			io.WriteString(w, body)
			return
		}
		var request struct{ ID json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, request.ID, body)
	}))
	t.Cleanup(h.Close)
	return h
}

// hostileConfig has a number for each format in which a webhook's answer may be read.
func hostileConfig(url string) string {
	return fmt.Sprintf(`
projects:
  - id: "1"
    default_schema: "1"
    allow_private_hooks: true
    destinations: {allow: ["380", "sip:*@pbx.example"], deny: ["380900"]}
    numbers: [{number: "380442220001", schema: http}, {number: "380442220002", schema: json}, {number: "380442220003", schema: rpc}, {number: "380442220004", schema: wide}]
    schemas:
      - {id: "1", name: Operators, steps: [{dial: ["380440000001", "sip/ops@pbx.example"]}]}
      - {id: http, name: Text, steps: [{hook: http}]}
      - {id: json, name: JSON, steps: [{hook: json}]}
      - {id: rpc, name: JSON-RPC, steps: [{hook: rpc}]}
      - {id: wide, name: With room for long answers, steps: [{hook: wide}]}
    hooks:
      - {id: http, url: "%[1]s/", receive: http, request_timeout: 5s, breaker: {state: closed}}
      - {id: json, url: "%[1]s/", receive: json, request_timeout: 5s, max_answer_bytes: 4194304, breaker: {state: closed}}
      - {id: rpc, url: "%[1]s/rpc", method: POST, send: json-rpc, receive: json-rpc, request_timeout: 5s, max_answer_bytes: 4194304, breaker: {state: closed}}
      - {id: wide, url: "%[1]s/", receive: http, request_timeout: 5s, max_answer_bytes: 4194304, breaker: {state: closed}}
`, url)
}

// TestHostileAnswersNeverReachThePBX puts every hostile value into every format of answer, and has
// every format of ours written: each must give the fallback's destinations and nothing else.
func TestHostileAnswersNeverReachThePBX(t *testing.T) {
	hook := newHostileHook(t)
	s := start(t, hostileConfig(hook.URL))
	for _, h := range hostileValues {
		t.Run("as text, "+h.name, func(t *testing.T) {
			hook.body.Store(&h.value)
			s.wantFallback(t, "380442220001", h.value)
			s.wantFallback(t, "380442220004", h.value) // where the limit on an answer's size saves nobody
		})
		t.Run("as JSON, "+h.name, func(t *testing.T) {
			s.wantFallbackJSON(t, hook, quoted(h.value), h.value)
			s.wantFallbackJSON(t, hook, escaped(h.value), h.value)
			if !strings.Contains(h.value, `"`) { // else it is another document, and maybe a sound one
				s.wantFallbackJSON(t, hook, `"`+h.value+`"`, h.value)
			}
		})
	}
	for _, h := range hostileResults {
		t.Run("as JSON, "+h.name, func(t *testing.T) { s.wantFallbackJSON(t, hook, h.value, h.value) })
	}
}

// wantFallbackJSON gives the JSON value to both formats that read JSON.
func (s *service) wantFallbackJSON(t *testing.T, hook *hostileHook, value, meant string) {
	t.Helper()
	object := `{"dst_phone":` + value + `}`
	hook.body.Store(&object)
	s.wantFallback(t, "380442220002", meant)
	hook.body.Store(&value)
	s.wantFallback(t, "380442220003", meant)
}

// quoted is s as a JSON string, as most encoders write it; escaped, with every character as \u.
func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func escaped(s string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, `\u%04x`, unit)
	}
	return `"` + b.String() + `"`
}

// wantFallback asks about callee in every format, and wants the default scheme's destinations, a
// reason, and none of the hostile value where a PBX would dial.
func (s *service) wantFallback(t *testing.T, callee, hostile string) {
	t.Helper()
	plain := s.raw(t, "plain", callee)
	if string(plain) != operators {
		t.Errorf("plain: %q; want %q", clip(plain), operators)
	}
	line := s.raw(t, "json", callee)
	checkFallbackJSON(t, line, hostile)

	var rpc struct {
		JSONRPC string
		ID      int
		Result  json.RawMessage
		Error   json.RawMessage
	}
	answer := s.raw(t, "json-rpc", callee)
	if err := json.Unmarshal(answer, &rpc); err != nil || rpc.JSONRPC != "2.0" || rpc.ID != 7 || rpc.Error != nil {
		t.Errorf("json-rpc: %v: %q", err, clip(answer))
		return
	}
	checkFallbackJSON(t, rpc.Result, hostile)
}

func checkFallbackJSON(t *testing.T, line []byte, hostile string) {
	t.Helper()
	var d decision
	if err := json.Unmarshal(line, &d); err != nil {
		t.Errorf("the answer is not JSON: %v: %q", err, clip(line))
		return
	}
	if bytes.ContainsFunc(bytes.TrimSuffix(line, []byte("\n")), func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' }) {
		t.Errorf("the answer is not one line of text: %q", clip(line))
	}
	if d.Source != "fallback" || d.Reason == "ok" || d.Schema == nil || *d.Schema != "1" {
		t.Errorf("%s %s; want the fallback, with the reason", d.Source, d.Reason)
	}
	if d.DstPhone != operators || len(d.Steps) != 1 || !slices.Equal(d.Steps[0].Dial, strings.Split(operators, ",")) {
		t.Errorf("dials %q, steps %v; want %s alone", d.DstPhone, d.Steps, operators)
	}
	// What is said of a dropped destination is for people; but even there, only what the grammar of
	// destinations lets through may stand as it came.
	if strings.ContainsAny(hostile, "&${}[]|\r\n\t\x00\x1b\"'\\;?% ") && bytes.Contains(line, []byte(hostile)) {
		t.Errorf("the answer repeats the hostile value: %q", clip(line))
	}
}

// raw returns the body of an answer in a format, whatever it is. A JSON-RPC question has the id 7.
func (s *service) raw(t *testing.T, format, callee string) []byte {
	t.Helper()
	params := call(callee)
	resp, err := func() (*http.Response, error) {
		if format != "json-rpc" {
			return client.Get(s.URL + "/v1/route/" + format + "?" + params.Encode())
		}
		question := fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"route","params":{"caller":%q,"callee":%q,"callid":%q}}`,
			params.Get("caller"), params.Get("callee"), params.Get("callid"))
		return client.Post(s.URL+"/v1/route", "application/json", strings.NewReader(question))
	}()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d: %v: %q", format, resp.StatusCode, err, clip(body))
	}
	return body
}

// clip shortens what a failed test prints.
func clip(b []byte) []byte { return b[:min(len(b), 500)] }

// TestAnAnswerThatIsPartlyForbiddenDialsTheRest: what the policy drops is named, and not dialled.
func TestAnAnswerThatIsPartlyForbiddenDialsTheRest(t *testing.T) {
	hook := newHostileHook(t)
	s := start(t, hostileConfig(hook.URL))
	body := `{"dst_phone":["380441111111","15551234567","380900111111","sip:ops@evil.example","Error","380442220002","+380441111111","sip:ops@pbx.example:5070"]}`
	hook.body.Store(&body)
	const want = "380441111111,sip:ops@pbx.example:5070"
	if plain := s.raw(t, "plain", "380442220002"); string(plain) != want {
		t.Errorf("plain: %q; want %q", plain, want)
	}
	d, status := s.route(call("380442220002"))
	if status != 200 || d.Source != "hook" || d.Reason != "ok" || d.DstPhone != want {
		t.Errorf("%d %s %s dials %q; want %q of the hook", status, d.Source, d.Reason, d.DstPhone, want)
	}
	for _, dropped := range []string{"15551234567", "380900111111", "sip:ops@evil.example", "Error", "380442220002", "380441111111"} {
		if !slices.ContainsFunc(d.Warnings, func(w string) bool { return strings.HasPrefix(w, dropped+" dropped: ") }) {
			t.Errorf("no warning names %s: %q", dropped, d.Warnings)
		}
	}
}
