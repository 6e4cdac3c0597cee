package router

import "sync/atomic"

// bulkhead bounds the calls that wait for one hook, so that one that hangs takes nothing from the
// others. It never queues: a call too many gets the fallback at once.
type bulkhead struct {
	limit    int64
	inFlight atomic.Int64
}

// enter takes a place and reports whether there was one; leave gives it back.
func (b *bulkhead) enter() bool {
	if b.inFlight.Add(1) > b.limit {
		b.inFlight.Add(-1)
		return false
	}
	return true
}

func (b *bulkhead) leave() { b.inFlight.Add(-1) }
