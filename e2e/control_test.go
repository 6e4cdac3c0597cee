package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// redisServer is a redis-server of a test's own. Its data outlives a kill.
type redisServer struct {
	port, dir string
	process   *exec.Cmd
	ended     chan struct{}
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	r := &redisServer{port: port, dir: t.TempDir()}
	t.Cleanup(r.kill)
	r.start(t)
	return r
}

func (r *redisServer) start(t *testing.T) {
	t.Helper()
	r.process, r.ended = exec.Command("redis-server", "--port", r.port, "--bind", "127.0.0.1", "--dir", r.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "no"), make(chan struct{})
	r.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // dies with this test binary
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is of the thread that starts it
		err := r.process.Start()
		started <- err
		if err == nil {
			r.process.Wait()
		}
		close(r.ended)
	}()
	if err := <-started; err != nil {
		t.Fatalf("redis-server: %v; run scripts/setup", err)
	}
	waitFor(t, 30*time.Second, "redis-server listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+r.port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill is kill -9; a stopped server dies of it, too.
func (r *redisServer) kill() {
	_ = r.process.Process.Kill()
	<-r.ended
}

func (r *redisServer) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := r.process.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// instances starts services that share a Redis.
func instances(t *testing.T, r *redisServer, n int) []*service {
	t.Helper()
	var all []*service
	for range n {
		all = append(all, start(t, fmt.Sprintf(`store: redis://127.0.0.1:%s/0
repeats: {window: 0s}
admin: {listen: 127.0.0.1:0, tokens: [{name: ops, token: %s, scopes: [read, write]}]}
projects:
  - {id: file, default_schema: "1", numbers: [{number: "380442223300", schema: "1"}], schemas: [{id: "1", steps: [{dial: ["380449999999"]}]}]}
`, r.port, controlToken)))
		all[len(all)-1].adminURL() // before decisions crowd its log
	}
	return all
}

const (
	controlToken  = "a-token-for-these-tests"
	managedNumber = "380442223377"
)

// edition is a project whose parts all bear its number: the number called leads to scheme sN, and that
// to 38044 and N.
func edition(n int) map[string]any {
	id := fmt.Sprint("s", n)
	return map[string]any{
		"id": "managed", "default_schema": id, "numbers": []any{map[string]any{"number": managedNumber, "schema": id}},
		"schemas": []any{map[string]any{"id": id, "steps": []any{map[string]any{"dial": []string{destinationOf(n)}}}}},
	}
}

func destinationOf(n int) string { return fmt.Sprintf("38044%07d", n) }

// manage makes a request to the admin API, and returns the status and the answer; for any goroutine.
func (s *service) manage(url, method, path string, body any) (int, string, error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequest(method, url+"/api/v1"+path, bytes.NewReader(sent))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+controlToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// mustManage is manage where the answer has to be a success.
func (s *service) mustManage(method, path string, body any) {
	s.t.Helper()
	if status, answer, err := s.manage(s.adminURL(), method, path, body); err != nil || status >= 300 {
		s.t.Fatalf("%s %s: got %d %s, %v", method, path, status, answer, err)
	}
}

func TestAnUpdateThroughOneInstanceIsDecidedByOnAll(t *testing.T) {
	all := instances(t, startRedis(t), 3)
	all[0].mustManage("POST", "/projects", edition(0))
	for i, s := range all {
		waitFor(t, 10*time.Second, fmt.Sprint("the project on instance ", i), func() bool {
			d, _ := s.route(call(managedNumber))
			return d.DstPhone == destinationOf(0)
		})
	}
	var slowest time.Duration
	for n := 1; n <= 12; n++ {
		through := all[n%3]
		through.mustManage("PUT", "/projects/managed", edition(n))
		updated := time.Now()
		if d, _ := through.route(call(managedNumber)); d.DstPhone != destinationOf(n) {
			t.Errorf("update %d: the instance that took it decides %s; want its own write", n, d.DstPhone)
		}
		for i, s := range all {
			waitFor(t, 10*time.Second, fmt.Sprintf("update %d on instance %d", n, i), func() bool {
				d, _ := s.route(call(managedNumber))
				return d.DstPhone == destinationOf(n) && value(d.Schema) == fmt.Sprint("s", n)
			})
		}
		slowest = max(slowest, time.Since(updated))
	}
	t.Logf("an update reached all three after %s at most", slowest)
	if d, _ := all[2].route(call("380442223300")); d.DstPhone != "380449999999" {
		t.Errorf("the file's project: got %+v", d)
	}
	if status, answer, err := all[0].manage(all[0].adminURL(), "DELETE", "/projects/file", nil); status != http.StatusConflict || !strings.Contains(answer, "hookswitch.yaml") {
		t.Errorf("deleting the file's project: got %d %s, %v; want 409 and the file's name", status, answer, err)
	}
	all[1].mustManage("DELETE", "/projects/managed", nil)
	for i, s := range all {
		waitFor(t, 10*time.Second, fmt.Sprint("the deletion on instance ", i), func() bool {
			d, _ := s.route(call(managedNumber))
			return d.Reason == "unknown_number"
		})
	}
}

// torn says what is wrong with a decision about managedNumber that was made by one edition alone.
func torn(d *decision, status int, err error) string {
	var n int
	switch {
	case err != nil:
		return err.Error()
	case status != http.StatusOK || d.Reason != "ok" || d.Source != "schema" || d.Version == 0:
		return fmt.Sprintf("status %d, %+v", status, *d)
	}
	if _, err := fmt.Sscanf(value(d.Schema), "s%d", &n); err != nil || d.DstPhone != destinationOf(n) {
		return fmt.Sprintf("schema %s leads to %s, by version %d", value(d.Schema), d.DstPhone, d.Version)
	}
	return ""
}

func TestNoDecisionIsTornBetweenTwoVersions(t *testing.T) {
	updates, rate := 300, 300.0
	if full {
		updates, rate = 10_000, 3000
	}
	all := instances(t, startRedis(t), 3)
	all[0].mustManage("POST", "/projects", edition(0))
	for i, s := range all {
		waitFor(t, 10*time.Second, fmt.Sprint("the project on instance ", i), func() bool {
			d, _ := s.route(call(managedNumber))
			return d.DstPhone == destinationOf(0)
		})
	}
	stop := make(chan struct{})
	var deciding sync.WaitGroup
	var mu sync.Mutex
	decided, editionOf := 0, map[uint64]string{} // by version; guarded by mu
	for _, s := range all {
		deciding.Go(func() {
			for begun, i := time.Now(), 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				sleepUntil(begun.Add(time.Duration(float64(3*i) / rate * float64(time.Second))))
				d, status, err := s.tryRoute(call(managedNumber))
				if wrong := torn(&d, status, err); wrong != "" {
					t.Error(wrong)
					return
				}
				mu.Lock()
				if was := editionOf[d.Version]; was != "" && was != value(d.Schema) {
					t.Errorf("version %d is both %s and %s", d.Version, was, value(d.Schema))
				}
				editionOf[d.Version] = value(d.Schema)
				decided++
				mu.Unlock()
			}
		})
	}
	urls := []string{all[0].adminURL(), all[1].adminURL(), all[2].adminURL()}
	for n := 1; n <= updates; n++ {
		if status, answer, err := all[n%3].manage(urls[n%3], "PUT", "/projects/managed", edition(n)); err != nil || status >= 300 {
			t.Fatalf("update %d: got %d %s, %v", n, status, answer, err)
		}
	}
	close(stop)
	deciding.Wait()
	for i, s := range all {
		waitFor(t, 10*time.Second, fmt.Sprint("the last update on instance ", i), func() bool {
			d, _ := s.route(call(managedNumber))
			return d.DstPhone == destinationOf(updates)
		})
	}
	t.Logf("%d decisions by %d of %d versions, none torn", decided, len(editionOf), updates)
}

func TestDecisionsGoOnWhileTheStoreIsGone(t *testing.T) {
	rate, calls := 200.0, 800
	if full {
		rate, calls = 500, 30_000 // a minute
	}
	for _, tc := range []struct {
		name        string
		stop, again func(*testing.T, *redisServer)
	}{
		{"killed", func(_ *testing.T, r *redisServer) { r.kill() }, func(t *testing.T, r *redisServer) { r.start(t) }},
		{"hung", func(t *testing.T, r *redisServer) { r.signal(t, syscall.SIGSTOP) }, func(t *testing.T, r *redisServer) { r.signal(t, syscall.SIGCONT) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			redis := startRedis(t)
			all := instances(t, redis, 2)
			all[0].mustManage("POST", "/projects", edition(1))
			for i, s := range all {
				waitFor(t, 10*time.Second, fmt.Sprint("the project on instance ", i), func() bool {
					d, _ := s.route(call(managedNumber))
					return d.DstPhone == destinationOf(1)
				})
			}
			params := func(int) url.Values { return call(managedNumber) }
			before := latenciesOf(all[0].openLoop(calls/2, rate, params))
			tc.stop(t, redis)
			refused := make(chan string, 1)
			go func() {
				status, answer, err := all[1].manage(all[1].adminURL(), "PUT", "/projects/managed", edition(2))
				refused <- fmt.Sprint(status, " ", answer, " ", err)
			}()
			outcomes := all[0].openLoop(calls, rate, params)
			for i := range outcomes {
				o := &outcomes[i]
				if wrong := torn(&o.decision, o.status, o.err); wrong != "" || o.DstPhone != destinationOf(1) {
					t.Fatalf("without the store: %s, to %s", wrong, o.DstPhone)
				}
			}
			t.Logf("p50, p99, p99.9, max in ms with the store:%s; without:%s", before, latenciesOf(outcomes))
			if got := <-refused; !strings.HasPrefix(got, "503 ") {
				t.Errorf("a write without the store: got %s; want 503", got)
			}
			waitFor(t, 10*time.Second, "the metric says that the store is down", func() bool { return all[0].metric("hookswitch_store_up") == 0 })
			tc.again(t, redis)
			waitFor(t, 30*time.Second, "a write is taken again", func() bool {
				status, _, err := all[1].manage(all[1].adminURL(), "PUT", "/projects/managed", edition(3))
				return err == nil && status < 300
			})
			for i, s := range all {
				waitFor(t, 30*time.Second, fmt.Sprint("the write on instance ", i), func() bool {
					d, _ := s.route(call(managedNumber))
					return d.DstPhone == destinationOf(3) && s.metric("hookswitch_store_up") == 1
				})
			}
		})
	}
}
