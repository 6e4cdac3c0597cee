package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// kamailioProject is what Kamailio asks for here. Its parts: the hook's URL, and the addresses of the
// answerers that answer, are busy, and ring until they are cancelled.
const kamailioProject = `
dial: {kamailio: {number: "sip:{{number}}@%[2]s"}}
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    destinations: {allow: ["380", "sip:*@127.0.0.1"]}
    numbers:
      - {number: "380442220001", schema: ask}
      - {number: "380442220002", schema: ask}
      - {number: "380442220003", schema: ask}
      - {number: "380442220004", schema: busy-then-ask}
      - {number: "380442220005", schema: answered-else-ask}
      - {number: "380442220006", schema: round-a}
      - {number: "380442220007", schema: ask-slow}
      - {number: "380442220008", schema: refuse}
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: ask, steps: [{hook: crm}]}
      - {id: in-order, steps: [{dial: ["sip:380440000002@%[3]s", "380440000003"], strategy: in_order}]}
      - {id: busy-then-ask, steps: [{dial: ["sip:380440000004@%[3]s"]}, {hook: crm}]}
      - {id: answered-else-ask, steps: [{dial: ["380440000005"]}, {hook: crm}]}
      - {id: round-a, steps: [{dial: ["sip:380440000006@%[3]s"]}, {hook: to-b}]}
      - {id: round-b, steps: [{dial: ["sip:380440000007@%[3]s"]}, {hook: to-a}]}
      - {id: ask-slow, steps: [{hook: slow}]}
      - {id: refuse, steps: [{hangup: unallocated}]}
    hooks:
      - {id: crm, url: "%[1]s"}
      - {id: slow, url: "%[1]s/hang", request_timeout: 20s}
      - {id: to-a, url: "%[1]s/round-a"}
      - {id: to-b, url: "%[1]s/round-b"}
`

// What the callers here call, and what kamailioProject makes of it.
const (
	toOneNumber      = "380442220001" // the hook answers with a number of the call's own
	toTwoAtOnce      = "380442220002" // with a second one beside it, which rings and is never answered
	toTwoInOrder     = "380442220003" // with a scheme whose first destination is busy
	toBusyThenHook   = "380442220004" // the hook is asked only when the first destination was busy
	toAnsweredFirst  = "380442220005" // the same, but the first destination answers
	toEndlessCircles = "380442220006" // busy, and the hook's scheme is busy, and its hook's scheme …
	toHangingHook    = "380442220007" // the hook has much patience, and does not answer
	toNobody         = "380442220008" // the scheme hangs up: unallocated

	defaultNumber    = "380440000001"
	inOrderNumber    = "380440000003"
	answeredNumber   = "380440000005"
	lastResortNumber = "380440000099"
)

// numberHook sends each call to a number of its own, so that no two can be mixed up, and keeps who
// asked how often and what it told whom.
type numberHook struct {
	*httptest.Server
	rings string // address of the one that rings beside the number, for toTwoAtOnce

	mu      sync.Mutex // guards all below
	callers map[string]string
	asked   map[string]int
	told    map[string]string // the number that the call must reach
	atCall  int               // when this many calls have asked,
	happens func()            // this happens, once
}

func startNumberHook(t *testing.T) *numberHook {
	h := &numberHook{callers: map[string]string{}, asked: map[string]int{}, told: map[string]string{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

// when has something happen once so many calls have asked.
func (h *numberHook) when(calls int, happens func()) { h.atCall, h.happens = calls, happens }

func (h *numberHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, callee := r.FormValue("callid"), r.FormValue("callee")
	if r.URL.Path == "/hang" {
		<-r.Context().Done()
		return
	}
	h.mu.Lock()
	h.asked[id]++
	h.callers[id] = r.FormValue("caller")
	number := fmt.Sprintf("38044%07d", 1_000_000+len(h.asked))
	answer := fmt.Sprintf(`{"dst_phone":%s}`, number)
	switch {
	case r.URL.Path != "/":
		number, answer = defaultNumber, fmt.Sprintf(`{"schema":"%s"}`, r.URL.Path[1:])
	case callee == toTwoAtOnce:
		answer = fmt.Sprintf(`{"dst_phone":"sip:%s@%s,%s"}`, number, h.rings, number)
	case callee == toTwoInOrder:
		number, answer = inOrderNumber, `{"schema":"in-order"}`
	}
	h.told[id] = number
	var happens func()
	if len(h.asked) == h.atCall {
		happens, h.happens = h.happens, nil
	}
	h.mu.Unlock()
	if happens != nil {
		happens()
	}
	fmt.Fprint(w, answer)
}

// kill stops listening and drops every connection.
func (h *numberHook) kill() { h.Server.Config.Close() }

// counts returns how often each call has asked, and the number that it was told.
func (h *numberHook) counts() (asked map[string]int, told map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.asked), maps.Clone(h.told)
}

// sipRig is a whole installation: Kamailio, hookswitch, a hook, and the ones who are called.
type sipRig struct {
	hook                 *numberHook
	service              *service
	answers, busy, rings *answerer
	proxy                string // Kamailio's address
}

const (
	shippedKamailio = "../configs/kamailio/kamailio.cfg"
	simpleKamailio  = "testdata/kamailio/simple.cfg"
)

// kamailioWorkers are enough for what is called here, and few.
const kamailioWorkers = 8

// startSIP starts it all. delay is how late the one who answers rings, and the busy one says so; options
// are further ones of Kamailio.
func startSIP(t *testing.T, config string, delay time.Duration, options ...string) *sipRig {
	t.Helper()
	needSIP(t)
	late := []string{"-d", fmt.Sprint(delay.Milliseconds())}
	r := &sipRig{hook: startNumberHook(t)}
	r.answers, r.busy, r.rings = startAnswerer(t, "answers", late...), startAnswerer(t, "busy", late...), startAnswerer(t, "rings")
	r.hook.rings = r.rings.address
	r.service = start(t, fmt.Sprintf(kamailioProject, r.hook.URL, r.answers.address, r.busy.address))
	r.proxy = startKamailio(t, config, r.service.URL, r.answers.address, options...)
	return r
}

// startKamailio runs a configuration until the test ends, and returns its address. What is particular
// to the test comes by Kamailio's own -A, so that the file is read as it is.
func startKamailio(t *testing.T, config, service, trunk string, more ...string) string {
	t.Helper()
	config, err := filepath.Abs(config)
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), freeUDP(t)
	define := func(name, value string) []string { return []string{"-A", name + "=" + value} }
	args := []string{"-f", config, "-m", "512", "-DD", "-E", "-Y", dir, "-w", dir}
	args = append(args, define("HS_LISTEN", "udp:"+address)...)
	args = append(args, define("HS_WORKERS", fmt.Sprint(kamailioWorkers))...)
	args = append(args, define("HS_URL", `"`+service+`/v1/route"`)...)
	args = append(args, define("HS_CONNECTION", `"hookswitch=>`+service+`/v1/route"`)...)
	args = append(args, define("HS_LAST_RESORT", `"sip:`+lastResortNumber+`@`+trunk+`"`)...)
	log := filepath.Join(dir, "kamailio.log")
	p := launch(t, log, "kamailio", append(args, more...)...)
	showOnFailure(t, log)
	t.Cleanup(func() {
		text, _ := os.ReadFile(log)
		for line := range strings.Lines(string(text)) {
			// http_client reports lookups that were cut off, as they are meant to be here.
			if strings.Contains(line, " CRITICAL: ") || strings.Contains(line, " ERROR: ") && !strings.Contains(line, " http_client ") {
				t.Errorf("Kamailio's log: %s", line)
			}
		}
	})
	waitUDP(t, p, address)
	return address
}

// load is how many calls a test makes, and how many a second.
func load(short, fullForm [2]int) (n, rate int) {
	if full {
		return fullForm[0], fullForm[1]
	}
	return short[0], short[1]
}

func TestEveryKamailioCallReachesWhatItsHookAnswered(t *testing.T) {
	n, rate := load([2]int{200, 100}, [2]int{2000, 100})
	r := startSIP(t, shippedKamailio, 0)
	c := startCallers(t, "caller", r.proxy, n, rate, toOneNumber, toTwoAtOnce, toTwoInOrder, toOneNumber)
	calls := c.wait()
	r.checkAllByTheHook(t, calls)
	t.Logf("%d calls at %d/s, mixed; INVITE to ringing, p50, p99, p99.9, max in ms (SIPp, by a clock of 4 ms):%s", n, rate, c.ringing())
}

// checkAllByTheHook checks that each call reached the number that the hook told it, that the hook was
// asked once for each, and that those who were to ring beside it, or to be busy before it, were called.
func (r *sipRig) checkAllByTheHook(t *testing.T, calls map[string]sippCall) {
	t.Helper()
	asked, told := r.hook.counts()
	beside, busy := map[string]string{}, map[string]string{}
	for id, c := range calls {
		if c.reached != told[id] || c.reached == "" {
			t.Errorf("call %s to %s reached %q; want %q, which the hook answered", id, c.callee, c.reached, told[id])
		}
		if asked[id] != 1 {
			t.Errorf("call %s to %s: the hook was asked %d times; want once", id, c.callee, asked[id])
		}
		switch c.callee {
		case toTwoAtOnce:
			beside[id] = told[id]
		case toTwoInOrder:
			busy[id] = "380440000002"
		}
	}
	if len(asked) != len(calls) {
		t.Errorf("the hook was asked about %d calls; %d were made", len(asked), len(calls))
	}
	same := func(who *answerer, event string, want map[string]string) {
		var got map[string]string
		defer func() {
			if !maps.Equal(got, want) {
				t.Errorf("%s: %d calls; want the %d that the hook sent there", event, len(got), len(want))
			}
		}()
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !maps.Equal(got, want); time.Sleep(20 * time.Millisecond) {
			got = who.noted(t, event)
		}
	}
	same(r.rings, "called", beside)
	same(r.rings, "cancelled", beside)
	same(r.busy, "called", busy)
}

func TestWithItsHookKilledEveryKamailioCallReachesTheDefaultScheme(t *testing.T) {
	n, rate := load([2]int{200, 100}, [2]int{2000, 100})
	r := startSIP(t, shippedKamailio, 0)
	r.hook.when(n/2, r.hook.kill)
	calls := startCallers(t, "caller", r.proxy, n, rate, toOneNumber, toTwoAtOnce, toTwoInOrder, toOneNumber).wait()
	r.checkAllOr(t, calls, defaultNumber, n)
}

func TestWithHookswitchKilledEveryKamailioCallReachesTheLastResort(t *testing.T) {
	for _, tc := range []struct{ name, define string }{
		{"a connection for each lookup", "HS_PLAIN"},
		{"kept connections", "WITH_KEEPALIVE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, rate := load([2]int{200, 100}, [2]int{2000, 100})
			r := startSIP(t, shippedKamailio, 0, "-A", tc.define)
			r.hook.when(n/2, func() { _ = r.service.cmd.Process.Kill() })
			calls := startCallers(t, "caller", r.proxy, n, rate, toOneNumber, toTwoAtOnce, toTwoInOrder, toOneNumber).wait()
			r.checkAllOr(t, calls, lastResortNumber, n)
		})
	}
}

// checkAllOr checks that each call that asked the hook before it or hookswitch was killed, half of the
// n, reached what it was told, and every other one the number that stands in. Calls that were being
// decided at that instant may have either.
func (r *sipRig) checkAllOr(t *testing.T, calls map[string]sippCall, standIn string, n int) {
	t.Helper()
	_, told := r.hook.counts()
	byHook, atTheInstant := 0, 0
	for id, c := range calls {
		number, asked := told[id]
		switch {
		case c.reached == number:
			byHook++
		case c.reached == standIn && asked:
			atTheInstant++
		case c.reached != standIn:
			t.Errorf("call %s to %s reached %q; want %q", id, c.callee, c.reached, standIn)
		}
	}
	if byHook < n/2-10 || byHook > n/2+10 {
		t.Errorf("%d calls of %d reached what the hook answered; want the half before the kill", byHook, n)
	}
	if atTheInstant > 10 {
		t.Errorf("%d calls asked the hook and did not reach what it answered; want at most the few at the instant of the kill", atTheInstant)
	}
}

func TestAHookIsAskedOnceHoweverOftenKamailioRepeats(t *testing.T) {
	n, rate := load([2]int{200, 100}, [2]int{2000, 300})
	for _, tc := range []struct {
		name, config, define string
		callees              []string
		leastRepeats         int
	}{
		// A repeated INVITE is answered from its transaction. Two at the same instant might still both be
		// looked up.
		{"the shipped file", shippedKamailio, "WITH_KEEPALIVE",
			[]string{toOneNumber, toTwoAtOnce, toTwoInOrder, toOneNumber}, 0},
		{"a dialplan that looks up each INVITE", simpleKamailio, "LOOKUP",
			[]string{toOneNumber, toTwoAtOnce}, n},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const late = 300 * time.Millisecond
			r := startSIP(t, tc.config, late, "-A", tc.define)
			c := startCallers(t, "caller", repeatINVITEs(t, r.proxy, late/2), n, rate, tc.callees...)
			r.checkAllByTheHook(t, c.wait())
			repeats := int(r.service.metric("hookswitch_repeats_total"))
			t.Logf("%d calls at %d/s, each INVITE three times: %d lookups were repeats; INVITE to ringing, %v of which are the answerer's, p50, p99, p99.9, max in ms:%s",
				n, rate, repeats, late, c.ringing())
			if repeats < tc.leastRepeats {
				t.Errorf("%d lookups were repeats; want at least %d, else nothing was shown", repeats, tc.leastRepeats)
			}
			// The metric's own connection is one more, and an earlier one of this client may still be open.
			if open := r.service.metric("hookswitch_intake_open_connections"); open < 2 || open > kamailioWorkers+2 {
				t.Errorf("%v connections are open; want one kept by each of Kamailio's %d workers, at most", open, kamailioWorkers)
			}
		})
	}
}

// repeatINVITEs is a network on the way to the proxy, by its address, that delivers each INVITE twice
// at once, for two workers to have at the same time, and a third time later. Replies don't come
// this way: they follow the Via.
func repeatINVITEs(t *testing.T, proxy string, later time.Duration) string {
	t.Helper()
	in, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("udp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); out.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, _, err := in.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = out.Write(buf[:n])
			if bytes.HasPrefix(buf[:n], []byte("INVITE ")) {
				again := bytes.Clone(buf[:n])
				_, _ = out.Write(again)
				time.AfterFunc(later, func() { _, _ = out.Write(again) })
			}
		}
	}()
	return in.LocalAddr().String()
}

func TestKamailioAsksAgainOnlyWhenTheFirstDestinationWasBusy(t *testing.T) {
	n, rate := load([2]int{60, 60}, [2]int{1000, 100})
	r := startSIP(t, shippedKamailio, 0)
	calls := startCallers(t, "caller", r.proxy, n, rate, toBusyThenHook, toAnsweredFirst).wait()
	asked, told := r.hook.counts()
	for id, c := range calls {
		want, times := answeredNumber, 0
		if c.callee == toBusyThenHook {
			want, times = told[id], 1
		}
		if c.reached != want || want == "" || asked[id] != times {
			t.Errorf("call %s to %s reached %q, the hook was asked %d times; want %q, %d times", id, c.callee, c.reached, asked[id], want, times)
		}
	}
}

func TestKamailioEndsACircleOfCursorsInTheDefaultScheme(t *testing.T) {
	r := startSIP(t, shippedKamailio, 0)
	calls := startCallers(t, "caller", r.proxy, 5, 10, toEndlessCircles).wait()
	asked, _ := r.hook.counts()
	for id, c := range calls {
		if c.reached != defaultNumber || asked[id] != 5 {
			t.Errorf("call %s reached %q after %d hooks; want %s after 5, as many as continuation.max", id, c.reached, asked[id], defaultNumber)
		}
	}
}

func TestKamailiosLastResortHoldsWhenHookswitchDiesBetweenTwoLookups(t *testing.T) {
	r := startSIP(t, shippedKamailio, time.Second)
	c := startCallers(t, "caller", r.proxy, 3, 100, toBusyThenHook)
	waitFor(t, 5*time.Second, "the busy one has the calls", func() bool { return len(r.busy.noted(t, "called")) == 3 })
	_ = r.service.cmd.Process.Kill()
	for id, call := range c.wait() {
		if call.reached != lastResortNumber {
			t.Errorf("call %s reached %q; want the last resort, %s", id, call.reached, lastResortNumber)
		}
	}
}

func TestASlowHookEndsInTheDefaultSchemeBeforeKamailiosPatienceDoes(t *testing.T) {
	r := startSIP(t, shippedKamailio, 0)
	for id, call := range startCallers(t, "caller", r.proxy, 3, 100, toHangingHook).wait() {
		if call.reached != defaultNumber {
			t.Errorf("call %s reached %q; want the default scheme's %s, which hookswitch gives within the budget_ms it is told", id, call.reached, defaultNumber)
		}
	}
}

func TestKamailioTellsWhoCallsAndRefusesAsTheSchemeSays(t *testing.T) {
	needSIP(t)
	probe, hook := startTrunkProbe(t), startNumberHook(t)
	trunk := probe.called.LocalAddr().String()
	s := start(t, fmt.Sprintf(kamailioProject, hook.URL, trunk, trunk))
	proxy := startKamailio(t, shippedKamailio, s.URL, trunk)
	for _, tc := range []struct{ name, callee, from, caller, status string }{
		{"a-plus-stays-a-plus", "+" + toOneNumber, "<sip:+380501112233@127.0.0.1>", "+380501112233", "SIP/2.0 486 Busy Here"},
		{"a-caller-without-a-number", toOneNumber, `"Anonymous" <sip:anonymous.invalid>`, "", "SIP/2.0 486 Busy Here"},
		{"what-separates-in-a-URL", toOneNumber, "<sip:a%26b=c;d&callee=1@x.invalid>", "a%26b=c;d&callee=1", "SIP/2.0 486 Busy Here"},
		{"a-call-id@with.odd(characters)", toOneNumber, "<sip:1@x.invalid>", "1", "SIP/2.0 486 Busy Here"},
		{"hangup", toNobody, "<sip:1@x.invalid>", "", "SIP/2.0 404 Refused"},
	} {
		if status := probe.ask(t, proxy, tc.callee, tc.from, tc.name); status != tc.status {
			t.Errorf("%s: the call ended with %q; want %q", tc.name, status, tc.status)
		}
		hook.mu.Lock()
		caller, asked := hook.callers[tc.name]
		hook.mu.Unlock()
		if caller != tc.caller || asked != (tc.callee != toNobody) {
			t.Errorf("%s: the hook was told that %q calls (asked: %v); want %q", tc.name, caller, asked, tc.caller)
		}
	}
}
