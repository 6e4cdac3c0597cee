package history

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

const (
	// maxReads bounds the reads under way: a store that hangs holds this many goroutines, no more.
	maxReads = 64
	// readTime ends a read that nobody waits for any more. It is longer than a decision's patience, so
	// that a store which is merely slow has no connection cut in the middle of an answer.
	readTime = 250 * time.Millisecond
	// After failuresInRow reads that failed or came late, the store is left alone for restTime, then
	// tried by one read at a time, which no decision waits for.
	failuresInRow = 8
	restTime      = time.Second
)

// Recall looks for what r asks for, and fills r with what is there by the deadline, or by
// callers.deadline from now, whichever is sooner. It never fails: what is missing is told by the
// results.
//
// Each read has a goroutine of its own: bbolt reads from memory, but waits for a page that is not, and
// behind a writer that maps a grown file anew.
func (h *History) Recall(r *schema.Recall, deadline time.Time) {
	settings, key := h.settings.Load(), h.key.Load()
	var calls, variables *read
	if r.WantCalls {
		calls = skipped
		if settings.Keep > 0 {
			calls = h.begin(key, r, settings.Deadline, callerKey, h.store.Get)
		}
	}
	if r.WantVariables {
		variables = h.begin(key, r, settings.Deadline, variablesKey, h.getVariables)
	}
	patience := time.NewTimer(min(settings.Deadline, time.Until(deadline)))
	defer patience.Stop()
	var body []byte
	if body, r.CallsResult = h.await(calls, patience.C); r.CallsResult == schema.RecallOK && calls != nil {
		r.Callnum = parseCalls(body).numberOf(callHash(*key, r.Project, r.CallID), r.Continued)
	}
	if r.CallsResult == schema.RecallLate {
		patience.Reset(0)
	}
	r.Variables, r.VariablesResult = h.await(variables, patience.C)
}

// read is a look into the store. Its goroutine owns value and err until done is closed.
type read struct {
	done  chan struct{}
	value []byte
	err   error
}

// skipped stands for a read that was not begun.
var skipped = &read{}

// begin reads in the background. A trial of a store that was out of order is for nobody to wait for: it
// counts as good where it would have been in time.
func (h *History) begin(key *[]byte, r *schema.Recall, inTime time.Duration, name func(key []byte, project, caller string) string, get func(context.Context, string) ([]byte, error)) *read {
	if key == nil {
		return skipped
	}
	began := time.Now()
	lets, trial := h.circuit.lets(began)
	if !lets {
		return skipped
	}
	select {
	case h.slots <- struct{}{}:
	default:
		return skipped
	}
	at := name(*key, r.Project, r.Caller)
	result := &read{done: make(chan struct{})}
	h.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), readTime)
		defer cancel()
		result.value, result.err = get(ctx, at)
		close(result.done)
		<-h.slots
		if trial {
			now := time.Now()
			h.circuit.report(now, answered(result.err) && now.Sub(began) <= inTime)
		}
	})
	if trial {
		return skipped
	}
	return result
}

// answered reports whether the store did, be it that there is nothing.
func answered(err error) bool { return err == nil || errors.Is(err, store.ErrNotFound) }

// await returns what the read found, nil for nothing. Of a read that was not asked for it says ok.
func (h *History) await(r *read, patience <-chan time.Time) ([]byte, schema.RecallResult) {
	switch r {
	case nil:
		return nil, schema.RecallOK
	case skipped:
		return nil, schema.RecallSkipped
	}
	select {
	case <-r.done:
	default:
		select {
		case <-r.done:
		case <-patience:
			h.circuit.report(time.Now(), false)
			return nil, schema.RecallLate
		}
	}
	if !answered(r.err) {
		h.circuit.report(time.Now(), false)
		return nil, schema.RecallError
	}
	h.circuit.report(time.Now(), true)
	return r.value, schema.RecallOK
}

func (h *History) getVariables(ctx context.Context, at string) ([]byte, error) {
	body, err := h.store.Get(ctx, at)
	if err != nil {
		return nil, err
	}
	return parseVariables(body).object(h.now())
}

// circuit keeps decisions from waiting for a store that does not answer. The zero circuit is closed.
type circuit struct {
	failures atomic.Int32 // in a row
	retry    atomic.Int64 // when to try again, in Unix nanoseconds
}

// lets reports whether a read may be begun now, and whether that is the trial of a store that failed.
func (c *circuit) lets(now time.Time) (lets, trial bool) {
	if c.failures.Load() < failuresInRow {
		return true, false
	}
	at := c.retry.Load()
	trial = now.UnixNano() >= at && c.retry.CompareAndSwap(at, now.Add(restTime).UnixNano())
	return trial, trial
}

// report counts what came of a read.
func (c *circuit) report(now time.Time, ok bool) {
	switch {
	case !ok:
		if c.failures.Add(1) >= failuresInRow {
			c.retry.Store(now.Add(restTime).UnixNano())
		}
	case c.failures.Load() > 0: // else nothing is written that calls share
		c.failures.Store(0)
	}
}
