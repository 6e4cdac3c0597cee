package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// redisCLI runs redis-cli on a port, and returns what it printed, whatever that is.
func redisCLI(port string, args ...string) string {
	out, _ := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
	return string(out)
}

// startFailover starts a Redis, a replica, and a Sentinel that promotes that when the first one dies, and
// makes the first one its replica when it is back.
func startFailover(t *testing.T) (master *redisServer, sentinel string) {
	t.Helper()
	master = startRedis(t)
	servers := []*redisServer{master, startRedis(t)}
	for i, server := range servers {
		redisCLI(server.port, "config", "set", "min-replicas-to-write", "1")
		redisCLI(server.port, "config", "set", "min-replicas-max-lag", "2")
		redisCLI(server.port, "config", "set", "repl-diskless-sync-delay", "0")
		if i > 0 {
			redisCLI(server.port, "replicaof", "127.0.0.1", master.port)
			waitFor(t, 30*time.Second, "the replica follows", func() bool {
				return strings.Contains(redisCLI(server.port, "info", "replication"), "master_link_status:up")
			})
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor main 127.0.0.1 %s 1\n"+
		"sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", port, dir, master.port), 0o600); err != nil {
		t.Fatal(err)
	}
	process := exec.Command("redis-server", conf, "--sentinel")
	if err := process.Start(); err != nil {
		t.Fatalf("redis-server: %v; run scripts/setup", err)
	}
	t.Cleanup(func() {
		process.Process.Kill()
		process.Wait()
	})
	waitFor(t, 30*time.Second, "the sentinel knows the replica", func() bool {
		return strings.Contains(redisCLI(port, "sentinel", "replicas", "main"), servers[1].port)
	})
	return master, "redis+sentinel://127.0.0.1:" + port + "/main?replicas=1"
}

// A Redis that dies while events come is replaced by its replica: what was acknowledged was on that too.
// Until there is a replica again nothing is acknowledged.
func TestNoAcceptedEventIsLostWhenRedisFailsOver(t *testing.T) {
	rate, after := 200.0, 2*time.Second
	if full {
		rate, after = 1000, 15*time.Second
	}
	r := newEventRig(t, true, nowhere(t))
	master, at := startFailover(t)
	f := startFleet(t, 2, "store: "+at+r.config)
	var stopped atomic.Bool
	var driving sync.WaitGroup
	driving.Go(func() { r.drive(1<<30, rate, f.urls, &stopped) })
	time.Sleep(after)
	died := time.Now()
	master.kill()
	before := r.count().accepted
	time.Sleep(3 * time.Second)
	if got := r.count().accepted - before; got > 200 { // what was under way
		t.Errorf("%d events were accepted without a replica", got)
	}
	master.start(t)
	waitFor(t, time.Minute, "events are accepted again", func() bool { return r.count().accepted > before+int(rate/2) })
	t.Logf("events are accepted again %s after the Redis died", time.Since(died).Round(time.Millisecond))
	time.Sleep(after)
	stopped.Store(true)
	driving.Wait()
	c := r.settle(2 * time.Minute)
	t.Logf("%.0f/s, a fail-over: %s", rate, c)
	if c.delivered < int(rate*after.Seconds()/2) {
		t.Errorf("only %d were delivered", c.delivered)
	}
}
