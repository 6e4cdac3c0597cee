// Package store keeps the state that survives a restart: documents, an audit trail, values that
// expire, counters, the outbox of deliveries and the log of them. One machine keeps it in a file
// (bbolt); several share a Redis. Both pass the same conformance suite. Nobody waits for the store to
// route a call.
//
// # What a write that returned nil means
//
// In the file it has been flushed to the disk: it survives kill -9 and a power cut. Writers that come
// together share one flush.
//
// In Redis it is what the server makes of it. With appendonly no, a crash of the server loses what
// came after its last snapshot; with appendfsync everysec, Debian's habit, up to a second; with
// appendfsync always, nothing. Replication is asynchronous: a fail-over, by Sentinel or in a Cluster,
// loses what the new master had not received. With ?replicas=N in the URL, what is enqueued is
// acknowledged when N replicas have it (WAIT; not in a Cluster), so that a fail-over to one of those loses
// none of it; min-replicas-to-write 1 with min-replicas-max-lag bounds from the server's side what else is
// lost. Where an acknowledged event must not be lost: appendonly yes, appendfsync always,
// maxmemory-policy noeviction, min-replicas-to-write, and replicas=1.
//
// A write that returned ErrUnavailable may have been done or not: its answer was lost. In a Cluster
// go-redis itself asks again where a connection broke, so there a counter may count one call twice,
// and PutDoc may report ErrConflict about its own write.
//
// # Redis
//
// Version 7 or newer. Every key begins with "hookswitch:1:", the schema version; keys that change
// together share a hash tag, {docs}, {outbox} or {records}, and so a node of a Cluster. An ACL user
// needs ~hookswitch:* &hookswitch:* +@read +@write +@pubsub +@scripting +@connection, and +cluster in a
// Cluster.
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The errors that callers tell apart. Every error of a Store's methods is one of them, but for one
// about an argument that no store takes.
var (
	ErrNotFound = errors.New("store: there is none of that name")
	// ErrConflict says that a document has another version than the writer expected, or that a
	// lease is another worker's by now: read again, then decide.
	ErrConflict = errors.New("store: changed by another in the meantime")
	// ErrTooOld says that what has changed since then is not known any more: list all.
	ErrTooOld = errors.New("store: the changes since then are not known any more")
	// ErrInUse is OpenBolt's.
	ErrInUse = errors.New("another process has it open; stop that one, or share a Redis")
	// ErrUnavailable wraps its cause: the store could not be reached, did not answer before the
	// context's end, or refused.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrFull is the ErrUnavailable of a store without space left.
	ErrFull = fmt.Errorf("%w: no space left; free some, nothing acknowledged is lost", ErrUnavailable)
	// ErrDamaged is the ErrUnavailable, for good, of a file that can't be read: it is not touched any more.
	ErrDamaged = fmt.Errorf("%w: its file is damaged; stop the service, restore a backup (hookswitch restore) or move the file away, and start it again", ErrUnavailable)
	// ErrReplaced is an Alarm's.
	ErrReplaced = errors.New("the store's file was removed or replaced while in use, and all that is written to it is lost at the next start; back it up by the admin API (hookswitch backup --admin URL), stop the service, and restore that")
)

// Store is all that survives. It is safe for concurrent use. Every method ends with its context, with
// ErrUnavailable; a Redis that does not answer is given 3 seconds at most. Names (kinds, ids, keys,
// trails, queues) are 1 to 512 bytes without NUL. Bytes handed in are copied before the method
// returns, bytes handed out are the caller's own.
type Store interface {
	Documents
	Trails
	Values
	Outbox
	Records

	// Ping asks the store whether it could serve now.
	Ping(ctx context.Context) error
	// Close waits for the write under way, ends every Watch and frees the store.
	Close() error
}

// Doc is a versioned document. Its version is the change number of the write that made it, so that
// one deleted and made again never has an old version.
type Doc struct {
	ID      string
	Version uint64
	Body    []byte
	Deleted bool // it is gone, by the change Version; for Changed alone
}

// maxGone is how many deletions of a kind Changed remembers at least.
const maxGone = 10_000

// Documents are what the control plane manages, by kind and id.
type Documents interface {
	// GetDoc returns a document, or ErrNotFound.
	GetDoc(ctx context.Context, kind, id string) (Doc, error)
	// PutDoc writes a document where it still has the version expected, 0 for none yet, and returns
	// its new version; ErrConflict where it has another, ErrNotFound where it is gone.
	PutDoc(ctx context.Context, kind, id string, body []byte, expected uint64) (uint64, error)
	// DeleteDoc deletes a document where it still has the version expected; errors as PutDoc's.
	DeleteDoc(ctx context.Context, kind, id string, expected uint64) error
	// ListDocs returns up to limit documents of a kind in the order of their ids, bytewise: those
	// whose id begins with prefix and comes after the id after; "" for either means all.
	ListDocs(ctx context.Context, kind, prefix, after string, limit int) ([]Doc, error)
	// Changed returns up to limit documents of a kind that have changed since the change number
	// since, those deleted too, in the order of their last change; the last one's Version is where
	// to go on. ErrTooOld where that is not known: many deletions ago, or not this store's past, as
	// after a fail-over that took changes back. Then list all: first Change, then ListDocs, and
	// Changed since that number.
	Changed(ctx context.Context, kind string, since uint64, limit int) ([]Doc, error)
	// Change returns the number of the last change to any document, 0 for none. It grows with each.
	Change(ctx context.Context) (uint64, error)
	// Watch wakes once at its start, and after every change since, whichever instance made it;
	// several changes may be one wake. With Redis a lost message costs half a second. The channel
	// is closed when ctx or the store ends: for range s.Watch(ctx) { reload() }.
	Watch(ctx context.Context) <-chan struct{}
}

// Entry is one record of a trail. What its ID looks like is the backend's affair.
type Entry struct {
	ID   string
	Body []byte
}

// Trails are append-only lists that forget their oldest entries.
type Trails interface {
	// Append adds an entry to the trail and forgets all but the newest keep, 1 at least.
	Append(ctx context.Context, trail string, body []byte, keep int) error
	// Entries returns up to limit entries, the newest first: those before the entry with the id
	// before, "" for all. An id that is none is ErrNotFound.
	Entries(ctx context.Context, trail, before string, limit int) ([]Entry, error)
}

// Values are bytes and counters that expire; a time to live is a millisecond at least. Values and
// counters have their keys apart.
type Values interface {
	// Set keeps value under key for ttl.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// SetIfAbsent is Set where there is no value yet. Where there is one, it stays as it is and is
	// returned, with false.
	SetIfAbsent(ctx context.Context, key string, value []byte, ttl time.Duration) (existing []byte, set bool, err error)
	// Swap is Set where the value is still old, nil for none yet; ErrConflict where it is another.
	Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration) error
	// Get returns the value, or ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// Unset forgets the value, if there is one.
	Unset(ctx context.Context, key string) error
	// Increment counts one more and returns the count, 1 for the first. The counter is forgotten
	// when it has not been incremented for ttl.
	Increment(ctx context.Context, key string, ttl time.Duration) (uint64, error)
	// Count returns the counter without counting, 0 where there is none.
	Count(ctx context.Context, key string) (uint64, error)
}

// Open returns the store that url names: bolt:PATH, a file that is made where there is none, its
// folder too, and that one process at a time may have open; or a Redis, as ParseRedis reads it. A
// Redis that is down is no error here, since calls are routed without it: Ping tells.
func Open(ctx context.Context, url string) (Store, error) {
	if path, ok := strings.CutPrefix(url, "bolt:"); ok && path != "" {
		return OpenBolt(ctx, path)
	}
	options, err := ParseRedis(url)
	if err != nil {
		return nil, err
	}
	return newRedis(options), nil
}

// errNewer says that a newer hookswitch has been here.
func errNewer(found, known uint64) error {
	return fmt.Errorf("written by a newer hookswitch, in schema %d; this one knows up to %d: upgrade it, or restore an older backup", found, known)
}

// unavailable wraps what a backend said.
func unavailable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, bolterrors.ErrMaxSizeReached), redis.IsOOMError(err), isFull(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// isFull says that a disk has no room, or that the file may not grow. bbolt and Redis tell it in words alone.
func isFull(err error) bool {
	said := strings.ToLower(err.Error())
	for _, why := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, why) || strings.Contains(said, why.Error()) {
			return true
		}
	}
	return false
}

const maxName = 512

// checkNames refuses names that not every backend can keep. They hold no secret, but may be long.
func checkNames(names ...string) error {
	for _, n := range names {
		if n == "" || len(n) > maxName || strings.IndexByte(n, 0) >= 0 {
			return fmt.Errorf("store: found a name of %d bytes, %.20q; want 1 to %d without NUL", len(n), n, maxName)
		}
	}
	return nil
}

func checkValue(key string, ttl time.Duration) error {
	if ttl < time.Millisecond {
		return fmt.Errorf("store: found a time to live of %s; want a millisecond at least", ttl)
	}
	return checkNames(key)
}

// prefixEnd returns the first string after all that begin with prefix, "" where there is none.
func prefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}
