package e2e

import (
	"fmt"
	"math/rand/v2"
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

	"hookswitch/bench/hooksim"
)

// crashConfig has a link whose values a hook is told, a webhook that is sent events, and a door for
// managed projects.
const crashConfig = `callers: {deadline: 1s}
admin: {listen: 127.0.0.1:0, tokens: [{name: ops, token: %[1]s, scopes: [read, write]}]}
store: bolt:%[2]s
projects:
  - id: "1001"
    default_schema: "1"
    allow_private_hooks: true
    numbers: [{number: "380442223344", schema: "100"}]
    schemas: [{id: "1", steps: [{dial: ["380440000001"]}]}, {id: "100", steps: [{hook: crm}]}]
    hooks: [{id: crm, url: "%[3]stell", request_timeout: 5s, params: [{name: caller, param: caller}, {name: kept, value: "{{kept}}"}]}]
    incoming: [{id: in, token: %[4]s, fields: [phone, kept], key: phone, keep: 24h, rate: 0}]
    webhooks: [{id: 1, url: "%[3]sevent?id={{callid}}", event: destroy, body: query, request_timeout: 5s}]
`

// crashRig is a service that is killed and started again, what it acknowledged, and what came of it.
type crashRig struct {
	t      *testing.T
	config string
	next   atomic.Int64 // names everything that is written
	dead   atomic.Bool  // the process has been killed

	mu        sync.Mutex        // guards what follows
	kept      map[string]string // values that the link acknowledged, by caller
	told      map[string]string // what the hook was told of callers last
	events    map[string]bool   // calls whose event was acknowledged
	delivered map[string]int
	made      map[string]bool // projects that were made, true, or deleted, false
	edition   int             // of the managed project: acknowledged
	tried     int             // and sent
}

func TestAKillOfTheServiceAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	kills := 5
	if full {
		kills = 200
	}
	r := newCrashRig(t)
	for n := range kills {
		ok := t.Run(fmt.Sprint("kill ", n+1), func(t *testing.T) {
			if n%3 == 1 {
				r.killStarting(t)
			}
			s := start(t, r.config)
			r.check(s, r.take())
			r.killWriting(s)
		})
		if !ok {
			t.FailNow()
		}
	}
	s := start(t, r.config)
	r.mu.Lock()
	kept, events := len(r.kept), len(r.events)
	r.mu.Unlock()
	r.check(s, r.kept)
	waitFor(t, 2*time.Minute, "every acknowledged event is delivered", func() bool { return r.undelivered() == 0 })
	t.Logf("%d kills; acknowledged: %d updates, %d projects made or deleted, %d values through the link, %d events; all are there", kills, r.edition, len(r.made), kept, events)
	if r.edition < kills || len(r.made) < kills || kept < kills || events < kills {
		t.Error("too little was acknowledged for this to say anything")
	}
}

func newCrashRig(t *testing.T) *crashRig {
	r := &crashRig{t: t, kept: map[string]string{}, told: map[string]string{}, events: map[string]bool{}, delivered: map[string]int{}, made: map[string]bool{}, edition: -1, tried: -1}
	customer := startSim(t, hooksim.Options{OnRequest: r.customer})
	r.config = fmt.Sprintf(crashConfig, controlToken, filepath.Join(t.TempDir(), "hookswitch.db"), customer.URL(), linkToken)
	return r
}

// customer notes what the hook is told and which events are delivered.
func (r *crashRig) customer(_, uri, _ string) {
	u, err := url.Parse(uri)
	if err != nil {
		r.t.Error(err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := u.Query(); u.Path == "/event" {
		r.delivered[q.Get("id")]++
	} else {
		r.told[q.Get("caller")] = q.Get("kept")
	}
}

// killStarting kills a process somewhere on its way up, when it may be opening the file.
func (r *crashRig) killStarting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hookswitch.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:0\n"+r.config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := exec.Command(binary, "serve", "-c", file)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(rand.N(60 * time.Millisecond))
	_ = p.Process.Kill()
	_ = p.Wait()
}

// killWriting kills the service at a random moment while all its doors write.
func (r *crashRig) killWriting(s *service) {
	r.dead.Store(false)
	api := s.adminURL() + "/api/v1"
	var writing sync.WaitGroup
	for _, write := range []func(){
		func() { r.link(s) }, func() { r.link(s) }, func() { r.event(s) }, func() { r.event(s) }, func() { r.update(api) }, func() { r.makeProject(api) },
	} {
		writing.Go(func() {
			for !r.dead.Load() {
				write()
			}
		})
	}
	time.Sleep(rand.N(400 * time.Millisecond))
	s.signal(syscall.SIGKILL)
	r.dead.Store(true)
	<-s.done
	writing.Wait()
}

// acknowledged says that a write was, and complains of what is neither that nor the kill's doing.
func (r *crashRig) acknowledged(what string, a answered) bool {
	if a.err == nil && !a.ok() {
		r.t.Errorf("%s: got %s", what, a)
	}
	return a.ok()
}

func (r *crashRig) link(s *service) {
	caller := fmt.Sprintf("38050%07d", r.next.Add(1))
	if r.acknowledged("the link", ask("GET", s.URL+"/in/"+linkToken+"?phone="+caller+"&kept=v"+caller, nil)) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.kept[caller] = "v" + caller
	}
}

func (r *crashRig) event(s *service) {
	id := fmt.Sprint("event-", r.next.Add(1))
	if r.acknowledged("the event", ask("POST", s.URL+"/v1/events", map[string]any{"event": "destroy", "project": "1001", "callid": id})) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events[id] = true
	}
}

// update makes the managed project, and then changes it. It is one goroutine's.
func (r *crashRig) update(api string) {
	n := r.tried + 1
	r.tried = n
	a := ask("PUT", api+"/projects/managed", edition(n))
	if a.status == 404 && r.edition < 0 {
		a = ask("POST", api+"/projects", edition(n))
	}
	if r.acknowledged("the update", a) {
		r.edition = n
	}
}

// makeProject makes a project, and deletes every other one.
func (r *crashRig) makeProject(api string) {
	id := fmt.Sprint("p", r.next.Add(1))
	note := func(there bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.made[id] = there
	}
	if !r.acknowledged("the new project", ask("POST", api+"/projects", smallProject(id))) {
		return
	}
	note(true)
	if rand.IntN(4) == 0 {
		return
	}
	if a := ask("DELETE", api+"/projects/"+id, nil); r.acknowledged("the deletion", a) {
		note(false)
	} else { // it may be there or not
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.made, id)
	}
}

// take returns a share of the values that were kept, so that not all are looked at after each kill.
func (r *crashRig) take() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	some := map[string]string{}
	newest := r.next.Load()
	for caller, value := range r.kept {
		var n int64
		fmt.Sscanf(strings.TrimPrefix(caller, "38050"), "%d", &n)
		if n > newest-300 || rand.IntN(100) == 0 {
			some[caller] = value
		}
	}
	return some
}

// check holds what the service has against what was acknowledged.
func (r *crashRig) check(s *service, kept map[string]string) {
	s.t.Helper()
	if r.edition >= 0 {
		d, _ := s.route(call(managedNumber))
		var n int
		if fmt.Sscanf(d.DstPhone, "38044%d", &n); n < r.edition || n > r.tried {
			s.t.Errorf("update %d was acknowledged, %d sent; decided by %d: %+v", r.edition, r.tried, n, d)
		}
	}
	for id, want := range r.made {
		a := ask("GET", s.adminURL()+"/api/v1/projects/"+id, nil)
		if got := a.status == 200; got != want || !got && a.status != 404 {
			s.t.Errorf("project %s: there is %v; got %s", id, want, a)
		}
	}
	for caller, want := range kept {
		params := call("380442223344")
		params.Set("caller", caller)
		r.mu.Lock()
		delete(r.told, caller)
		r.mu.Unlock()
		s.route(params)
		r.mu.Lock()
		told := r.told[caller]
		r.mu.Unlock()
		if told != want {
			s.t.Errorf("caller %s: the hook was told %q; want %q", caller, told, want)
		}
	}
}

// undelivered counts acknowledged events that have not come.
func (r *crashRig) undelivered() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.events {
		if r.delivered[id] == 0 {
			n++
		}
	}
	return n
}
