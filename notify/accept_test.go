package notify

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
	"hookswitch/store"
)

func TestAnEventIsAcceptedOnceWhateverNameItHas(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r, reg := newReceiver(t), prometheus.NewRegistry()
		b := start(t, s, nil, Options{Registerer: reg}, webhook(1, r.URL+"/1"),
			webhook(2, r.URL+"/2", func(w *schema.Webhook) { w.Event = "destroy" }))
		of := func(kind, callID string, values ...schema.Custom) *schema.Event {
			e := event(callID, values...)
			e.Kind = kind
			return e
		}
		first := map[string]string{}
		for _, tc := range []struct {
			name, key string
			e         *schema.Event
			want      schema.Acceptance
			as        string // the event that it is a repeat of
		}{
			{"new", "", of("create", "a"), schema.EventAccepted, ""},
			{"sent again", "", of("create", "a"), schema.EventRepeated, "new"},
			{"sent again with more in it", "", of("create", "a", schema.Custom{Name: "x", Value: "y"}), schema.EventRepeated, "new"},
			{"another kind of the call", "", of("destroy", "a"), schema.EventAccepted, ""},
			{"a kind that nobody wants", "", of("answer", "a"), schema.EventAccepted, ""},
			{"the same nobody wants", "", of("answer", "a"), schema.EventAccepted, ""},
			{"with a key", "k1", of("create", "b"), schema.EventAccepted, ""},
			{"with the key again", "k1", of("create", "b"), schema.EventRepeated, "with a key"},
			{"another event with the key", "k1", of("create", "c"), schema.EventKeyReused, ""},
			{"other values with the key", "k1", of("create", "b", schema.Custom{Name: "x", Value: "y"}), schema.EventKeyReused, ""},
			{"the same event with another key", "k2", of("create", "b"), schema.EventAccepted, ""},
			{"a key that is a call's name", "a", of("create", "d"), schema.EventAccepted, ""},
			{"of no call", "", of("create", ""), schema.EventAccepted, ""},
			{"another of no call", "", of("create", ""), schema.EventAccepted, ""},
		} {
			if got := b.Accept(t.Context(), tc.e, tc.key); got != tc.want {
				t.Errorf("%s: got %s; want %s", tc.name, acceptances[got], acceptances[tc.want])
			}
			if tc.as != "" && tc.e.ID != first[tc.as] {
				t.Errorf("%s: got the id %s; want that of the first, %s", tc.name, tc.e.ID, first[tc.as])
			}
			if len(tc.e.ID) != 26 {
				t.Errorf("%s: got the id %q", tc.name, tc.e.ID)
			}
			first[tc.name] = tc.e.ID
			// A repeat is as harmless when the deliveries are done.
			eventually(t, "it is delivered", b.empty)
		}
		elsewhere := event("a")
		elsewhere.Project = "q"
		if got := b.Accept(t.Context(), elsewhere, ""); got != schema.EventNoProject {
			t.Errorf("another project: got %s", acceptances[got])
		}
		if got := callIDs(r.requests("/1")); got != "a b b d  " {
			t.Errorf("delivered %q", got)
		}
		if got := callIDs(r.requests("/2")); got != "a" {
			t.Errorf("delivered %q of destroy", got)
		}
		for result, want := range map[string]float64{"accepted": 9, "repeated": 3, "key_reused": 2, "no_project": 1, "no_space": 0} {
			if got := metric(t, reg, "events_total", "result="+result); got != want {
				t.Errorf("counted %v events as %s; want %v", got, result, want)
			}
		}
	})
}

func TestOfManyWhoSendAnEventAtOnceOneIsFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store) {
		r := newReceiver(t)
		b := start(t, s, nil, Options{}, webhook(1, r.URL+"/1"))
		var wg sync.WaitGroup
		var mu sync.Mutex
		results, ids := map[schema.Acceptance]int{}, map[string]bool{}
		for range 16 {
			wg.Go(func() {
				e := event("a")
				a := b.Accept(t.Context(), e, "")
				mu.Lock()
				defer mu.Unlock()
				results[a]++
				ids[e.ID] = true
			})
		}
		wg.Wait()
		if results[schema.EventAccepted] != 1 || results[schema.EventRepeated] != 15 || len(ids) != 1 {
			t.Errorf("got %v under the ids %v; want one accepted, and one id", results, ids)
		}
		eventually(t, "it is delivered", b.empty)
		if got := len(r.requests("")); got != 1 {
			t.Errorf("delivered %d times", got)
		}
	})
}

func TestAnEventThatCanNotBeKeptIsRefused(t *testing.T) {
	s := openBolt(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	n := New(Options{Store: s, Sender: &wire{}})
	must(t, n.Load(config(schema.Events{}, webhook(1, "http://127.0.0.1:1/"))))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := n.Accept(ended, event("a"), ""); got != schema.EventNotKept {
		t.Errorf("out of time: got %s", acceptances[got])
	}
	must(t, s.Close())
	if got := n.Accept(t.Context(), event("a"), ""); got != schema.EventNotKept {
		t.Errorf("a closed store: got %s", acceptances[got])
	}
	other := event("a")
	other.Kind = "answer"
	if got := n.Accept(t.Context(), other, ""); got != schema.EventAccepted {
		t.Errorf("what nobody wants needs no store: got %s", acceptances[got])
	}
	none := New(Options{Sender: &wire{}})
	must(t, none.Load(config(schema.Events{}, webhook(1, "http://127.0.0.1:1/"))))
	if got := none.Accept(t.Context(), event("a"), ""); got != schema.EventNotKept {
		t.Errorf("no store: got %s", acceptances[got])
	}
	n.Close()
	none.Close()
}

func TestARedisOutOfMemoryRefusesEventsAndStillDeliversWhatItHas(t *testing.T) {
	s := openRedis(t, startRedis(t, "--maxmemory", "4mb", "--maxmemory-policy", "noeviction"))
	r := newReceiver(t)
	var open sync.WaitGroup
	open.Add(1)
	r.on("/1", func(http.ResponseWriter, *http.Request) { open.Wait() }) // until the store is full
	b := start(t, s, nil, Options{}, webhook(1, r.URL+"/1", func(w *schema.Webhook) { w.RequestTimeout = time.Minute }))
	big := strings.Repeat("x", 20<<10)
	accepted, got := 0, schema.EventAccepted
	for ; accepted < 10_000; accepted++ {
		if got = b.Accept(t.Context(), event(fmt.Sprint(accepted), schema.Custom{Name: "big", Value: big}), ""); got != schema.EventAccepted {
			break
		}
	}
	if got != schema.EventNoSpace || accepted == 0 {
		t.Fatalf("after %d: got %s; want no_space", accepted, acceptances[got])
	}
	open.Done()
	eventually(t, "all that was accepted is delivered", b.empty)
	b.accept("again") // there is space
	eventually(t, "delivered", b.empty)
	seen := map[string]bool{}
	for _, q := range r.requests("") {
		seen[q.CallID] = true
	}
	for i := range accepted {
		if !seen[fmt.Sprint(i)] {
			t.Errorf("event %d was accepted, and not delivered", i)
		}
	}
}

func TestAFullDiskRefusesEventsLosesNoneAndGoesOnWhenThereIsSpace(t *testing.T) {
	c := exec.Command(os.Args[0], t.TempDir())
	c.Env = append(os.Environ(), childEnv+"=fill")
	// A file system of its own, small, in memory, which nobody else sees and which goes with the child.
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all is well") {
		t.Fatalf("%v; the child needs root, or a kernel that lets users mount in a namespace of their own. It said:\n%s", err, out)
	}
	t.Logf("%s", out)
}

// fillDisk runs in the child. What is wrong it says and panics.
func fillDisk(dir string) {
	check := func(what string, ok bool, v ...any) {
		if !ok {
			panic(fmt.Sprint(what, ": ", v))
		}
	}
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	check("part from the other mounts", err == nil, err)
	err = syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m")
	check("mount", err == nil, err)
	ballast := filepath.Join(dir, "ballast")
	check("ballast", os.WriteFile(ballast, make([]byte, 2<<20), 0o600) == nil)
	var t childTest
	s := openBolt(&t, filepath.Join(dir, "hookswitch.db"))
	r := newReceiver(&t)
	r.on("/", hang) // so that nothing leaves the outbox
	wants := webhook(1, r.URL+"/", func(w *schema.Webhook) { w.RequestTimeout = 200 * time.Millisecond })
	b := start(&t, s, nil, Options{}, wants)
	big := strings.Repeat("x", 10<<10)
	var accepted []string
	fill := func() (got schema.Acceptance) {
		for range 10_000 {
			e := event(fmt.Sprint(len(accepted)), schema.Custom{Name: "big", Value: big})
			if got = b.Accept(context.Background(), e, ""); got != schema.EventAccepted {
				return got
			}
			accepted = append(accepted, e.CallID)
		}
		return got
	}
	got := fill()
	check("a full disk", got == schema.EventNoSpace && len(accepted) > 10, acceptances[got], len(accepted))
	for range 20 { // what is tried again meanwhile makes room now and then
		got = fill()
		check("still full", got == schema.EventNoSpace, acceptances[got])
	}
	r.on("/", nil) // the receiver is well again; the disk is not
	time.Sleep(time.Second)
	check("space", os.Remove(ballast) == nil)
	until := time.Now().Add(30 * time.Second)
	for ; got != schema.EventAccepted && time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		got = b.Accept(context.Background(), event("after"), "")
	}
	check("service resumes", got == schema.EventAccepted, acceptances[got])
	for ; !b.empty() && time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
	}
	check("all is delivered", b.empty())
	seen := map[string]bool{}
	for _, q := range r.requests("") {
		seen[q.CallID] = true
	}
	for _, id := range accepted {
		check("an accepted event", seen[id], id)
	}
	check("the one after", seen["after"])
	t.end()
	fmt.Printf("all is well: %d were accepted until the disk was full\n", len(accepted))
}

// childTest lets what tests use run in the child, which is no test.
type childTest struct {
	testing.TB
	cleanups []func()
}

func (*childTest) Helper()                  {}
func (*childTest) Context() context.Context { return context.Background() }
func (c *childTest) Cleanup(f func())       { c.cleanups = append(c.cleanups, f) }
func (*childTest) Fatal(v ...any)           { panic(fmt.Sprint(v...)) }
func (*childTest) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}

func (c *childTest) end() {
	for i := len(c.cleanups) - 1; i >= 0; i-- {
		c.cleanups[i]()
	}
}
