package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestTheFilePassesTheConformanceSuite(t *testing.T) {
	conform(t, func(t *testing.T) Store {
		s, err := Open(t.Context(), "bolt:"+filepath.Join(t.TempDir(), "made", "on", "the way", "hookswitch.db"))
		must(t, err)
		return s
	})
}

func openFile(t *testing.T, path string) *Bolt {
	t.Helper()
	b, err := OpenBolt(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func TestASecondProcessIsToldThatTheFileIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	openFile(t, path)
	_, err := OpenBolt(within(t, 50*time.Millisecond), path)
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v; want it to say that another process has it", err)
	}
}

func TestWhatIsInTheFileIsThereWhenItIsOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	b := openFile(t, path)
	v := put(t, b, "project", "1", "a", 0)
	queueUp(t, b, item("1", "crm", 0))
	leaseOf(t, b, "crm", 0, 1, 1000)
	must(t, b.Close())
	b = openFile(t, path)
	if d, err := b.GetDoc(t.Context(), "project", "1"); err != nil || d.Version != v {
		t.Errorf("got %+v, %v; want version %d", d, err, v)
	}
	wantIDs(t, "what a process held that is gone", leaseOf(t, b, "crm", 0, 1, 1000), "[1]")
}

func TestAFileOfANewerHookswitchIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	must(t, openFile(t, path).Close())
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, number(boltSchema+1)) }))
	must(t, db.Close())
	if _, err = OpenBolt(t.Context(), path); err == nil || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("got %v; want it to say upgrade", err)
	}
}

func TestAFileWithoutASchemaIsMigratedAndKeepsWhatItHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	b := openFile(t, path)
	v := put(t, b, "project", "1", "a", 0)
	must(t, b.db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket(bucketMeta), tx.DeleteBucket(bucketItems))
	}))
	must(t, b.Close())
	b = openFile(t, path)
	queueUp(t, b, item("1", "crm", 0))
	if d, err := b.GetDoc(t.Context(), "project", "1"); err != nil || d.Version != v {
		t.Errorf("got %+v, %v; want version %d", d, err, v)
	}
}

func TestWritersThatComeTogetherShareAFlush(t *testing.T) {
	b := openFile(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	transaction := func() (id int) {
		must(t, b.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }))
		return id
	}
	const writers, each = 32, 20
	before := transaction()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := b.Set(t.Context(), fmt.Sprint(w, "-", i), nil, time.Hour); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if used := transaction() - before; used > writers*each/4 {
		t.Errorf("%d writes took %d transactions", writers*each, used)
	}
}

func TestWhatHasExpiredLeavesTheFile(t *testing.T) {
	b := openFile(t, filepath.Join(t.TempDir(), "hookswitch.db"))
	left := func() (n int) {
		must(t, b.db.View(func(tx *bbolt.Tx) error {
			n = tx.Bucket(bucketValues).Stats().KeyN + tx.Bucket(bucketExpiry).Stats().KeyN
			return nil
		}))
		return n
	}
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			_, err := b.Increment(t.Context(), fmt.Sprint(i%100), time.Millisecond)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, b.Set(t.Context(), "stays", nil, time.Hour))
	if n := left(); n < 4 || n > 202 {
		t.Errorf("found %d keys for 101 values; want two each at most", n)
	}
	eventually(t, "all but the last are gone", func() bool { return left() == 2 })
	_, err := b.Get(t.Context(), "stays")
	must(t, err)
}

func TestABackupWhileServingRestoresToOneMoment(t *testing.T) {
	dir := t.TempDir()
	b := openFile(t, filepath.Join(dir, "hookswitch.db"))
	put(t, b, "n", "a", "0", 0)
	put(t, b, "n", "b", "0", 0)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // b is never ahead of a, and at most one behind
		for i := 1; ctx.Err() == nil; i++ {
			for _, id := range []string{"a", "b"} {
				d, err := b.GetDoc(t.Context(), "n", id)
				if err != nil {
					t.Error(err)
					return
				}
				put(t, b, "n", id, fmt.Sprint(i), d.Version)
			}
		}
	})
	var backups []bytes.Buffer
	for i := range 5 {
		eventually(t, "some writes", func() bool { n, err := b.Change(t.Context()); return err == nil && n > uint64(10*i+2) })
		backups = append(backups, bytes.Buffer{})
		must(t, b.Backup(t.Context(), &backups[i]))
	}
	stop()
	wg.Wait()
	path := filepath.Join(dir, "elsewhere", "restored.db")
	for i := range backups {
		must(t, Restore(t.Context(), path, &backups[i]))
		restored := openFile(t, path)
		var counts [2]int
		for j, id := range []string{"a", "b"} {
			d, err := restored.GetDoc(t.Context(), "n", id)
			must(t, err)
			fmt.Sscan(string(d.Body), &counts[j])
		}
		if n, err := restored.Change(t.Context()); err != nil || n != uint64(2+counts[0]+counts[1]) || n < uint64(10*i+2) {
			t.Errorf("backup %d: got change %d, %v with the documents at %v", i, n, err, counts)
		}
		must(t, restored.Close())
	}
}

func TestABadBackupIsRefusedAndTheFileStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hookswitch.db")
	b := openFile(t, path)
	v := put(t, b, "project", "1", "a", 0)
	var backup bytes.Buffer
	must(t, b.Backup(t.Context(), &backup))
	whole := backup.Bytes()
	if err := Restore(t.Context(), path, bytes.NewReader(whole)); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("got %v while the file is in use; want it to say so", err)
	}
	put(t, b, "project", "1", "b", v)
	must(t, b.Close())
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for what, restore := range map[string]error{
		"nothing":            Restore(t.Context(), path, strings.NewReader("")),
		"some text":          Restore(t.Context(), path, strings.NewReader(strings.Repeat("not a backup ", 1000))),
		"half of one":        Restore(t.Context(), path, bytes.NewReader(whole[:len(whole)/2])),
		"all but a byte":     Restore(t.Context(), path, bytes.NewReader(whole[:len(whole)-1])),
		"one bit flipped":    Restore(t.Context(), path, bytes.NewReader(flipped)),
		"one given up":       Restore(ended, path, bytes.NewReader(whole)),
		"one that breaks":    Restore(t.Context(), path, io.MultiReader(bytes.NewReader(whole[:9000]), brokenReader{})),
		"one made given up":  b.Backup(ended, io.Discard),
		"one of closed ones": b.Backup(t.Context(), io.Discard),
	} {
		if restore == nil {
			t.Errorf("%s is taken for a backup", what)
		}
	}
	b = openFile(t, path)
	if d, err := b.GetDoc(t.Context(), "project", "1"); err != nil || string(d.Body) != "b" {
		t.Errorf("got %+v, %v; want the file untouched", d, err)
	}
	must(t, b.Close())
	must(t, os.WriteFile(path, []byte("damaged"), 0o600))
	must(t, Restore(t.Context(), path, bytes.NewReader(whole)))
	if d, err := openFile(t, path).GetDoc(t.Context(), "project", "1"); err != nil || string(d.Body) != "a" {
		t.Errorf("got %+v, %v; want what the backup has", d, err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 1 {
		t.Errorf("found %q, %v; want no leftovers", files, err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the connection broke") }

func TestAFileOfSchema1KeepsItsDocumentsAndNumbersTheirChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hookswitch.db")
	b := openFile(t, path)
	v := put(t, b, "kind", "a", "1", 0)
	must(t, b.db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket(bucketLatest), tx.DeleteBucket(bucketGone), tx.DeleteBucket(bucketFloors),
			tx.Bucket(bucketMeta).Put(keySchema, number(1)))
	}))
	must(t, b.Close())
	b = openFile(t, path)
	if _, err := b.Changed(t.Context(), "kind", v-1, 10); !errors.Is(err, ErrTooOld) {
		t.Errorf("before the migration: got %v; want ErrTooOld, since a deletion would not be known", err)
	}
	put(t, b, "kind", "b", "2", 0)
	must(t, b.DeleteDoc(t.Context(), "kind", "a", v))
	if got, _ := changes(t, b, v, 10); got != "b@2=2 -a@3" {
		t.Errorf("got %q", got)
	}
}
