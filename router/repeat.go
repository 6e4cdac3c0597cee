package router

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"hookswitch/schema"
)

// repeats remembers the decisions of the last moments, so that a lookup which the PBX sends again
// (a retransmitted INVITE does that) gets the decision already made, and no hook is asked twice.
//
// Its memory grows only as far as the window asks for, and hardly beyond its limit: each shard is a
// ring of encoded decisions, in which new ones overwrite the oldest, and an index a sixteenth as large.
// A shard's lock is held for a copy of some hundred bytes, never during I/O.
type repeats struct {
	window time.Duration
	seeds  [2]maphash.Seed
	shards [repeatShards]repeatShard
}

const repeatShards = 16

type repeatShard struct {
	mu      sync.Mutex // guards all below
	ring    ring
	text    []byte   // scratch: the decision being written
	flights []flight // lookups being decided; few, so that they are looked through
}

// repeatKey is a 128-bit hash of what makes two lookups the same.
type repeatKey [2]uint64

// flight is a lookup being decided. done is made by the first who waits for it.
type flight struct {
	key  repeatKey
	done chan struct{}
}

// newRepeats returns a memory of at most the given size in bytes, for window; nil where either is 0.
func newRepeats(window time.Duration, size int) *repeats {
	if window <= 0 || size <= 0 {
		return nil
	}
	r := &repeats{window: window, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	for i := range r.shards {
		r.shards[i].ring = newRing(size / repeatShards)
	}
	return r
}

// key hashes what identifies the lookup: project, call id, callee, cursor, what was asked for, and the
// dialect, since one PBX takes a step at a time and another, asking about the same call, all of them.
func (r *repeats) key(call *schema.Call) repeatKey {
	var buf [512]byte
	b := buf[:0]
	for _, part := range [...]string{call.Project, call.ID(), call.Callee(), call.Cursor, call.Hook, call.Schema, call.Dialect} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(part))) // so that no part runs into the next
		b = append(b, part...)
	}
	return repeatKey{maphash.Bytes(r.seeds[0], b), maphash.Bytes(r.seeds[1], b)}
}

// begin looks the lookup up. It fills d and returns true where it was decided within the window,
// or is being decided and done before call's deadline; else the caller decides, and must then call
// end. waited says that time has passed meanwhile.
func (r *repeats) begin(k repeatKey, call *schema.Call, d *schema.Decision) (known, waited bool) {
	s := &r.shards[k[0]%repeatShards]
	s.mu.Lock()
	if s.ring.recall(k, d, call.At, r.window) {
		s.mu.Unlock()
		return true, false
	}
	i := s.flight(k)
	if i < 0 {
		s.flights = append(s.flights, flight{key: k}) // in flight, and nobody waits
		s.mu.Unlock()
		return false, false
	}
	if s.flights[i].done == nil {
		s.flights[i].done = make(chan struct{})
	}
	done := s.flights[i].done
	s.mu.Unlock()
	timer := time.NewTimer(time.Until(call.Deadline))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring.recall(k, d, call.At, r.window), true
}

// end remembers d as the decision of the lookup, and lets those who wait have it.
func (r *repeats) end(k repeatKey, now time.Time, d *schema.Decision) {
	s := &r.shards[k[0]%repeatShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.NotFound { // that costs nothing to find out again
		s.text = appendDecision(s.text[:0], d)
		s.ring.remember(k, s.text, now, r.window)
	}
	i := s.flight(k)
	if i < 0 {
		return // another who had waited too long decided as well, and was done first
	}
	if done := s.flights[i].done; done != nil {
		close(done)
	}
	last := len(s.flights) - 1
	s.flights[i] = s.flights[last]
	s.flights[last] = flight{}
	s.flights = s.flights[:last]
}

// flight returns the place of the lookup in flights, -1 where it is not being decided.
func (s *repeatShard) flight(k repeatKey) int {
	for i := range s.flights {
		if s.flights[i].key == k {
			return i
		}
	}
	return -1
}
