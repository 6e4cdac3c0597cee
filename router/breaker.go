package router

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"hookswitch/schema"
)

// breaker leaves a failing hook alone for a while. gobreaker counts failures and changes state; around
// it stand the rules that it has none for: slow answers, an open time that grows, recovery probes that
// are no caller's, and an operator's hand. While it is closed, a call that goes well touches none of
// gobreaker's lock: it is counted in successes, and the failures are weighed against those.
type breaker struct {
	conf      *schema.Breaker
	patience  time.Duration // the hook's request timeout; a probe's, too
	slowAfter time.Duration
	gb        *gobreaker.CircuitBreaker[struct{}]

	// openUntil is when calls may come through again, in Unix nanoseconds: 0 while closed, never
	// while a background probe is to close it.
	openUntil atomic.Int64
	openings  atomic.Int32  // in a row, without a recovery between
	era       atomic.Uint32 // counts the changes of state; a call's outcome counts in the era that it began in
	successes successes
	failures  atomic.Int32 // in a row; gobreaker forgets those before its window, and with them a quiet customer
	forced    atomic.Int32 // one of the forced… constants

	probe  func(deadline time.Time) error
	opened func()
	ended  context.Context // done when the hook is gone
	close  context.CancelFunc
}

const (
	forcedNot int32 = iota
	forcedOpen
	forcedClosed

	untilProbed = int64(1<<63 - 1)
)

// newBreaker returns h's breaker. probe asks the hook's probe_url; opened is called at each
// opening, and must be quick.
func newBreaker(h *schema.Hook, probe func(time.Time) error, opened func()) *breaker {
	b := &breaker{conf: &h.Breaker, patience: h.RequestTimeout, probe: probe, opened: opened}
	b.slowAfter = time.Duration(float64(h.RequestTimeout) * h.Breaker.SlowCall)
	b.ended, b.close = context.WithCancel(context.Background())
	b.force(h.Breaker.State)
	// A hook that hangs for longer than the window would never be found out.
	window := max(h.Breaker.Window, 2*h.RequestTimeout)
	b.successes.period = window / time.Duration(len(b.successes.counts))
	b.gb = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   uint32(h.Breaker.Probes),
		Interval:      window,
		BucketPeriod:  window / 10,
		Timeout:       time.Millisecond, // openUntil holds calls back; this only has to be over by then
		ReadyToTrip:   b.tripped,
		OnStateChange: b.changed,
		IsExcluded:    func(err error) bool { return err == errHurried },
	})
	return b
}

// successes counts the calls that went well over the window of the last ten periods, without a lock:
// each count holds the period that it is of in its upper half.
type successes struct {
	period time.Duration
	counts [10]atomic.Uint64
}

func (s *successes) add(at time.Time) {
	period := uint64(at.UnixNano() / int64(s.period))
	count := &s.counts[period%uint64(len(s.counts))]
	for {
		old := count.Load()
		next := old + 1
		if was := old >> 32; was != period&(1<<32-1) {
			next = period<<32 | 1
		}
		if count.CompareAndSwap(old, next) {
			return
		}
	}
}

func (s *successes) sum(now time.Time) (n int) {
	period := uint64(now.UnixNano() / int64(s.period))
	for i := range s.counts {
		count := s.counts[i].Load()
		if age := uint32(period) - uint32(count>>32); age < uint32(len(s.counts)) {
			n += int(uint32(count))
		}
	}
	return n
}

func (s *successes) clear() {
	for i := range s.counts {
		s.counts[i].Store(0)
	}
}

// What asking a hook tells of its health, where that is not nil for good health.
var (
	errAiling  = errors.New("ailing")
	errHurried = errors.New("had too little time to tell")
)

// run calls ask, unless the breaker is open, and counts what it reports: nil, errAiling or
// errHurried. It reports whether ask was called. Should ask panic, that counts as a failure, and goes
// on up.
func (b *breaker) run(now time.Time, ask func() error) bool {
	switch b.forced.Load() {
	case forcedOpen:
		return false
	case forcedClosed:
		_ = ask()
		return true
	}
	if b.openUntil.Load() > now.UnixNano() {
		return false
	}
	if b.openUntil.Load() == 0 {
		b.runClosed(now, ask)
		return true
	}
	_, err := b.gb.Execute(func() (struct{}, error) { return struct{}{}, ask() })
	return err == nil || err == errAiling || err == errHurried
}

// runClosed calls ask while the breaker is closed.
func (b *breaker) runClosed(now time.Time, ask func() error) {
	era, err := b.era.Load(), errAiling // should ask panic
	defer func() {
		switch {
		case err == nil:
			b.successes.add(now)
			if b.failures.Load() > 0 { // else nothing is written that calls share for long
				b.failures.Store(0)
			}
		case err == errAiling && b.era.Load() == era:
			b.failures.Add(1)
			_, _ = b.gb.Execute(func() (struct{}, error) { return struct{}{}, errAiling })
		}
	}()
	err = ask()
}

// hurried reports whether so little time says nothing of a hook that has not answered in it: a PBX
// that is nearly out of patience must not close a healthy hook to everybody.
func (b *breaker) hurried(given time.Duration) bool {
	return given < min(b.patience/4, 500*time.Millisecond)
}

// slow reports whether an answer that took this long counts as a failure.
func (b *breaker) slow(took time.Duration) bool { return b.conf.SlowCall > 0 && took > b.slowAfter }

// tripped decides whether to open, under gobreaker's lock.
func (b *breaker) tripped(c gobreaker.Counts) bool {
	if b.conf.Failures > 0 && int(b.failures.Load()) >= b.conf.Failures {
		return true
	}
	calls := int(c.Requests) + b.successes.sum(time.Now())
	return b.conf.FailureRate > 0 && calls >= b.conf.MinCalls &&
		float64(c.TotalFailures) >= b.conf.FailureRate*float64(calls)
}

// changed follows gobreaker's state, under its lock: it must not call back.
func (b *breaker) changed(_ string, _, to gobreaker.State) {
	b.era.Add(1)
	b.failures.Store(0)
	b.successes.clear()
	switch to {
	case gobreaker.StateOpen:
		b.opened()
		n := b.openings.Add(1)
		if b.conf.ProbeURL == "" {
			b.openUntil.Store(time.Now().Add(openFor(b.conf, int(n))).UnixNano())
		} else if b.openUntil.Swap(untilProbed) != untilProbed {
			go b.recover()
		}
	case gobreaker.StateClosed:
		b.openings.Store(0)
		b.openUntil.Store(0)
	}
}

// openFor is how long the nth opening in a row lasts: twice as long each time, up to the limit, and
// up to a fifth shorter, so that many instances do not come back at once.
func openFor(conf *schema.Breaker, n int) time.Duration {
	d := conf.OpenFor
	for ; n > 1 && d < conf.OpenForMax; n-- {
		d *= 2
	}
	d = min(d, max(conf.OpenForMax, conf.OpenFor))
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

// recover asks the probe_url, once in open_for, until it is well; only then do calls come through.
func (b *breaker) recover() {
	timer := time.NewTimer(openFor(b.conf, 1))
	defer timer.Stop()
	for {
		select {
		case <-b.ended.Done():
			return
		case <-timer.C:
		}
		for range b.conf.Probes {
			// The state changes through gobreaker, so that its counts begin anew.
			_, err := b.gb.Execute(func() (struct{}, error) { return struct{}{}, b.probe(time.Now().Add(b.patience)) })
			if err != nil {
				break
			}
		}
		if b.openUntil.Load() == 0 {
			return
		}
		timer.Reset(openFor(b.conf, 1))
	}
}

// force sets an operator's choice: "open", "closed", or "auto" to leave it to the counts.
func (b *breaker) force(state string) {
	b.forced.Store(map[string]int32{"open": forcedOpen, "closed": forcedClosed}[state])
}

// state names what a call would meet now: closed, half_open or open.
func (b *breaker) state(now time.Time) string {
	switch b.forced.Load() {
	case forcedOpen:
		return "open"
	case forcedClosed:
		return "closed"
	}
	switch until := b.openUntil.Load(); {
	case until == 0:
		return "closed"
	case until > now.UnixNano():
		return "open"
	}
	return "half_open"
}
