package hookclient

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

var update = flag.Bool("update", false, "rewrite the golden requests in testdata/requests")

// requestTime is when every request of these tests is made, and requestID its id.
var requestTime = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

const requestID = 42

var (
	allMethods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	allSends   = []string{"http", "headers", "json", "json-rpc", "form", "xml", "raw"}
)

// documentedCall has a value for every catalogue parameter, those of the source document's example
// first among them, and two custom parameters.
func documentedCall() *schema.Call {
	c := &schema.Call{}
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		c.SetString(p, "значення "+p.Name()) // for what the example doesn't have
	}
	for name, value := range map[string]string{
		"caller": "380441112233", "callee": "380442223344", "date": "2018-08-13 11:11:11", "type": "in",
		"callnum": "1", "source": "ringostat", "medium": "support", "campaign": "webhook_number",
		"term": "ключове слово", "content": "simple & \"quoted\" <test>", "record": "3333333333.3333333",
		"useruuid": "1479099944.1534841744", "userip": "10.10.10.10", "callroute": "webhookNumber:90",
		"uniquefirst": "1", "lastpage": "ringostat.com/?utm_source=ringostat&utm_medium=support&utm_term=test",
		"landing":     "ringostat.com/?utm_source=ringostat&utm_medium=support&utm_term=test",
		"replacetype": "dynamic", "gaid": "UA-11111111-1", "fullnum": "+380441112233", "ivrnum": "3",
		"callid": "3333333333.3333333", "custom": "http://ringostat.com/?utm_source=ringostat", "roistat": "17541",
		"employee_fio": "Иван Иванов", "department": "Отдел продаж", "proper_flag": "1", "repeated_flag": "0",
		"staffid": "1111", "outbound_number": "380671234567",
		"useragent":  "Mozilla/5.0 (Linux; Android 8.0.0; LND-L29; wv) AppleWebKit/537.36 (KHTML, like Gecko)",
		"project_id": "0000", "add_num_id": "102", "E164": "+380561234567", "agent_id": "1111",
		"recording_wav": "https://app.ringostat.com/recordings/ua8_-1.1.wav?token=46",
		"duration":      "0", "talktime": "0",
	} {
		c.SetNamed([]byte(name), []byte(value))
	}
	c.SetNamed([]byte("город"), []byte("Київ"))
	c.SetNamed([]byte("order[id]"), []byte("№ 7"))
	return c
}

// documentedHook sends the whole catalogue.
func documentedHook(method, send string) *schema.Hook {
	h := &schema.Hook{}
	h.SetDefaults()
	h.Method, h.Send = method, send
	if send == "raw" {
		var body strings.Builder
		for p := schema.Param(0); p < schema.ParamCount; p++ {
			fmt.Fprintf(&body, "%s: {{%[1]s}}\n", p.Name())
		}
		h.Body = body.String() + "город: {{город}}\n"
	}
	return h
}

// rulesHook sends parameters of every kind, under names in Cyrillic too.
func rulesHook(method, send string) *schema.Hook {
	h := documentedHook(method, send)
	text := func(s string) *string { return &s }
	h.Params = []schema.ParamRule{
		{Name: "from", Param: "caller"},
		{Name: "номер", Param: "callee"},
		{Name: "місто клієнта", Param: "город"},
		{Name: "nobody", Param: "nobody-sent-this"},
		{Name: "note", Value: text("від {{caller}} до {{callee}}, {{payment.items[1].name}}")},
		{Name: "constant", Value: text("a=b&c")},
		{Name: "id", Param: "callid", Hash: "sha256"},
		{Name: "crc", Param: "caller", Hash: "crc32"},
		{Name: "md", Value: text("{{caller}}:секрет"), Hash: "md5"},
		{Name: "sha", Param: "employee_fio", Hash: "sha1"},
		{Name: "tags", List: []string{"source", "medium", "department"}},
		{Name: "visitor", Object: []schema.ParamRule{
			{Name: "ip", Param: "userip"},
			{Name: "сторінки", List: []string{"lastpage", "landing"}},
			{Name: "deep", Object: []schema.ParamRule{{Name: "er", Object: []schema.ParamRule{{Name: "ім'я", Param: "employee_fio"}}}}},
		}},
		{Name: "when", Param: "date"},
		{Name: "day", Param: "date", DateFormat: "d.m.Y"},
		{Name: "stamp", Param: "date", DateFormat: "unix"},
	}
	if send == "raw" {
		h.Body = `{"who": "{{caller}} — {{employee_fio}}", "sum": {{payment.sum}}, "at": "{{date}}", "none": {{nobody}}}`
		h.ContentType = "application/json"
	}
	h.Headers = map[string]schema.Secret{
		"X-Api-Key": schema.NewSecret("s3cr3t-key"), "x-department": schema.NewSecret("{{department}} / {{callid}}"),
	}
	h.Auth.Bearer = schema.NewSecret("bearer-token")
	h.Sign = schema.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	h.Sign2 = schema.NewSecret("the next secret")
	return h
}

// rulesCall knows no date, so that ours is sent.
func rulesCall() *schema.Call {
	c, full := &schema.Call{}, documentedCall()
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		if p != schema.ParamDate {
			c.SetString(p, full.Get(p))
		}
	}
	c.SetNamed([]byte("город"), []byte("Київ"))
	c.SetNamed([]byte("payment"), []byte(`{"sum":380443334455,"items":[{"name":"a"},{"name":"Ґанок \"1\""}]}`))
	c.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	return c
}

// TestRequestsOnTheWire holds every parameter of the catalogue, for every method and way of
// sending, and every kind of rule, to what a listener has really received, byte for byte.
func TestRequestsOnTheWire(t *testing.T) {
	kyiv, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string]struct {
		hook func(method, send string) *schema.Hook
		call *schema.Call
		url  string
	}{
		"catalogue": {documentedHook, documentedCall(), "http://crm.example/route?key=%D1%8F"},
		"rules":     {rulesHook, rulesCall(), "http://crm.example:8080/шлях/{{callid}}/{{город}}?q={{department}}"},
	}
	for set, s := range sets {
		for _, method := range allMethods {
			for _, send := range allSends {
				name := set + "_" + method + "_" + send
				t.Run(name, func(t *testing.T) {
					b, err := newBuilder(s.hook(method, send), s.url, kyiv)
					if err != nil {
						t.Fatal(err)
					}
					got := onTheWire(t, b, s.call)
					golden(t, filepath.Join("testdata", "requests", name+".http"), got)
					if set == "catalogue" {
						holdsCatalogue(t, send, got, s.call)
					}
				})
			}
		}
	}
}

// golden compares with a file, or rewrites it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the request differs from %s:\n%s\nwant:\n%s", path, got, want)
	}
}

// onTheWire sends a request through the client that production uses, to a listener of its own, and
// returns the bytes that arrived there.
func onTheWire(t *testing.T, b *builder, c *schema.Call) []byte {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	received := make(chan []byte, 1)
	go func() { received <- receive(listener) }()

	addr := listener.Addr().String()
	d, err := newDialer(addr, nil, guard(true), nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := newPool(d, 1)
	defer pool.close()
	req := b.build(c, requestTime, requestID)
	defer req.release()
	now := time.Now()
	to := &target{maxAnswer: 1 << 20, pool: pool}
	var a schema.Answer
	resp, err := to.exchange(pool, req, &a, now, now.Add(10*time.Second))
	if err != nil {
		t.Fatalf("sending: %v", err)
	}
	to.release(&resp, a.At, false)
	return <-received
}

// receive takes one request from the first connection, as it comes, and answers it.
func receive(listener net.Listener) []byte {
	conn, err := listener.Accept()
	if err != nil {
		return nil
	}
	defer conn.Close()
	var raw bytes.Buffer
	r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw)))
	if err != nil {
		return raw.Bytes()
	}
	io.Copy(io.Discard, r.Body)
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	return raw.Bytes()
}

// holdsCatalogue reads a request with decoders that are not ours, and compares every parameter.
func holdsCatalogue(t *testing.T, send string, raw []byte, c *schema.Call) {
	t.Helper()
	got, err := decodeRequest(send, raw)
	if err != nil {
		t.Fatal(err)
	}
	for p := schema.Param(0); p < schema.ParamCount; p++ {
		if v, sent := got[sentName(send, p.Name())]; !sent || v != c.Get(p) {
			t.Errorf("%s arrived as %q; want %q", p.Name(), v, c.Get(p))
		}
	}
	for _, custom := range c.Customs() {
		if send == "raw" && custom.Name == "order[id]" {
			continue // no tag can name it
		}
		if v, sent := got[sentName(send, custom.Name)]; !sent || v != custom.Value {
			t.Errorf("custom parameter %s arrived as %q; want %q", custom.Name, v, custom.Value)
		}
	}
}

// sentName is the name under which decodeRequest gives back a parameter.
func sentName(send, name string) string {
	switch send {
	case "headers":
		return http.CanonicalHeaderKey(url.PathEscape(name))
	case "xml":
		return strings.NewReplacer("[", "_", "]", "_").Replace(name)
	}
	return name
}

// decodeRequest reads flat parameters out of one request, which must be all there is.
func decodeRequest(send string, raw []byte) (map[string]string, error) {
	in := bufio.NewReader(bytes.NewReader(raw))
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		return nil, fmt.Errorf("%q follows the request", rest)
	}
	got := map[string]string{}
	switch {
	case send == "headers":
		for name, values := range r.Header {
			if len(values) > 1 {
				return nil, fmt.Errorf("header %s is there %d times", name, len(values))
			}
		}
		return flatten(r.Header), nil
	case len(body) == 0:
		values, err := url.ParseQuery(r.URL.RawQuery)
		return flatten(values), err
	case send == "json":
		return got, json.Unmarshal(body, &got)
	case send == "json-rpc":
		rpc := struct {
			JSONRPC, Method string
			Params          map[string]string
			ID              uint64
		}{}
		err := json.Unmarshal(body, &rpc)
		if err == nil && (rpc.JSONRPC != "2.0" || rpc.Method != "route" || rpc.ID != requestID) {
			err = fmt.Errorf("JSON-RPC envelope %+v", rpc)
		}
		return rpc.Params, err
	case send == "xml":
		return decodeXML(body)
	case send == "raw":
		for line := range strings.Lines(string(body)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			got[name] = value
		}
		return got, nil
	}
	values, err := url.ParseQuery(string(body))
	return flatten(values), err
}

func flatten(values map[string][]string) map[string]string {
	flat := map[string]string{}
	for name, v := range values {
		flat[name] = strings.Join(v, "\x00")
	}
	return flat
}

// decodeXML reads <request><name>value</name>…</request>.
func decodeXML(body []byte) (map[string]string, error) {
	var doc struct {
		XMLName xml.Name `xml:"request"`
		Params  []struct {
			XMLName xml.Name
			Value   string     `xml:",chardata"`
			Inside  []xml.Name `xml:",any"`
		} `xml:",any"`
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the document: %v", err)
	}
	got := map[string]string{}
	for _, p := range doc.Params {
		if len(p.Inside) > 0 {
			return nil, fmt.Errorf("elements within <%s>", p.XMLName.Local)
		}
		if _, twice := got[p.XMLName.Local]; twice {
			return nil, fmt.Errorf("<%s> is there twice", p.XMLName.Local)
		}
		got[p.XMLName.Local] = p.Value
	}
	return got, nil
}
