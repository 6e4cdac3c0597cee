package control

import (
	"net"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// redisServer is a redis-server of a test's own, on a free port of this machine. Its data outlives a
// kill, in a folder of its own.
type redisServer struct {
	port, dir string
	process   *exec.Cmd
	ended     chan struct{}
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	s := &redisServer{port: port, dir: t.TempDir()}
	t.Cleanup(s.kill)
	s.start(t)
	return s
}

func (s *redisServer) url() string { return "redis://127.0.0.1:" + s.port }

func (s *redisServer) start(t *testing.T) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed; run scripts/setup")
	}
	s.process, s.ended = exec.Command(binary, "--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "no"), make(chan struct{})
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
	must(t, <-started)
	eventually(t, "redis-server listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill is kill -9; a stopped server dies of it, too.
func (s *redisServer) kill() {
	_ = s.process.Process.Kill()
	<-s.ended
}

func (s *redisServer) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	must(t, s.process.Process.Signal(sig))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until done says true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
