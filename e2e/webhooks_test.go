package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// postEvent sends an event of a call and returns the answer.
func (s *service) postEvent(params url.Values) (status int, body string) {
	s.t.Helper()
	resp, err := client.PostForm(s.URL+"/v1/events", params)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func created(call string) url.Values {
	return url.Values{"event": {"create"}, "callid": {call}, "direction": {"inbound"}, "caller": {"380501112233"}, "callee": {"380442223344"}}
}

// The schedule of 48 times in 24 hours is proven with a clock that a test moves; this is a short one, for
// real: after each failure the next attempt comes on its beat, and after the last there is none.
func TestARetryScheduleForReal(t *testing.T) {
	var mu sync.Mutex
	var came []time.Time
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		came = append(came, time.Now())
		mu.Unlock()
		time.Sleep(50 * time.Millisecond) // which is not to shift the beat
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(h.Close)
	s := start(t, fmt.Sprintf(`
store: bolt:%s
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    schemas: [{id: "1", steps: [{dial: ["380440000001"]}]}]
    webhooks: [{id: 1, url: %q, event: create, retry: "300ms x 5"}]
`, filepath.Join(t.TempDir(), "hookswitch.db"), h.URL))
	if status, body := s.postEvent(created("a")); status != http.StatusAccepted {
		t.Fatalf("got %d: %s", status, body)
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(came) }
	waitFor(t, 30*time.Second, "the retries are used up", func() bool {
		return s.metric(`hookswitch_deliveries_total{project="1001",result="failed",webhook="1"}`) == 1
	})
	time.Sleep(time.Second)
	if count() != 6 {
		t.Fatalf("got %d requests; want 6", count())
	}
	for i := range came {
		// The first of them arrives a little after the attempt began, which is what the beat is of; a
		// machine that is busy has a beat's time and more to be late.
		if after, beat := came[i].Sub(came[0]), time.Duration(i)*300*time.Millisecond; after < beat-100*time.Millisecond || after > beat+500*time.Millisecond {
			t.Errorf("attempt %d came %v after the first; want %v", i+1, after, beat)
		} else {
			t.Logf("attempt %d came %v after the first", i+1, after.Round(time.Millisecond))
		}
	}
}

// What a webhook answers about a caller is known when that caller calls again.
func TestValuesOfAWebhooksAnswerReachLaterHooks(t *testing.T) {
	var asked atomic.Pointer[string]
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/event" {
			fmt.Fprint(w, `{"contact":{"id":100000000000000000042,"manager":"380441111119"}}`)
			return
		}
		uri := r.URL.String()
		asked.Store(&uri)
		fmt.Fprintf(w, `{"dst_phone":%q}`, r.URL.Query().Get("manager"))
	}))
	t.Cleanup(h.Close)
	s := start(t, fmt.Sprintf(`
store: bolt:%s
callers: {deadline: 1s}
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "100"}]
    schemas:
      - {id: "1", steps: [{dial: ["380440000001"]}]}
      - {id: "100", steps: [{hook: crm}]}
    hooks: [{id: crm, url: "%s/ask", params: [{name: crm, value: "{{crm_id}}"}, {name: manager, param: manager}]}]
    webhooks: [{id: 1, url: "%s/event", event: create, save: [{from: contact.id, to: crm_id}, {from: contact.manager, to: manager}]}]
`, filepath.Join(t.TempDir(), "hookswitch.db"), h.URL, h.URL))
	if status, body := s.postEvent(created("a")); status != http.StatusAccepted {
		t.Fatalf("got %d: %s", status, body)
	}
	n := 0
	waitFor(t, 30*time.Second, "the hook is asked with what was saved", func() bool {
		n++
		d, _ := s.route(url.Values{"caller": {"+380 50 111 22 33"}, "callee": {"380442223344"}, "callid": {fmt.Sprint("b", n)}})
		return d.DstPhone == "380441111119"
	})
	if got := *asked.Load(); !strings.Contains(got, "crm=100000000000000000042") {
		t.Errorf("asked %s", got)
	}
}

// A disk that fills up: events are refused with 507, those accepted are delivered, and service resumes
// when there is space.
func TestEventsOnADiskThatFillsUp(t *testing.T) {
	disk := smallDisk(t)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var open atomic.Bool
	var mu sync.Mutex
	got := map[string]bool{}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open.Load() { // until the disk is full
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mu.Lock()
		got[r.URL.Query().Get("id")] = true
		mu.Unlock()
	}))
	t.Cleanup(h.Close)
	s := start(t, fmt.Sprintf(`
store: bolt:%s
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "1"}]
    schemas: [{id: "1", steps: [{dial: ["380440000001"]}]}]
    webhooks: [{id: 1, url: "%s/?id={{callid}}", event: create, retry: "1s x 1000"}]
`, filepath.Join(disk, "hookswitch.db"), h.URL))
	accepted := 0
	big := strings.Repeat("x", 4<<10)
	send := func(call string) (int, string) {
		params := created(call)
		for _, name := range []string{"big1", "big2", "big3", "big4", "big5"} {
			params.Set(name, big)
		}
		return s.postEvent(params)
	}
	status, body := 0, ""
	for ; accepted < 5000; accepted++ {
		if status, body = send(fmt.Sprint("call-", accepted)); status != http.StatusAccepted {
			break
		}
	}
	if status != http.StatusInsufficientStorage || !strings.Contains(body, "full") || accepted < 10 {
		t.Fatalf("after %d events: got %d: %s; want 507 and why", accepted, status, body)
	}
	if d, status := s.route(call("380442223344")); status != http.StatusOK || d.Reason != "ok" {
		t.Errorf("a decision meanwhile: got %d %+v", status, d)
	}
	open.Store(true)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 30*time.Second, "events are taken again", func() bool { status, _ := send("after"); return status == http.StatusAccepted })
	waitFor(t, time.Minute, "all that was accepted is delivered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for i := range accepted {
			if !got[fmt.Sprint("call-", i)] {
				return false
			}
		}
		return got["after"]
	})
	t.Logf("%d events were accepted until the disk was full: %s", accepted, body)
}

// smallDisk is the path of a file system of 8 MiB, in memory, that goes with the test. It is mounted in
// a name space of its own, and seen through the process that lives there.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	c := exec.Command("sh", "-c", `mount --make-rprivate / && mount -t tmpfs -o size=8m tmpfs "$0" && echo ready && exec sleep 3600`, dir)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatalf("a file system of its own needs root, or a kernel that lets users mount in a name space of their own: %v", err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the file system was not mounted: %q, %v", line, err)
	}
	return fmt.Sprintf("/proc/%d/root%s", c.Process.Pid, dir)
}
