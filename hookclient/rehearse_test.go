package hookclient

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// testable is a hook of a project that allows private addresses.
func testable(url string) (*schema.Project, *schema.Hook) {
	h := &schema.Hook{}
	h.SetDefaults()
	h.ID, h.URL, h.Headers = "crm", url, map[string]schema.Secret{"X-Api-Key": schema.NewSecret("hidden-key")}
	return &schema.Project{ID: "1001", AllowPrivateHooks: true}, h
}

// tryOut asks the hook about a small call, in full.
func tryOut(t *testing.T, p *schema.Project, h *schema.Hook) (*schema.Answer, schema.Times) {
	t.Helper()
	call := smallCall()
	call.At, call.Explain = time.Now(), true
	a := new(schema.Answer)
	times, err := New(nil).Test(p, h, call, call.At.Add(patience), a)
	if err != nil {
		t.Fatal(err)
	}
	return a, times
}

func TestATestTellsTheStagesOverANewConnectionEachTime(t *testing.T) {
	leavesNothing(t)
	w := newWebhook(t, nil, answersWell)
	p, h := testable("http://" + w.addr)
	for n := 1; n <= 2; n++ {
		a, times := tryOut(t, p, h)
		wantOK(t, a)
		if times.Connect <= 0 || times.FirstByte <= 0 || times.TLS != 0 || times.Total < times.Connect+times.FirstByte {
			t.Errorf("got %+v; want connect and first byte within the total, and no TLS", times)
		}
		if at := a.Attempts[0]; !strings.Contains(at.Request, "X-Api-Key: ***") || strings.Contains(at.Request, "hidden-key") || at.Body == "" {
			t.Errorf("got request %q, body %q; want both, without the secret", at.Request, at.Body)
		}
		if w.connections() != n {
			t.Errorf("%d connections after %d tests; want a new one for each", w.connections(), n)
		}
	}
}

func TestATestTellsHowLongTheHandshakeTook(t *testing.T) {
	leavesNothing(t)
	ours := newAuthority(t)
	w := newWebhook(t, ours.server("127.0.0.1"), answersWell)
	p, h := testable("https://" + w.addr)
	h.TLS.CA = ours.file
	a, times := tryOut(t, p, h)
	wantOK(t, a)
	if times.TLS <= 0 || times.FirstByte <= 0 {
		t.Errorf("got %+v; want the handshake's time", times)
	}
}

func TestATestKeepsToTheGuardAndTheDeadline(t *testing.T) {
	leavesNothing(t)
	w := newWebhook(t, nil, answersWell)
	p, h := testable("http://" + w.addr)
	p.AllowPrivateHooks = false
	a, times := tryOut(t, p, h)
	wantFailure(t, a, schema.ReasonHookBlocked, "")
	if times.Connect != 0 || w.requests() != 0 {
		t.Errorf("got %+v and %d requests; want no connection", times, w.requests())
	}
	hangs := newWebhook(t, nil, func(c net.Conn, _ int, _ *http.Request) bool { return silent(c, 0, nil) })
	p, h = testable("http://" + hangs.addr)
	call := smallCall()
	call.At = time.Now()
	a = new(schema.Answer)
	times, err := New(nil).Test(p, h, call, call.At.Add(100*time.Millisecond), a)
	if err != nil || times.Connect <= 0 || times.FirstByte != 0 {
		t.Errorf("got %+v, %v; want a connection and no answer", times, err)
	}
	wantFailure(t, a, schema.ReasonTimeout, "no complete answer")
}

func TestATestOfAHookThatCannotBeMadeReadySaysWhy(t *testing.T) {
	p, h := testable("https://crm.example")
	h.TLS.CA = "/there/is/no/such.pem"
	_, err := New(nil).Test(p, h, smallCall(), time.Now().Add(time.Second), new(schema.Answer))
	if err == nil || !strings.Contains(err.Error(), "tls.ca") {
		t.Errorf("got %v; want the key that is wrong", err)
	}
}

func TestAPastedAnswerIsReadAsOneThatCame(t *testing.T) {
	for _, tc := range []struct {
		name    string
		receive string
		status  int
		header  map[string]string
		body    string
		want    schema.Reason
		detail  string
	}{
		{"a good answer", "json", 200, nil, good, schema.ReasonOK, ""},
		{"relaxed JSON", "json", 200, nil, `{dst_phone: '380441111111'}`, schema.ReasonOK, ""},
		{"plain text", "http", 200, nil, "380441111111", schema.ReasonOK, ""},
		{"another charset", "http", 200, map[string]string{"Content-Type": "text/plain; charset=utf-16le"}, "3\x008\x000\x004\x004\x001\x001\x001\x001\x001\x001\x001\x00", schema.ReasonOK, ""},
		{"JSON-RPC of any id", "json-rpc", 200, nil, `{"jsonrpc":"2.0","result":{"dst_phone":"380441111111"},"id":42}`, schema.ReasonOK, ""},
		{"a JSON-RPC error", "json-rpc", 200, nil, `{"jsonrpc":"2.0","error":{"code":-1,"message":"no"},"id":42}`, schema.ReasonBadAnswer, "no"},
		{"a page", "json", 200, nil, "<html>", schema.ReasonBadAnswer, "not a JSON object"},
		{"a failure", "json", 503, nil, good, schema.ReasonBadStatus, "status 503"},
		{"nothing", "json", 204, nil, "", schema.ReasonNoDestination, "status 204"},
		{"an unknown compression", "json", 200, map[string]string{"Content-Encoding": "gzip"}, good, schema.ReasonBadAnswer, "gzip"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, h := testable("http://crm.example")
			h.Receive = tc.receive
			a := new(schema.Answer)
			New(nil).Read(p, h, tc.status, tc.header, []byte(tc.body), a)
			if tc.want != schema.ReasonOK {
				wantFailure(t, a, tc.want, tc.detail)
			} else {
				wantOK(t, a)
			}
			if len(a.Attempts) != 1 || a.Attempts[0].Status != tc.status {
				t.Errorf("got attempts %+v; want the pasted one", a.Attempts)
			}
		})
	}
}
