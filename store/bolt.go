package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The buckets of the file. Numbers are big-endian, 8 bytes.
var (
	bucketMeta    = []byte("meta")    // "schema" → version
	bucketDocs    = []byte("docs")    // kind NUL id → version, body; its sequence is the change number
	bucketLatest  = []byte("latest")  // kind NUL number of a document's last change, be it its deletion → id
	bucketGone    = []byte("gone")    // kind NUL id of a deleted document → number of that change
	bucketFloors  = []byte("floors")  // kind → number of the last deletion that is forgotten, how many are in gone
	bucketTrails  = []byte("trails")  // a bucket a trail: number → body
	bucketValues  = []byte("values")  // "v", "c" or "n", key → expiry in ms, value or count
	bucketExpiry  = []byte("expiry")  // expiry in ms, key in values → nothing
	bucketItems   = []byte("items")   // id → queue NUL due in ms, body
	bucketDue     = []byte("due")     // queue NUL due in ms, id → nothing
	bucketQueues  = []byte("queues")  // queue → items in it
	bucketGroups  = []byte("groups")  // group NUL number → due in ms, id; by older ones, queue NUL before that
	bucketGrouped = []byte("grouped") // id → key in groups
	bucketRecords = []byte("records") // a bucket a log, and one for those held, whose sequence is how many it has: id → body

	keySchema = []byte("schema")
)

// boltSchema is the version of the layout that is written. migrations[v] takes a file from schema v to
// v+1.
const boltSchema = 2

var migrations = [boltSchema]func(*bbolt.Tx) error{createBuckets, numberChanges}

func createBuckets(tx *bbolt.Tx) error {
	for _, name := range [][]byte{
		bucketDocs, bucketLatest, bucketGone, bucketFloors, bucketTrails, bucketValues, bucketExpiry,
		bucketItems, bucketDue, bucketQueues, bucketGroups, bucketGrouped, bucketRecords,
	} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

const (
	maxBatch = 512 // writes that share one flush
	// While writers crowd there is some time between flushes, so that more of them share one, which takes the
	// disk, and a processor, about as long whatever is in it: from the beginning of one to that of the next pace
	// at least, and for as long as restful flushes after its end, up to maxRest. So writing takes no more than
	// a quarter of either from the calls that are decided meanwhile.
	pace       = 4 * time.Millisecond
	restful    = 3
	maxRest    = 40 * time.Millisecond
	sweepEvery = time.Second // how often expired values are looked for, and whether the file is whole and in its place
	maxSweep   = 5000        // how many one sweep removes
	// mapped is address space, not memory: a file that outgrows it is mapped anew, for which a write
	// has to wait until all reads have ended, a backup too.
	mapped = 1 << 30
)

// Bolt is the store in a file. Reads run side by side; all writes go through one goroutine, which
// gathers those that wait into one transaction and one flush.
type Bolt struct {
	db       *bbolt.DB
	file     *os.File              // that db has open, with its lock; nil of Damaged
	length   int64                 // of file, which bbolt never makes shorter; the writer's own
	damage   atomic.Pointer[error] // what was found; from then on db is not used any more
	replaced bool                  // the alarm of it has been raised; the writer's own
	alarms   chan Alarm            // of capacity 2: each is sent once at most
	remember int                   // deletions of a kind
	now      func() time.Time      // what values expire by
	writes   chan *write
	quit     chan struct{} // closed by Close
	done     chan struct{} // closed by the writer at its end

	mu       sync.Mutex
	closed   bool                          // guarded by mu
	watchers map[chan struct{}]func() bool // guarded by mu; each with what parts it from its context
	leases   map[string]lease              // guarded by mu; by item id. Leases end with the process.
}

// write is one caller's part of a transaction.
type write struct {
	ctx context.Context
	// do changes nothing where it returns ErrNotFound or ErrConflict; any other error undoes the
	// whole batch.
	do    func(*bbolt.Tx) error
	after func()     // runs once it is on the disk; may be nil
	err   chan error // of capacity 1
}

// OpenBolt opens the file at path, or makes it, its folder too, and brings it to the current schema.
// ErrDamaged where what is there can't be read, which then is left as it is; ErrInUse where another process
// has it.
func OpenBolt(ctx context.Context, path string) (*Bolt, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the store's folder: %w", err)
	}
	wait := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(time.Millisecond, min(wait, time.Until(deadline)))
	}
	b := newBolt()
	err := b.open(path, &bbolt.Options{Timeout: wait, FreelistType: bbolt.FreelistMapType, InitialMmapSize: mapped})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w", path, ErrInUse)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := b.prepare(); err != nil {
		b.close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	go b.write()
	return b, nil
}

func newBolt() *Bolt {
	return &Bolt{alarms: make(chan Alarm, 2), remember: maxGone, now: time.Now, writes: make(chan *write), quit: make(chan struct{}), done: make(chan struct{}),
		watchers: map[chan struct{}]func() bool{}, leases: map[string]lease{}}
}

// prepare brings the file to the current schema. One that has it is not written, as it may prove damaged yet.
func (b *Bolt) prepare() error {
	var version uint64
	err := b.read(func(tx *bbolt.Tx) error {
		version = schemaOf(tx.Bucket(bucketMeta))
		return b.checkWhole(tx)
	})
	switch {
	case err != nil:
		return err
	case version > boltSchema:
		return errNewer(version, boltSchema)
	case version == boltSchema:
		return nil
	}
	return asDamage(b.change(migrate))
}

// schemaOf returns the version of the layout, 0 for none yet.
func schemaOf(meta *bbolt.Bucket) uint64 {
	if meta == nil {
		return 0
	}
	if v := meta.Get(keySchema); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func migrate(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	for version := schemaOf(meta); version < boltSchema; version++ {
		if err := migrations[version](tx); err != nil {
			return fmt.Errorf("migrate from schema %d: %w", version, err)
		}
	}
	return meta.Put(keySchema, number(boltSchema))
}

// Ping fails once the store is closed.
func (b *Bolt) Ping(ctx context.Context) error {
	return b.view(ctx, func(*bbolt.Tx) error { return nil })
}

// Close waits for the write under way.
func (b *Bolt) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	for ch, part := range b.watchers {
		part()
		close(ch)
	}
	b.watchers = nil
	b.mu.Unlock()
	close(b.quit)
	<-b.done
	return unavailable(b.close())
}

func (b *Bolt) view(ctx context.Context, do func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	return classify(b.read(do))
}

// classify lets our own errors pass and wraps the others.
func classify(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrTooOld) || errors.Is(err, ErrUnavailable) {
		return err
	}
	return unavailable(err)
}

// update runs do in the next transaction and returns when that is on the disk, or ctx ends; then do
// may run all the same, so what it uses must be its own, and the caller may read what it left behind
// only where update returned nil.
func (b *Bolt) update(ctx context.Context, do func(*bbolt.Tx) error, after func()) error {
	if err := b.harm(); err != nil {
		return err // at once, though the writer has others to wait for
	}
	w := &write{ctx, do, after, make(chan error, 1)}
	select {
	case b.writes <- w:
	case <-ctx.Done():
		return unavailable(ctx.Err())
	case <-b.quit:
		return unavailable(bolterrors.ErrDatabaseNotOpen)
	}
	select {
	case err := <-w.err:
		return err
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

// write is the one writer.
func (b *Bolt) write() {
	defer close(b.done)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var next time.Time // when the next flush may begin
	var shared int     // how many writes the last one had
	for {
		select {
		case w := <-b.writes:
			if shared > 1 {
				time.Sleep(time.Until(next))
			}
			batch := b.gather(w)
			began := time.Now()
			b.commit(batch)
			shared, next = len(batch), began.Add(interval(time.Since(began)))
		case <-tick.C:
			b.sweep()
			b.checkFile()
		case <-b.quit:
			return
		}
	}
}

// interval is the least time from the beginning of a flush that took so long to that of the next.
func interval(took time.Duration) time.Duration {
	return max(pace, took+min(restful*took, maxRest))
}

// gather returns first and all that wait to be written by now.
func (b *Bolt) gather(first *write) []*write {
	batch := []*write{first}
	for len(batch) < maxBatch {
		select {
		case w := <-b.writes:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

var errNothingToWrite = errors.New("nothing to write")

func (b *Bolt) commit(batch []*write) {
	errs := make([]error, len(batch))
	failed := b.change(func(tx *bbolt.Tx) error {
		todo := 0
		for i, w := range batch {
			if err := w.ctx.Err(); err != nil {
				errs[i] = unavailable(err)
				continue
			}
			errs[i] = w.do(tx)
			switch {
			case errs[i] == nil:
				todo++
			case !errors.Is(errs[i], ErrNotFound) && !errors.Is(errs[i], ErrConflict):
				return errs[i]
			}
		}
		if todo == 0 {
			return errNothingToWrite
		}
		return nil
	})
	if failed == errNothingToWrite {
		failed = nil
	}
	for i, w := range batch {
		switch {
		case failed != nil:
			errs[i] = unavailable(failed)
		case errs[i] == nil && w.after != nil:
			w.after()
		}
		w.err <- errs[i]
	}
}

// number is n as the file has it.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// join returns the parts as one new slice.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
