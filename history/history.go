// Package history remembers, in the store and behind the decision, what is known of those who call:
// how often, their variables, and the hooks' last good answers. No decision waits for it longer than
// its own deadline, and none is any worse for it than that a parameter is left out. It decides
// nothing, and speaks to nobody but the store.
//
// # What is kept, and under which name
//
//	caller:HASH  how many calls, and hashes of the last ones' ids; callers.keep after the last call
//	vars:HASH    a caller's variables, each with the moment until which it is kept
//	lastgood     a trail of hooks' last good answers, with numbers called and destinations in clear
//
// HASH is of the project and the caller, keyed, so that no caller's number is in the store in clear.
// The key is Options.Key, or one that the instances make together and keep in the store (the document
// history/key): that hides numbers from who looks at names and values, not from who has all of the
// store and time to try every number.
package history

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

// Options are what a History depends on. Store is required.
type Options struct {
	Store    store.Store
	Settings schema.Callers
	// Key is what callers are hashed with; empty for one that is kept in the store. Instances that
	// share a store need the same one. Another key forgets everybody.
	Key schema.Secret
	// Log gets what could not be written, at debug; nil for no log.
	Log *zap.Logger
	// Metrics gets the room's own; nil for nobody.
	Metrics prometheus.Registerer
	// Now is the clock of variables and of last good answers; nil for time.Now.
	Now func() time.Time
}

// History is safe for concurrent use. It owns goroutines: one that writes, one that follows where
// Follow was called, and a bounded number of reads. Close ends them.
type History struct {
	store    store.Store
	log      *zap.Logger
	now      func() time.Time
	settings atomic.Pointer[schema.Callers]
	key      atomic.Pointer[[]byte] // nil until it is known
	instance string                 // tells our own entries in the trail from others'
	writes   *prometheus.CounterVec

	slots   chan struct{} // a place for each read under way
	circuit circuit

	calls   chan called
	answers chan answer
	quit    chan struct{} // closed by Close
	closing sync.Once
	running sync.WaitGroup  // the writer, the follower and the reads
	last    context.Context // of the writer's last writes
	end     context.CancelFunc
}

// New starts to write behind what it is told. It does not wait for the store, which may be down.
func New(o Options) (*History, error) {
	h := &History{
		store: o.Store, log: o.Log, now: o.Now, instance: newInstance(),
		slots: make(chan struct{}, maxReads), calls: make(chan called, maxQueued), answers: make(chan answer, maxQueued),
		quit: make(chan struct{}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hookswitch_history_writes_total",
			Help: "Writes behind the decision, by what and result: ok, error (tried again later) or dropped.",
		}, []string{"what", "result"}),
	}
	if h.log == nil {
		h.log = zap.NewNop()
	}
	if h.now == nil {
		h.now = time.Now
	}
	for _, what := range []string{whatCalls, whatLastGood} {
		for _, result := range []string{"ok", "error", "dropped"} {
			h.writes.WithLabelValues(what, result)
		}
	}
	if o.Metrics != nil {
		if err := o.Metrics.Register(h.writes); err != nil {
			return nil, fmt.Errorf("register the history's metrics: %w", err)
		}
	}
	if key := []byte(o.Key.Reveal()); len(key) > 0 {
		h.key.Store(&key)
	}
	h.Apply(o.Settings)
	h.last, h.end = context.WithCancel(context.Background())
	h.running.Go(h.write)
	return h, nil
}

// Apply takes new settings over, from the next call on.
func (h *History) Apply(s schema.Callers) { h.settings.Store(&s) }

// Close writes what waits to be written, for as long as ctx allows, and ends all goroutines. Call it
// once nobody asks or tells any more. The store is still the caller's to close.
func (h *History) Close(ctx context.Context) {
	stop := context.AfterFunc(ctx, h.end)
	defer stop()
	h.closing.Do(func() { close(h.quit) })
	h.running.Wait()
	h.end()
}

// The labels of what is written.
const (
	whatCalls    = "calls"
	whatLastGood = "last_good"
)

func newInstance() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// keyDoc is the document that holds the key, where none is configured.
const keyDocKind, keyDocID = "history", "key"

// secret returns the key, from the store where that is where it is; the first to ask makes it.
func (h *History) secret(ctx context.Context) ([]byte, error) {
	if key := h.key.Load(); key != nil {
		return *key, nil
	}
	doc, err := h.store.GetDoc(ctx, keyDocKind, keyDocID)
	if errors.Is(err, store.ErrNotFound) {
		made := make([]byte, sha256.Size)
		rand.Read(made) // never fails
		if _, err = h.store.PutDoc(ctx, keyDocKind, keyDocID, made, 0); err == nil || errors.Is(err, store.ErrConflict) {
			doc, err = h.store.GetDoc(ctx, keyDocKind, keyDocID) // another instance's may be there by now
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the key that callers are hashed with: %w", err)
	}
	h.key.Store(&doc.Body)
	return doc.Body, nil
}

// digest hashes parts so that none runs into the next.
func digest(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	var size [4]byte
	for _, part := range parts {
		binary.BigEndian.PutUint32(size[:], uint32(len(part)))
		mac.Write(size[:])
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

func callerKey(key []byte, project, caller string) string {
	return "caller:" + hex.EncodeToString(digest(key, "caller", project, caller)[:16])
}

func variablesKey(key []byte, project, caller string) string {
	return "vars:" + hex.EncodeToString(digest(key, "variables", project, caller)[:16])
}

// callHash stands for a call's id; 0 for a call without one.
func callHash(key []byte, project, callID string) uint64 {
	if callID == "" {
		return 0
	}
	return binary.BigEndian.Uint64(digest(key, "call", project, callID)) | 1
}
