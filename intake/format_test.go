package intake

import (
	"testing"

	"github.com/valyala/fasthttp"
)

func TestTheUserAgentNamesTheDialectWhereNothingElseDoes(t *testing.T) {
	for _, c := range []struct {
		query, accept, agent string
		want                 format
	}{
		{"", "", "", formatJSON},
		{"", "*/*", "curl/7.88.1", formatJSON},
		{"", "*/*", "asterisk-libcurl-agent/1.0", formatAsterisk},
		{"", "", "freeswitch-xml/1.0", formatFreeSWITCH},
		{"", "text/plain", "asterisk-libcurl-agent/1.0", formatPlain},
		{"format=json", "", "asterisk-libcurl-agent/1.0", formatJSON},
	} {
		ctx := newContext("GET", c.query, "", nil)
		ctx.Request.Header.Set("Accept", c.accept)
		ctx.Request.Header.SetUserAgent(c.agent)
		q := new(question)
		if f := q.readURL(ctx, nil, []byte(c.query)); f != nil || q.format != c.want {
			t.Errorf("query %q, Accept %q, User-Agent %q: %s, %v; want %s", c.query, c.accept, c.agent, formatNames[q.format], f, formatNames[c.want])
		}
	}
}

func TestPathAndQueryAreReadAsFasthttpReadsThem(t *testing.T) {
	for _, uri := range []string{
		"/v1/route", "/v1/route?callee=1", "/v1/route/asterisk?callee=%2B1&x=a+b", "/v1/route/json-rpc", "/v1/route?",
		"/v1/route?callee=1#fragment", "/v1/route#fragment", "/v1/route/?callee=1", "/v1/route//plain?callee=1", "/v1//route?callee=1",
		"/v1/route/./plain", "/v1/route/x/../plain", "/v1/route/%70lain?callee=1", "/v1/routes?callee=1", "/v1/route/PLAIN",
		"http://pbx.example/v1/route?callee=1", "//v1/route?callee=1", "/v1/route?a=?b", "/healthz?x", "/", "", "*", "/in/v1/route?callee=1",
	} {
		ctx := new(fasthttp.RequestCtx)
		ctx.Request.Header.SetRequestURI(uri)
		path, query := target(ctx)
		if string(path) != string(ctx.Path()) || string(query) != string(ctx.URI().QueryString()) {
			t.Errorf("%q: got %q and %q; want %q and %q", uri, path, query, ctx.Path(), ctx.URI().QueryString())
		}
	}
}
