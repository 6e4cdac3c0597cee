package intake

import "testing"

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
		if f := q.readURL(ctx, nil); f != nil || q.format != c.want {
			t.Errorf("query %q, Accept %q, User-Agent %q: %s, %v; want %s", c.query, c.accept, c.agent, formatNames[q.format], f, formatNames[c.want])
		}
	}
}
