package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hookswitch/bench/hooksim"
)

// damage is what becomes of a store's file.
type damage struct {
	name string
	// strike changes the file where it lies.
	strike func(f *os.File) error
}

// noiseOver overwrites a file from a place on, as `dd conv=notrunc` does.
func noiseOver(from, size int) func(*os.File) error {
	return func(f *os.File) error {
		p := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
		_, err := f.WriteAt(p, int64(from))
		return err
	}
}

var damages = []damage{
	{"cut to two pages", func(f *os.File) error { return f.Truncate(8192) }},
	{"cut to 100 kB", func(f *os.File) error { return f.Truncate(100 << 10) }},
	{"overwritten with noise behind its head", noiseOver(8192, 600*4096)},
	{"overwritten with zeros behind its head", func(f *os.File) error {
		_, err := f.WriteAt(make([]byte, 600*4096), 8192)
		return err
	}},
	{"overwritten with noise", noiseOver(0, 600*4096)},
}

// damageRig is a service with something in its store, and what becomes of its calls and events.
type damageRig struct {
	t      *testing.T
	path   string
	config string
}

func newDamageRig(t *testing.T) *damageRig {
	r := &damageRig{t: t, path: filepath.Join(t.TempDir(), "hookswitch.db")}
	r.config = fmt.Sprintf(crashConfig, controlToken, r.path, startSim(t, hooksim.Options{Answer: good}).URL(), linkToken)
	return r
}

// fill has projects managed by the API and events in the store.
func (r *damageRig) fill(s *service) {
	r.t.Helper()
	s.mustManage("POST", "/projects", edition(1))
	for i := range 50 {
		s.mustManage("POST", "/projects", smallProject(fmt.Sprint("p", i)))
	}
	if a := r.event(s, "first"); a.status != 202 {
		r.t.Fatalf("an event: got %s", a)
	}
}

func (r *damageRig) event(s *service, id string) answered {
	return ask("POST", s.URL+"/v1/events", map[string]any{"event": "destroy", "project": "1001", "callid": id})
}

func (r *damageRig) strike(d damage) {
	r.t.Helper()
	f, err := os.OpenFile(r.path, os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if err := d.strike(f); err != nil {
		r.t.Fatal(err)
	}
}

// refused waits until events are refused because of the damage, and that is told.
func (r *damageRig) refused(s *service) {
	r.t.Helper()
	var last answered
	n := 0
	waitFor(r.t, 10*time.Second, "events are refused", func() bool {
		n++
		last = r.event(s, fmt.Sprint("later", n))
		return last.status != 202
	})
	for range 20 {
		if last.status != 503 || last.header.Get("Retry-After") == "" || last.took > 2*time.Second {
			r.t.Errorf("an event: got %s; want 503, with Retry-After, at once", last)
		}
		n++
		last = r.event(s, fmt.Sprint("later", n))
	}
	waitFor(r.t, 10*time.Second, "hookswitch_store_up is 0", func() bool { return s.metric("hookswitch_store_up") == 0 })
	if a := ask("PUT", s.adminURL()+"/api/v1/projects/p1", smallProject("p1")); a.status != 503 {
		r.t.Errorf("a change through the API: got %s; want 503", a)
	}
}

// ended stops the service, and holds what it said against what it should have: once what to do, and no crash.
func (r *damageRig) ended(s *service, told string) {
	r.t.Helper()
	client.CloseIdleConnections()
	began := time.Now()
	s.signal(syscall.SIGTERM)
	<-s.done
	if took := time.Since(began); s.err != nil || took > 10*time.Second {
		r.t.Errorf("the end took %s, %v", took, s.err)
	}
	log := s.log.all()
	for _, crash := range []string{"panic:", "fatal error", "goroutine 1 ", "SIGBUS"} {
		if strings.Contains(log, crash) {
			r.t.Errorf("the log has %q", crash)
		}
	}
	if n := strings.Count(log, told); n != 1 || !strings.Contains(log, "hookswitch restore") {
		r.t.Errorf("the log says %q %d times; want it once, and what to do", told, n)
	}
}

// decided has calls decided at a steady rate, and holds that each had its answer.
func (r *damageRig) decided(s *service, number string, lasting time.Duration) {
	failed := 0
	for _, o := range s.openLoop(int(200*lasting.Seconds()), 200, func(int) url.Values { return call(number) }) {
		if o.err != nil || o.status != 200 || o.decision.DstPhone == "" || o.decision.Reason != "ok" {
			if failed++; failed <= 5 {
				r.t.Errorf("a call: got %+v, %d, %v", o.decision, o.status, o.err)
			}
		}
	}
	if failed > 0 {
		r.t.Errorf("%d calls failed", failed)
	}
}

func TestAStoreThatIsDamagedWhileServingIsFeltByNoCall(t *testing.T) {
	running := append([]damage{{"cut to nothing", func(f *os.File) error { return f.Truncate(0) }}}, damages...)
	for _, d := range running {
		t.Run(d.name, func(t *testing.T) {
			r := newDamageRig(t)
			s := start(t, r.config)
			r.fill(s)
			var calling sync.WaitGroup
			defer calling.Wait()
			calling.Go(func() { r.decided(s, managedNumber, 3*time.Second) })
			time.Sleep(500 * time.Millisecond)
			r.strike(d)
			r.refused(s)
			calling.Wait()
			r.ended(s, "the store's file is not in order")
		})
	}
}

func TestAServiceStartsOnAStoreThatIsDamaged(t *testing.T) {
	whole := newDamageRig(t)
	s := start(t, whole.config)
	whole.fill(s)
	s.signal(syscall.SIGTERM)
	<-s.done
	text, err := os.ReadFile(whole.path)
	if err != nil {
		t.Fatal(err)
	}
	stopped := append([]damage{
		{"cut to 100 bytes", func(f *os.File) error { return f.Truncate(100) }},
		{"a text", func(f *os.File) error {
			_, err := f.WriteAt([]byte("not a database"), 0)
			return errors.Join(err, f.Truncate(14))
		}},
	}, damages...)
	for _, d := range stopped {
		t.Run(d.name, func(t *testing.T) {
			r := newDamageRig(t)
			if err := os.WriteFile(r.path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			r.strike(d)
			before, _ := os.ReadFile(r.path)
			began := time.Now()
			s := start(t, r.config)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it served after %s", took)
			}
			r.decided(s, "380442223344", time.Second)
			r.refused(s)
			r.ended(s, "serving by the configuration file alone: projects managed by the API are unknown")
			if after, err := os.ReadFile(r.path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was written, %v", err)
			}
		})
	}
}
