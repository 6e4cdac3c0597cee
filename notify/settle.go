package notify

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"hookswitch/store"
)

// ending is how a leased delivery ended, or goes on.
type ending struct {
	outcome store.Outcome
	entry   store.Record // for the log; without an ID for none
	// mustLog says that it was given up: it may leave the outbox only when the log has it, and is tried
	// once more where the log can't be written.
	mustLog bool
}

// finished are the endings that the store has not been told yet.
type finished struct {
	wake chan struct{} // capacity 1
	mu   sync.Mutex    // guards list
	list []ending
}

func (f *finished) add(e ending) {
	f.mu.Lock()
	f.list = append(f.list, e)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *finished) take() []ending {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.list
	f.list = nil
	return list
}

const (
	maxSettled = 500 // in one write, so that no other waits long for it
	// unlogged is when a delivery is tried again that could be neither made nor logged.
	unlogged = time.Minute
	// lastWords is how long the store may take at the end to be told what has been delivered.
	lastWords = 3 * time.Second
)

// settle tells the store how deliveries ended, as many at once as there are. Those that it could not
// tell yet keep their workers busy, so that there never are many. When it is over it tells the rest, for
// as long as ctx lasts.
func (n *Notify) settle(ctx context.Context, over <-chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-n.finished.wake:
		case <-over:
			ended = true
		}
		for list := n.finished.take(); len(list) > 0; {
			some := list[:min(len(list), maxSettled)]
			list = list[len(some):]
			n.settleUntilTold(ctx, some)
		}
	}
}

func (n *Notify) settleUntilTold(ctx context.Context, some []ending) {
	for said := false; ctx.Err() == nil; said = true {
		err := n.settleSome(ctx, some)
		if err == nil {
			return
		}
		if !said {
			n.log.Error("the store can't be told what was delivered; until it is, some may be delivered twice", zap.Error(err))
		}
		select {
		case <-time.After(busyStore):
		case <-ctx.Done():
		}
	}
}

// settleSome writes the log entries that must not be lost, then the outcomes, then frees the workers.
func (n *Notify) settleSome(ctx context.Context, some []ending) error {
	var must []store.Record
	for i := range some {
		if some[i].mustLog {
			must = append(must, some[i].entry)
		}
	}
	var err error
	if len(must) > 0 {
		err = n.written.flush(ctx, must...)
	}
	outcomes := make([]store.Outcome, len(some))
	for i := range some {
		e := &some[i]
		if e.mustLog && err != nil {
			e.outcome.Again, e.outcome.Due = true, n.now().Add(unlogged)
		}
		if e.mustLog {
			e.mustLog, e.entry = false, store.Record{}
		}
		outcomes[i] = e.outcome
	}
	lost, err := n.store.Settle(ctx, outcomes...)
	if err != nil {
		return err
	}
	n.metrics.lost.Add(float64(lost))
	for i := range some {
		n.written.add(some[i].entry)
	}
	n.settled(some)
	return nil
}

// settled frees the workers of deliveries, and wakes the lanes that got something due by it: the next
// event of a call, or what is to be tried again at once.
func (n *Notify) settled(some []ending) {
	now := n.now()
	ordered := n.table.Load().ordered
	woken := map[string]bool{}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy -= len(some)
	for i := range some {
		o := &some[i].outcome
		l := n.lanes[o.Of.Queue]
		if l == nil {
			continue
		}
		switch {
		case o.Again:
			n.setAlarm(l, o.Due, now)
		case l.target.order != "" && !woken[l.target.order]:
			woken[l.target.order] = true
			for _, queue := range ordered[l.target.order] {
				if l := n.lanes[queue]; l != nil {
					n.wakeLane(l)
				}
			}
		}
	}
	if len(n.ring) > 0 {
		n.rouse()
	}
}
