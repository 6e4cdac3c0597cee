package history

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hookswitch/schema"
	"hookswitch/store"
)

func TestMain(m *testing.M) {
	// A go-redis pool whose server has died notices its own end within a second, longer than goleak waits.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// onEach runs a test on either store.
func onEach(t *testing.T, test func(t *testing.T, s store.Store)) {
	t.Run("bbolt", func(t *testing.T) { test(t, openBolt(t)) })
	t.Run("redis", func(t *testing.T) { test(t, openRedis(t, startRedis(t))) })
}

func openBolt(t testing.TB) store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), "bolt:"+filepath.Join(t.TempDir(), "test.db"))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func openRedis(t testing.TB, server *redisServer) store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), "redis://"+server.addr)
	must(t, err)
	t.Cleanup(func() { s.Close() }) // of a killed server it says so
	return s
}

// redisServer is a redis-server of a test's own, on a free port.
type redisServer struct {
	addr, dir string
	process   *exec.Cmd
	ended     chan struct{}
}

func startRedis(t testing.TB) *redisServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &redisServer{addr: l.Addr().String(), dir: t.TempDir()}
	l.Close()
	t.Cleanup(s.kill)
	s.start(t)
	return s
}

// start starts it, and waits until it listens. What it acknowledged survives its kill.
func (s *redisServer) start(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	s.process, s.ended = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "no"), make(chan struct{})
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // dies with this test binary
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is of the thread that starts it
		err := s.process.Start()
		started <- err
		if err == nil {
			s.process.Wait()
		}
		close(s.ended)
	}()
	if err := <-started; err != nil {
		t.Fatalf("redis-server: %v; run scripts/setup", err)
	}
	eventually(t, "redis-server listens", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill is kill -9; a stopped server dies of it, too.
func (s *redisServer) kill() {
	s.process.Process.Kill()
	<-s.ended
}

func (s *redisServer) signal(t testing.TB, sig syscall.Signal) {
	must(t, s.process.Process.Signal(sig))
}

// open starts a History on s whose key is known; adjust changes its options.
func open(t testing.TB, s store.Store, adjust ...func(*Options)) *History {
	t.Helper()
	h := openUnready(t, s, adjust...)
	eventually(t, "the key is known", func() bool { return h.key.Load() != nil })
	return h
}

func openUnready(t testing.TB, s store.Store, adjust ...func(*Options)) *History {
	t.Helper()
	o := Options{Store: s, Settings: schema.Callers{Keep: time.Hour, Deadline: 5 * time.Second}}
	for _, f := range adjust {
		f(&o)
	}
	h, err := New(o)
	must(t, err)
	t.Cleanup(func() { closeHistory(h) })
	return h
}

func closeHistory(h *History) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h.Close(ctx)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v; want %v", what, got, want)
	}
}

// counted reads one of the room's counters.
func counted(t testing.TB, h *History, what, result string) float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(h.writes)
	families, err := r.Gather()
	must(t, err)
	for _, m := range families[0].GetMetric() {
		if l := m.GetLabel(); l[0].GetValue() == result && l[1].GetValue() == what { // in the order of their names
			return m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no counter of %s, %s", what, result)
	return 0
}
