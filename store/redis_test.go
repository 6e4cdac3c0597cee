package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func openRedis(t *testing.T, url string) Store {
	t.Helper()
	s, err := Open(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestOneRedisPassesTheConformanceSuite(t *testing.T) {
	server := startRedis(t)
	conform(t, func(t *testing.T) Store {
		must(t, server.client(t).FlushAll(t.Context()).Err())
		return openRedis(t, "redis://"+server.addr()+"/3")
	})
}

func TestAClusterOfThreePassesTheConformanceSuite(t *testing.T) {
	nodes := startCluster(t)
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.addr())
	}
	conform(t, func(t *testing.T) Store {
		for _, n := range nodes {
			must(t, n.client(t).FlushAll(t.Context()).Err())
		}
		return openRedis(t, "redis+cluster://"+strings.Join(addrs, ","))
	})
	store := openRedis(t, "redis+cluster://"+nodes[0].addr())
	for i := range 100 {
		must(t, store.Set(t.Context(), fmt.Sprint(i), nil, time.Hour))
	}
	for _, n := range nodes {
		if keys, err := n.client(t).DBSize(t.Context()).Result(); err != nil || keys < 10 {
			t.Errorf("a node has %d keys, %v; want its share", keys, err)
		}
	}
}

func TestWhatOneInstanceChangesAnotherSees(t *testing.T) {
	server := startRedis(t)
	one, other := openRedis(t, "redis://"+server.addr()), openRedis(t, "redis://"+server.addr())
	watch := other.Watch(t.Context())
	woken(t, "at its start", watch)
	v := put(t, one, "project", "1", "a", 0)
	woken(t, "a change by the other instance", watch)
	if d, err := other.GetDoc(t.Context(), "project", "1"); err != nil || d.Version != v {
		t.Errorf("got %+v, %v; want version %d", d, err, v)
	}
}

func TestAMessageWakesAWatchThatDoesNotPoll(t *testing.T) {
	server := startRedis(t)
	s := openRedis(t, "redis://"+server.addr())
	ctx, cancel := context.WithCancel(t.Context())
	wakes, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		s.(*Redis).watch(ctx, wakes, nil)
	}()
	woken(t, "at its start", wakes)
	eventually(t, "it listens", func() bool {
		n, err := server.client(t).PubSubNumSub(t.Context(), keyChanged).Result()
		return err == nil && n[keyChanged] == 1
	})
	v := put(t, s, "project", "1", "a", 0)
	woken(t, "a new document", wakes)
	must(t, s.DeleteDoc(t.Context(), "project", "1", v))
	woken(t, "a deletion", wakes)
	cancel()
	<-ended
}

func TestALostMessageHeals(t *testing.T) {
	server := startRedis(t)
	s := openRedis(t, "redis://"+server.addr())
	watch := s.Watch(t.Context())
	woken(t, "at its start", watch)
	must(t, server.client(t).Incr(t.Context(), keyChange).Err()) // a change, and nobody said so
	woken(t, "a change without a message", watch)
	must(t, server.client(t).FlushAll(t.Context()).Err()) // as a fail-over may do
	woken(t, "changes taken back", watch)
}

func TestARedisKilledIsUnavailableAndComesBackWithAllThatWasAcknowledged(t *testing.T) {
	server := startRedis(t)
	s := openRedis(t, "redis://"+server.addr())
	watch := s.Watch(t.Context())
	woken(t, "at its start", watch)
	v := put(t, s, "project", "1", "a", 0)
	woken(t, "the first change", watch)
	queueUp(t, s, item("1", "crm", 0))
	server.kill()
	allUnavailable(t, t.Context(), s)
	server.start(t)
	eventually(t, "it is back", func() bool { return s.Ping(t.Context()) == nil })
	d, err := s.GetDoc(t.Context(), "project", "1")
	if err != nil || d.Version != v {
		t.Errorf("got %+v, %v; want version %d", d, err, v)
	}
	wantIDs(t, "the outbox", leaseOf(t, s, "crm", 0, 5, 30), "[1]")
	put(t, s, "project", "1", "b", v)
	woken(t, "a change after the restart", watch)
}

func TestARedisThatHangsHoldsNobodyPastTheirDeadline(t *testing.T) {
	for _, kind := range []string{"one", "cluster", "not yet connected"} {
		t.Run(kind, func(t *testing.T) {
			var servers []*redisServer
			url := "redis+cluster://"
			if kind == "cluster" {
				servers = startCluster(t)
				url += servers[0].addr() + "," + servers[1].addr() + "," + servers[2].addr()
			} else {
				servers = []*redisServer{startRedis(t)}
				url = "redis://" + servers[0].addr()
			}
			s := openRedis(t, url)
			watch := s.Watch(t.Context())
			if kind != "not yet connected" {
				woken(t, "at its start", watch)
				for call, err := range allCalls(t.Context(), s) {
					if errors.Is(err, ErrUnavailable) {
						t.Errorf("%s: %v", call, err)
					}
				}
				eventually(t, "its wakes are over", func() bool { return len(watch) == 1 })
				<-watch
			}
			for _, server := range servers {
				server.signal(t, syscall.SIGSTOP)
			}
			calls := len(allCalls(within(t, time.Nanosecond), s))
			begin := time.Now()
			allUnavailable(t, within(t, 2*time.Millisecond), s)
			if took := time.Since(begin); took > time.Second {
				t.Errorf("%d calls under one deadline of 2 ms took %s", calls, took)
			}
			begin = time.Now()
			if err := s.Ping(context.Background()); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v without a deadline; want ErrUnavailable", err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("without a deadline a call took %s", took)
			}
			for _, server := range servers {
				server.signal(t, syscall.SIGCONT)
			}
			eventually(t, "it goes on", func() bool { return s.Ping(t.Context()) == nil })
			var v uint64
			eventually(t, "it writes", func() (done bool) {
				var err error
				v, err = s.PutDoc(t.Context(), "project", "new", nil, 0)
				return err == nil
			})
			woken(t, fmt.Sprint("the change ", v), watch)
		})
	}
}

func TestOpenDoesNotWaitForARedisThatIsDown(t *testing.T) {
	server := startRedis(t)
	server.kill()
	s := openRedis(t, "redis://"+server.addr())
	watch := s.Watch(t.Context())
	wantErr(t, "a ping", s.Ping(t.Context()), ErrUnavailable)
	server.start(t)
	woken(t, "when it is there at last", watch)
	eventually(t, "it serves", func() bool { return s.Ping(t.Context()) == nil })
}

func TestARedisOutOfMemoryIsFullAndItsOutboxCanStillBeEmptied(t *testing.T) {
	server := startRedis(t)
	s := openRedis(t, "redis://"+server.addr())
	ctx := t.Context()
	v := put(t, s, "project", "1", "a", 0)
	queueUp(t, s, item("1", "crm", 0), item("2", "crm", 0), item("3", "crm", 0))
	must(t, server.client(t).ConfigSet(ctx, "maxmemory", "1").Err())
	_, err := s.PutDoc(ctx, "project", "1", []byte("b"), v)
	_, _, err2 := s.SetIfAbsent(ctx, "k", nil, time.Hour)
	_, err3 := s.Increment(ctx, "k", time.Hour)
	for i, err := range []error{err, err2, err3, s.Set(ctx, "k", nil, time.Hour), s.Append(ctx, "audit", nil, 1),
		tryEnqueue(ctx, s, item("4", "crm", 0)), s.DeleteDoc(ctx, "project", "1", v)} {
		wantErr(t, fmt.Sprint("write ", i), err, ErrFull)
		wantErr(t, fmt.Sprint("write ", i), err, ErrUnavailable)
	}
	leased := leaseOf(t, s, "crm", 0, 5, 30)
	wantIDs(t, "what was in the outbox", leased, "[1 2 3]")
	must(t, s.Ack(ctx, leased[0]))
	must(t, s.Ack(ctx, leased[1]))
	must(t, s.Reschedule(ctx, leased[2], at(60), []byte("again")))
	must(t, server.client(t).ConfigSet(ctx, "maxmemory", "0").Err())
	if d, err := s.GetDoc(ctx, "project", "1"); err != nil || d.Version != v || string(d.Body) != "a" {
		t.Errorf("got %+v, %v; want it as it was", d, err)
	}
	wantHeld(t, s, map[string]int{"crm": 1})
	put(t, s, "project", "1", "b", v)
}

func TestARedisOfANewerHookswitchIsLeftAlone(t *testing.T) {
	server := startRedis(t)
	must(t, server.client(t).Set(t.Context(), keyVersion, redisSchema+1, 0).Err())
	s := openRedis(t, "redis://"+server.addr())
	for call, err := range allCalls(t.Context(), s) {
		if err == nil || !strings.Contains(err.Error(), "upgrade") {
			t.Errorf("%s: got %v; want it to say upgrade", call, err)
		}
	}
	if n, err := server.client(t).DBSize(t.Context()).Result(); err != nil || n != 1 {
		t.Errorf("found %d keys, %v; want nothing written", n, err)
	}
}

func TestEveryKeyCarriesTheSchemaVersion(t *testing.T) {
	server := startRedis(t)
	s := openRedis(t, "redis://"+server.addr())
	allCalls(t.Context(), s)
	keys, err := server.client(t).Keys(t.Context(), "*").Result()
	must(t, err)
	if len(keys) < 10 {
		t.Errorf("found only the keys %q", keys)
	}
	for _, k := range keys {
		if !strings.HasPrefix(k, keyPrefix) && k != keyVersion {
			t.Errorf("found the key %q; want %s…", k, keyPrefix)
		}
	}
}

func TestAUserWithTheDocumentedRightsAndNoOthersIsEnough(t *testing.T) {
	server := startRedis(t, append([]string{"--user"}, strings.Fields("hook on >se/cr@et% resetkeys ~hookswitch:* resetchannels "+
		"&hookswitch:* -@all +@read +@write +@pubsub +@scripting +@connection --user default off")...)...)
	s := openRedis(t, "redis://hook:se%2Fcr%40et%25@"+server.addr())
	watch := s.Watch(t.Context())
	woken(t, "at its start", watch)
	for call, err := range allCalls(t.Context(), s) {
		if errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", call, err)
		}
	}
	wrong := openRedis(t, "redis://hook:wrong-one@"+server.addr())
	err := wrong.Ping(t.Context())
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("got %v; want ErrUnavailable with WRONGPASS and without the password", err)
	}
}

func TestTLSIsSpokenAndTheServersNameChecked(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "server", net.IPv4(127, 0, 0, 1))
	certificate(t, dir, "other", net.IPv4(127, 0, 0, 2))
	server := startRedis(t, "--tls-port", "0", "--tls-cert-file", dir+"/server.crt", "--tls-key-file", dir+"/server.key",
		"--tls-ca-cert-file", dir+"/server.crt", "--tls-auth-clients", "no")
	port := freePort(t)
	must(t, server.client(t).ConfigSet(t.Context(), "tls-port", port).Err())
	s := openRedis(t, "rediss://127.0.0.1:"+port+"?ca="+dir+"/server.crt")
	must(t, s.Ping(t.Context()))
	for _, query := range []string{"", "?ca=" + dir + "/other.crt"} {
		s := openRedis(t, "rediss://127.0.0.1:"+port+query)
		if err := s.Ping(t.Context()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%q: got %v; want the certificate refused", query, err)
		}
	}
	server.signal(t, syscall.SIGSTOP) // the handshake is never answered
	hung := openRedis(t, "rediss://127.0.0.1:"+port+"?ca="+dir+"/server.crt")
	begin := time.Now()
	wantErr(t, "a server that says nothing", hung.Ping(within(t, 20*time.Millisecond)), ErrUnavailable)
	if took := time.Since(begin); took > 800*time.Millisecond {
		t.Errorf("the handshake was waited for %s", took)
	}
}

// certificate writes name.crt and name.key to dir, valid for ip and signed by themselves.
func certificate(t *testing.T, dir, name string, ip net.IP) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{ip}, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

func TestAFailOverBySentinelIsFollowed(t *testing.T) {
	master := startRedis(t)
	replica := startRedis(t, "--replicaof", "127.0.0.1 "+master.port, "--repl-diskless-sync-delay", "0")
	eventually(t, "the replica follows", func() bool {
		return strings.Contains(cli(t, "-p", replica.port, "info", "replication"), "master_link_status:up")
	})
	sentinel := startSentinel(t, master)
	eventually(t, "the sentinel knows the replica", func() bool {
		return strings.Contains(cli(t, "-p", sentinel.port, "sentinel", "replicas", "main"), replica.port)
	})
	s := openRedis(t, "redis+sentinel://"+sentinel.addr()+"/main")
	v := put(t, s, "project", "1", "a", 0)
	must(t, master.client(t).Wait(t.Context(), 1, 10*time.Second).Err())
	eventually(t, "the replica has it", func() bool {
		return strings.Contains(cli(t, "-p", replica.port, "get", keyChange), "1")
	})
	master.kill()
	eventually(t, "the replica has taken over", func() bool {
		_, err := s.PutDoc(t.Context(), "project", "1", []byte("b"), v)
		if err == nil || errors.Is(err, ErrUnavailable) {
			return err == nil
		}
		d, err2 := s.GetDoc(t.Context(), "project", "1")
		t.Fatalf("got %v; the document is %+v, %v", err, d, err2)
		return false
	})
}

func TestWhatIsEnqueuedWaitsForReplicasWhereThatIsAskedFor(t *testing.T) {
	master := startRedis(t)
	replica := startRedis(t, "--replicaof", "127.0.0.1 "+master.port, "--repl-diskless-sync-delay", "0")
	eventually(t, "the replica follows", func() bool {
		return strings.Contains(cli(t, "-p", replica.port, "info", "replication"), "master_link_status:up")
	})
	s, ctx := openRedis(t, "redis://"+master.addr()+"?replicas=1"), t.Context()
	once := Once{Name: "call-1", Value: []byte("event 1"), Keep: time.Hour}
	if there := queueUp(t, s, item("0", "crm", 0)); there != nil { // by the script's text, and then by its hash
		t.Errorf("there were %v", there)
	}
	queueUp(t, s, item("1", "crm", 0))
	if got := cli(t, "-p", replica.port, "hlen", keyItems); strings.TrimSpace(got) != "2" {
		t.Errorf("the replica has %s; want both", got)
	}
	replica.signal(t, syscall.SIGSTOP)
	_, _, err := s.EnqueueOnce(ctx, once, item("2", "crm", 0))
	wantErr(t, "without a replica", err, ErrUnavailable)
	_, _, err = s.EnqueueOnce(ctx, once, item("2", "crm", 0))
	wantErr(t, "a repeat of what no replica has", err, ErrUnavailable)
	replica.signal(t, syscall.SIGCONT)
	eventually(t, "the repeat is answered when a replica has it", func() bool {
		existing, added, err := s.EnqueueOnce(ctx, once, item("2", "crm", 0))
		return err == nil && !added && string(existing) == "event 1"
	})
	if got := cli(t, "-p", replica.port, "hlen", keyItems); strings.TrimSpace(got) != "3" {
		t.Errorf("the replica has %s; want all three", got)
	}
}
