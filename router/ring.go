package router

import (
	"encoding/binary"
	"math/bits"
	"time"

	"hookswitch/schema"
)

// ring holds entries end to end, in the order in which they came; a new one overwrites the oldest. It
// begins small, and is doubled, up to its limit, rather than lose an entry within the window.
//
// An entry is found through heads: the latest entry of each bucket, from which each leads to the one
// before it in the same bucket. So there is nothing to delete: a chain ends where it leads to an entry
// that is overwritten by now.
type ring struct {
	bytes []byte
	heads []uint64 // by the key's bits: position of the latest entry; 0 for none
	head  uint64   // where the next entry goes, and
	tail  uint64   // where the oldest stands; both count up, modulo the ring's size
	limit int      // bytes
}

// An entry: key (16 bytes), time (8, Unix nanoseconds), how far back the bucket's entry before it stands
// (4; 0 for none), length of what follows (4), then the encoded decision. One that would not fit
// before the ring's end begins at its start, and the rest is marked with a length of skipRest.
const (
	entryKey, entryTime, entryBack, entryLength, entryHead = 0, 16, 24, 28, 32

	skipRest = 1<<32 - 1
	// firstRing is the size that a ring begins with, a power of two.
	firstRing = 4 << 10
	// bytesPerBucket is half a usual entry's size: what leads nowhere is seen without a look at the ring.
	bytesPerBucket = 64
)

func newRing(limit int) ring {
	size := firstRing
	for size > limit {
		size /= 2
	}
	r := ring{limit: limit}
	r.empty(size)
	return r
}

func (r *ring) empty(size int) {
	r.bytes, r.heads = make([]byte, size), make([]uint64, 1<<bits.Len(uint(size/bytesPerBucket)))
	r.head, r.tail = uint64(size), uint64(size) // so that no entry stands at 0
}

// bucket is the head that k's entries hang on.
func (r *ring) bucket(k repeatKey) *uint64 { return &r.heads[k[1]&uint64(len(r.heads)-1)] }

// remember appends an entry, dropping the oldest in its way. An oversized decision is not kept.
func (r *ring) remember(k repeatKey, text []byte, now time.Time, window time.Duration) {
	need := uint64(entryHead + len(text))
	if need > uint64(r.limit)/4 {
		return
	}
	for r.full(need, now, window) {
		r.grow()
	}
	r.append(k, text, now.UnixNano())
}

// full reports whether an entry within the window would be lost for want of room that may be had.
func (r *ring) full(need uint64, now time.Time, window time.Duration) bool {
	size := uint64(len(r.bytes))
	if len(r.bytes)*2 > r.limit {
		return false
	}
	if need > size/4 {
		return true
	}
	oldest, ok := r.oldest()
	return ok && r.head+2*need-r.tail > size && now.UnixNano()-oldest < int64(window)
}

// oldest is the time of the oldest entry, where there is one.
func (r *ring) oldest() (at int64, ok bool) {
	if b := r.entry(); b != nil {
		return int64(binary.LittleEndian.Uint64(b[entryTime:])), true
	}
	return 0, false
}

// entry returns the oldest entry, and what is behind it; nil where there is none. The tail is moved
// over what stands before it.
func (r *ring) entry() []byte {
	size := uint64(len(r.bytes))
	for r.tail < r.head {
		b := r.bytes[r.tail%size:]
		if len(b) >= entryHead && binary.LittleEndian.Uint32(b[entryLength:]) != skipRest {
			return b
		}
		r.tail += uint64(len(b))
	}
	return nil
}

// drop lets the oldest entry go.
func (r *ring) drop() {
	if b := r.entry(); b != nil {
		r.tail += entryHead + uint64(binary.LittleEndian.Uint32(b[entryLength:]))
	}
}

// grow doubles the ring.
func (r *ring) grow() {
	old := *r
	r.empty(2 * len(old.bytes))
	for b := old.entry(); b != nil; b = old.entry() {
		key := repeatKey{binary.LittleEndian.Uint64(b[entryKey:]), binary.LittleEndian.Uint64(b[entryKey+8:])}
		length := binary.LittleEndian.Uint32(b[entryLength:])
		r.append(key, b[entryHead:entryHead+length], int64(binary.LittleEndian.Uint64(b[entryTime:])))
		old.drop()
	}
}

func (r *ring) append(k repeatKey, text []byte, at int64) {
	size, need := uint64(len(r.bytes)), uint64(entryHead+len(text))
	if rest := size - r.head%size; rest < need {
		r.makeRoom(rest)
		if rest >= entryHead {
			binary.LittleEndian.PutUint32(r.bytes[r.head%size+entryLength:], skipRest)
		}
		r.head += rest
	}
	r.makeRoom(need)
	bucket := r.bucket(k)
	back := uint32(0)
	if *bucket >= r.tail && *bucket != 0 { // else nothing before it is left
		back = uint32(r.head - *bucket)
	}
	b := r.bytes[r.head%size:]
	binary.LittleEndian.PutUint64(b[entryKey:], k[0])
	binary.LittleEndian.PutUint64(b[entryKey+8:], k[1])
	binary.LittleEndian.PutUint64(b[entryTime:], uint64(at))
	binary.LittleEndian.PutUint32(b[entryBack:], back)
	binary.LittleEndian.PutUint32(b[entryLength:], uint32(len(text)))
	copy(b[entryHead:], text)
	*bucket = r.head
	r.head += need
}

// makeRoom drops the oldest entries until need bytes from head on are free.
func (r *ring) makeRoom(need uint64) {
	for r.head+need-r.tail > uint64(len(r.bytes)) {
		r.drop()
	}
}

// recall fills d with what is remembered of k, if that is within the window.
func (r *ring) recall(k repeatKey, d *schema.Decision, now time.Time, window time.Duration) bool {
	for at := *r.bucket(k); at >= r.tail && at != 0; {
		b := r.bytes[at%uint64(len(r.bytes)):]
		if binary.LittleEndian.Uint64(b[entryKey:]) == k[0] && binary.LittleEndian.Uint64(b[entryKey+8:]) == k[1] {
			if now.UnixNano()-int64(binary.LittleEndian.Uint64(b[entryTime:])) > int64(window) {
				return false
			}
			length := binary.LittleEndian.Uint32(b[entryLength:])
			readDecision(b[entryHead:entryHead+length], d)
			return true
		}
		back := uint64(binary.LittleEndian.Uint32(b[entryBack:]))
		if back == 0 {
			return false
		}
		at -= back
	}
	return false
}
