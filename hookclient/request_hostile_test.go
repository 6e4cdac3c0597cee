package hookclient

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"hookswitch/schema"
)

// hostileTexts try to leave the place they are put in, in one format or another.
var hostileTexts = []string{
	"", " ", "380441112233", "a\r\nX-Evil: 1", "a\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", "\"", `\`, `\"`, `"},"x":{"y":"`, "a&b=c", "a=b", "a;b", "a+b c",
	"%0d%0a", "%", "%zz", "]]>", "<![CDATA[", "<!--", "-->", "</caller><evil/>", "&amp;", "&evil;", "<?xml?>", "a\x00b", "\x1b[2J", "\x7f", "\u0085", "\u2028",
	"\ufffd", "\ufffe", "\uffff", "\xff\xfe", "\xed\xa0\x80", "їжак\xd1", "𝄞", "{{caller}}", "{{", "..", ".", "../../etc", "a/b?c#d", "//evil.example", "@evil.example",
	"Caller", "POOL", "proper flag", "null", "true", "1e5", "007", "-", "[1", "{\"a\":1}", "[\"\\ud800\"]", "\ttab\t", strings.Repeat("\"<&\r\n", 100),
}

func TestHostileValuesStayInTheirPlace(t *testing.T) {
	kinds := hostileKinds(t)
	for i, value := range hostileTexts {
		for j := range 8 {
			name := hostileTexts[(i+7*j)%len(hostileTexts)]
			if err := kinds.stayInPlace(t, name, value); err != nil {
				t.Errorf("name %q, value %q: %v", name, value, err)
			}
		}
	}
}

// FuzzRequest: whatever a value and a custom parameter's name hold, each request is one request, and
// its receiver reads exactly what was put in.
func FuzzRequest(f *testing.F) {
	for i, text := range hostileTexts {
		f.Add(hostileTexts[(i+7)%len(hostileTexts)], text)
	}
	kinds := hostileKinds(f)
	f.Fuzz(func(t *testing.T, name, value string) {
		if err := kinds.stayInPlace(t, name, value); err != nil {
			t.Error(err)
		}
	})
}

// requestKinds are builders of every kind: with parameters by method and way of sending, and with a
// body's template by format.
type requestKinds struct {
	params    map[[2]string]*builder
	templates map[string]*builder
}

func hostileKinds(t testing.TB) requestKinds {
	kinds := requestKinds{map[[2]string]*builder{}, map[string]*builder{}}
	build := func(h *schema.Hook) *builder {
		b, err := newBuilder(h, "http://crm.example/a/{{caller}}/b?q={{caller}}", nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, send := range []string{"http", "headers", "json", "json-rpc", "form", "xml"} {
		for _, method := range []string{"GET", "POST"} {
			kinds.params[[2]string{method, send}] = build(&schema.Hook{Method: method, Send: send, RPCMethod: "route"})
		}
	}
	for send, body := range map[string]string{
		"json": `{"in":"<{{caller}}>","alone":{{caller}},"last":"{{pool}}"}`,
		"xml":  `<r a="{{caller}}" b='{{caller}}'><!--{{nobody}}--><t>{{caller}}</t><last>{{pool}}</last></r>`,
		"form": `v={{caller}}&last={{pool}}`,
	} {
		h := &schema.Hook{Method: "PUT", Send: send, Body: body}
		h.Headers = map[string]schema.Secret{"X-Who": schema.NewSecret("<{{caller}}>")}
		kinds.templates[send] = build(h)
	}
	return kinds
}

// stayInPlace builds requests of every kind with value as the caller, the campaign and a custom
// parameter called name, and reads them back with decoders that are not ours.
func (k requestKinds) stayInPlace(t testing.TB, name, value string) error {
	c := &schema.Call{}
	c.SetString(schema.ParamCaller, value)
	c.SetString(schema.ParamCampaign, value)
	c.SetString(schema.ParamPool, "last")
	c.Traceparent = value
	_, shared := schema.ParamNamedString(name)
	shared = shared || name == "q" // the URL's own query has one, too
	c.SetNamed([]byte(name), []byte(value))

	for kind, b := range k.params {
		method, send := kind[0], kind[1]
		if send == "json" && method == "GET" {
			send = "http" // its parameters travel in the query
		}
		raw := built(t, b, c)
		got, err := decodeRequest(send, raw)
		if err != nil {
			return fmt.Errorf("%s: %w in %q", kind, err, raw)
		}
		want := receivedAs(send, value)
		if v := got[sentName(send, "caller")]; v != want && value != "" {
			return fmt.Errorf("%s: the value arrived as %q; want %q", kind, v, want)
		}
		if v := got[sentName(send, "pool")]; v != "last" && name != "pool" {
			return fmt.Errorf("%s: what follows arrived as %q", kind, v)
		}
		_, taken := schema.ParamNamedString(string(appendXMLName(nil, name)))
		if err := customArrived(send, got, name, want); err != nil && !shared && !(send == "xml" && taken) {
			return fmt.Errorf("%s: %w in %q", kind, err, raw)
		}
	}
	for send, b := range k.templates {
		if err := templateHolds(send, built(t, b, c), c); err != nil {
			return fmt.Errorf("%s template: %w", send, err)
		}
	}
	return nil
}

// receivedAs is what a format makes of a value: all but the header and XML can hold anything.
func receivedAs(send, value string) string {
	switch send {
	case "headers":
		kept := []byte(value) // not runes: what is not UTF-8 stands as well
		for i, b := range kept {
			if b < ' ' || b == 0x7f {
				kept[i] = ' '
			}
		}
		return strings.Trim(string(kept), " ")
	case "json", "json-rpc":
		return string([]rune(value)) // a byte that is not UTF-8 becomes U+FFFD
	case "xml":
		return strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
				return -1
			}
			return r
		}, strings.ToValidUTF8(value, ""))
	}
	return value
}

// customArrived looks for a custom parameter under the name that a format makes of its own.
func customArrived(send string, got map[string]string, name, want string) error {
	switch send {
	case "headers":
		return nil // TestHeaderParamsLeaveOursAlone tells which names are not sent
	case "xml":
		for _, v := range got {
			if v == want {
				return nil
			}
		}
		return fmt.Errorf("no element holds %q", want)
	case "json", "json-rpc":
		name = string([]rune(name))
	}
	if v, sent := got[name]; !sent || v != want {
		return fmt.Errorf("the custom parameter arrived as %q; want %q", v, want)
	}
	return nil
}

// templateHolds reads back a value that was filled into a URL, a header and a body.
func templateHolds(send string, raw []byte, c *schema.Call) error {
	in := bufio.NewReader(bytes.NewReader(raw))
	r, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		return fmt.Errorf("%q follows the request", rest)
	}
	if err := urlHolds(r.RequestURI, c.Caller()); err != nil {
		return err
	}
	if who := r.Header.Get("X-Who"); !strings.HasPrefix(who, "<") || !strings.HasSuffix(who, ">") || len(r.Header.Values("X-Who")) != 1 {
		return fmt.Errorf("the header arrived as %q", who)
	}
	if err := bodyHolds(send, body, c.Caller(), c.Get(schema.ParamPool)); err != nil {
		return fmt.Errorf("%w in %q", err, body)
	}
	return nil
}

func urlHolds(uri, value string) error {
	path, query, _ := strings.Cut(uri, "?")
	segments := strings.Split(path, "/")
	if len(segments) != 4 || segments[1] != "a" || segments[3] != "b" {
		return fmt.Errorf("the path became %q", path)
	}
	want := value
	if value == "." || value == ".." {
		want = ""
	}
	if got, err := url.PathUnescape(segments[2]); err != nil || got != want {
		return fmt.Errorf("the path's value arrived as %q, %v; want %q", got, err, want)
	}
	if q, err := url.ParseQuery(query); err != nil || len(q) != 1 || q.Get("q") != value {
		return fmt.Errorf("the query arrived as %v, %v; want q=%q", q, err, value)
	}
	return nil
}

func bodyHolds(send string, body []byte, value, last string) error {
	switch send {
	case "json":
		var got struct {
			In    string          `json:"in"`
			Alone json.RawMessage `json:"alone"`
			Last  string          `json:"last"`
		}
		if !utf8.Valid(body) {
			return fmt.Errorf("not UTF-8")
		}
		if err := json.Unmarshal(body, &got); err != nil {
			return err
		}
		if want := "<" + string([]rune(value)) + ">"; got.In != want || got.Last != string([]rune(last)) {
			return fmt.Errorf("arrived as %q, %q; want %q, %q", got.In, got.Last, want, last)
		}
		var text string
		if json.Unmarshal(got.Alone, &text) == nil && string(got.Alone) != "null" && text != string([]rune(value)) {
			return fmt.Errorf("alone it arrived as %q", text)
		}
	case "xml":
		var got struct {
			A    string `xml:"a,attr"`
			B    string `xml:"b,attr"`
			T    string `xml:"t"`
			Last string `xml:"last"`
		}
		if err := xml.Unmarshal(body, &got); err != nil {
			return err
		}
		if want := receivedAs("xml", value); got.A != want || got.B != want || got.T != want || got.Last != receivedAs("xml", last) {
			return fmt.Errorf("arrived as %q; want %q", got, want)
		}
	case "form":
		got, err := url.ParseQuery(string(body))
		if err != nil || len(got) != 2 || got.Get("v") != value || got.Get("last") != last {
			return fmt.Errorf("arrived as %v, %v; want %q", got, err, value)
		}
	}
	return nil
}
