package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hookswitch/bench/hooksim"
)

// cursorProject rings the operators first, and asks a hook when they don't pick up. Its parts: the
// hook's URL, and the key of cursors.
const cursorProject = `
continuation: {expires: 1s, key: "%[2]s"}
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "100"}]
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{dial: ["380440000002"]}, {hook: crm}]}
    hooks: [{id: crm, url: "%[1]s"}]
`

// cursorDialect is how one kind of PBX asks, and where in its answer the number to dial and the cursor
// stand, which is the first group of each expression.
type cursorDialect struct {
	format               string
	callid, callee, back string // the PBX's own names
	dial, next           string
	// fallback is what the answer to a bad cursor looks like, whole, but for the decision's id.
	fallback string
}

var cursorDialects = []cursorDialect{
	{
		"json", "callid", "callee", "cursor",
		`"dst_phone":"(\d+)"`, `"next":"([^"]+)"`,
		`"source":"fallback","reason":"bad_cursor","schema":"1","dst_phone":"380440000001"`,
	}, {
		"asterisk", "callid", "callee", "cursor",
		`&dst=(\d+)&`, `&next=([^&]+)&`,
		`status=ok&source=fallback&reason=bad_cursor&count=1&dst=380440000001&dst_1=380440000001&dial=PJSIP%2F380440000001%40trunk&timeout=30&schema=1&next=&`,
	}, {
		"freeswitch", "Caller-Unique-ID", "Caller-Destination-Number", "variable_hookswitch_cursor",
		`<action application="bridge" data="sofia/gateway/trunk/(\d+)"/>`, `data="hookswitch_cursor=([^"]+)"`,
		`<action application="set" data="hookswitch_cursor="/>`,
	}, {
		"kamailio", "callid", "callee", "cursor",
		`"uri":"sip:(\d+)@`, `"next":"([^"]+)"`,
		`{"version":"1.0","routing":"parallel","routes":[{"uri":"sip:380440000001@127.0.0.1:5070"}],"timeout":30,"next":"",`,
	},
}

// ask asks about a call, and returns the answer, the number it dials, and its cursor.
func (d *cursorDialect) ask(t *testing.T, s *service, callid, cursor string) (answer, number, next string) {
	t.Helper()
	resp, err := client.PostForm(s.URL+"/v1/route/"+d.format, url.Values{
		d.callid: {callid}, d.callee: {"380442223344"}, d.back: {cursor}, "Caller-Context": {"public"}, "section": {"dialplan"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d; want 200, which a PBX reads: %s", resp.StatusCode, body)
	}
	group := func(expression string) string {
		if m := regexp.MustCompile(expression).FindStringSubmatch(string(body)); m != nil {
			return m[1]
		}
		return ""
	}
	return string(body), group(d.dial), group(d.next)
}

func TestABadCursorGetsTheFallbackThatItsPBXCanRead(t *testing.T) {
	const key = "a-key-that-two-instances-share"
	hook := startSim(t, hooksim.Options{Answer: `{"dst_phone":"380441111111"}`})
	s := start(t, fmt.Sprintf(cursorProject, hook.URL(), key))
	// Expired is told by a cursor's own time, so that the other instance's last.
	long := strings.Replace(cursorProject, "expires: 1s", "expires: 10m", 1)
	sharing := start(t, fmt.Sprintf(long, hook.URL(), key))
	stranger := start(t, fmt.Sprintf(long, hook.URL(), "somebody-else-s-own-key"))

	for _, d := range cursorDialects {
		t.Run(d.format, func(t *testing.T) {
			// cursorOf is the first answer's, from an instance, for a call.
			cursorOf := func(from *service, callid string) string {
				t.Helper()
				answer, number, next := d.ask(t, from, callid, "")
				if number != "380440000002" || next == "" || len(next) > 300 {
					t.Fatalf("the first answer: %s; want 380440000002 and a cursor of at most 300 characters", answer)
				}
				return next
			}
			asked := hook.Stats().Requests
			if answer, number, next := d.ask(t, s, d.format+"-good", cursorOf(sharing, d.format+"-good")); number != "380441111111" || next != "" {
				t.Errorf("a good cursor, of an instance with the same key: %s; want the hook's 380441111111, and no cursor", answer)
			}
			if now := hook.Stats().Requests; now != asked+1 {
				t.Errorf("the hook was asked %d times; want once, after the cursor", now-asked)
			}

			tampered := changed(t, cursorOf(sharing, d.format+"-tampered"))
			expired := cursorOf(s, d.format+"-expired")
			waitFor(t, 10*time.Second, "the cursor expires", func() bool { return time.Now().Unix() > expiry(t, expired) })
			for _, tc := range []struct{ name, cursor string }{
				{"tampered", tampered},
				{"expired", expired},
				{"replayed", cursorOf(sharing, d.format+"-another-call")},
				{"of-another-key", cursorOf(stranger, d.format+"-of-another-key")},
				{"no-cursor-at-all", `"}]&dst=380900000000&<x>${SYSTEM(x)}`},
			} {
				const counted = `hookswitch_decisions_total{reason="bad_cursor",source="fallback"}`
				before := s.metric(counted)
				answer, number, next := d.ask(t, s, d.format+"-"+tc.name, tc.cursor)
				if number != "380440000001" || next != "" || !strings.Contains(answer, d.fallback) || strings.Contains(answer, "380900000000") {
					t.Errorf("a cursor that is %s: %s; want %s", tc.name, answer, d.fallback)
				}
				if now := s.metric(counted); now != before+1 {
					t.Errorf("a cursor that is %s: %s went up by %v; want 1", tc.name, counted, now-before)
				}
			}
			if now := hook.Stats().Requests; now != asked+1 {
				t.Errorf("bad cursors had the hook asked %d times", now-asked-1)
			}
		})
	}
}

// changed returns the cursor with its expiry moved by a bit, as one would to have it last.
func changed(t *testing.T, cursor string) string {
	t.Helper()
	b := decoded(t, cursor)
	b[2] ^= 1
	return base64.RawURLEncoding.EncodeToString(b)
}

// expiry reads when a cursor expires, in Unix seconds: it is signed, but not secret.
func expiry(t *testing.T, cursor string) int64 {
	t.Helper()
	b := decoded(t, cursor)
	return int64(b[1])<<24 | int64(b[2])<<16 | int64(b[3])<<8 | int64(b[4])
}

func decoded(t *testing.T, cursor string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < 8 {
		t.Fatalf("the cursor %q is not base64url: %v", cursor, err)
	}
	return b
}
