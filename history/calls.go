package history

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"hookswitch/store"
)

const (
	// maxQueued bounds what waits for the writer in each of its two queues, maxWaiting what it holds
	// itself while the store is down: of so many callers, and so many calls of each. What is more is
	// dropped, and counted.
	maxQueued    = 4096
	maxWaiting   = 8192
	maxPerCaller = 1000
	// abreast is how many writes are under way at a time; on bbolt they share a flush.
	abreast = 32
	// writeTime bounds one round of writes; after a failed one the store is left alone until the next
	// tick, tellEvery, which is also how often last good answers are written.
	writeTime = 3 * time.Second
	tellEvery = time.Second
	// rememberedCalls is how many of a caller's calls are known again by their ids.
	rememberedCalls = 8
)

// called is one call to be counted.
type called struct{ project, caller, callID string }

// Called counts a call of the caller, behind the caller's back: it never waits. A call id that has been
// counted is not counted again, on whichever instance; a call without one always is. The strings are
// copied.
func (h *History) Called(project, caller, callID string) {
	if h.settings.Load().Keep <= 0 {
		return
	}
	select {
	case h.calls <- called{strings.Clone(project), strings.Clone(caller), strings.Clone(callID)}:
	default:
		h.count(whatCalls, "dropped", 1)
	}
}

func (h *History) count(what, result string, n int) {
	h.writes.WithLabelValues(what, result).Add(float64(n))
}

// waiting is what the writer has still to write.
type waiting struct {
	calls   map[[2]string][]string // by project and caller: the ids of the calls
	answers map[answerKey]answer
	pause   bool // the store failed; until the next tick
}

// write is the one writer.
func (h *History) write() {
	w := &waiting{calls: map[[2]string][]string{}, answers: map[answerKey]answer{}}
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	h.prepare()
	for {
		select {
		case c := <-h.calls:
			h.gather(w, c)
			if !w.pause {
				h.writeCalls(w)
			}
		case a := <-h.answers:
			h.hold(w, a)
		case <-tick.C:
			w.pause = false
			h.prepare()
			h.writeCalls(w)
			h.writeAnswers(w)
		case <-h.quit:
			h.flush(w)
			return
		}
	}
}

// prepare finds the key out, so that reads, which don't wait for it, find it known.
func (h *History) prepare() {
	if h.key.Load() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(h.last, writeTime)
	defer cancel()
	if _, err := h.secret(ctx); err != nil {
		h.logFailure("key", err)
	}
}

// flush writes what waits, once.
func (h *History) flush(w *waiting) {
	w.pause = false
	for len(h.answers) > 0 {
		h.hold(w, <-h.answers)
	}
	for len(h.calls) > 0 {
		h.gather(w, <-h.calls)
	}
	h.writeCalls(w)
	h.writeAnswers(w)
	lost := 0
	for _, ids := range w.calls {
		lost += len(ids)
	}
	h.count(whatCalls, "dropped", lost)
	h.count(whatLastGood, "dropped", len(w.answers))
}

// gather takes c and all calls that are queued by now, those of one caller together.
func (h *History) gather(w *waiting, c called) {
	for {
		at := [2]string{c.project, c.caller}
		ids, known := w.calls[at]
		switch {
		case c.callID != "" && slices.Contains(ids, c.callID):
		case !known && len(w.calls) >= maxWaiting, len(ids) >= maxPerCaller:
			h.count(whatCalls, "dropped", 1)
		default:
			w.calls[at] = append(ids, c.callID)
		}
		select {
		case c = <-h.calls:
		default:
			return
		}
	}
}

// writeCalls counts all calls that wait. Those that can't be written now go on waiting.
func (h *History) writeCalls(w *waiting) {
	if len(w.calls) == 0 || w.pause {
		return
	}
	ctx, cancel := context.WithTimeout(h.last, writeTime)
	defer cancel()
	key, err := h.secret(ctx)
	if err != nil {
		h.failed(w, whatCalls, err)
		return
	}
	keep := h.settings.Load().Keep
	var mu sync.Mutex // guards done and failure
	var done [][2]string
	var failure error
	var all sync.WaitGroup
	places := make(chan struct{}, abreast)
	for at, ids := range w.calls {
		places <- struct{}{}
		all.Go(func() {
			err := h.addCalls(ctx, key, at, ids, keep)
			mu.Lock()
			if err == nil {
				done = append(done, at)
			} else {
				failure = err
			}
			mu.Unlock()
			<-places
		})
	}
	all.Wait()
	for _, at := range done {
		h.count(whatCalls, "ok", len(w.calls[at]))
		delete(w.calls, at)
	}
	if failure != nil {
		h.failed(w, whatCalls, failure)
	}
}

func (h *History) failed(w *waiting, what string, err error) {
	w.pause = true
	h.count(what, "error", 1)
	h.logFailure(what, err)
}

// addCalls counts the calls with these ids, as one caller's.
func (h *History) addCalls(ctx context.Context, key []byte, at [2]string, ids []string, keep time.Duration) error {
	if keep <= 0 { // set so since they were queued
		return nil
	}
	name := callerKey(key, at[0], at[1])
	for {
		old, err := h.store.Get(ctx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		c := parseCalls(old)
		for _, id := range ids {
			c.add(callHash(key, at[0], id))
		}
		if err = h.store.Swap(ctx, name, old, c.append(nil), keep); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// calls is what is kept of a caller: how many calls, and hashes of the last ones' ids, the latest last.
// In the store it is a version (1 byte), the number (uvarint) and the hashes (8 bytes each).
type calls struct {
	count uint64
	last  []uint64
}

const callsVersion = 1

// parseCalls reads what append wrote; anything else is a caller unknown.
func parseCalls(b []byte) (c calls) {
	if len(b) == 0 || b[0] != callsVersion {
		return calls{}
	}
	count, n := binary.Uvarint(b[1:])
	if n <= 0 || (len(b)-1-n)%8 != 0 {
		return calls{}
	}
	c.count = count
	for b = b[1+n:]; len(b) > 0; b = b[8:] {
		c.last = append(c.last, binary.BigEndian.Uint64(b))
	}
	return c
}

func (c *calls) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, callsVersion), c.count)
	for _, hash := range c.last {
		b = binary.BigEndian.AppendUint64(b, hash)
	}
	return b
}

// add counts a call, 0 for one without an id, unless it is known already.
func (c *calls) add(hash uint64) {
	if hash != 0 && slices.Contains(c.last, hash) {
		return
	}
	c.count++
	if c.last = append(c.last, hash); len(c.last) > rememberedCalls {
		c.last = c.last[1:]
	}
}

// numberOf says which call of the caller's the one with this hash is: as it was counted, where it is
// known; the last one, where it was counted for sure; else the next.
func (c calls) numberOf(hash uint64, counted bool) uint64 {
	if i := slices.Index(c.last, hash); i >= 0 && hash != 0 {
		back := uint64(len(c.last) - 1 - i)
		return max(1, c.count-min(back, c.count))
	}
	if counted {
		return max(1, c.count)
	}
	return c.count + 1
}
