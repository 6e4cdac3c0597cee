package hookclient

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hookswitch/schema"
)

// built returns the bytes of a request.
func built(t testing.TB, b *builder, c *schema.Call) []byte {
	t.Helper()
	req := b.build(c, requestTime, requestID)
	defer req.release()
	return bytes.Clone(req.raw)
}

// builtAs builds one request of a hook with its defaults changed by set, and reads it back.
func builtAs(t *testing.T, url string, c *schema.Call, set func(*schema.Hook)) *http.Request {
	t.Helper()
	h := &schema.Hook{}
	h.SetDefaults()
	if set != nil {
		set(h)
	}
	b, err := newBuilder(h, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(built(t, b, c))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func smallCall() *schema.Call {
	c := &schema.Call{}
	c.SetString(schema.ParamCaller, "380441112233")
	c.SetString(schema.ParamDate, "")
	return c
}

func secrets(pairs ...string) map[string]schema.Secret {
	m := map[string]schema.Secret{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = schema.NewSecret(pairs[i+1])
	}
	return m
}

func TestAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		url, addr, host, header, uri string
		isTLS                        bool
	}{
		"http has port 80":                {"http://crm.example", "crm.example:80", "crm.example", "crm.example", "/", false},
		"https has port 443":              {"https://crm.example/a", "crm.example:443", "crm.example", "crm.example", "/a", true},
		"a port of its own":               {"http://11.111.111.11:80/x", "11.111.111.11:80", "11.111.111.11", "11.111.111.11:80", "/x", false},
		"IPv6":                            {"http://[::1]/x", "[::1]:80", "::1", "[::1]", "/x", false},
		"IPv6 with a port":                {"https://[2001:db8::7]:8443/x", "[2001:db8::7]:8443", "2001:db8::7", "[2001:db8::7]:8443", "/x", true},
		"capitals in scheme and host":     {"HTTP://CRM.Example/X", "crm.example:80", "crm.example", "crm.example", "/X", false},
		"a host in Cyrillic":              {"https://приклад.укр/х", "xn--80aikifvh.xn--j1amh:443", "xn--80aikifvh.xn--j1amh", "xn--80aikifvh.xn--j1amh", "/%D1%85", true},
		"a name with an underscore":       {"http://crm_test:8080", "crm_test:8080", "crm_test", "crm_test:8080", "/", false},
		"a fragment is not sent":          {"http://a.example/p?q=1#top", "a.example:80", "a.example", "a.example", "/p?q=1", false},
		"a query without a path":          {"http://a.example?q=1", "a.example:80", "a.example", "a.example", "/?q=1", false},
		"the path stays as configured":    {"http://a.example//b/./c/../d%2Fe?x=%20y&z[]=1", "a.example:80", "a.example", "a.example", "//b/./c/../d%2Fe?x=%20y&z[]=1", false},
		"blanks and letters are encoded":  {"http://a.example/до дому?м=Київ 1", "a.example:80", "a.example", "a.example", "/%D0%B4%D0%BE%20%D0%B4%D0%BE%D0%BC%D1%83?%D0%BC=%D0%9A%D0%B8%D1%97%D0%B2%201", false},
		"userinfo is no part of the host": {"http://u:p@a.example/", "a.example:80", "a.example", "a.example", "/", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := &schema.Hook{Method: "GET", Send: "raw"}
			b, err := newBuilder(h, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b.addr != tc.addr || b.host != tc.host || b.isTLS != tc.isTLS {
				t.Errorf("connects to %q, host %q, TLS %v; want %q, %q, %v", b.addr, b.host, b.isTLS, tc.addr, tc.host, tc.isTLS)
			}
			want := "GET " + tc.uri + " HTTP/1.1\r\n"
			if got := string(built(t, b, smallCall())); !strings.HasPrefix(got, want) || !strings.Contains(got, "\r\nHost: "+tc.header+"\r\n") {
				t.Errorf("sends\n%s\nwant %q and Host %q", got, want, tc.header)
			}
		})
	}
}

func TestBuilderRefuses(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, tc := range map[string]struct {
		url  string
		set  func(*schema.Hook)
		want string
	}{
		"a URL without scheme":       {"crm.example/x", nil, "want http://host/path or https://host/path"},
		"another scheme":             {"ftp://crm.example/x", nil, "want http://host/path or https://host/path"},
		"no host":                    {"http:///x", nil, "no host"},
		"a tag in the host":          {"http://{{pool}}.example/x", nil, "a tag in the host or port"},
		"a tag in the port":          {"http://a.example:{{pool}}/x", nil, "a tag in the host or port"},
		"a port too high":            {"http://a.example:70000/x", nil, `port "70000"; want 1 to 65535`},
		"port 0":                     {"http://a.example:0/x", nil, `port "0"; want 1 to 65535`},
		"a blank in the host":        {"http://a b/x", nil, "bad host or port"},
		"a host that is none":        {"http://a!b/x", nil, `host "a!b" is neither a name nor an address`},
		"an address with a zone":     {"http://[fe80::1%25eth0]/x", nil, "has a zone"},
		"an unclosed tag in the URL": {"http://a.example/{{caller", nil, `unclosed tag "{{caller"`},
		"an unknown method":          {"", func(h *schema.Hook) { h.Method = "FETCH" }, `method: found "FETCH"; want GET`},
		"an unknown way of sending":  {"", func(h *schema.Hook) { h.Send = "soap" }, `send: found "soap"; want http`},
		"json-rpc without a method":  {"", func(h *schema.Hook) { h.Send, h.RPCMethod = "json-rpc", "" }, "rpc_method: empty"},
		"a body that can't be sent":  {"", func(h *schema.Hook) { h.Body = "x" }, "body: GET with send http has no body"},
		"a param without a name":     {"", func(h *schema.Hook) { h.Params = []schema.ParamRule{{Param: "caller"}} }, "params[0].name: empty"},
		"a param without a source":   {"", func(h *schema.Hook) { h.Params = []schema.ParamRule{{Name: "a"}} }, "params[0]: nothing says what to send"},
		"an unknown hash, deep down": {"", func(h *schema.Hook) {
			h.Params = []schema.ParamRule{{Name: "a", Object: []schema.ParamRule{{Name: "b", Param: "c", Hash: "rot13"}}}}
		}, `params[0].object[0].hash: found "rot13"; want md5`},
		"an unknown letter in a date": {"", func(h *schema.Hook) { h.Params = []schema.ParamRule{{Name: "a", Param: "date", DateFormat: "Q"}} }, `params[0].date_format: letter 'Q'`},
		"a bad tag in a value":        {"", func(h *schema.Hook) { h.Params = []schema.ParamRule{{Name: "a", Value: text("{{}}")}} }, "params[0].value: empty tag"},
		"a bad date format":           {"", func(h *schema.Hook) { h.DateFormat = "whenever" }, "date_format: letter 'w'"},
		"a bad header name":           {"", func(h *schema.Hook) { h.Headers = secrets("X Y", "z") }, `headers: "X Y" cannot be sent`},
		"a header of the framing":     {"", func(h *schema.Hook) { h.Headers = secrets("content-length", "5") }, `headers: "content-length" cannot be sent`},
		"a bad tag in a header":       {"", func(h *schema.Hook) { h.Headers = secrets("X-A", "{{a b}}") }, `headers.X-A: tag "{{a b}}"`},
		"a tag in Host":               {"", func(h *schema.Hook) { h.Headers = secrets("host", "{{caller}}") }, "headers.Host: found a tag"},
		"two ways to authorise": {"", func(h *schema.Hook) {
			h.Auth = schema.Auth{Basic: &schema.BasicAuth{User: "u"}, Bearer: schema.NewSecret("t")}
		}, "auth: found basic and bearer"},
		"a colon in the user": {"", func(h *schema.Hook) { h.Auth.Basic = &schema.BasicAuth{User: "a:b"} }, "auth.basic.user"},
		"a JSON body that isn't JSON": {"", func(h *schema.Hook) {
			h.Method, h.Send, h.Body = "POST", "json", `{"a": {{caller}}`
		}, "body: text that is not JSON"},
		"an XML body that isn't XML": {"", func(h *schema.Hook) { h.Method, h.Send, h.Body = "POST", "xml", `<a>{{caller}}</b>` }, "body: text that is not XML"},
		"a bad signing secret":       {"", func(h *schema.Hook) { h.Sign = schema.NewSecret("whsec_!!!") }, "sign: what follows whsec_ is not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &schema.Hook{}
			h.SetDefaults()
			if tc.set != nil {
				tc.set(h)
			}
			url := tc.url
			if url == "" {
				url = "http://crm.example/x"
			}
			_, err := newBuilder(h, url, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v; want one with %q", err, tc.want)
			}
		})
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	for _, url := range []string{"http://u:hunter2@a b/", "http://u:hunter2@a:99999/", "http://u:hunter2@/x", "http://u:hunter2@a!b/", "http://u:hunter2@h/{{"} {
		_, err := newBuilder(&schema.Hook{Method: "GET", Send: "raw", Sign: schema.NewSecret("whsec_hunter2!")}, url, nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v; want one without the password", url, err)
		}
	}
}

func TestHeadersOfARequest(t *testing.T) {
	for name, tc := range map[string]struct {
		url  string
		set  func(*schema.Hook)
		want map[string]string // "" says that the header is not there
	}{
		"the usual ones": {"", nil, map[string]string{"User-Agent": "hookswitch/1", "Accept": "*/*", "Accept-Encoding": "gzip, br", "Content-Type": "", "Authorization": ""}},
		"json wants json": {"", func(h *schema.Hook) { h.Method, h.Send = "POST", "json" },
			map[string]string{"Accept": "application/json", "Content-Type": "application/json"}},
		"another content type": {"", func(h *schema.Hook) { h.Method, h.Send, h.ContentType = "POST", "json", "application/vnd.crm+json" },
			map[string]string{"Content-Type": "application/vnd.crm+json"}},
		"no content type": {"", func(h *schema.Hook) { h.Method, h.Send, h.ContentType = "POST", "json", "none" }, map[string]string{"Content-Type": ""}},
		"a content type among the headers": {"", func(h *schema.Hook) { h.Method, h.Headers = "POST", secrets("content-type", "text/x") },
			map[string]string{"Content-Type": "text/x"}},
		"a content type removed among the headers": {"", func(h *schema.Hook) { h.Method, h.Headers = "POST", secrets("Content-Type", "") },
			map[string]string{"Content-Type": ""}},
		"replaced and removed": {"", func(h *schema.Hook) {
			h.Headers = secrets("user-agent", "", "accept", "text/html", "Accept-Encoding", "")
		}, map[string]string{"User-Agent": "", "Accept": "text/html", "Accept-Encoding": ""}},
		"another host": {"", func(h *schema.Hook) { h.Headers = secrets("Host", "tenant.example") }, map[string]string{"Host": "tenant.example"}},
		"filled in":    {"", func(h *schema.Hook) { h.Headers = secrets("X-Who", " {{caller}};{{date}} ") }, map[string]string{"X-Who": "380441112233;"}},
		"bearer":       {"", func(h *schema.Hook) { h.Auth.Bearer = schema.NewSecret("t{{caller}}") }, map[string]string{"Authorization": "Bearer t{{caller}}"}},
		"basic": {"", func(h *schema.Hook) {
			h.Auth.Basic = &schema.BasicAuth{User: "Aladdin", Password: schema.NewSecret("open sesame")}
		}, map[string]string{"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
		"basic from the URL": {"http://Aladdin:open%20sesame@crm.example/", nil, map[string]string{"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
		"a header before auth": {"", func(h *schema.Hook) {
			h.Auth.Bearer, h.Headers = schema.NewSecret("t"), secrets("authorization", "Custom x")
		}, map[string]string{"Authorization": "Custom x"}},
		"a raw body is text":      {"", func(h *schema.Hook) { h.Method, h.Send, h.Body = "POST", "raw", "x" }, map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		"no trace without one":    {"", nil, map[string]string{"Traceparent": ""}},
		"no signature by default": {"", nil, map[string]string{"Webhook-Signature": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			url := tc.url
			if url == "" {
				url = "http://crm.example/"
			}
			r := builtAs(t, url, smallCall(), tc.set)
			r.Header.Set("Host", r.Host)
			for header, want := range tc.want {
				if got := r.Header.Values(header); strings.Join(got, "|") != want || want == "" && got != nil {
					t.Errorf("%s: %q; want %q", header, got, want)
				}
			}
		})
	}
}

// What is sent twice under one name reaches many a server as one value, joined by a comma.
func TestACustomParameterIsNotSentUnderANameThatIsTaken(t *testing.T) {
	type sent = map[string]string
	for name, tc := range map[string]struct {
		send    string
		customs []string // names; each one's value is its place, from 1
		want    sent     // of the customs
	}{
		"a header beside one of the catalogue":           {"headers", []string{"Caller", "CallerCity"}, sent{"Callercity": "2"}},
		"a header of the catalogue's that is not sent":   {"headers", []string{"Callee", "CALLEE"}, sent{"Callee": "1"}},
		"headers that differ in case":                    {"headers", []string{"X-a", "x-A", "X-a-b", "X-b"}, sent{"X-A": "1", "X-A-B": "3", "X-B": "4"}},
		"headers that only Unicode calls the same":       {"headers", []string{"k", "\u212a"}, sent{"K": "1", "%e2%84%aa": "2"}},
		"an element beside one of the catalogue":         {"xml", []string{"proper flag", "proper:flag", "Caller"}, sent{"Caller": "3"}},
		"an element of the catalogue's that is not sent": {"xml", []string{"project id", "project:id"}, sent{"project_id": "1"}},
		"elements that are written the same":             {"xml", []string{"місто a", "місто:a", "1", "_1", "", "名", "_"}, sent{"місто_a": "1", "_1": "3", "_": "5"}},
		"JSON, where each name is its own":               {"json", []string{"Caller", "project id", "project:id"}, sent{"Caller": "1", "project id": "2", "project:id": "3"}},
		"a form, where each name is its own":             {"form", []string{"Caller", "project id", "project:id"}, sent{"Caller": "1", "project id": "2", "project:id": "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := smallCall()
			for i, custom := range tc.customs {
				c.SetNamed([]byte(custom), strconv.AppendInt(nil, int64(i+1), 10))
			}
			b, err := newBuilder(&schema.Hook{Method: "POST", Send: tc.send}, "http://crm.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			raw := built(t, b, c)
			got, err := decodeRequest(tc.send, raw)
			if err != nil {
				t.Fatalf("%v in %q", err, raw)
			}
			if caller := got[sentName(tc.send, "caller")]; caller != c.Caller() {
				t.Errorf("the caller arrived as %q", caller)
			}
			maps.DeleteFunc(got, func(_, v string) bool { return len(v) != 1 || v == "0" })
			if !maps.Equal(got, tc.want) {
				t.Errorf("got %v; want %v", got, tc.want)
			}
		})
	}
}

func TestHeaderParamsLeaveOursAlone(t *testing.T) {
	c := smallCall()
	for _, name := range []string{"Host", "content-length", "Transfer-Encoding", "CONNECTION", "authorization", "X-Api-Key", "trailer", "webhook-signature", "cookie", ""} {
		c.SetNamed([]byte(name), []byte("evil"))
	}
	c.SetNamed([]byte("x-fine"), []byte("fine"))
	set := func(h *schema.Hook) {
		h.Send, h.Headers = "headers", secrets("X-Api-Key", "k")
	}
	r := builtAs(t, "http://crm.example/", c, set)
	if r.Host != "crm.example" || r.Header.Get("X-Api-Key") != "k" || r.Header.Get("X-Fine") != "fine" {
		t.Errorf("host %q, headers %v", r.Host, r.Header)
	}
	for name, values := range r.Header {
		if strings.Contains(strings.Join(values, ""), "evil") {
			t.Errorf("header %s was taken over: %q", name, values)
		}
	}
	r = builtAs(t, "http://crm.example/", c, func(h *schema.Hook) {
		set(h)
		h.Params = []schema.ParamRule{{Name: "Host", Param: "caller"}, {Name: "x-api-key", Param: "caller"}, {Name: "n", Param: "caller"}}
	})
	if r.Host != "crm.example" || r.Header.Get("X-Api-Key") != "k" || r.Header.Get("N") != "380441112233" {
		t.Errorf("with rules: host %q, headers %v", r.Host, r.Header)
	}
}

func TestUnknownValuesAreLeftOutUnlessAskedFor(t *testing.T) {
	r := builtAs(t, "http://crm.example/", smallCall(), nil)
	if want := "caller=380441112233&type=in&proper_flag=0&repeated_flag=0&duration=0&talktime=0"; r.URL.RawQuery != want {
		t.Errorf("without params: %q; want %q", r.URL.RawQuery, want)
	}
	r = builtAs(t, "http://crm.example/?", smallCall(), func(h *schema.Hook) {
		h.Params = []schema.ParamRule{{Name: "cat", Param: "category"}, {Name: "x", Param: "nobody"}, {Name: "d", Param: "duration"}}
	})
	if want := "cat=&x=&d=0"; r.URL.RawQuery != want {
		t.Errorf("with params: %q; want %q", r.URL.RawQuery, want)
	}
}

func TestDateIsOursWhereThePBXHasNone(t *testing.T) {
	for name, tc := range map[string]struct {
		said, format, ruleFormat, want string
		zone                           *time.Location
	}{
		"what the PBX said":           {"вчора", "2006", "unix", "вчора", nil},
		"the documented form, in UTC": {"", "", "", "2026-02-03 04:05:06", nil},
		"in the hook's zone":          {"", "", "", "2026-02-03 06:05:06", time.FixedZone("EET", 7200)},
		"the hook's format":           {"", "02/01/06", "", "03/02/26", nil},
		"the rule's format":           {"", "02/01/06", "H:i", "04:05", nil},
		"PHP's with an escape":        {"", `Y-m-d\TH:i:sP`, "", "2026-02-03T04:05:06+00:00", nil},
		"seconds since 1970":          {"", "unix", "", "1770091506", nil},
		"PHP's seconds since 1970":    {"", "U", "", "1770091506", nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := &schema.Hook{Method: "POST", Send: "raw", Body: "{{date}}", DateFormat: tc.format}
			if tc.ruleFormat != "" {
				h.Send, h.Body, h.Params = "form", "", []schema.ParamRule{{Name: "d", Param: "date", DateFormat: tc.ruleFormat}}
				tc.want = "d=" + string(appendQuery(nil, tc.want))
			}
			b, err := newBuilder(h, "http://crm.example/", tc.zone)
			if err != nil {
				t.Fatal(err)
			}
			c := &schema.Call{}
			if tc.said != "" {
				c.SetString(schema.ParamDate, tc.said)
			}
			_, body, _ := strings.Cut(string(built(t, b, c)), "\r\n\r\n")
			if body != tc.want {
				t.Errorf("sent %q; want %q", body, tc.want)
			}
		})
	}
}

func TestBodyTemplates(t *testing.T) {
	for name, tc := range map[string]struct{ send, contentType, body, want string }{
		"json, in a string and alone":    {"json", "", `{"t":"\"{{v}}\"","n":{{caller}},"s":{{v}},"o":{{o}},"e":{{nobody}},"z":{{zero}}}`, `{"t":"\"a\"\u0009<&>\"","n":380441112233,"s":"a\"\u0009<&>","o":{"k":[1]},"e":null,"z":"007"}`},
		"xml, in text and in attributes": {"xml", "", `<a b="{{v}}">{{v}}</a>`, `<a b="a&#34;&#x9;&lt;&amp;&gt;">a&#34;&#x9;&lt;&amp;&gt;</a>`},
		"form":                           {"form", "", `x={{v}}&y=1`, `x=a%22%09%3C%26%3E&y=1`},
		"http by POST":                   {"http", "", `x={{v}}`, `x=a%22%09%3C%26%3E`},
		"raw is as it is":                {"raw", "", `<{{v}}>`, "<a\"\t<&>>"},
		"raw JSON":                       {"raw", "application/json; charset=utf-8", `["{{v}}"]`, `["a\"\u0009<&>"]`},
		"raw XML":                        {"raw", "text/xml", `<a>{{v}}</a>`, `<a>a&#34;&#x9;&lt;&amp;&gt;</a>`},
		"raw form":                       {"raw", "application/x-www-form-urlencoded", `x={{v}}`, `x=a%22%09%3C%26%3E`},
		"json-rpc with its own params":   {"json-rpc", "", `["{{caller}}"]`, `{"jsonrpc":"2.0","method":"route","params":["380441112233"],"id":42}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := &schema.Hook{Method: "POST", Send: tc.send, Body: tc.body, ContentType: tc.contentType, RPCMethod: "route"}
			b, err := newBuilder(h, "http://crm.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			c := smallCall()
			for name, v := range map[string]string{"v": "a\"\t<&>", "o": `{"k":[1]}`, "zero": "007"} {
				c.SetNamed([]byte(name), []byte(v))
			}
			_, body, _ := strings.Cut(string(built(t, b, c)), "\r\n\r\n")
			if want := strings.ReplaceAll(tc.want, `\u0009`, `\t`); body != want {
				t.Errorf("sent %q; want %q", body, want)
			}
		})
	}
}

func TestTagsInTheURL(t *testing.T) {
	c := smallCall()
	c.SetNamed([]byte("v"), []byte("a/b?c#d&e=f %2F."))
	c.SetNamed([]byte("up"), []byte(".."))
	r := builtAs(t, "http://crm.example/{{caller}}/{{v}}/{{up}}/x?k={{v}}&n={{nobody}}", c, func(h *schema.Hook) {
		h.Params = []schema.ParamRule{{Name: "p", Param: "caller"}}
	})
	want := "/380441112233/a%2Fb%3Fc%23d%26e%3Df%20%252F.//x?k=a%2Fb%3Fc%23d%26e%3Df%20%252F.&n=&p=380441112233"
	if r.RequestURI != want {
		t.Errorf("asked for %q; want %q", r.RequestURI, want)
	}
}

func TestDescribeKeepsSecrets(t *testing.T) {
	h := rulesHook("POST", "json")
	text := "s3cr3t-constant"
	h.Params = append(h.Params, schema.ParamRule{Name: "api_key", Value: &text}, schema.ParamRule{Name: "esc", Param: "esc"})
	h.Headers["Cookie"] = schema.NewSecret("sid=s3cr3t-cookie")
	b, err := newBuilder(h, "http://user:s3cr3t-pass@crm.example/r?token=s3cr3t-token&id={{callid}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := rulesCall()
	c.SetNamed([]byte("esc"), []byte("\u009b2J"))
	raw := built(t, b, c)
	_, signature, _ := strings.Cut(string(raw), "webhook-signature: ")
	signature, _, _ = strings.Cut(signature, "\r\n")
	got := b.describe(raw)
	if signature == "" {
		t.Error("the request is not signed")
	}
	for _, secret := range []string{"s3cr3t", "bearer-token", signature, "Отдел продаж /", "\u009b"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q can be seen in\n%s", secret, got)
		}
	}
	for _, shown := range []string{"POST /r?token=***&id=3333333333.3333333 HTTP/1.1\n", "Host: crm.example\n", "Authorization: Bearer ***\n",
		"X-Api-Key: ***\n", "webhook-signature: ***\n", "\n\n{\"from\":\"380441112233\"", `"api_key":"***"`} {
		if !strings.Contains(got, shown) {
			t.Errorf("%q is missing in\n%s", shown, got)
		}
	}
	if b.shown != "http://crm.example/r?token=***&id={{callid}}" {
		t.Errorf("the URL is shown as %q", b.shown)
	}
}

func TestDescribeCutsTheBody(t *testing.T) {
	h := &schema.Hook{Method: "POST", Send: "raw", Body: "x" + strings.Repeat("ї", 2000)}
	b, err := newBuilder(h, "http://crm.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(b.describe(built(t, b, smallCall())), "\n\n")
	if want := "x" + strings.Repeat("ї", 1023) + "… (4001 bytes in all)"; body != want {
		t.Errorf("shown as %d bytes ending %q", len(body), body[max(0, len(body)-60):])
	}
}

// A builder serves many calls at a time, and none sees another's values.
func TestBuilderIsSafeForConcurrentUse(t *testing.T) {
	b, err := newBuilder(rulesHook("POST", "json"), "http://crm.example/{{callid}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := []*schema.Call{rulesCall(), rulesCall(), rulesCall(), rulesCall()}
	var want [4]string
	for i, c := range calls {
		c.SetString(schema.ParamCallID, strings.Repeat(string(rune('a'+i)), 10))
		want[i] = string(built(t, b, c))
	}
	var wg sync.WaitGroup
	for i, c := range calls {
		wg.Go(func() {
			for range 200 {
				if got := string(built(t, b, c)); got != want[i] {
					t.Errorf("call %d got\n%s\nwant\n%s", i, got, want[i])
					return
				}
			}
		})
	}
	wg.Wait()
}
