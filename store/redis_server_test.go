package store

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a redis-server of a test's own, on a free port of this machine. Its data outlives a
// kill, in a folder of its own.
type redisServer struct {
	port, dir string
	args      []string
	process   *exec.Cmd
	ended     chan struct{}
	output    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startRedis starts a server and waits until it listens. What it acknowledged survives its kill; that
// needs no fsync, which a busy disk of a test machine holds up for seconds.
func startRedis(t testing.TB, args ...string) *redisServer {
	t.Helper()
	s := &redisServer{dir: t.TempDir(), args: args, port: freePort(t)}
	t.Cleanup(s.kill)
	s.start(t)
	return s
}

// freePort is free at this moment; a server that finds it taken by then fails to start.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func (s *redisServer) addr() string { return "127.0.0.1:" + s.port }

func (s *redisServer) start(t testing.TB) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed; run scripts/setup")
	}
	args := append([]string{"--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "yes",
		"--appendfsync", "no", "--logfile", ""}, s.args...)
	if len(s.args) > 0 && strings.HasSuffix(s.args[0], ".conf") {
		args = s.args
	}
	s.process, s.ended, s.output = exec.Command(binary, args...), make(chan struct{}), &lockedBuffer{}
	s.process.Stdout, s.process.Stderr = s.output, s.output
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
		select {
		case <-s.ended:
			t.Fatalf("redis-server has ended:\n%s", s.output)
		default:
		}
		c, err := net.Dial("tcp", s.addr())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill is kill -9; a stopped server dies of it, too.
func (s *redisServer) kill() {
	if s.process != nil && s.process.Process != nil {
		s.process.Process.Kill()
		<-s.ended
	}
}

func (s *redisServer) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	must(t, s.process.Process.Signal(sig))
}

// client talks to a server past the store.
func (s *redisServer) client(t testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.addr(), DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// cli runs redis-cli.
func cli(t testing.TB, args ...string) string {
	t.Helper()
	binary, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal("redis-cli is not installed; run scripts/setup")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// startCluster starts three servers and makes them a Cluster.
func startCluster(t testing.TB) []*redisServer {
	t.Helper()
	var nodes []*redisServer
	create := []string{"--cluster", "create"}
	for range 3 {
		n := startRedis(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", freePort(t))
		nodes, create = append(nodes, n), append(create, n.addr())
	}
	cli(t, append(create, "--cluster-yes")...)
	for _, n := range nodes {
		eventually(t, "the cluster is up", func() bool {
			return strings.Contains(cli(t, "-p", n.port, "cluster", "info"), "cluster_state:ok")
		})
	}
	return nodes
}

// startSentinel starts a Sentinel that watches over master.
func startSentinel(t testing.TB, master *redisServer) *redisServer {
	t.Helper()
	s := &redisServer{dir: t.TempDir(), port: freePort(t)}
	conf := filepath.Join(s.dir, "sentinel.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor main 127.0.0.1 %s 1\n"+
		"sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", s.port, s.dir, master.port), 0o600))
	s.args = []string{conf, "--sentinel"}
	t.Cleanup(s.kill)
	s.start(t)
	return s
}
