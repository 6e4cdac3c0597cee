package hookclient

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"hookswitch/schema"
)

// deliveryOfTests is as notify names deliveries.
const deliveryOfTests = "01JDXN3K2V8Q4Z6T9YB5M7C0RE-5"

// documentedEvent is a call that has ended, with values that need escaping everywhere.
func documentedEvent() *schema.Event {
	return &schema.Event{
		ID: "01JDXN3K2V8Q4Z6T9YB5M7C0RE", Project: "1001", Kind: "destroy", Direction: "inbound", CallID: "3333333333.3333333",
		At: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC),
		Values: []schema.Custom{
			{Name: "caller", Value: "380441112233"}, {Name: "callee", Value: "380442223344"}, {Name: "callid", Value: "3333333333.3333333"},
			{Name: "talktime", Value: "61"}, {Name: "source", Value: "a=b&c"}, {Name: "medium", Value: `"cpc" <b>`},
			{Name: "employee_fio", Value: "Іван\r\nX-Injected: 1"}, {Name: "userip", Value: "10.10.10.10"},
			{Name: "город", Value: "Київ"}, {Name: "payment", Value: `{"sum":380443334455,"items":[{"name":"a"},{"name":"Ґанок \"1\""}]}`},
			{Name: "variable_sip_user_agent", Value: "Jitsi"},
		},
	}
}

func constant(name, text string) schema.ParamRule { return schema.ParamRule{Name: name, Value: &text} }

// webhookSets are what the documents let a webhook send, each with what must arrive: a list's values are
// joined by "|", a member of an object is called object[member].
var webhookSets = map[string]struct {
	set  func(w *schema.Webhook)
	want map[string]string
}{
	"known": {func(*schema.Webhook) {}, map[string]string{
		"event": "destroy", "direction": "inbound", "callid": "3333333333.3333333", "caller": "380441112233", "callee": "380442223344",
		"date": "2026-02-03 06:05:06", "type": "in", "source": "a=b&c", "medium": `"cpc" <b>`, "userip": "10.10.10.10",
		"employee_fio": "Іван\r\nX-Injected: 1", "project_id": "1001", "talktime": "61", "город": "Київ",
		"payment": `{"sum":380443334455,"items":[{"name":"a"},{"name":"Ґанок \"1\""}]}`,
	}},
	// The documented monitoring API: renames, constants, a short direction.
	"constants": {
		func(w *schema.Webhook) {
			w.TypeStyle = "short"
			w.Fields = []schema.FieldRename{
				{Before: "call_id", After: "my_call_id"}, {Before: "direction", After: "my_direction"}, {Before: "to", After: "dest_number"},
				{Before: "город", After: "місто"}, {Before: "payment", After: "pay"},
			}
			w.Params = []schema.ParamRule{constant("my-param", "my-param value"), constant("source", "pbx & co"), constant("id", "{{event_id}}/{{attempt}}")}
			w.DateFormat = "unix"
		},
		map[string]string{
			"event": "destroy", "my_direction": "in", "my_call_id": "3333333333.3333333", "caller": "380441112233", "dest_number": "380442223344",
			"date": "1770091506", "type": "in", "medium": `"cpc" <b>`, "userip": "10.10.10.10", "employee_fio": "Іван\r\nX-Injected: 1",
			"project_id": "1001", "talktime": "61", "місто": "Київ", "pay": `{"sum":380443334455,"items":[{"name":"a"},{"name":"Ґанок \"1\""}]}`,
			"my-param": "my-param value", "source": "pbx & co", "id": "01JDXN3K2V8Q4Z6T9YB5M7C0RE/2",
		},
	},
	// Every kind of parameter; they are the whole of what is sent.
	"rules": {
		func(w *schema.Webhook) {
			w.Params = []schema.ParamRule{
				{Name: "what", Param: "event"}, {Name: "way", Param: "direction"}, {Name: "delivery", Param: "delivery_id"},
				{Name: "from", Param: "caller"}, {Name: "nobody", Param: "nobody-sent-this"}, {Name: "unknown", Param: "duration"},
				constant("note", "від {{caller}}: {{payment.items[1].name}}"),
				{Name: "md", Param: "caller", Hash: "md5"}, {Name: "crc", Param: "caller", Hash: "crc32"},
				{Name: "sha", Param: "caller", Hash: "sha1"}, {Name: "sha2", Param: "caller", Hash: "sha256"},
				{Name: "tags", List: []string{"source", "medium"}},
				{Name: "visitor", Object: []schema.ParamRule{
					{Name: "ip", Param: "userip"}, {Name: "ways", List: []string{"source", "город"}},
					{Name: "deep", Object: []schema.ParamRule{{Name: "er", Param: "employee_fio"}}},
				}},
				{Name: "day", Param: "date", DateFormat: "d.m.Y"}, {Name: "agent", Param: "variable_sip_user_agent"},
				{Name: "manager", Param: "manager"},
			}
		},
		map[string]string{
			"what": "destroy", "way": "inbound", "delivery": deliveryOfTests, "from": "380441112233", "nobody": "", "unknown": "",
			"note": `від 380441112233: Ґанок "1"`, "md": "3ab709363cd610a7331e8cabcc612bc2", "crc": "fb672889",
			"sha": "acc79df51d806d791e186179357cf340fc375bd3", "sha2": "2251d774b8552cadd01b832646f0c3daaddbfb7d5504cffb91fc26a90e709bc8",
			"tags": `a=b&c|"cpc" <b>`, "visitor[ip]": "10.10.10.10", "visitor[ways]": "a=b&c|Київ", "visitor[deep][er]": "Іван\r\nX-Injected: 1",
			"day": "03.02.2026", "agent": "Jitsi", "manager": "Олена",
		},
	},
}

var webhookTemplates = map[string]string{
	"json": `{"text": "{{event}} ({{direction}}) від {{employee_fio}}: {{medium}}", "sum": {{payment.sum}}, "none": {{nobody}}}`,
	"form": `text={{event}}+{{direction}}&from={{employee_fio}}&s={{source}}`,
	"xml":  `<call kind="{{event}}" from="{{medium}}"><who>{{employee_fio}}</who></call>`,
	"raw":  "{{event}} {{attempt}}: {{caller}} → {{callee}}, {{город}}\n",
}

// webhookAuths are the ways in which a request proves who sends it.
var webhookAuths = map[string]func(w *schema.Webhook){
	"none": func(*schema.Webhook) {},
	"basic": func(w *schema.Webhook) {
		w.Auth.Basic = &schema.BasicAuth{User: "ops", Password: schema.NewSecret("pässword")}
	},
	"bearer": func(w *schema.Webhook) {
		w.Auth.Bearer = schema.NewSecret("bearer-token")
		w.Headers = []schema.NamedSecret{{Name: "X-Key", Value: schema.NewSecret("k3y {{callid}} {{employee_fio}}")}, {Name: "content-type"}}
	},
	"signed": func(w *schema.Webhook) { w.Sign = schema.NewSecret(encodedSecret) },
	"rotating": func(w *schema.Webhook) {
		w.Sign, w.Sign2 = schema.NewSecret(encodedSecret), schema.NewSecret(textSecret)
	},
}

func documentedWebhook(method, body string, set ...func(*schema.Webhook)) *schema.Webhook {
	w := &schema.Webhook{}
	w.SetDefaults()
	w.ID, w.Event, w.Method, w.Body = 5, "destroy", method, body
	w.URL = "http://crm.example:8080/hook/{{callid}}/{{employee_fio}}?s={{source}}"
	for _, f := range set {
		f(w)
	}
	return w
}

var documentedProject = &schema.Project{ID: "1001", TZ: "Europe/Kyiv", AllowPrivateHooks: true}

// TestWebhooksOnTheWire holds every format, kind of parameter and way to prove who sends it to what a
// listener has really received, byte for byte and as the standard library reads it.
func TestWebhooksOnTheWire(t *testing.T) {
	for _, body := range []string{"json", "form", "xml", "json-rpc", "query"} {
		for set, s := range webhookSets {
			for auth, prove := range webhookAuths {
				t.Run(strings.Join([]string{set, body, auth}, "_"), func(t *testing.T) {
					raw := sendsGolden(t, documentedWebhook("POST", body, s.set, prove))
					holdsValues(t, body, raw, s.want)
				})
			}
		}
	}
	for body, text := range webhookTemplates {
		for auth, prove := range webhookAuths {
			t.Run(strings.Join([]string{"template", body, auth}, "_"), func(t *testing.T) {
				raw := sendsGolden(t, documentedWebhook("POST", body, func(w *schema.Webhook) { w.Template = text }, prove))
				if _, err := readBack(body, raw); body != "raw" && err != nil {
					t.Error(err)
				}
			})
		}
	}
	for _, method := range allMethods {
		t.Run("methods_"+method, func(t *testing.T) {
			body := "json"
			raw := sendsGolden(t, documentedWebhook(method, body))
			if method == "GET" {
				body = "query"
			}
			holdsValues(t, body, raw, webhookSets["known"].want)
		})
	}
}

// TestTheDocumentedMonitoringWebhook is the documented curl, word for word: its template is a name, and
// keeps neither the fields nor the constant from being sent.
func TestTheDocumentedMonitoringWebhook(t *testing.T) {
	sendsGolden(t, documentedWebhook("POST", "json", func(w *schema.Webhook) {
		w.URL, w.Event, w.TypeCall, w.Template = "http://my-url.com", "create", "all", "quos"
		w.Headers = []schema.NamedSecret{{Name: "Special-Header", Value: schema.NewSecret("header_value")}}
		w.Params = []schema.ParamRule{constant("special_parameter", "123")}
		w.Fields = []schema.FieldRename{{Before: "to", After: "dest_number"}}
	}))
}

// sendsGolden sends the documented event and compares what arrived with the test's golden file, in which
// what a signature says of the time stands as "now". The signature itself is verified.
func sendsGolden(t *testing.T, w *schema.Webhook) []byte {
	t.Helper()
	raw, sent := sendOnTheWire(t, w, documentedEvent(), `{"manager":"Олена"}`)
	if sent.Status != 200 || sent.Reason != schema.ReasonOK {
		t.Fatalf("sent: %+v", sent)
	}
	verifies(t, w, raw)
	stable := regexp.MustCompile(`(webhook-timestamp: )\d+|(webhook-signature: ).*`).ReplaceAll(raw, []byte("${1}${2}now"))
	golden(t, filepath.Join("testdata", "webhooks", strings.TrimPrefix(strings.ReplaceAll(t.Name(), "/", "_"), "TestWebhooksOnTheWire_")+".golden"), stable)
	return raw
}

// sendOnTheWire sends through the client that production uses to a listener of its own, whatever host
// the webhook names, and returns the bytes that arrived there.
func sendOnTheWire(t *testing.T, w *schema.Webhook, e *schema.Event, variables string) ([]byte, schema.Sent) {
	t.Helper()
	listener := listen(t, "127.0.0.1:0")
	defer listener.Close()
	received := make(chan []byte, 1)
	go func() { received <- receive(listener) }()
	ready := prepareWebhook(t, w, listener.Addr().String())
	sent := ready.Send(e, deliveryOfTests, 2, variables, time.Now().Add(10*time.Second))
	return <-received, sent
}

// prepareWebhook makes w ready; its connections go to addr, or where its URL says.
func prepareWebhook(t testing.TB, w *schema.Webhook, addr string) *Webhook {
	t.Helper()
	ready, err := New(nil).PrepareWebhook(documentedProject, w)
	if err != nil {
		t.Fatal(err)
	}
	if addr != "" {
		d, err := newDialer(addr, nil, guard(true), nil)
		if err != nil {
			t.Fatal(err)
		}
		ready.target.pool = newPool(d, 32)
	}
	t.Cleanup(ready.Close)
	return ready
}

// verifies asks the library of the standard's authors about every secret that w signs with.
func verifies(t *testing.T, w *schema.Webhook, raw []byte) {
	t.Helper()
	r, body := parsed(t, raw)
	signed := r.Header.Get("webhook-signature")
	if w.Sign.Reveal() == "" {
		if signed != "" {
			t.Errorf("a signature without a secret: %q", signed)
		}
		return
	}
	if id := r.Header.Get("webhook-id"); id != deliveryOfTests {
		t.Errorf("webhook-id %q; want the delivery's, %q", id, deliveryOfTests)
	}
	byCode, err := standardwebhooks.NewWebhook(encodedSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := byCode.Verify(body, r.Header); err != nil { // its timestamp is now's
		t.Errorf("with the secret in use: %v", err)
	}
	if w.Sign2.Reveal() == "" {
		return
	}
	byText, err := standardwebhooks.NewWebhookRaw([]byte(textSecret))
	if err != nil {
		t.Fatal(err)
	}
	if err := byText.Verify(body, r.Header); err != nil {
		t.Errorf("with the next secret: %v", err)
	}
}

func parsed(t *testing.T, raw []byte) (*http.Request, []byte) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.Header.Get("X-Injected") != "" {
		t.Error("a value became a header")
	}
	return r, body
}

func holdsValues(t *testing.T, body string, raw []byte, want map[string]string) {
	t.Helper()
	got, err := readBack(body, raw)
	if err != nil {
		t.Fatal(err)
	}
	if body == "query" {
		delete(got, "s") // of the URL's own query
	}
	if !maps.Equal(got, want) {
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s arrived as %q; want %q", name, got[name], want[name])
			}
		}
		for name := range got {
			if _, wanted := want[name]; !wanted {
				t.Errorf("%s arrived, as %q; want none", name, got[name])
			}
		}
	}
}

// readBack reads a request's parameters with the standard library: values of the same name joined by
// "|", a member of an object as object[member].
func readBack(body string, raw []byte) (map[string]string, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	got := values{}
	switch body {
	case "query", "form":
		query := string(text)
		if body == "query" {
			query = r.URL.RawQuery
		}
		parsed, err := url.ParseQuery(query)
		for name, list := range parsed {
			for _, v := range list {
				got.add(strings.TrimSuffix(name, "[]"), v)
			}
		}
		return got, err
	case "xml":
		return got, got.xml(text)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if body == "json-rpc" {
		if doc["jsonrpc"] != "2.0" || doc["method"] != "event" || doc["id"] != float64(rpcID(deliveryOfTests)) {
			return nil, fmt.Errorf("JSON-RPC envelope %v", doc)
		}
		doc, _ = doc["params"].(map[string]any)
	}
	got.json("", doc)
	return got, nil
}

type values map[string]string

func (f values) add(name, value string) {
	if before, twice := f[name]; twice {
		value = before + "|" + value
	}
	f[name] = value
}

func (f values) json(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if path != "" {
				name = path + "[" + name + "]"
			}
			f.json(name, inner)
		}
	case []any:
		for _, inner := range v {
			f.json(path, inner)
		}
	default:
		f.add(path, fmt.Sprint(v))
	}
}

// xml reads elements within the root; only the innermost have text.
func (f values) xml(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	var path []string
	var value strings.Builder
	leaf := false
	for {
		token, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if len(path) > 1 {
				path = append(path, "["+token.Name.Local+"]")
			} else {
				path = append(path, token.Name.Local)
			}
			value.Reset()
			leaf = true
		case xml.CharData:
			value.Write(token)
		case xml.EndElement:
			if leaf && len(path) > 1 {
				f.add(strings.Join(path[1:], ""), value.String())
			}
			path, leaf = path[:len(path)-1], false
		}
	}
}
