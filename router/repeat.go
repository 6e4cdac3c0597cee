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
// Its memory is set aside at the start and never grows: each shard is a ring of encoded decisions,
// in which new ones overwrite the oldest. A shard's lock is held for a copy of some hundred bytes,
// never during I/O.
type repeats struct {
	window time.Duration
	seeds  [2]maphash.Seed
	shards [repeatShards]repeatShard
}

const repeatShards = 64

type repeatShard struct {
	mu      sync.Mutex // guards all below
	ring    []byte
	text    []byte                // scratch: the entry being written
	head    uint64                // where the next entry goes, and
	tail    uint64                // where the oldest stands; both count up, modulo the ring's size
	entries map[repeatKey]uint64  // position of the latest entry of a key
	flights map[repeatKey]*flight // lookups being decided
}

// repeatKey is a 128-bit hash of what makes two lookups the same.
type repeatKey [2]uint64

// flight is a lookup being decided. done is made by the first who waits for it.
type flight struct{ done chan struct{} }

// newRepeats returns a memory of the given size in bytes, for window; nil where either is 0.
func newRepeats(window time.Duration, size int) *repeats {
	if window <= 0 || size <= 0 {
		return nil
	}
	r := &repeats{window: window, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	for i := range r.shards {
		r.shards[i] = repeatShard{
			ring:    make([]byte, size/repeatShards),
			entries: make(map[repeatKey]uint64), flights: make(map[repeatKey]*flight),
		}
	}
	return r
}

// key hashes what identifies the lookup: project, call id, callee, cursor, what was asked for, and the
// dialect, since one PBX takes a step at a time and another, asking about the same call, all of them.
func (r *repeats) key(call *schema.Call) repeatKey {
	var k repeatKey
	for i := range k {
		var h maphash.Hash
		h.SetSeed(r.seeds[i])
		for _, part := range [...]string{call.Project, call.ID(), call.Callee(), call.Cursor, call.Hook, call.Schema, call.Dialect} {
			h.WriteByte(byte(len(part))) // so that no part runs into the next
			h.WriteByte(byte(len(part) >> 8))
			h.WriteString(part)
		}
		k[i] = h.Sum64()
	}
	return k
}

// begin looks the lookup up. It fills d and returns true where it was decided within the window,
// or is being decided and done before call's deadline; else the caller decides, and must then call
// end.
func (r *repeats) begin(k repeatKey, call *schema.Call, d *schema.Decision) bool {
	s := &r.shards[k[0]%repeatShards]
	s.mu.Lock()
	if s.recall(k, d, call.At, r.window) {
		s.mu.Unlock()
		return true
	}
	f, flying := s.flights[k]
	if !flying {
		s.flights[k] = nil // in flight, and nobody waits
		s.mu.Unlock()
		return false
	}
	if f == nil {
		f = &flight{done: make(chan struct{})}
		s.flights[k] = f
	}
	s.mu.Unlock()
	timer := time.NewTimer(time.Until(call.Deadline))
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recall(k, d, call.At, r.window)
}

// end remembers d as the decision of the lookup, and lets those who wait have it.
func (r *repeats) end(k repeatKey, now time.Time, d *schema.Decision) {
	s := &r.shards[k[0]%repeatShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.NotFound { // that costs nothing to find out again
		s.remember(k, now, d)
	}
	if f := s.flights[k]; f != nil {
		close(f.done)
	}
	delete(s.flights, k)
}

// An entry in a ring: key (16 bytes), time (8, Unix nanoseconds), length of what follows (4), then
// the encoded decision. Entries lie end to end; one that would not fit before the ring's end begins
// at its start, and the rest is marked with a length of skipRest.
const (
	entryHead = 28
	skipRest  = 1<<32 - 1
)

// remember appends an entry, dropping the oldest in its way. An oversized decision is not kept.
func (s *repeatShard) remember(k repeatKey, now time.Time, d *schema.Decision) {
	s.text = appendDecision(s.text[:0], d)
	size, need := uint64(len(s.ring)), uint64(entryHead+len(s.text))
	if need > size/4 {
		return
	}
	if rest := size - s.head%size; rest < need {
		s.makeRoom(rest)
		if rest >= entryHead {
			binary.LittleEndian.PutUint32(s.ring[s.head%size+24:], skipRest)
		}
		s.head += rest
	}
	s.makeRoom(need)
	b := s.ring[s.head%size:]
	binary.LittleEndian.PutUint64(b, k[0])
	binary.LittleEndian.PutUint64(b[8:], k[1])
	binary.LittleEndian.PutUint64(b[16:], uint64(now.UnixNano()))
	binary.LittleEndian.PutUint32(b[24:], uint32(len(s.text)))
	copy(b[entryHead:], s.text)
	s.entries[k] = s.head
	s.head += need
}

// makeRoom drops the oldest entries until need bytes from head on are free.
func (s *repeatShard) makeRoom(need uint64) {
	size := uint64(len(s.ring))
	for s.head+need-s.tail > size {
		rest := size - s.tail%size
		if rest < entryHead {
			s.tail += rest
			continue
		}
		b := s.ring[s.tail%size:]
		length := binary.LittleEndian.Uint32(b[24:])
		if length == skipRest {
			s.tail += rest
			continue
		}
		k := repeatKey{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
		if s.entries[k] == s.tail {
			delete(s.entries, k)
		}
		s.tail += entryHead + uint64(length)
	}
}

// recall fills d with what is remembered of k, if that is within the window.
func (s *repeatShard) recall(k repeatKey, d *schema.Decision, now time.Time, window time.Duration) bool {
	at, ok := s.entries[k]
	if !ok {
		return false
	}
	b := s.ring[at%uint64(len(s.ring)):]
	if now.UnixNano()-int64(binary.LittleEndian.Uint64(b[16:])) > int64(window) {
		return false
	}
	length := binary.LittleEndian.Uint32(b[24:])
	readDecision(b[entryHead:entryHead+length], d)
	return true
}
