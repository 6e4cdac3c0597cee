package router

import (
	"encoding/binary"
	"math/bits"
	"time"

	"hookswitch/schema"
)

// ring holds entries in pages, in the order in which they came. When one is full, the next is made, where
// the window asks for it and the limit lets it; else the oldest page is written over. So nothing is ever
// moved, and no entry is looked at in order to be dropped.
//
// An entry is found through heads: the latest entry of each bucket, from which each leads to the one
// before it in the same bucket. So there is nothing to delete: a chain ends where it leads to a page
// that is written over by now.
type ring struct {
	pages  []page // page n is pages[n modulo their number]
	oldest uint64 // the number of the first page that is held, and
	latest uint64 // of the one that is written; they begin with 1
	used   int    // bytes of the latest page
	size   int    // of a page, in bytes: 1<<shift
	shift  int
	// heads are, by the key's bits, where the bucket's latest entry stands: the page's number and its place
	// there, in the lower 48 bits; before any page is none. The upper 16 are one for each kind of key that
	// the bucket may hold, so that of new lookups few have to look at an entry, which no cache holds.
	heads []uint64
}

// page is some time's entries; nil bytes where it has not been needed yet.
type page struct {
	bytes []byte
	ended int64 // when its last entry came, Unix nanoseconds
}

// An entry: key (16 bytes), time (8, Unix nanoseconds), how far back the bucket's entry before it stands
// (4; 0 for none), then the encoded decision, which says itself where it ends.
const (
	entryKey, entryTime, entryBack, entryHead = 0, 16, 24, 28

	// ringPages is the least number of pages that a ring may grow to. What is lost at a time is a page.
	ringPages = 16
	// bytesPerBucket is about a usual entry's size.
	bytesPerBucket = 128

	standsAt = 1<<48 - 1
)

// newRing returns a ring of at most limit bytes, which makes its pages as they are needed.
func newRing(limit int) ring {
	shift := max(bits.Len(uint(limit/ringPages))-1, 0)
	size := 1 << shift
	return ring{
		pages: make([]page, limit/size), oldest: 1, used: size, size: size, shift: shift,
		heads: make([]uint64, max(size*ringPages/bytesPerBucket, 1)),
	}
}

// bucket is the head that k's entries hang on.
func (r *ring) bucket(k repeatKey) *uint64 { return &r.heads[k[1]&uint64(len(r.heads)-1)] }

// kind is a key's bit in a head.
func (k repeatKey) kind() uint64 { return 1 << 48 << (k[1] >> 60) }

// page returns the nth page.
func (r *ring) page(n uint64) *page { return &r.pages[n%uint64(len(r.pages))] }

// holds reports whether the entry that stood at the position is still there.
func (r *ring) holds(at uint64) bool { return at>>r.shift >= r.oldest }

// remember appends an entry. An oversized decision is not kept.
func (r *ring) remember(k repeatKey, text []byte, now time.Time, window time.Duration) {
	need := entryHead + len(text)
	if need > r.size {
		return
	}
	if r.used+need > r.size {
		r.turn(now, window)
	}
	at, bucket, back, kinds := r.latest<<r.shift|uint64(r.used), r.bucket(k), uint32(0), k.kind()
	if last := *bucket & standsAt; r.holds(last) {
		back, kinds = uint32(at-last), kinds|*bucket&^standsAt
	}
	*bucket = at | kinds
	p := r.page(r.latest)
	p.ended = now.UnixNano()
	b := p.bytes[r.used:]
	binary.LittleEndian.PutUint64(b[entryKey:], k[0])
	binary.LittleEndian.PutUint64(b[entryKey+8:], k[1])
	binary.LittleEndian.PutUint64(b[entryTime:], uint64(p.ended))
	binary.LittleEndian.PutUint32(b[entryBack:], back)
	copy(b[entryHead:], text)
	r.used += need
}

// turn begins the next page, in the memory of the oldest one where that is out of the window or the
// limit is reached.
func (r *ring) turn(now time.Time, window time.Duration) {
	var bytes []byte
	if old, held := r.page(r.oldest), r.latest-r.oldest+1; held == uint64(len(r.pages)) || held > 0 && now.UnixNano()-old.ended > int64(window) {
		bytes, old.bytes = old.bytes, nil
		r.oldest++
	} else {
		bytes = make([]byte, r.size)
	}
	r.latest++
	r.page(r.latest).bytes, r.used = bytes, 0
}

// recall fills d with what is remembered of k, if that is within the window.
func (r *ring) recall(k repeatKey, d *schema.Decision, now time.Time, window time.Duration) bool {
	head := *r.bucket(k)
	if head&k.kind() == 0 {
		return false
	}
	for at := head & standsAt; r.holds(at); {
		b := r.page(at >> r.shift).bytes[at&uint64(r.size-1):]
		if binary.LittleEndian.Uint64(b[entryKey:]) == k[0] && binary.LittleEndian.Uint64(b[entryKey+8:]) == k[1] {
			if now.UnixNano()-int64(binary.LittleEndian.Uint64(b[entryTime:])) > int64(window) {
				return false
			}
			readDecision(b[entryHead:], d)
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
