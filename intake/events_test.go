package intake

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"hookswitch/schema"
)

// sink takes events as the test says, and keeps them.
type sink struct {
	mu     sync.Mutex // guards what follows
	events []*schema.Event
	keys   []string
	left   time.Duration // to the deadline, of the last
	answer schema.Acceptance
}

func (s *sink) Accept(ctx context.Context, e *schema.Event, key string) schema.Acceptance {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.ID = "01JDXN3K2V8Q4Z6T9YB5M7C0RE"
	until, _ := ctx.Deadline()
	s.events, s.keys, s.left = append(s.events, e), append(s.keys, key), until.Sub(e.At)
	if e.Project != "1001" {
		return schema.EventNoProject
	}
	return s.answer
}

func (s *sink) last() (*schema.Event, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 {
		return nil, ""
	}
	return s.events[len(s.events)-1], s.keys[len(s.keys)-1]
}

// startEvents serves a project whose one number is 380442223344.
func startEvents(t *testing.T, adjust ...func(*Options)) (*site, *sink) {
	t.Helper()
	took := &sink{}
	return start(t, append([]func(*Options){func(o *Options) { withEvents(o, took) }}, adjust...)...), took
}

func withEvents(o *Options, took *sink) {
	o.Events = took
	o.ProjectOf = func(number string) (string, bool) {
		return "1001", strings.TrimPrefix(number, "+") == "380442223344"
	}
}

func describeEvent(e *schema.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s of project %s at %s\n", e.Direction, e.Kind, e.CallID, e.Project, e.At.Format(time.RFC3339))
	for _, v := range e.Values {
		fmt.Fprintf(&b, "  %s=%q\n", v.Name, v.Value)
	}
	return b.String()
}

// The corpus: testdata/events/NAME.http as in testdata/<dialect>; NAME.golden is the event that was
// handed on, its key, and the answer.
func TestEventsAreUnderstoodAndAnswered(t *testing.T) {
	files, err := filepath.Glob("testdata/events/*.http")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d files (%v); want them all", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			s, took := startEvents(t)
			conn := s.dial(t)
			_, _ = conn.Write(readRequest(t, file))
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := "no event\n"
			if e, key := took.last(); e != nil {
				got = describeEvent(e) + "key " + fmt.Sprintf("%q\n", key)
			}
			golden(t, strings.TrimSuffix(file, ".http")+".golden", fmt.Sprintf("%s\n%s %s\n%s", got, answer.Status, answer.Header.Get("Content-Type"), body))
		})
	}
}

// However FreeSWITCH is told to encode its CDR, the event is the same.
func TestEveryEncodingOfACDRSaysTheSame(t *testing.T) {
	s, took := startEvents(t)
	var first *schema.Event
	for _, name := range []string{"freeswitch_cdr", "freeswitch_cdr_plain_values", "freeswitch_cdr_urlencoded", "freeswitch_cdr_base64"} {
		conn := s.dial(t)
		_, _ = conn.Write(readRequest(t, "testdata/events/"+name+".http"))
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != 200 {
			t.Fatalf("%s: %v, %v; want 200", name, answer, err)
		}
		e, _ := took.last()
		if first == nil {
			first = e
		}
		if !reflect.DeepEqual(e, first) {
			t.Errorf("%s is understood as\n%swant\n%s", name, describeEvent(e), describeEvent(first))
		}
	}
}

func TestWhatBecomesOfAnEventIsAnswered(t *testing.T) {
	const id = `"event_id":"01JDXN3K2V8Q4Z6T9YB5M7C0RE"`
	for _, tc := range []struct {
		answer     schema.Acceptance
		status     int
		body       string // a part of it
		retryAfter string
		rpcStatus  int
		rpcBody    string
	}{
		{schema.EventAccepted, 202, `{"success":true,` + id + "}\n", "", 200, `{"jsonrpc":"2.0","result":{"success":true,` + id + `},"id":7}`},
		{schema.EventRepeated, 202, `{"success":true,` + id + `,"repeated":true}` + "\n", "", 200, `,"repeated":true},"id":7}`},
		{schema.EventNoProject, 404, `"unknown_project"`, "", 200, `{"code":-32004,`},
		{schema.EventKeyReused, 422, `"field":"Idempotency-Key"`, "", 200, `{"code":-32602,`},
		{schema.EventNoSpace, 507, `the store is full`, "", 507, `{"code":-32603,`},
		{schema.EventNotKept, 503, `"unavailable"`, "1", 503, `{"code":-32603,`},
	} {
		s, took := startEvents(t)
		took.answer = tc.answer
		answer, body := s.do(t, "POST", "/v1/events", `{"event":"create","callid":"c1","project":"1001"}`, "Content-Type: application/json", "Idempotency-Key: k")
		if answer.StatusCode != tc.status || !strings.Contains(body, tc.body) || answer.Header.Get("Retry-After") != tc.retryAfter {
			t.Errorf("%v: %s %q; want %d with %s", tc.answer, answer.Status, body, tc.status, tc.body)
		}
		answer, body = s.do(t, "POST", "/v1/events", `{"jsonrpc":"2.0","method":"event","params":{"event":"create","callid":"c1","project":"1001"},"id":7}`, "Content-Type: application/json")
		if answer.StatusCode != tc.rpcStatus || !strings.Contains(body, tc.rpcBody) || !json.Valid([]byte(body)) {
			t.Errorf("%v over JSON-RPC: %s %q; want %d with %s", tc.answer, answer.Status, body, tc.rpcStatus, tc.rpcBody)
		}
	}
}

func TestEventsComeThroughTheSameDoor(t *testing.T) {
	s, took := startEvents(t, func(o *Options) { o.Settings.Tokens = []schema.Secret{schema.NewSecret("token")} })
	const path = "/v1/events?event=create&callid=c1&project=1001"
	if answer, body := s.do(t, "POST", path, ""); answer.StatusCode != 401 || answer.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a token: %s %s", answer.Status, body)
	}
	if e, _ := took.last(); e != nil {
		t.Error("an event came through a closed door")
	}
	if answer, body := s.do(t, "POST", path, "", "Authorization: Bearer token"); answer.StatusCode != 202 {
		t.Errorf("with the token: %s %s", answer.Status, body)
	}
	if answer, _ := s.do(t, "GET", path, "", "Authorization: Bearer token"); answer.StatusCode != 405 || answer.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %s", answer.Status)
	}
	closed := start(t)
	if answer, _ := closed.do(t, "POST", path, ""); answer.StatusCode != 404 {
		t.Errorf("where nobody takes events: %s", answer.Status)
	}
}

func TestAnEventHasTheTimeThatThePBXGivesIt(t *testing.T) {
	s, took := startEvents(t)
	s.do(t, "POST", "/v1/events?event=create&callid=c1&project=1001", "")
	if budget := testSettings().Budget; took.left != budget {
		t.Errorf("%v to the deadline; want intake.budget, %v", took.left, budget)
	}
	s.do(t, "POST", "/v1/events?event=create&callid=c1&project=1001&budget_ms=1000", "")
	if took.left != 980*time.Millisecond {
		t.Errorf("%v to the deadline with budget_ms=1000; want 980ms", took.left)
	}
}

func TestAnEventTooLargeIsRefused(t *testing.T) {
	s, _ := startEvents(t, func(o *Options) { o.Settings.MaxBody = 2000 })
	answer, body := s.do(t, "POST", "/v1/events", `{"event":"create","callid":"c1","x":"`+strings.Repeat("x", 3000)+`"}`, "Content-Type: application/json")
	if code, _ := errorOf(t, body); answer.StatusCode != 413 || code != "too_large" {
		t.Errorf("%s %s", answer.Status, body)
	}
	answer, body = s.do(t, "POST", "/v1/events?event=create&project=1001&callid="+strings.Repeat("c", 300), "")
	if _, field := errorOf(t, body); answer.StatusCode != 400 || field != "callid" {
		t.Errorf("%s %s", answer.Status, body)
	}
}

// What was handed on stays as it was while the connection carries other events.
func TestEventsOutliveTheirRequest(t *testing.T) {
	s, took := startEvents(t)
	conn := s.dial(t)
	in := bufio.NewReader(conn)
	var want []string
	for i := range 20 {
		body := fmt.Sprintf(`{"event":"create","callid":"call-%02d","project":"1001","caller":"38044%07d","city-%d":"%s"}`, i, i, i, strings.Repeat(string(rune('a'+i)), 40))
		fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: key-%d\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body)
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		e, key := took.last()
		want = append(want, describeEvent(e)+key)
	}
	for i, e := range took.events {
		if got := describeEvent(e) + took.keys[i]; got != want[i] {
			t.Errorf("event %d became\n%swas\n%s", i, got, want[i])
		}
	}
}

// readEventFrom reads one event as the handler does.
func readEventFrom(s *Server, query, contentType string, body []byte) (*schema.Event, *fault) {
	ctx := newContext("POST", query, contentType, body)
	q := &question{asked: asked{event: true, fixed: true}}
	q.call.At = noon
	e, _, f := s.readEvent(ctx, q)
	return e, f
}

func eventServer(t testing.TB) *Server {
	o := Options{Decide: decideFunc(decideOK), Settings: testSettings()}
	withEvents(&o, &sink{})
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Property: an event that is accepted is whole, its text is UTF-8, and written as JSON, as a form and as
// JSON-RPC it is read as the same event.
func FuzzEvents(f *testing.F) {
	files, _ := filepath.Glob("testdata/events/*.http")
	for _, file := range files {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(readRequest(f, file)))))
		if err != nil {
			f.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		if len(body) < 4<<10 {
			f.Add(r.URL.RawQuery, r.Header.Get("Content-Type"), body)
		}
	}
	s := eventServer(f)
	f.Fuzz(func(t *testing.T, query, contentType string, body []byte) {
		e, fault := readEventFrom(s, query, contentType, body)
		if fault != nil {
			if fault.message == "" || e != nil {
				t.Fatalf("refused without a word, or with an event: %+v", fault)
			}
			return
		}
		checkEvent(t, e)
		written := map[string]string{"event": e.Kind, "direction": e.Direction, "callid": e.CallID, "project": e.Project}
		for _, v := range e.Values {
			if _, twice := written[v.Name]; twice || controlParameter(v.Name) || len(v.Name) > maxName || len(v.Value) > maxValue {
				return // a lookup's control, which the written form would say otherwise, or grown by U+FFFD
			}
			written[v.Name] = v.Value
		}
		object, err := json.Marshal(written)
		if err != nil {
			t.Fatal(err)
		}
		if looksCDR(object) || strings.Contains(string(object), `"jsonrpc"`) {
			return
		}
		form := url.Values{}
		for name, value := range written {
			form.Set(name, value)
		}
		for _, again := range []struct{ contentType, body string }{
			{"application/json", string(object)}, {"application/x-www-form-urlencoded", form.Encode()},
			{"application/json", `{"jsonrpc":"2.0","id":1,"method":"event","params":` + string(object) + `}`},
		} {
			got, fault := readEventFrom(s, "", again.contentType, []byte(again.body))
			if fault != nil {
				t.Fatalf("%s is refused: %s: %s", again.body, fault.field, fault.message)
			}
			if sorted(got) != sorted(e) {
				t.Fatalf("%s is read as\n%swas\n%s", again.body, sorted(got), sorted(e))
			}
		}
	})
}

// Property: any CDR that is accepted gives the same event however FreeSWITCH encodes it.
func FuzzCDR(f *testing.F) {
	f.Add("direction", "inbound", "380442223344", "12")
	f.Add("hangup_cause", "ORIGINATOR%5FCANCEL %zz", "+380442223344", "-1")
	f.Add("uuid", "a\r\nb\x00\xff", "380442223344", "x")
	f.Add("sip_full_from", "%22a%22%20%3Csip%3A1@h%3E", "380442223344", "")
	s := eventServer(f)
	f.Fuzz(func(t *testing.T, name, value, callee, billsec string) {
		document, err := json.Marshal(map[string]any{
			"variables": map[string]string{"uuid": "u-1", "direction": "inbound", "duration": "71", "billsec": billsec, name: value},
			"callflow":  []any{map[string]any{}, map[string]any{"caller_profile": map[string]string{"destination_number": callee, "caller_id_number": "1"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		e, fault := readEventFrom(s, "uuid=u-1", "application/json", document)
		for _, again := range []struct {
			contentType string
			body        string
		}{
			{"application/x-www-form-plaintext", string(document)},
			{"application/x-www-form-urlencoded", "cdr=" + url.QueryEscape(string(document))},
			{"application/x-www-form-base64-encoded", "cdr=" + base64.StdEncoding.EncodeToString(document)},
		} {
			other, otherFault := readEventFrom(s, "uuid=u-1", again.contentType, []byte(again.body))
			if (fault == nil) != (otherFault == nil) || !reflect.DeepEqual(e, other) {
				t.Fatalf("as %s: %+v %+v; want %+v %+v", again.contentType, other, otherFault, e, fault)
			}
		}
		if fault == nil {
			checkEvent(t, e)
			if e.Kind != "destroy" {
				t.Fatalf("a CDR is the end of a call, not %s", e.Kind)
			}
		}
	})
}

func controlParameter(name string) bool {
	return slices.Contains([]string{"project", "hook", "schema", "cursor", "format", "budget_ms", "explain", "callid", "cdr", ""}, name)
}

func checkEvent(t *testing.T, e *schema.Event) {
	t.Helper()
	kind, ok := schema.EventKind(e.Kind)
	direction, ok2 := schema.Direction(e.Direction)
	var err error
	if !ok || !ok2 || kind != e.Kind || direction != e.Direction || e.CallID == "" || len(e.CallID) > maxCallID || e.Project == "" || e.At.IsZero() {
		err = errors.New("it is not whole")
	}
	for _, v := range e.Values {
		if v.Value == "" || !utf8.ValidString(v.Name) || !utf8.ValidString(v.Value) || len(v.Value) > 3*maxValue || len(v.Name) > 3*maxName {
			err = fmt.Errorf("value %q", v)
		}
	}
	if err != nil {
		t.Fatalf("%v: %s", err, describeEvent(e))
	}
}

func sorted(e *schema.Event) string {
	values := slices.Clone(e.Values)
	slices.SortFunc(values, func(a, b schema.Custom) int { return strings.Compare(a.Name, b.Name) })
	return describeEvent(&schema.Event{Kind: e.Kind, Direction: e.Direction, CallID: e.CallID, Project: e.Project, Values: values})
}
