package intake

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"hookswitch/schema"
)

var fuzzTypes = []string{"", "application/x-www-form-urlencoded", "application/json"}

// newContext is a request as fasthttp would hand it to the handler.
func newContext(method, query, contentType string, body []byte) *fasthttp.RequestCtx {
	ctx := new(fasthttp.RequestCtx)
	ctx.Init2(nil, nil, false)
	ctx.Request.Header.SetMethod(method)
	setTarget(ctx, "/v1/route", query)
	ctx.Request.Header.SetContentType(contentType)
	ctx.Request.SetBody(body)
	return ctx
}

// setTarget gives a request a path and a query. One that could not be sent as it is, is set behind the
// scenes.
func setTarget(ctx *fasthttp.RequestCtx, path, query string) {
	if !strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r == '#' || r == 0x7f }) {
		ctx.Request.SetRequestURI(path + "?" + query)
		return
	}
	ctx.Request.SetRequestURI(path + "#")
	ctx.URI().SetQueryString(query)
}

// Property: what a question that is accepted says equals what readers that share no code with ours
// (net/url, encoding/json) make of it; what encoding/json reads is never refused as unreadable.
func FuzzQuestion(f *testing.F) {
	for _, file := range corpus(f) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(readRequest(f, file))))
		if err != nil {
			f.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		kind := uint8(0)
		for i, name := range fuzzTypes {
			if strings.HasPrefix(r.Header.Get("Content-Type"), name) {
				kind = uint8(i)
			}
		}
		f.Add(r.URL.RawQuery, kind, body)
	}
	s, err := New(Options{Decide: decideFunc(decideOK), Settings: testSettings(), Now: func() time.Time { return noon }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string, kind uint8, body []byte) {
		contentType := fuzzTypes[int(kind)%len(fuzzTypes)]
		ctx := newContext("POST", query, contentType, body)
		q := new(question)
		fault := s.ask(ctx, q, nil, []byte(query))
		if fault != nil {
			if fault.rpc == rpcParseError && json.Valid(body) && nesting(body) <= maxNesting && (contentType == fuzzTypes[2] || firstByte(body) == '{') {
				t.Fatalf("refused as unreadable (%s), but it is JSON: %q", fault.message, body)
			}
			return
		}
		if q.rpc.notification {
			return
		}
		if len(dialects[q.format].aliases) > 0 {
			return // a PBX's own names are held by that dialect's tests
		}
		want := &reference{call: new(schema.Call)}
		want.form(t, query)
		switch {
		case len(bytes.TrimSpace(body)) == 0:
		case contentType == fuzzTypes[2] || firstByte(body) == '{':
			want.json(t, body, q.format == formatJSONRPC)
		default:
			want.form(t, string(body))
		}
		if q.format == formatJSONRPC && !bytes.Equal(q.rpc.id, want.id) {
			t.Errorf("id %q; want %q", q.rpc.id, want.id)
		}
		if want.call.Callee() == "" && want.call.Hook == "" && want.call.Schema == "" {
			t.Error("accepted without callee, hook and schema")
		}
		for _, p := range []schema.Param{schema.ParamCaller, schema.ParamCallee} {
			if want.call.Said(p) {
				want.call.SetString(p, strings.Trim(want.call.Get(p), " "))
			}
		}
		want.call.At, want.call.Deadline = noon, noon.Add(want.patience(testSettings().Budget))
		if got, want := describe(&q.call), describe(want.call); got != want {
			t.Errorf("query %q, %s body %q:\ngot\n%s\nwant\n%s", query, contentType, body, got, want)
		}
	})
}

// reference builds the call that a question ought to give, with the standard library's readers.
type reference struct {
	call   *schema.Call
	budget string
	id     []byte
}

var escape = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

func (r *reference) form(t *testing.T, text string) {
	tolerant := func(s string) string {
		return escape.ReplaceAllStringFunc(strings.ReplaceAll(s, "+", " "), func(e string) string {
			n, _ := strconv.ParseUint(e[1:], 16, 8)
			return string([]byte{byte(n)})
		})
	}
	last := make(map[string]string)
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue // "&&" names nothing, not even the empty name
		}
		name, value, _ := strings.Cut(pair, "=")
		name, value = tolerant(name), tolerant(value)
		last[name] = value
		r.set(name, value)
	}
	strict, err := url.ParseQuery(text)
	if err != nil {
		return // net/url refuses a ";" and a broken escape
	}
	for name, values := range strict {
		if got := last[name]; got != values[len(values)-1] {
			t.Fatalf("the test's own reader made %q of %q, net/url %q", got, name, values)
		}
	}
}

func (r *reference) json(t *testing.T, body []byte, rpc bool) {
	if rpc {
		var request map[string]json.RawMessage
		if err := json.Unmarshal(body, &request); err != nil {
			t.Fatalf("accepted, but encoding/json says %v: %q", err, body)
		}
		r.id = request["id"]
		if body = request["params"]; body == nil {
			return
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		t.Fatalf("accepted, but encoding/json says %v, %v: %q", open, err, body)
	}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			t.Fatalf("accepted, but encoding/json says %v: %q", err, body)
		}
		text := string(value)
		if value[0] == '"' {
			_ = json.Unmarshal(value, &text)
		}
		if string(value) != "null" {
			r.set(name.(string), text)
		}
	}
}

func (r *reference) set(name, value string) {
	if len(name) > maxName || len(value) > maxValue && !decisive([]byte(name)) {
		return
	}
	switch name {
	case "", "explain", "format":
	case "project":
		r.call.Project = value
	case "hook":
		r.call.Hook = value
	case "schema":
		r.call.Schema = value
	case "cursor":
		r.call.Cursor = value
	case "budget_ms":
		r.budget = value
	default:
		if !r.call.SetNamed([]byte(name), []byte(value)) && needed([]byte(name)) {
			r.call.SetNeeded([]byte(name), []byte(value))
		}
	}
}

func (r *reference) patience(budget time.Duration) time.Duration {
	asked, err := time.ParseDuration(r.budget + "ms")
	if err != nil {
		return budget
	}
	return min(budget, asked-min(20*time.Millisecond, asked/10))
}

// answer is the JSON answer as a client in Go would declare it.
type answer struct {
	DecisionID string   `json:"decision_id"`
	CallID     string   `json:"callid"`
	Project    string   `json:"project"`
	Source     string   `json:"source"`
	Reason     string   `json:"reason"`
	Schema     *string  `json:"schema"`
	DstPhone   string   `json:"dst_phone"`
	Steps      []step   `json:"steps"`
	Hook       *string  `json:"hook"`
	ElapsedMS  float64  `json:"elapsed_ms"`
	Next       string   `json:"next"`
	Repeated   bool     `json:"repeated"`
	Warnings   []string `json:"warnings"`
}

type step struct {
	Dial      []string `json:"dial"`
	Strategy  string   `json:"strategy"`
	TimeoutS  float64  `json:"timeout_s"`
	MOH       string   `json:"moh"`
	Announce  string   `json:"announce"`
	Voicemail string   `json:"voicemail"`
	Playback  string   `json:"playback"`
	Hangup    string   `json:"hangup"`
}

// Property: whatever a decision's texts hold, the answer is one line that encoding/json reads back
// to the same decision, and each text is written byte for byte as encoding/json would write it.
func FuzzJSONAnswer(f *testing.F) {
	f.Add("a", "1001", "1", "crm", "next", "sip:ops@pbx.example:5060,380441111111", "jazz", int64(90e9), int64(4.2e6))
	f.Add("\"\\\x00\x1f\x7f\u2028\xff\xed\xa0\x80", "\n", "", "", "", "", "</script>", int64(1), int64(0))
	f.Fuzz(func(t *testing.T, callID, project, scheme, hook, next, destinations, text string, timeout, elapsed int64) {
		d := schema.Decision{
			CallID: callID, Project: project, Schema: scheme, Hook: hook, Next: next, Repeated: next != "",
			Source: schema.Source(len(callID)) % schema.SourceCount, Reason: schema.Reason(len(text)) % schema.ReasonCount,
			Elapsed: time.Duration(elapsed & math.MaxInt64), Warnings: []string{text, callID},
		}
		copy(d.ID[:], "01JNAVMH0000000000000000AA")
		var dial schema.DecidedStep
		var texts []string
		for s := range strings.SplitSeq(destinations, ",") {
			if one, err := schema.ParseDestination(s, ""); err == nil {
				dial.Dial, texts = append(dial.Dial, one), append(texts, one.String())
			}
		}
		want := []step{{Playback: clean(text)}}
		d.Steps = append(d.Steps, schema.DecidedStep{Playback: text})
		if text == "" {
			d.Steps, want = nil, nil
		}
		if len(texts) > 0 {
			dial.Strategy, dial.Timeout, dial.MOH, dial.Announce = schema.All, time.Duration(timeout), text, project
			d.Steps = append(d.Steps, dial)
			want = append(want, step{Dial: texts, Strategy: "all", TimeoutS: dial.Timeout.Seconds(), MOH: clean(text), Announce: clean(project)})
		}

		line := jsonDialect.decision(nil, nil, &d)
		if i := bytes.IndexByte(line, '\n'); i != len(line)-1 {
			t.Fatalf("not one line: %q", line)
		}
		var got answer
		strict := json.NewDecoder(bytes.NewReader(line))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if math.Abs(got.ElapsedMS-float64(d.Elapsed)/1e6) > 0.0501 && d.Elapsed < time.Hour {
			t.Errorf("elapsed_ms %v for %v", got.ElapsedMS, d.Elapsed)
		}
		same, _ := json.Marshal(answer{
			DecisionID: string(d.ID[:]), CallID: clean(callID), Project: clean(project), Source: d.Source.String(), Reason: d.Reason.String(),
			Schema: orNil(scheme), DstPhone: strings.Join(texts, ","), Steps: append([]step{}, want...), Hook: orNil(hook),
			ElapsedMS: got.ElapsedMS, Next: clean(next), Repeated: next != "", Warnings: []string{clean(text), clean(callID)},
		})
		if back, _ := json.Marshal(got); !bytes.Equal(back, same) {
			t.Errorf("got\n%s\nwant\n%s", back, same)
		}

		var quoted bytes.Buffer
		e := json.NewEncoder(&quoted)
		e.SetEscapeHTML(false)
		_ = e.Encode(callID)
		if ours := appendQuoted(nil, callID); string(ours)+"\n" != quoted.String() {
			t.Errorf("%q: wrote %s; encoding/json writes %s", callID, ours, quoted.Bytes())
		}
	})
}

// clean is s after a journey through encoding/json.
func clean(s string) (back string) {
	text, _ := json.Marshal(s)
	_ = json.Unmarshal(text, &back)
	return back
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	s = clean(s)
	return &s
}
