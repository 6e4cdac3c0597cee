package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const linkToken = "3019b0ea-eb2a-40bf-aedb-4784d6879327"

// crm is a customer's webhook that answers one number, or fails, and keeps what it was asked.
type crm struct {
	*httptest.Server
	mu   sync.Mutex
	last url.Values
	down bool
}

func startCRM(t *testing.T) *crm {
	c := &crm{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last = r.URL.Query()
		if c.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, `{"dst_phone":"380441111111"}`)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *crm) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
}

// told returns what the webhook was asked last: name, id, callnum, uniquefirst, repeated_flag.
func (c *crm) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%s id=%s n=%s first=%s again=%s", c.last.Get("name"), c.last.Get("id"), c.last.Get("n"), c.last.Get("first"), c.last.Get("again"))
}

func linksConfig(storeURL, hook, token string) string {
	return `
store: ` + storeURL + `
callers: {deadline: 1s}
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "100"}]
    schemas:
      - {id: "1", name: Operators, steps: [{dial: ["380440000001"], timeout: 30s}]}
      - {id: "100", name: Ask, steps: [{hook: crm}]}
    hooks:
      - id: crm
        url: "` + hook + `/?name={{payment[0].name}}"
        last_good: 10m
        params: [{name: id, param: id}, {name: n, param: callnum}, {name: first, param: uniquefirst}, {name: again, param: repeated_flag}]
    incoming:
      - {id: chat, token: ` + token + `, fields: [chat_id, id, template_id], key: chat_id, rate: 0}
      - {id: ask, token: ask-0123456789abcdef, fields: [phone], key: phone,
         route: {caller: "{{phone}}", callee: "380442223344"}, response: '{"to":"{{dst_phone}}","from":"{{source}}"}'}
`
}

// startLinkRedis starts a redis-server on a free port and returns its process and address.
func startLinkRedis(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "")
	if err := server.Start(); err != nil {
		t.Fatalf("redis-server: %v; run scripts/setup", err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	waitFor(t, 10*time.Second, "redis-server listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return server, "redis://" + address
}

// send calls a link, by POST where there is a body, and returns status and answer.
func (s *service) send(path, body string) (*http.Response, string) {
	s.t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer, string(text)
}

func TestWhatCameThroughALinkIsInTheHooksRequest(t *testing.T) {
	_, redisURL := startLinkRedis(t)
	for name, storeURL := range map[string]string{"bbolt": "bolt:" + filepath.Join(t.TempDir(), "test.db"), "redis": redisURL} {
		t.Run(name, func(t *testing.T) {
			hook := startCRM(t)
			s := start(t, linksConfig(storeURL, hook.URL, linkToken))
			body := `{"payment":[{"name":"Вася"},{"name":"Петя"}],"chat_id":"+380 50 111-22-33"}`
			if answer, text := s.send("/api/request/?token="+linkToken+"&chat_id=&id=17&template_id=19798", body); answer.StatusCode != 200 {
				t.Fatalf("the link: %d %s", answer.StatusCode, text)
			}
			for i, want := range []string{"Вася id=17 n=1 first=1 again=0", "Вася id=17 n=2 first=0 again=1"} {
				if d, _ := s.route(call("380442223344")); d.Source != "hook" {
					t.Fatalf("decided by %s, %s", d.Source, d.Reason)
				}
				if got := hook.told(); got != want {
					t.Errorf("call %d: the webhook was told %s; want %s", i+1, got, want)
				}
				waitFor(t, 10*time.Second, "the call is counted", func() bool {
					return s.metric(`hookswitch_history_writes_total{result="ok",what="calls"}`) == float64(i+1)
				})
			}

			// A link that asks where the call would go counts no call.
			if answer, text := s.send("/in/ask-0123456789abcdef?phone=380501112233", ""); answer.StatusCode != 200 || text != `{"to":"380441111111","from":"hook"}` {
				t.Errorf("the link that asks: %d %s", answer.StatusCode, text)
			}
			s.stop() // what is known survives
			s = start(t, linksConfig(storeURL, hook.URL, linkToken))
			s.route(call("380442223344"))
			if got, want := hook.told(), "Вася id=17 n=3 first=0 again=1"; got != want {
				t.Errorf("after a restart: told %s; want %s", got, want)
			}

			// The token is rotated by a reload.
			s.write(linksConfig(storeURL, hook.URL, "the-next-token-of-it"))
			waitFor(t, 10*time.Second, "the old token is revoked", func() bool {
				answer, _ := s.send("/in/"+linkToken+"?chat_id=380501112233", "")
				return answer.StatusCode == 404
			})
			if answer, text := s.send("/in/the-next-token-of-it?chat_id=380501112233", ""); answer.StatusCode != 200 {
				t.Errorf("the new token: %d %s", answer.StatusCode, text)
			}
			if strings.Contains(s.log.all(), linkToken) {
				t.Error("the log has the token")
			}
		})
	}
}

func TestAHungStoreDelaysNoCallAndIsToldToALink(t *testing.T) {
	server, redisURL := startLinkRedis(t)
	hook := startCRM(t)
	s := start(t, strings.Replace(linksConfig(redisURL, hook.URL, linkToken), "deadline: 1s", "deadline: 2ms", 1))
	if answer, text := s.send("/in/"+linkToken+"?chat_id=380501112233", ""); answer.StatusCode != 200 {
		t.Fatalf("the link: %d %s", answer.StatusCode, text)
	}
	if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if d, _ := s.route(call("380442223344")); d.Source != "hook" || d.ElapsedMs > 500 {
			t.Fatalf("decided by %s, %s, in %v ms; want the hook, soon", d.Source, d.Reason, d.ElapsedMs)
		}
	}
	if got, want := hook.told(), " id= n= first= again=0"; got != want {
		t.Errorf("the webhook was told %q; want %q", got, want)
	}
	late := s.metric(`hookswitch_recall_total{result="late",what="calls"}`)
	skipped := s.metric(`hookswitch_recall_total{result="skipped",what="calls"}`)
	if late < 1 || skipped < 1 {
		t.Errorf("%v late, %v skipped; want both counted", late, skipped)
	}
	answer, text := s.send("/in/"+linkToken+"?chat_id=380501112233", "")
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("the link: %d %s, Retry-After %q; want 503", answer.StatusCode, text, answer.Header.Get("Retry-After"))
	}
	if err := server.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 20*time.Second, "the link works again", func() bool {
		answer, _ := s.send("/in/"+linkToken+"?chat_id=380501112233", "")
		return answer.StatusCode == 200
	})
	waitFor(t, 20*time.Second, "the calls of meanwhile are counted", func() bool {
		s.route(call("380442223344"))
		var n int
		fmt.Sscanf(hook.told(), " id= n=%d", &n)
		return n > 100
	})
}

func TestAGoodAnswerStandsInOnAnotherInstance(t *testing.T) {
	_, redisURL := startLinkRedis(t)
	hook := startCRM(t)
	one := start(t, linksConfig(redisURL, hook.URL, linkToken))
	if d, _ := one.route(call("380442223344")); d.DstPhone != "380441111111" {
		t.Fatalf("got %q", d.DstPhone)
	}
	hook.fail()
	two := start(t, linksConfig(redisURL, hook.URL, linkToken))
	waitFor(t, 15*time.Second, "the second instance has the first one's answer", func() bool {
		d, _ := two.route(call("380442223344"))
		return d.Source == "last_good" && d.DstPhone == "380441111111"
	})
}
