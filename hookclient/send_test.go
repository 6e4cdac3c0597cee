package hookclient

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"hookswitch/schema"
)

// sending makes a webhook ready whose requests go to addr.
func sending(t testing.TB, addr string, set ...func(*schema.Webhook)) *Webhook {
	t.Helper()
	return prepareWebhook(t, documentedWebhook("POST", "json", append([]func(*schema.Webhook){func(w *schema.Webhook) {
		w.URL = "http://" + addr + "/calls"
	}}, set...)...), "")
}

func send(w *Webhook, within time.Duration) schema.Sent {
	return w.Send(documentedEvent(), deliveryOfTests, 1, "", time.Now().Add(within))
}

func TestWhatBecomesOfADelivery(t *testing.T) {
	leavesNothing(t)
	const head = "HTTP/1.1 "
	future := time.Now().Add(2 * time.Hour).UTC()
	for name, tc := range map[string]struct {
		answer     string
		status     int
		body       string
		detail     string
		retryAfter time.Duration // to within a minute
	}{
		"200":                       {head + "200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", "", 0},
		"204":                       {head + "204 No Content\r\n\r\n", 204, "", "", 0},
		"a redirect, not followed":  {head + "302 Found\r\nLocation: http://127.0.0.1:1/?token=t0psecret\r\nContent-Length: 0\r\n\r\n", 302, "", "", 0},
		"gone":                      {head + "410 Gone\r\nContent-Length: 0\r\n\r\n", 410, "", "", 0},
		"busy, for seconds":         {head + "429 Too Many Requests\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", 429, "", "", 2 * time.Minute},
		"busy, until a date":        {head + "503 Service Unavailable\r\nRetry-After: " + future.Format(http.TimeFormat) + "\r\nContent-Length: 0\r\n\r\n", 503, "", "", 2 * time.Hour},
		"compressed":                {head + "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " + fmt.Sprint(len(gzipped(t, `{"id":7}`))) + "\r\n\r\n" + gzipped(t, `{"id":7}`), 200, `{"id":7}`, "", 0},
		"in another charset":        {head + "200 OK\r\nContent-Type: text/plain; charset=windows-1251\r\nContent-Length: 2\r\n\r\n\xc4\xe0", 200, "Да", "", 0},
		"larger than it may be":     {head + "200 OK\r\nContent-Length: 70000\r\n\r\n", 200, "", "max_answer_bytes", 0},
		"a damaged body":            {head + "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", 200, "", "damaged", 0},
		"without a word of its own": {head + "299 \r\nContent-Length: 0\r\n\r\n", 299, "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			peer := newWebhook(t, nil, always(tc.answer))
			sent := send(sending(t, peer.addr), 5*time.Second)
			if sent.Reason != schema.ReasonOK || sent.Status != tc.status || string(sent.Body) != tc.body || !strings.Contains(sent.Detail, tc.detail) {
				t.Errorf("sent: %+v", sent)
			}
			if d := sent.RetryAfter - tc.retryAfter; d > time.Minute || d < -time.Minute {
				t.Errorf("to be asked again after %v; want %v", sent.RetryAfter, tc.retryAfter)
			}
			if !strings.HasPrefix(sent.Answer, fmt.Sprintf("HTTP/1.1 %d ", tc.status)) || !strings.Contains(sent.Answer, tc.body) || strings.Contains(sent.Answer, "t0psecret") {
				t.Errorf("the answer is shown as %q", sent.Answer)
			}
			if peer.requests() != 1 {
				t.Errorf("%d requests; want one", peer.requests())
			}
		})
	}
}

func TestADeliveryThatGetsNoAnswer(t *testing.T) {
	leavesNothing(t)
	for name, tc := range map[string]struct {
		addr   func(t *testing.T) string
		reason schema.Reason
	}{
		"a peer that says nothing": {func(t *testing.T) string { return silentListener(t) }, schema.ReasonTimeout},
		"nobody there":             {func(t *testing.T) string { return refusing(t) }, schema.ReasonConnectError},
		"hung up on after reading": {func(t *testing.T) string {
			return newWebhook(t, nil, func(net.Conn, int, *http.Request) bool { return false }).addr
		}, schema.ReasonConnectError},
		"an answer that is no HTTP": {func(t *testing.T) string { return newWebhook(t, nil, always("SSH-2.0-OpenSSH\r\n\r\n")).addr }, schema.ReasonBadAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			sent := send(sending(t, tc.addr(t)), 300*time.Millisecond)
			if sent.Reason != tc.reason || sent.Status != 0 || sent.Detail == "" || sent.Answer != "" || sent.Took <= 0 {
				t.Errorf("sent: %+v; want reason %v", sent, tc.reason)
			}
			if !strings.HasPrefix(sent.Request, "POST /calls HTTP/1.1\n") {
				t.Errorf("the request is shown as %q", sent.Request)
			}
		})
	}
}

func TestAPrivateAddressIsNotSentTo(t *testing.T) {
	peer := newWebhook(t, nil, answersWell)
	w, err := New(nil).PrepareWebhook(&schema.Project{ID: "1"}, documentedWebhook("POST", "json", func(w *schema.Webhook) { w.URL = "http://" + peer.addr }))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if sent := send(w, time.Second); sent.Reason != schema.ReasonHookBlocked || peer.connections() != 0 {
		t.Errorf("sent: %+v, over %d connections", sent, peer.connections())
	}
}

// A connection that the receiver has closed while it lay idle is not sent to, and a request that may
// have been read is not repeated: that is for the outbox to decide.
func TestConnectionsThatWentStale(t *testing.T) {
	leavesNothing(t)
	peer := newWebhook(t, nil, func(c net.Conn, n int, _ *http.Request) bool { return n < 4 && ok(c, "{}") })
	w := sending(t, peer.addr)
	for range 2 {
		if sent := send(w, 5*time.Second); sent.Status != 200 {
			t.Fatalf("sent: %+v", sent)
		}
	}
	if n := peer.connections(); n != 1 {
		t.Errorf("%d connections for two requests; want one", n)
	}
	peer.hangUp(false)
	peer.awaitClosed(t, 1)
	if sent := send(w, 5*time.Second); sent.Status != 200 || peer.requests() != 3 {
		t.Errorf("after the connection was closed: %+v, %d requests", sent, peer.requests())
	}
	if sent := send(w, 5*time.Second); sent.Reason != schema.ReasonConnectError || peer.requests() != 4 {
		t.Errorf("hung up on after the request: %+v, %d requests; want it once", sent, peer.requests())
	}
}

func TestWebhooksOverTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.clientFiles("hookswitch")
	peer := newWebhook(t, ca.server("crm.example"), answersWell)
	w := sending(t, peer.addr, func(w *schema.Webhook) {
		w.URL = "https://" + peer.addr + "/"
		w.TLS = schema.TLS{CA: ca.file, Cert: cert, Key: key, ServerName: "crm.example"}
	})
	if sent := send(w, 5*time.Second); sent.Status != 200 {
		t.Errorf("sent: %+v", sent)
	}
	stranger := sending(t, peer.addr, func(w *schema.Webhook) { w.URL = "https://" + peer.addr + "/" })
	if sent := send(stranger, 5*time.Second); sent.Reason != schema.ReasonTLSError {
		t.Errorf("without the CA: %+v", sent)
	}
}

// The receiver quotes all that it got, and the log must still be fit to be seen.
func TestSecretsAreNotInTheLog(t *testing.T) {
	var peer *webhook
	peer = newWebhook(t, nil, func(c net.Conn, n int, r *http.Request) bool {
		_, body := peer.request(t, n)
		return ok(c, fmt.Sprintf("%s %s %v %s", r.Method, r.RequestURI, r.Header, body))
	})
	const secrets = "basic-p4ss bearer-t0ken header-k3y sign-s3cret next-s3cret query-t0ken pässword url-p4ss p4ss-in-template k3y-in-params 123456789:AAH-bot_token0123456789abc a1b2c3d4e5f6g7h8 v1,"
	for name, set := range map[string]func(w *schema.Webhook){
		"basic": func(w *schema.Webhook) {
			w.Auth.Basic = &schema.BasicAuth{User: "ops", Password: schema.NewSecret("basic-p4ss")}
			w.Template = `{"login":"ops","password":"p4ss-in-template","text":"{{caller}}"}`
		},
		"bearer and signed": func(w *schema.Webhook) {
			w.Auth.Bearer = schema.NewSecret("bearer-t0ken")
			w.Sign, w.Sign2 = schema.NewSecret("sign-s3cret"), schema.NewSecret("next-s3cret")
			w.Headers = []schema.NamedSecret{{Name: "X-Crm", Value: schema.NewSecret("header-k3y {{callid}}")}}
			w.Params = []schema.ParamRule{constant("key", "k3y-in-params")}
		},
		"in the address": func(w *schema.Webhook) {
			w.URL = strings.Replace(w.URL, "http://", "http://u:url-p4ss@", 1) +
				"/bot123456789:AAH-bot_token0123456789abc/rest/1/a1b2c3d4e5f6g7h8/send?api_secret=query-t0ken&to={{caller}}"
			w.Body, w.Template = "form", "login=ops&psw=1&password=p4ss-in-template&to={{caller}}"
		},
	} {
		t.Run(name, func(t *testing.T) {
			sent := send(sending(t, peer.addr, set), 5*time.Second)
			if sent.Status != 200 {
				t.Fatalf("sent: %+v", sent)
			}
			shown := sent.Request + sent.Answer + sent.Detail
			for secret := range strings.FieldsSeq(secrets) {
				if strings.Contains(shown, secret) {
					t.Errorf("%s is shown in\n%s", secret, shown)
				}
			}
			if !strings.Contains(shown, "***") || !strings.Contains(sent.Request, "POST /") {
				t.Errorf("shown: %s", shown)
			}
		})
	}
}

func TestExcerptsAreShortAndPrintable(t *testing.T) {
	peer := newWebhook(t, nil, always("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+strings.Repeat("я", 2500)))
	e := documentedEvent()
	e.Values = append(e.Values, schema.Custom{Name: "long", Value: strings.Repeat("щ", 4000) + "\x1b[31m"})
	sent := sending(t, peer.addr).Send(e, deliveryOfTests, 1, "", time.Now().Add(5*time.Second))
	if len(sent.Body) != 5000 {
		t.Errorf("a body of %d bytes; want all 5000", len(sent.Body))
	}
	for what, text := range map[string]string{"request": sent.Request, "answer": sent.Answer} {
		if len(text) < 2000 || len(text) > 3000 || !utf8.ValidString(text) || strings.Contains(text, "\x1b") {
			t.Errorf("the %s is shown in %d bytes: %q", what, len(text), text)
		}
	}
	binary := newWebhook(t, nil, always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x89PN\x00"))
	if sent := send(sending(t, binary.addr), 5*time.Second); !strings.HasSuffix(sent.Answer, "(4 bytes that are not text)") || len(sent.Body) != 4 {
		t.Errorf("binary is shown as %q", sent.Answer)
	}
}

func TestFieldsAreRenamedAndEachNameStandsOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		fields []schema.FieldRename
		params []schema.ParamRule
		want   map[string]string // of what is sent; "" for not at all
	}{
		"two change places": {[]schema.FieldRename{{Before: "caller", After: "callee"}, {Before: "callee", After: "caller"}}, nil,
			map[string]string{"caller": "380442223344", "callee": "380441112233"}},
		"by another usual name":              {[]schema.FieldRename{{Before: "call_id", After: "id"}}, nil, map[string]string{"id": "3333333333.3333333", "callid": ""}},
		"to a name that a field has":         {[]schema.FieldRename{{Before: "callid", After: "caller"}}, nil, map[string]string{"caller": "3333333333.3333333", "callid": ""}},
		"to a name that a custom one has":    {[]schema.FieldRename{{Before: "callid", After: "город"}}, nil, map[string]string{"город": "3333333333.3333333"}},
		"to a constant's name":               {[]schema.FieldRename{{Before: "callid", After: "id"}}, []schema.ParamRule{constant("id", "7")}, map[string]string{"id": "7", "callid": "3333333333.3333333"}},
		"two to one name":                    {[]schema.FieldRename{{Before: "callid", After: "x"}, {Before: "caller", After: "x"}}, nil, map[string]string{"x": "3333333333.3333333", "caller": "380441112233"}},
		"one that was not said":              {[]schema.FieldRename{{Before: "duration", After: "d"}}, nil, map[string]string{"d": "", "duration": ""}},
		"a constant of a field's name":       {nil, []schema.ParamRule{constant("caller", "hidden")}, map[string]string{"caller": "hidden"}},
		"a constant of a custom one's name":  {nil, []schema.ParamRule{constant("город", "{{город}}!")}, map[string]string{"город": "Київ!"}},
		"an event's own name for a constant": {nil, []schema.ParamRule{constant("event", "call.{{event}}")}, map[string]string{"event": "call.destroy"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := documentedWebhook("POST", "json", func(w *schema.Webhook) { w.Fields, w.Params = tc.fields, tc.params })
			raw, _ := sendOnTheWire(t, w, documentedEvent(), "")
			_, body := parsed(t, raw)
			got := map[string]string{}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				if got[name] != want {
					t.Errorf("%s arrived as %q; want %q", name, got[name], want)
				}
				if n := strings.Count(string(body), `"`+name+`":`); want != "" && n != 1 {
					t.Errorf("%s stands %d times in %s", name, n, body)
				}
			}
		})
	}
}

// What a PBX calls "event" or "attempt" is not taken for ours, nor is what it did not say made up.
func TestAnEventSaysWhatItIsAndNoMore(t *testing.T) {
	e := &schema.Event{ID: "E", Project: "1001", Kind: "create", Direction: "outbound", CallID: "c-1", At: requestTime,
		Values: []schema.Custom{{Name: "attempt", Value: "99"}, {Name: "event", Value: "forged"}, {Name: "direction", Value: "up"}}}
	text := "{{event}} {{direction}} {{event_id}} {{delivery_id}} {{attempt}} {{callid}} {{type}} {{date}} [{{duration}}{{proper_flag}}]"
	w := documentedWebhook("POST", "json", func(w *schema.Webhook) { w.Params = []schema.ParamRule{constant("all", text)} })
	raw, _ := sendOnTheWire(t, w, e, "")
	_, body := parsed(t, raw)
	const want = `{"event":"create","direction":"outbound","callid":"c-1","date":"2026-02-03 06:05:06","type":"out","project_id":"1001",` +
		`"all":"create outbound E ` + deliveryOfTests + ` 2 c-1 out 2026-02-03 06:05:06 []"}`
	if string(body) != want {
		t.Errorf("sent %s\nwant %s", body, want)
	}
}

// Attempts at one delivery share their id and their body, and differ in their time.
func TestASignedDeliveryKeepsItsIdOverAttempts(t *testing.T) {
	peer := newWebhook(t, nil, answersWell)
	w := sending(t, peer.addr, func(w *schema.Webhook) { w.Sign = schema.NewSecret(encodedSecret); w.Body = "json-rpc" })
	for attempt := 1; attempt <= 2; attempt++ {
		w.Send(documentedEvent(), deliveryOfTests, attempt, "", time.Now().Add(5*time.Second))
		if attempt == 1 {
			time.Sleep(1100 * time.Millisecond) // timestamps are in seconds
		}
	}
	first, body1 := peer.request(t, 1)
	second, body2 := peer.request(t, 2)
	if first.Header.Get("webhook-id") != deliveryOfTests || second.Header.Get("webhook-id") != deliveryOfTests || body1 != body2 {
		t.Errorf("ids %q and %q, bodies\n%s\n%s", first.Header.Get("webhook-id"), second.Header.Get("webhook-id"), body1, body2)
	}
	if first.Header.Get("webhook-timestamp") == second.Header.Get("webhook-timestamp") {
		t.Error("both attempts are of one time")
	}
}

func TestWebhooksThatCannotBeMadeReady(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(w *schema.Webhook)
		want string
	}{
		"JSON that is broken":        {func(w *schema.Webhook) { w.Template = `{"a": {{caller}` }, "template:"},
		"XML that is broken":         {func(w *schema.Webhook) { w.Body, w.Template = "xml", "<a>{{caller}}" }, "template:"},
		"a tag in the host":          {func(w *schema.Webhook) { w.URL = "http://{{caller}}/" }, "host"},
		"a CA that is not there":     {func(w *schema.Webhook) { w.TLS.CA = "testdata/no-such.pem" }, "tls.ca"},
		"a zone that is none":        {func(w *schema.Webhook) { w.TZ = "Mars/Olympus" }, "tz"},
		"a secret that is no base64": {func(w *schema.Webhook) { w.Sign = schema.NewSecret("whsec_!") }, "sign"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := New(nil).PrepareWebhook(documentedProject, documentedWebhook("POST", "json", tc.set))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v; want an error about %s", w, err, tc.want)
			}
		})
	}
}

func TestManyDeliveriesAtATime(t *testing.T) {
	leavesNothing(t)
	peer := newWebhook(t, nil, answersWell)
	w := sending(t, peer.addr, func(w *schema.Webhook) { w.Sign = schema.NewSecret(encodedSecret) })
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for j := range 25 {
				e := documentedEvent()
				e.CallID = fmt.Sprintf("call-%d-%d", i, j)
				sent := w.Send(e, e.CallID, 1, "", time.Now().Add(10*time.Second))
				if sent.Status != 200 || !strings.Contains(sent.Request, `"callid":"`+e.CallID+`"`) {
					t.Errorf("sent: %+v", sent)
				}
			}
		})
	}
	running.Wait()
	if peer.requests() != 200 {
		t.Errorf("%d requests; want 200", peer.requests())
	}
}

// Property: whatever a PBX names and says arrives as just that, in every format.
func FuzzEventsStayInPlace(f *testing.F) {
	f.Add("city", "Київ")
	f.Add("a]b[\"&<", "\r\nX-Injected: 1\x00</request>\",\"x\":\"")
	f.Add("город", "\xff\xfe{{caller}}")
	f.Add("callid", "&event=create")
	ready := map[string]*Webhook{}
	for _, body := range []string{"json", "form", "xml", "json-rpc", "query"} {
		w, err := New(nil).PrepareWebhook(documentedProject, documentedWebhook("POST", body, func(w *schema.Webhook) {
			w.URL = "http://crm.example/{{city}}?city={{city}}"
			w.Params = []schema.ParamRule{constant("key", "{{city}}")}
		}))
		if err != nil {
			f.Fatal(err)
		}
		ready[body] = w
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if len(name) > 128 || len(value) > 4096 {
			return
		}
		e := &schema.Event{ID: "E", Kind: "answer", Direction: "inbound", CallID: "c", At: requestTime,
			Values: []schema.Custom{{Name: name, Value: value}, {Name: "city", Value: value}}}
		for body, w := range ready {
			req := w.build(e, deliveryOfTests, 1, "")
			raw := bytes.Clone(req.raw)
			req.release()
			r, text := parsed(t, raw)
			if !utf8.Valid(text) && body != "form" {
				t.Fatalf("%s: the body is not UTF-8: %q", body, text)
			}
			got, err := readBack(body, raw)
			if err != nil {
				t.Fatalf("%s: %v in %q", body, err, raw)
			}
			want := receivedAs(body, value)
			if got["key"] != want {
				t.Fatalf("%s: key arrived as %q; want %q", body, got["key"], want)
			}
			if got["event"] != "answer" && name != "event" {
				t.Fatalf("%s: event arrived as %q", body, got["event"])
			}
			if r.URL.Host != "" || r.Header.Get("X-Injected") != "" {
				t.Fatalf("%s: %q", body, raw)
			}
		}
	})
}

// Property: never negative, never longer than a week, and seconds that are such are taken as they are.
func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, text := range []string{"0", "120", " 5 ", "-1", "1e9", "99999999999999999999", "Tue, 03 Feb 2026 04:06:06 GMT", "Tuesday, 03-Feb-26 04:06:06 GMT", "Tue Feb  3 04:06:06 2026", "soon"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := retryAfter(text, now)
		if got < 0 || got > 7*24*time.Hour {
			t.Fatalf("%q: %v", text, got)
		}
		var seconds int
		if n, err := fmt.Sscanf(text, "%d", &seconds); n == 1 && err == nil && fmt.Sprint(seconds) == text && seconds >= 0 && seconds < 600000 && got != time.Duration(seconds)*time.Second {
			t.Fatalf("%q: %v", text, got)
		}
	})
}

func TestRetryAfterInEveryForm(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "-5": 0, "soon": 0, "31536000": 7 * 24 * time.Hour, "99999999999999999999": 7 * 24 * time.Hour,
		"Tue, 03 Feb 2026 04:06:06 GMT": time.Minute, "Tuesday, 03-Feb-26 04:06:06 GMT": time.Minute, "Tue Feb  3 04:06:06 2026": time.Minute,
		"Tue, 03 Feb 2026 04:05:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v; want %v", text, got, want)
		}
	}
}
