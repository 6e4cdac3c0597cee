package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// child is this test binary once more, to do what with the arguments.
func child(what string, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), childEnv+"="+what)
	c.Stderr = os.Stderr
	return c
}

// acknowledged is what a child was told it wrote, line by line: a word and a name.
type acknowledged struct{ word, name string }

func TestAKillAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	rounds := 20
	if os.Getenv("HOOKSWITCH_E2E") == "full" {
		rounds = 200
	}
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	acked := map[acknowledged]bool{}
	for round := range rounds {
		killWriter(t, path, round, acked)
		b, err := OpenBolt(t.Context(), path)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		must(t, b.db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Errorf("round %d: %v", round, err)
			}
			return nil
		}))
		checkAcknowledged(t, b, acked)
		must(t, b.Close())
		if t.Failed() {
			t.Fatalf("in round %d, with %d acknowledged", round, len(acked))
		}
	}
	if len(acked) < 10*rounds {
		t.Errorf("only %d writes were acknowledged in %d rounds", len(acked), rounds)
	}
	t.Logf("%d rounds, %d acknowledged", rounds, len(acked))
}

// killWriter starts a writer, kills it at a random moment, of its start too, and adds what it was told.
func killWriter(t *testing.T, path string, round int, acked map[acknowledged]bool) {
	t.Helper()
	c := child("write", path, fmt.Sprint(round))
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	timer := time.AfterFunc(rand.N(200*time.Millisecond), func() { c.Process.Kill() })
	defer timer.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, name, _ := strings.Cut(lines.Text(), " ")
		acked[acknowledged{word, name}] = true
	}
	err = c.Wait()
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("round %d: the writer ended by itself: %v", round, err)
	}
}

func checkAcknowledged(t *testing.T, b *Bolt, acked map[acknowledged]bool) {
	t.Helper()
	held := map[string]bool{}
	must(t, b.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketItems).ForEach(func(id, _ []byte) error { held[string(id)] = true; return nil })
	}))
	entries, err := b.Entries(t.Context(), "trail", "", 1<<30)
	must(t, err)
	logged := map[string]bool{}
	for _, e := range entries {
		logged[string(e.Body)] = true
	}
	for a := range acked {
		there, want := false, true
		switch a.word {
		case "doc":
			_, err := b.GetDoc(t.Context(), "k", a.name)
			there = err == nil
		case "value":
			_, err := b.Get(t.Context(), a.name)
			there = err == nil
		case "counter":
			n, err := b.Count(t.Context(), a.name)
			there = err == nil && n == 1
		case "entry":
			there = logged[a.name]
		case "item": // one that was leased may have been delivered, and the kill came before it was told
			there = held[a.name]
			want = there || !acked[acknowledged{"leased", a.name}]
		case "delivered":
			there, want = held[a.name], false
		default:
			continue
		}
		if there != want {
			t.Errorf("%s %s: there is %v; want %v", a.word, a.name, there, want)
		}
	}
}

// writeUntilKilled writes to the file from several goroutines and prints what was acknowledged.
func writeUntilKilled(path, round string) {
	ctx := context.Background()
	b, err := OpenBolt(ctx, path)
	if err != nil {
		panic(err)
	}
	say := func(word, name string, err error) {
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(os.Stdout, "%s %s\n", word, name) // one write, so whole lines
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%s-%d-%d", round, g, i)
				_, err := b.PutDoc(ctx, "k", name, []byte(name), 0)
				say("doc", name, err)
				say("value", name, b.Set(ctx, name, []byte(name), time.Hour))
				_, err = b.Increment(ctx, name, time.Hour)
				say("counter", name, err)
				say("entry", name, b.Append(ctx, "trail", []byte(name), 1<<30))
				say("item", name, tryEnqueue(ctx, b, item(name, "q"+name, 0)))
				if i%2 == 0 {
					leased, err := b.Lease(ctx, "q"+name, at(0), 1, time.Hour)
					say("leased", name, err)
					say("delivered", name, b.Ack(ctx, leased[0]))
				}
			}
		})
	}
	wg.Wait()
}

func TestAFullDiskRefusesWritesKeepsTheRestAndGoesOnWhenThereIsSpace(t *testing.T) {
	c := child("fill", t.TempDir())
	// A file system of its own, small, in memory, which nobody else sees and which goes with the child.
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := c.Output()
	if err != nil || !strings.Contains(string(out), "all is well") {
		t.Fatalf("%v; the child needs root, or a kernel that lets users mount in a namespace of their own. It said:\n%s", err, out)
	}
	t.Logf("%s", out)
}

// fillDisk runs in the child. What is wrong it says and panics.
func fillDisk(dir string) {
	ctx := context.Background()
	check := func(what string, ok bool, v ...any) {
		if !ok {
			panic(fmt.Sprint(what, ": ", v))
		}
	}
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	check("part from the other mounts", err == nil, err)
	err = syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m")
	check("mount", err == nil, err)
	ballast := filepath.Join(dir, "ballast")
	check("ballast", os.WriteFile(ballast, make([]byte, 1<<20), 0o600) == nil)
	b, err := OpenBolt(ctx, filepath.Join(dir, "hookswitch.db"))
	check("open", err == nil, err)

	enqueue := func(i int) error {
		it := item(fmt.Sprint(i), "crm", 0)
		it.Body = make([]byte, 10_000)
		return tryEnqueue(ctx, b, it)
	}
	acked := 0
	for ; acked < 1000; acked++ {
		if err = enqueue(acked); err != nil {
			break
		}
	}
	check("a full disk", errors.Is(err, ErrFull) && acked > 0, acked, err)
	for i := range 50 { // and it stays so, and harmless
		if err := enqueue(acked + 1 + i); err != nil {
			check("still full", errors.Is(err, ErrFull), err)
		}
	}
	held, err := b.Held(ctx)
	check("reading", err == nil && held["crm"] >= acked, held, err)
	check("making space", os.Remove(ballast) == nil)
	before := held["crm"]
	check("writing again", enqueue(100_000) == nil)
	check("close", b.Close() == nil)

	b, err = OpenBolt(ctx, filepath.Join(dir, "hookswitch.db"))
	check("open again", err == nil, err)
	held, err = b.Held(ctx)
	check("what is there", err == nil && held["crm"] == before+1, held, before, err)
	check("the file", b.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	}) == nil)
	leased, err := b.Lease(ctx, "crm", at(0), 1000, time.Hour)
	check("leasing", err == nil && len(leased) == before+1, len(leased), err)
	seen := map[string]bool{}
	for _, l := range leased {
		seen[l.ID] = true
		check("ack", b.Ack(ctx, l) == nil)
	}
	for i := range acked {
		check("an acknowledged item", seen[fmt.Sprint(i)], i)
	}
	check("close", b.Close() == nil)
	fmt.Printf("all is well: %d were acknowledged until the disk was full\n", acked)
}
