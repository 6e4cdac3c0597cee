package intake

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
)

// rtjson is an answer as Kamailio's script and its rtjson module read it: numbers are numbers.
type rtjson struct {
	Version string `json:"version"`
	Routing string `json:"routing"`
	Routes  []struct {
		URI   string `json:"uri"`
		FR    int    `json:"fr_timer"`
		FRInv int    `json:"fr_inv_timer"`
	} `json:"routes"`
	Timeout    *int   `json:"timeout"`
	Next       string `json:"next"`
	DecisionID string `json:"decision_id"`
	Hangup     int    `json:"hangup"`
}

// readKamailio reads an answer as http_client_query and rtjson do: its first line, of less than 8 KiB.
func readKamailio(t *testing.T, body string) (a rtjson) {
	t.Helper()
	if strings.ContainsAny(body, "\r\n") || len(body) >= 8<<10 {
		t.Fatalf("%d bytes, or more than a line: %s", len(body), body)
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil || d.More() {
		t.Fatalf("%v: %s", err, body)
	}
	if a.Version != "1.0" || a.Routing != "serial" && a.Routing != "parallel" || a.Routes == nil {
		t.Fatalf("not rtjson: %s", body)
	}
	for _, r := range a.Routes {
		if err := strictURI(r.URI); err != nil {
			t.Fatalf("%s: %v", r.URI, err)
		}
	}
	return a
}

// strictURI says what keeps text from being sip:user@host[:port] by RFC 3261, section 25.1.
func strictURI(text string) error {
	rest, ok := strings.CutPrefix(text, "sip:")
	user, address, found := strings.Cut(rest, "@")
	if !ok || !found || user == "" {
		return fmt.Errorf("want sip:user@host[:port]")
	}
	for i := 0; i < len(user); i++ {
		switch c := user[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0:
		case c == '%' && i+2 < len(user):
			if _, err := strconv.ParseUint(user[i+1:i+3], 16, 8); err != nil {
				return fmt.Errorf("a bad escape in the user")
			}
		default:
			return fmt.Errorf("%q in the user", c)
		}
	}
	host, port := address, "5060"
	if i := strings.LastIndexByte(address, ':'); i > strings.LastIndexByte(address, ']') {
		host, port = address[:i], address[i+1:]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("the port %q", port)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !a.Is6() || !strings.HasSuffix(inner, "]") {
			return fmt.Errorf("the address %q", host)
		}
		return nil
	}
	for label := range strings.SplitSeq(host, ".") {
		good := label != "" && len(label) <= 63 && !strings.HasPrefix(label, "-") && !strings.HasSuffix(label, "-")
		if !good || strings.Trim(label, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return fmt.Errorf("the host %q", host)
		}
	}
	return nil
}

func TestTheURICheckIsStrict(t *testing.T) {
	for _, good := range []string{"sip:380441111111@127.0.0.1:5070", "sip:a%23+*._-@[::1]", "sip:a@h-1.example"} {
		if err := strictURI(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "380441111111", "sip:380441111111", "sip:@a", "sip:a@", "sip:a@b:0", "sip:a@b:70000", "sip:a b@c", "sip:a@b;c", "sip:a#@b",
		"sip:a%2@b", "sip:a@-b", "sip:a@b.", "sip:a@b@c", "sip:a@[1.2.3.4]", "sip:a@::1", "<sip:a@b>", "sip:a@b:", "sip:a@b_c", "sip:\"@b"} {
		if strictURI(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// The answer that a real Kamailio 5.6.3 took, byte for byte (shared/pbx/README.md).
func TestTheKamailioAnswersThatWereProven(t *testing.T) {
	d := schema.Decision{Steps: []schema.DecidedStep{{
		Dial: numbers(t, "sip:380441111111@127.0.0.1:5070", "sip:380441111112@127.0.0.1:5071"), Strategy: schema.All, Timeout: 45 * time.Second,
	}}}
	copy(d.ID[:], "01JNAVMH0000000000000000AA")
	const parallel = `{"version":"1.0","routing":"parallel","routes":[{"uri":"sip:380441111111@127.0.0.1:5070"},{"uri":"sip:380441111112@127.0.0.1:5071"}],"timeout":45,"next":"","decision_id":"01JNAVMH0000000000000000AA"}`
	if got := string(appendKamailio(nil, nil, &d)); got != parallel {
		t.Errorf("got\n%s\nwant\n%s", got, parallel)
	}
	d.Steps[0].Strategy, d.Steps[0].Timeout = schema.InOrder, 20*time.Second
	const serial = `{"version":"1.0","routing":"serial","routes":[{"uri":"sip:380441111111@127.0.0.1:5070","fr_timer":5000,"fr_inv_timer":20000},{"uri":"sip:380441111112@127.0.0.1:5071","fr_timer":5000,"fr_inv_timer":20000}],"next":"","decision_id":"01JNAVMH0000000000000000AA"}`
	if got := string(appendKamailio(nil, nil, &d)); got != serial {
		t.Errorf("got\n%s\nwant\n%s", got, serial)
	}
}

func TestKamailioGetsAStatusWhereItIsToHangUp(t *testing.T) {
	p := newPBX(t)
	for cause, want := range map[string]int{"busy": 486, "no_answer": 480, "rejected": 603, "unallocated": 404, "congestion": 503, "normal": 480} {
		p.decision = schema.Decision{Steps: []schema.DecidedStep{{Hangup: cause}}}
		copy(p.decision.ID[:], "01JNAVMH0000000000000000AA")
		_, body := p.ask("/v1/route/kamailio", "callee=1", "")
		if a := readKamailio(t, body); a.Hangup != want || len(a.Routes) != 0 || *a.Timeout != 0 {
			t.Errorf("%s: %s; want %d and no routes", cause, body, want)
		}
	}
}

// With a status of 400 or more Kamailio's script gets no body, and goes to its last resort by that.
func TestKamailioErrorsAreJSONUnderAStatusOfTheirOwn(t *testing.T) {
	p := newPBX(t)
	p.decision.NotFound = true
	for query, want := range map[string]string{"callee=1": "unknown_number", "caller=1": "bad_request"} {
		status, body := p.ask("/v1/route/kamailio", query, "")
		if code, field := errorOf(t, body); status < 400 || code != want || field != "callee" || strings.Contains(body, "\n") {
			t.Errorf("%s: %d %s; want %s", query, status, body, want)
		}
	}
}

// Property: Kamailio tries exactly the decision's destinations, in strict URIs, for whatever passes
// the grammar, as far as an answer of 8 KiB has room.
func FuzzKamailioAnswer(f *testing.F) {
	f.Add("a380441111111,380441111112", uint32(44_000), "eyJ", "380501112233", uint8(0))
	f.Add("isip:a+*#._-b@h.example:5060,sip/a@[::1],ivan", uint32(3_598_999), "", "\"};x", uint8(1))
	f.Add("p${a}\n", uint32(1), "e", "\r\n", uint8(0))
	f.Add("h12", uint32(1), "", "", uint8(0))
	f.Add("i"+strings.Repeat("sip:"+strings.Repeat("#", 64)+"@"+strings.Repeat("b.", 120)+"c:65535,", 100), uint32(9), strings.Repeat("e", 300), "", uint8(1))
	f.Add("a"+strings.Repeat("380441111111111,", 300), uint32(9), strings.Repeat("e", 300), "", uint8(0))
	p := newPBX(f)
	f.Fuzz(func(t *testing.T, script string, timeout uint32, next, caller string, template uint8) {
		steps := fuzzedSteps(script, fuzzedTimeout(timeout))
		p.decision = schema.Decision{
			Next: or(cursorGrammar, next, ""), Dialing: &templates[int(template)%len(templates)], Steps: steps[:min(1, len(steps))],
		}
		copy(p.decision.ID[:], "01JNAVMH0000000000000000AA")
		status, body := p.ask("/v1/route/kamailio", "callee=1&caller="+string(appendEscaped(nil, []byte(caller))), "")
		if status != 200 {
			if code, field := errorOf(t, body); status < 400 || code != "bad_request" || field != "caller" {
				t.Fatalf("%d %s", status, body)
			}
			return
		}
		a := readKamailio(t, body)
		var want schema.DecidedStep
		if len(steps) > 0 {
			want = steps[0]
		}
		var uris []string
		for _, d := range want.Dial {
			uris = append(uris, strings.ReplaceAll(filled(p.decision.Dialing.Kamailio, d), "#", "%23"))
		}
		var got []string
		for _, r := range a.Routes {
			got = append(got, r.URI)
		}
		if len(got) > len(uris) || !slices.Equal(got, uris[:len(got)]) || len(got) < len(uris) && len(body) < 6<<10 {
			t.Fatalf("tries %q; want %q\n%s", got, uris, body)
		}
		if a.Next != p.decision.Next || a.DecisionID != "01JNAVMH0000000000000000AA" || (a.Hangup != 0) != (want.Hangup != "") {
			t.Fatalf("%s; want next %q, hangup %q", body, p.decision.Next, want.Hangup)
		}
		ring := int(want.Timeout / time.Second)
		serial := len(uris) > 1 && want.Strategy != schema.All
		if serial != (a.Routing == "serial") || serial == (a.Timeout != nil) || !serial && *a.Timeout != ring {
			t.Fatalf("%s; want %s for %d s", body, want.Strategy, ring)
		}
		for _, r := range a.Routes {
			if serial && (r.FRInv != ring*1000 || r.FR != 5000) || !serial && r.FR+r.FRInv != 0 {
				t.Fatalf("timers of %d and %d ms; want %d s", r.FR, r.FRInv, ring)
			}
		}
	})
}

func TestAskingAsKamailioAllocatesNothing(t *testing.T) {
	checkAllocations(t, "/v1/route/kamailio")
}
