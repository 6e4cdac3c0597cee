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
      - {number: "380442220009", schema: ring-then-ask}
      - {number: "380442220010", schema: ring-briefly-then-ask}
      - {number: "380442220011", schema: ring-briefly-in-order}
      - {number: "380442220012", schema: welcome-then-ring}
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: ask, steps: [{hook: crm}]}
      - {id: in-order, steps: [{dial: ["sip:380440000002@%[3]s", "380440000003"], strategy: in_order}]}
      - {id: busy-then-ask, steps: [{dial: ["sip:380440000004@%[3]s"]}, {hook: crm}]}
      - {id: answered-else-ask, steps: [{dial: ["380440000005"]}, {hook: crm}]}
      - {id: round-a, steps: [{dial: ["sip:380440000006@%[3]s"]}, {hook: to-b}]}
      - {id: round-b, steps: [{dial: ["sip:380440000007@%[3]s"]}, {hook: to-a}]}
      - {id: ask-slow, steps: [{hook: slow}]}
      - {id: ring-then-ask, steps: [{dial: ["sip:380440000008@%[4]s"]}, {hook: crm}]}
      - {id: ring-briefly-then-ask, steps: [{dial: ["sip:380440000009@%[4]s"], timeout: 1s}, {hook: crm}]}
      - {id: ring-briefly-in-order, steps: [{dial: ["sip:380440000010@%[4]s", "380440000003"], strategy: in_order, timeout: 1s}]}
      - {id: welcome-then-ring, steps: [{playback: welcome.wav}, {dial: ["380440000005"]}]}
      - {id: refuse, steps: [{hangup: unallocated}]}
    hooks:
      - {id: crm, url: "%[1]s", request_timeout: 1700ms}
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
	toRingingForever = "380442220009" // nobody picks up; the hook would be asked then
	toRingingBriefly = "380442220010" // the same, for one second
	toTwoOneBriefly  = "380442220011" // one that rings for a second, then one that answers
	toWelcomeFirst   = "380442220012" // a file is to be played, which a proxy cannot, then one that answers

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
	r.service = start(t, fmt.Sprintf(kamailioProject, r.hook.URL, r.answers.address, r.busy.address, r.rings.address))
	r.proxy, _ = startKamailio(t, config, r.service.URL, r.answers.address, options...)
	return r
}

// startKamailio runs a configuration until the test ends, and returns its address and
// where its log is. What is particular
// to the test comes by Kamailio's own -A, so that the file is read as it is.
func startKamailio(t *testing.T, config, service, trunk string, more ...string) (address, log string) {
	t.Helper()
	config, err := filepath.Abs(config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	address, log = freeUDP(t), filepath.Join(dir, "kamailio.log")
	define := func(name, value string) []string { return []string{"-A", name + "=" + value} }
	args := []string{"-f", config, "-m", "512", "-DD", "-E", "-Y", dir, "-w", dir}
	args = append(args, define("HS_LISTEN", "udp:"+address)...)
	args = append(args, define("HS_WORKERS", fmt.Sprint(kamailioWorkers))...)
	args = append(args, define("HS_URL", `"`+service+`/v1/route"`)...)
	args = append(args, define("HS_CONNECTION", `"hookswitch=>`+service+`/v1/route"`)...)
	args = append(args, define("HS_LAST_RESORT", `"sip:`+lastResortNumber+`@`+trunk+`"`)...)
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
	return address, log
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
