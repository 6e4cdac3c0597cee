package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// kept is a project as an older version of the program may have kept it: with what it did not try out.
func kept(id, number, more string) string {
	return `{"id":"` + id + `","default_schema":"1","numbers":[{"number":"` + number + `","schema":"1"}],"schemas":[{"id":"1","steps":[{"dial":["380440000001"]}]}]` + more + `}`
}

// serveOn serves a configuration of one project by a store with these projects in it.
func serveOn(t *testing.T, projects map[string]string) *service {
	t.Helper()
	dir := t.TempDir()
	url, config := "bolt:"+filepath.Join(dir, "hookswitch.db"), filepath.Join(dir, "hookswitch.yaml")
	s, err := store.Open(t.Context(), url)
	must(t, err)
	for id, text := range projects {
		_, err := s.PutDoc(t.Context(), "project", id, []byte(text), 0)
		must(t, err)
	}
	must(t, s.Close())
	must(t, os.WriteFile(config, []byte("store: "+url+"\nlog: {level: error}\nprojects: ["+kept("file", "380440000009", "")+"]\n"), 0o600))
	cfg, err := loadFile(config)
	must(t, err)
	running, err := newService(cfg)
	must(t, err)
	t.Cleanup(running.close)
	running.start()
	return running
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// routes reports whether a number is known.
func (s *service) routes(number string) bool {
	var call schema.Call
	var d schema.Decision
	call.At, call.Deadline = time.Now(), time.Now().Add(time.Second)
	call.SetString(schema.ParamCallee, number)
	s.router.Decide(&call, &d)
	return d.Reason == schema.ReasonOK
}

// One such project kept every instance from taking up any change of any project.
func TestProjectsThatCantBeMadeReadyHoldUpNoOtherAndAreMended(t *testing.T) {
	s := serveOn(t, map[string]string{
		"sound":   kept("sound", "380440000001", ""),
		"hook":    kept("hook", "380440000002", `,"hooks":[{"id":"crm","url":"https://crm.example/","method":"POST","send":"json","body":"{"}]`),
		"webhook": kept("webhook", "380440000003", `,"webhooks":[{"url":"https://crm.example/","event":"create","template":"{"}]`),
	})
	for number, want := range map[string]bool{"380440000009": true, "380440000001": true, "380440000002": false, "380440000003": false} {
		if got := s.routes(number); got != want {
			t.Errorf("%s is routed: %t; want %t", number, got, want)
		}
	}
	refused := s.control.Refused()
	if len(refused) != 2 || !strings.Contains(refused[0].Fault.Error(), "body") || !strings.Contains(refused[1].Fault.Error(), "template") {
		t.Fatalf("got %+v; want the two, and why", refused)
	}
	_, err := s.control.Update(t.Context(), "ops", "sound", 0, func(p *schema.Project) error {
		p.Numbers[0].Number = "380440000004"
		return nil
	})
	must(t, err)
	must(t, s.control.SetFile(s.running.Load()))
	_, err = s.control.Update(t.Context(), "ops", "webhook", 0, func(p *schema.Project) error {
		p.Webhooks[0].Template = ""
		return nil
	})
	must(t, err)
	_, err = s.control.Update(t.Context(), "ops", "hook", 0, func(p *schema.Project) error {
		p.Hooks[0].Body = "{}"
		return nil
	})
	must(t, err)
	for _, number := range []string{"380440000009", "380440000002", "380440000003", "380440000004"} {
		if !s.routes(number) {
			t.Errorf("%s is not routed", number)
		}
	}
	if list := s.control.Refused(); len(list) != 0 {
		t.Errorf("got %+v; want none refused", list)
	}
}

func TestWhatCantBeMadeReadyIsNamedByItsField(t *testing.T) {
	s := serveOn(t, nil)
	for more, key := range map[string]string{
		`,"hooks":[{"id":"a","url":"https://crm.example/"},{"id":"b","url":"https://crm.example/","method":"POST","send":"json","body":"{"}]`: "hooks[1].body",
		`,"hooks":[{"id":"a","url":"https://crm.example/","method":"POST","send":"xml","body":"<a>"}]`:                                        "hooks[0].body",
		`,"hooks":[{"id":"a","url":"https://crm.example/","date_format":"d.m.Y G:i"}]`:                                                        "hooks[0].date_format",
		`,"hooks":[{"id":"a","url":"https://crm.example/","params":[{"name":"x","object":[{"name":"y","param":"date","date_format":"G"}]}]}]`: "hooks[0].params[0].object[0].date_format",
		`,"webhooks":[{"url":"https://crm.example/","event":"create","template":"{"}]`:                                                        "webhooks[0].template",
		`,"webhooks":[{"url":"https://crm.example/","event":"create","body":"xml","template":"<a>"}]`:                                         "webhooks[0].template",
	} {
		p := &schema.Project{}
		must(t, schema.DecodeResource([]byte(kept("a", "380440000001", more)), p))
		_, err := s.control.Create(t.Context(), "ops", p)
		faults, _ := err.(schema.Faults)
		if len(faults) != 1 || faults[0].Key != key {
			t.Errorf("%s: got %v; want %s alone", more, err, key)
		}
	}
}

// A file that was cut or overwritten ended the process at each start, and no call was answered.
func TestAServiceOnADamagedStoreDecidesByTheFile(t *testing.T) {
	dir := t.TempDir()
	db, config := filepath.Join(dir, "hookswitch.db"), filepath.Join(dir, "hookswitch.yaml")
	must(t, os.WriteFile(db, []byte(strings.Repeat("not a database ", 10_000)), 0o600))
	must(t, os.WriteFile(config, []byte("store: bolt:"+db+"\nlog: {level: error}\nprojects: ["+kept("file", "380440000009", "")+"]\n"), 0o600))
	cfg, err := loadFile(config)
	must(t, err)
	s, err := newService(cfg)
	must(t, err)
	began := time.Now()
	s.start()
	if took := time.Since(began); took > firstLook/2 {
		t.Errorf("the start took %s; want it not to wait for what can't come", took)
	}
	if !s.routes("380440000009") {
		t.Error("the file's project is not routed")
	}
	s.close()
	if is, err := os.ReadFile(db); err != nil || strings.Count(string(is), "not a database ") != 10_000 {
		t.Errorf("the file was changed, %v", err)
	}
}

func TestAServiceDoesNotStartOnAStoreThatAnotherHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	b, err := store.OpenBolt(t.Context(), path)
	must(t, err)
	defer b.Close()
	s, err := newService(&schema.Config{Store: "bolt:" + path, Log: schema.Log{Level: "error"}})
	if err == nil {
		s.close()
	}
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v; want it refused", err)
	}
}
