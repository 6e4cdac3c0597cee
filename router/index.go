package router

import (
	"math/bits"

	"hookswitch/schema"
)

// index finds a number by its digits. It is immutable: an index with other numbers is a new one that
// shares what is the same, so that a change to one project costs as much as that project is large.
type index struct {
	buckets [][]entry // by the hash of the key; as many as a power of two
	shift   uint8     // what a hash is shifted by to be a bucket's place
	count   int
}

type entry struct {
	key    uint64
	number *number
}

const (
	perBucket = 8                     // entries, about
	scatter   = 0x9e37_79b9_7f4a_7c15 // 2^64 over the golden ratio (Knuth, volume 3, 6.4)
	breathAt  = 64                    // numbers between two looks at the clock
)

// keyOf returns the key of 1 to 18 digits, false for any other text. Zeros at the beginning count.
func keyOf(digits string) (key uint64, ok bool) {
	if digits == "" || len(digits) > 18 {
		return 0, false
	}
	key = 1
	for i := range len(digits) {
		c := digits[i] - '0'
		if c > 9 {
			return 0, false
		}
		key = 10*key + uint64(c)
	}
	return key, true
}

// find returns the number with these digits, nil for none.
func (x *index) find(digits string) *number {
	key, ok := keyOf(digits)
	if !ok || len(x.buckets) == 0 {
		return nil
	}
	for _, e := range x.buckets[key*scatter>>x.shift] {
		if e.key == key {
			return e.number
		}
	}
	return nil
}

// newIndex returns an index of the numbers of all these projects.
func newIndex(projects map[string]*project, pace *schema.Pace) *index {
	x := &index{}
	for _, p := range projects {
		x.count += len(p.numbers)
	}
	places := bits.Len(uint(x.count / perBucket))
	x.shift = uint8(64 - places)
	x.buckets = make([][]entry, 1<<places)
	own := make([]bool, len(x.buckets))
	for i := range own {
		own[i] = true
	}
	for _, p := range projects {
		x.put(p.numbers, own, pace)
	}
	return x
}

// with returns the index without the numbers of the projects gone and with those of the projects come,
// or nil where there would be too many for its buckets, or too few.
func (x *index) with(gone, come []*project, pace *schema.Pace) *index {
	next := &index{shift: x.shift, count: x.count}
	for _, p := range gone {
		next.count -= len(p.numbers)
	}
	for _, p := range come {
		next.count += len(p.numbers)
	}
	if n := len(x.buckets); n == 0 || next.count > 4*perBucket*n || n > 1 && next.count < perBucket*n/8 {
		return nil
	}
	next.buckets = append([][]entry(nil), x.buckets...)
	own := make([]bool, len(next.buckets))
	for _, p := range gone {
		next.drop(p.numbers, own, pace)
	}
	for _, p := range come {
		next.put(p.numbers, own, pace)
	}
	return next
}

// put adds numbers. own says which buckets are not shared with another index.
func (x *index) put(numbers []number, own []bool, pace *schema.Pace) {
	for i := range numbers {
		n := &numbers[i]
		key, ok := keyOf(n.conf.Number)
		if !ok {
			continue // the loader lets none through
		}
		at := key * scatter >> x.shift
		b := x.buckets[at]
		if !own[at] {
			b = append(make([]entry, 0, len(b)+1), b...)
			own[at] = true
		}
		x.buckets[at] = append(b, entry{key, n})
		if i%breathAt == 0 {
			pace.Breathe()
		}
	}
}

// drop takes numbers out.
func (x *index) drop(numbers []number, own []bool, pace *schema.Pace) {
	for i := range numbers {
		key, _ := keyOf(numbers[i].conf.Number)
		at := key * scatter >> x.shift
		var rest []entry
		for _, e := range x.buckets[at] {
			if e.number != &numbers[i] {
				rest = append(rest, e)
			}
		}
		x.buckets[at], own[at] = rest, true
		if i%breathAt == 0 {
			pace.Breathe()
		}
	}
}
