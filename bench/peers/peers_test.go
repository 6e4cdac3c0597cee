package peers

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestAQuestionHasTheFieldsThatItsFigureNames(t *testing.T) {
	var post map[string]string
	if err := json.Unmarshal([]byte(PostBody()), &post); err != nil || len(post) != 25 {
		t.Errorf("the POST holds %d fields, %v; want 25", len(post), err)
	}
	if get := strings.Count(GetTarget("/"), "="); get != 6 {
		t.Errorf("the GET holds %d parameters; want 6", get)
	}
	for _, name := range getFields {
		if !strings.Contains(GetTarget("/"), name+"=") || post[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
}

// written is as much of a configuration as is looked at.
type written struct {
	Listen   string
	Projects []struct {
		ID      string
		Numbers []struct{ Number, Schema string }
		Schemas []struct {
			ID    string
			Steps []struct{ Hook string }
		}
		Hooks []struct {
			ID, URL, Method string
			Timeout         string `yaml:"request_timeout"`
			Params          []struct{ Name string }
		}
	}
}

func TestAConfigurationDealsNumbersToHooksAndHooksToProjects(t *testing.T) {
	for _, c := range []Config{
		{Projects: 1, Hooks: 1, Numbers: 1, HookAddrs: []string{"a:1"}},
		{Projects: 1, Hooks: 2, Numbers: 2, HookAddrs: []string{"a:1"}, Post: true, RequestTimeout: 5e9, Breaker: "{state: closed}", MaxInFlight: 9},
		{Projects: 3, Hooks: 7, Numbers: 50, HookAddrs: []string{"a:1", "b:2"}},
	} {
		var text strings.Builder
		w := bufio.NewWriter(&text)
		c.write(w, "127.0.0.1:80")
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		var got written
		if err := yaml.Unmarshal([]byte(text.String()), &got); err != nil {
			t.Fatalf("%+v: %v\n%s", c, err, text.String())
		}
		numbers, hooks := map[string]string{}, map[string]string{}
		for p, project := range got.Projects {
			for _, n := range project.Numbers {
				numbers[n.Number] = n.Schema
			}
			for _, h := range project.Hooks {
				hooks[h.ID] = h.URL
				var place int
				if _, err := fmt.Sscanf(h.ID, "h%d", &place); err != nil || place%c.Projects != p {
					t.Errorf("%+v: hook %s is in project %d", c, h.ID, p)
				}
				if post := c.Post && place%2 == 1; post != (h.Method == "POST") || post != (len(h.Params) == 25) || !post && len(h.Params) != 6 {
					t.Errorf("%+v: hook %s is sent %s with %d parameters", c, h.ID, h.Method, len(h.Params))
				}
				if want := "http://" + c.HookAddrs[place%len(c.HookAddrs)] + "/route"; h.URL != want {
					t.Errorf("%+v: hook %s is asked at %s; want %s", c, h.ID, h.URL, want)
				}
			}
		}
		if len(got.Projects) != c.Projects || len(hooks) != c.Hooks || len(numbers) != c.Numbers {
			t.Errorf("%+v: got %d projects, %d hooks, %d numbers", c, len(got.Projects), len(hooks), len(numbers))
		}
		for i := range c.Numbers {
			if want := fmt.Sprintf("s%d", i%c.Hooks); numbers[Number(i)] != want {
				t.Errorf("%+v: number %d follows scheme %q; want %s", c, i, numbers[Number(i)], want)
			}
		}
	}
}

func TestAConfigurationIsReplacedWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	c := Config{Projects: 1, Hooks: 1, Numbers: 1, HookAddrs: []string{"a:1"}}
	for c.Edition = range 2 {
		if err := c.WriteFile(file, "127.0.0.1:80"); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), fmt.Sprintf("Edition %d", c.Edition)) {
			t.Errorf("edition %d: %v\n%s", c.Edition, err, text)
		}
	}
	if err := c.WriteFile(filepath.Join(file, "under-a-file"), ""); err == nil {
		t.Error("a file below a file is written")
	}
}

func TestThePeerInNetHTTPDoesTheSameJob(t *testing.T) {
	for _, c := range []struct {
		name, method, answer string
		status               int
		source, dst          string
	}{
		{"a GET", "GET", `{"dst_phone":"380441111111,380441111112"}`, 200, "hook", "380441111111,380441111112"},
		{"a POST", "POST", `{"dst_phone":"380441111111"}`, 200, "hook", "380441111111"},
		{"a destination that isn't allowed is dropped", "GET", `{"dst_phone":"74951111111,380441111111"}`, 200, "hook", "380441111111"},
		{"one that is malformed refuses the answer", "GET", `{"dst_phone":"380441111111,SIP/evil"}`, 200, "fallback", "380440000001"},
		{"a body that can't be read", "GET", `<html>`, 200, "fallback", "380440000001"},
		{"an error", "POST", `{}`, 500, "fallback", "380440000001"},
	} {
		hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.answer))
		}))
		s := newNetHTTP(strings.TrimPrefix(hook.URL, "http://"))
		target, body := strings.ReplaceAll(GetTarget("/v1/route"), "{{callee}}", Number(0)), ""
		if c.method == "POST" {
			target, body = "/v1/route", strings.ReplaceAll(PostBody(), "{{callee}}", Number(1))
		}
		rec := httptest.NewRecorder()
		s.route(rec, httptest.NewRequest(c.method, target, strings.NewReader(body)))
		var got answer
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || got.Source != c.source || got.DstPhone != c.dst {
			t.Errorf("%s: got %d %s, %v; want %s by %s", c.name, rec.Code, rec.Body, err, c.dst, c.source)
		}
		hook.Close()
	}
}

func TestEveryPeersFileIsFilledIn(t *testing.T) {
	dir := t.TempDir()
	for _, p := range Peers {
		program, err := p.Program("/bin/self", dir, "127.0.0.1:9")
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		file := program.Argv[len(program.Argv)-1]
		if program.Argv[0] == "/bin/self" {
			if got := strings.Join(program.Argv, " "); got != "/bin/self peer "+p.Name+" --listen "+program.Addr+" --hook 127.0.0.1:9" {
				t.Errorf("%s: runs %s", p.Name, got)
			}
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), program.Addr) || !strings.Contains(string(text), "127.0.0.1:9") || strings.Contains(string(text), "{{.") {
			t.Errorf("%s: %v\n%s", p.Name, err, text)
		}
	}
}

func TestAProgramIsStartedAndStopped(t *testing.T) {
	dir := t.TempDir()
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(addr, ":")
	r, err := Start(Program{Name: "listener", Argv: []string{"php", "-S", "127.0.0.1:" + port, "-t", dir}, Addr: addr, Log: filepath.Join(dir, "log")}, "0")
	if err != nil {
		t.Fatal(err)
	}
	if !r.Alive() || r.Pid == 0 {
		t.Error("it is not running")
	}
	r.Stop()
	if r.Alive() {
		t.Error("it is still running")
	}
	if _, err := Start(Program{Name: "nobody", Argv: []string{"false"}, Addr: addr, Log: filepath.Join(dir, "log")}, "0"); err == nil || !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("got %v; want that it ended at once", err)
	}
}
