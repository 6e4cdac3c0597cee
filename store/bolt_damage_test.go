package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

const page = 4096

// damages are what can become of a file, by what a test says of it.
var damages = map[string]func(t *testing.T, path string){
	"cut to two pages":                           cut(2 * page),
	"cut to 100 kB":                              cut(100_000),
	"cut within a page":                          cut(3*page + 100),
	"overwritten with noise, but for its head":   overwrite(2*page, noise),
	"overwritten with zeros, but for its head":   overwrite(2*page, zeros),
	"overwritten with noise, its head too":       overwrite(0, noise),
	"overwritten with zeros, its head too":       overwrite(0, zeros),
	"cut to two pages and filled up with zeros":  func(t *testing.T, path string) { cut(2*page)(t, path); cut(1<<20)(t, path) },
	"cut to nothing and filled up with zeros":    func(t *testing.T, path string) { cut(0)(t, path); cut(1<<20)(t, path) },
	"overwritten with pages of another place":    shift,
	"overwritten with noise, each page's middle": overwriteMiddles,
}

func cut(size int64) func(*testing.T, string) {
	return func(t *testing.T, path string) { must(t, os.Truncate(path, size)) }
}

// noise is the same each time.
func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

func zeros(n int) []byte { return make([]byte, n) }

func overwrite(from int, with func(int) []byte) func(*testing.T, string) {
	return func(t *testing.T, path string) { splice(t, path, func(p []byte) { copy(p[from:], with(len(p)-from)) }) }
}

func overwriteMiddles(t *testing.T, path string) {
	splice(t, path, func(p []byte) {
		for at := 2 * page; at+page <= len(p); at += page {
			copy(p[at+16:at+page], noise(page))
		}
	})
}

func shift(t *testing.T, path string) {
	splice(t, path, func(p []byte) { copy(p[2*page:], bytes.Clone(p[5*page:])) })
}

// splice changes a file where it lies, as its user has it mapped.
func splice(t *testing.T, path string, change func([]byte)) {
	t.Helper()
	p, err := os.ReadFile(path)
	must(t, err)
	change(p)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.Write(p)
	must(t, errors.Join(err, f.Close()))
}

// filled returns the path of a file with some of everything.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "whole.db")
	s := openFile(t, path)
	body := string(noise(3000))
	for i := range 60 {
		id := fmt.Sprint(i)
		put(t, s, "project", id, body, 0)
		queueUp(t, s, item(id, "crm", 0))
		must(t, s.Set(t.Context(), id, []byte(body), time.Hour))
		must(t, s.Append(t.Context(), "trail", []byte(body), 100))
		_, err := s.AddRecords(t.Context(), 100, Record{Log: "log", ID: id, Body: []byte(body)})
		must(t, err)
	}
	must(t, s.Close())
	return path
}

func copyOf(t *testing.T, whole string) string {
	t.Helper()
	text, err := os.ReadFile(whole)
	must(t, err)
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	must(t, os.WriteFile(path, text, 0o600))
	return path
}

// uses are one of each kind of access.
var uses = map[string]func(context.Context, *Bolt) error{
	"ping": func(ctx context.Context, b *Bolt) error { return b.Ping(ctx) },
	"get":  func(ctx context.Context, b *Bolt) error { _, err := b.GetDoc(ctx, "project", "1"); return err },
	"list": func(ctx context.Context, b *Bolt) error {
		_, err := b.ListDocs(ctx, "project", "", "", 100)
		return err
	},
	"changes": func(ctx context.Context, b *Bolt) error { _, err := b.Changed(ctx, "project", 0, 100); return err },
	"put": func(ctx context.Context, b *Bolt) error {
		_, err := b.PutDoc(ctx, "project", "new", noise(3000), 0)
		return err
	},
	"value":  func(ctx context.Context, b *Bolt) error { _, err := b.Get(ctx, "1"); return err },
	"set":    func(ctx context.Context, b *Bolt) error { return b.Set(ctx, "1", noise(3000), time.Hour) },
	"trail":  func(ctx context.Context, b *Bolt) error { _, err := b.Entries(ctx, "trail", "", 100); return err },
	"append": func(ctx context.Context, b *Bolt) error { return b.Append(ctx, "trail", noise(3000), 100) },
	"ready":  func(ctx context.Context, b *Bolt) error { _, err := b.Ready(ctx, at(0)); return err },
	"lease":  func(ctx context.Context, b *Bolt) error { _, err := b.Lease(ctx, "crm", at(0), 100, 0); return err },
	"enqueue": func(ctx context.Context, b *Bolt) error {
		return tryEnqueue(ctx, b, item(fmt.Sprint("new", rand.Uint64()), "crm", 0))
	},
	"records": func(ctx context.Context, b *Bolt) error { _, err := b.ListRecords(ctx, "log", "", 100); return err },
	"backup":  func(ctx context.Context, b *Bolt) error { return b.Backup(ctx, io.Discard) },
}

// wantOutOfUse holds that b does nothing any more, and says so.
func wantOutOfUse(t *testing.T, b *Bolt) {
	t.Helper()
	for what, use := range uses {
		began := time.Now()
		if err := use(t.Context(), b); !errors.Is(err, ErrDamaged) || !errors.Is(err, ErrUnavailable) || strings.Count(err.Error(), "unavailable") != 1 {
			t.Errorf("%s: got %v; want ErrDamaged, once", what, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s took %s; want an answer at once", what, took)
		}
	}
	b.sweep()
}

// closeSoon closes b, and holds that this waits for nothing.
func closeSoon(t *testing.T, b *Bolt) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	select {
	case err := <-closed:
		must(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("Close hangs")
	}
}

func TestAFileThatIsDamagedWhileInUseIsNotUsedAnyMore(t *testing.T) {
	running := map[string]func(*testing.T, string){"cut to nothing": cut(0), "cut to a page": cut(page)}
	for name, damage := range damages {
		running[name] = damage
	}
	whole := filled(t)
	for name, damage := range running {
		t.Run(name, func(t *testing.T) {
			path := copyOf(t, whole)
			b := openFile(t, path)
			watch := b.Watch(t.Context())
			<-watch
			damage(t, path)
			useUntilDamaged(t, b)
			before, err := os.ReadFile(path)
			must(t, err)
			wantOutOfUse(t, b)
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was written after the damage was known, %v", err)
			}
			if a := <-b.Alarms(); !errors.Is(a.Err, ErrDamaged) || !strings.Contains(a.Err.Error(), "restore") ||
				!strings.Contains(a.Where, "bbolt.") && !strings.Contains(a.Err.Error(), " bytes of ") {
				t.Errorf("got the alarm %+v; want it to say what to do, and where it came from", a)
			}
			if len(b.Alarms()) != 0 {
				t.Error("there is another alarm")
			}
			select {
			case _, open := <-watch:
				t.Errorf("the watch said something, open %v; want it to go on waiting", open)
			default:
			}
			closeSoon(t, b)
			if _, open := <-watch; open {
				t.Error("the watch outlives the store")
			}
			again, err := OpenBolt(t.Context(), path)
			if errors.Is(err, ErrInUse) {
				t.Errorf("after Close: got %v; want nobody to have it", err)
			} else if err == nil { // the start reads little
				closeSoon(t, again)
			}
		})
	}
}

// What is cut off need not be in use: the writes after it would go behind the cut, and be lost at the next start.
func TestAFileThatIsCutBehindWhatIsInUseIsDamagedToo(t *testing.T) {
	whole := filled(t)
	opened := func(t *testing.T) *Bolt {
		path := copyOf(t, whole)
		b := openFile(t, path)
		must(t, b.Set(t.Context(), "a", nil, time.Hour)) // from here on it is longer than what it holds
		var used int64
		must(t, b.db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }))
		if b.lengthNow() <= used {
			t.Fatalf("it has %d bytes, all of them in use", used)
		}
		must(t, os.Truncate(path, used))
		return b
	}
	t.Run("the next write is refused", func(t *testing.T) {
		if err := opened(t).Set(t.Context(), "b", nil, time.Hour); !errors.Is(err, ErrDamaged) {
			t.Errorf("got %v; want ErrDamaged", err)
		}
	})
	t.Run("it is told though nobody writes", func(t *testing.T) {
		select {
		case a := <-opened(t).Alarms():
			if !errors.Is(a.Err, ErrDamaged) {
				t.Errorf("got %v; want ErrDamaged", a.Err)
			}
		case <-time.After(10 * sweepEvery):
			t.Error("nothing is told")
		}
	})
}

// useUntilDamaged uses b, in all ways in turn, until one of them says that it is damaged. Noise may pass for
// data where no page is asked for.
func useUntilDamaged(t *testing.T, b *Bolt) {
	t.Helper()
	eventually(t, "the damage is noticed", func() bool {
		for _, use := range uses {
			if errors.Is(use(t.Context(), b), ErrDamaged) {
				return true
			}
		}
		return false
	})
}

// A panic left bbolt's locks locked, so that whoever waited for them waited for ever.
func TestNobodyWaitsForOneThatFoundTheDamage(t *testing.T) {
	whole := filled(t)
	for round := range 20 {
		path := copyOf(t, whole)
		b := openFile(t, path)
		var using sync.WaitGroup
		for range 4 {
			for _, use := range uses {
				using.Go(func() {
					for !errors.Is(use(t.Context(), b), ErrDamaged) {
					}
				})
			}
		}
		time.Sleep(20 * time.Millisecond)
		must(t, os.Truncate(path, int64(round%3)*page))
		ended := make(chan struct{})
		go func() {
			using.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("round %d: somebody waits", round)
		}
		closeSoon(t, b)
	}
}

func TestAFileThatIsDamagedAtTheStartIsLeftAlone(t *testing.T) {
	stopped := map[string]func(*testing.T, string){
		"cut to 100 bytes": cut(100),
		"some text":        func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte("not a database"), 0o600)) },
		"noise of 6 kB":    func(t *testing.T, path string) { must(t, os.WriteFile(path, noise(6000), 0o600)) },
		"noise of 1 MB":    func(t *testing.T, path string) { must(t, os.WriteFile(path, noise(1<<20), 0o600)) },
	}
	for name, damage := range damages {
		stopped[name] = damage
	}
	whole := filled(t)
	b := openFile(t, whole)
	var backup bytes.Buffer
	must(t, b.Backup(t.Context(), &backup))
	must(t, b.Close())
	for name, damage := range stopped {
		t.Run(name, func(t *testing.T) {
			path := copyOf(t, whole)
			damage(t, path)
			before, err := os.ReadFile(path)
			must(t, err)
			b, err := OpenBolt(t.Context(), path)
			if err == nil { // what was read at the start is whole
				useUntilDamaged(t, b)
				closeSoon(t, b)
				return
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v; want ErrDamaged, and the path", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was written, %v", err)
			}
			stand := Damaged(err)
			wantOutOfUse(t, stand)
			closeSoon(t, stand)
			must(t, Restore(t.Context(), path, bytes.NewReader(backup.Bytes())))
			d, err := openFile(t, path).GetDoc(t.Context(), "project", "1")
			if err != nil || len(d.Body) != 3000 {
				t.Errorf("restored: got %d bytes, %v", len(d.Body), err)
			}
		})
	}
}

func TestAFileThatCanOnlyNotBeUsedNowIsNotCalledDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hookswitch.db")
	b := openFile(t, path)
	_, err := OpenBolt(within(t, 50*time.Millisecond), path)
	wantErr(t, "a file in use", err, ErrInUse)
	must(t, b.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, number(boltSchema+1)) }))
	must(t, b.Close())
	for what, at := range map[string]string{"a newer one": path, "a folder": dir, "a place below a file": filepath.Join(path, "x.db")} {
		if _, err := OpenBolt(t.Context(), at); err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v; want an error, but not ErrDamaged", what, err)
		}
	}
}

func TestOpeningAFileOfThisSchemaWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	must(t, openFile(t, path).Close())
	before, err := os.ReadFile(path)
	must(t, err)
	must(t, openFile(t, path).Close())
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file is another, %v", err)
	}
}

func TestAFileThatIsTakenAwayWhileInUseIsToldOnce(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"removed": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hookswitch.db")
			b := openFile(t, path)
			time.Sleep(sweepEvery + sweepEvery/2)
			if len(b.Alarms()) != 0 {
				t.Fatalf("got the alarm %+v of a file in its place", <-b.Alarms())
			}
			must(t, take(path))
			select {
			case a := <-b.Alarms():
				if !errors.Is(a.Err, ErrReplaced) || !strings.Contains(a.Err.Error(), path) {
					t.Errorf("got %v; want ErrReplaced, and the path", a.Err)
				}
			case <-time.After(10 * sweepEvery):
				t.Fatal("nothing is told")
			}
			must(t, b.Set(t.Context(), "a", nil, time.Hour))
			time.Sleep(sweepEvery + sweepEvery/2)
			if len(b.Alarms()) != 0 {
				t.Error("it is told again")
			}
		})
	}
}

func TestAFileThatMayNotGrowIsFullAndGoesOn(t *testing.T) {
	out, err := child("limit", t.TempDir()).Output()
	if err != nil || !strings.Contains(string(out), "all is well") {
		t.Fatalf("%v; the child said:\n%s", err, out)
	}
}

// growToLimit runs in the child, as the limit is the process's.
func growToLimit(dir string) {
	ctx := context.Background()
	b, err := OpenBolt(ctx, filepath.Join(dir, "hookswitch.db"))
	if err != nil {
		panic(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		panic(err)
	}
	for i := 0; err == nil && i < 1000; i++ {
		err = b.Set(ctx, fmt.Sprint(i), noise(10_000), time.Hour)
	}
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "file too large") {
		panic(fmt.Sprint("want ErrFull and why: ", err))
	}
	if _, err := b.Get(ctx, "0"); err != nil {
		panic(err)
	}
	if err := b.Close(); err != nil {
		panic(err)
	}
	fmt.Println("all is well")
}
