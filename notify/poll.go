package notify

import (
	"context"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

const (
	countEvery  = 10 * time.Second // how often the waiting deliveries are counted
	forgetEvery = time.Minute      // how often old log entries are looked for
	// orphanAfter is how long a webhook may be missing before its deliveries are given up: an instance
	// may learn of a webhook after another has accepted events for it.
	orphanAfter = time.Hour
)

// poll finds what nobody woke a lane for: what has become due again, and what another instance left.
func (n *Notify) poll(ctx context.Context) {
	var counted, forgotten time.Time
	for {
		now := n.now()
		if ready, err := n.store.Ready(ctx, now); err == nil {
			n.found(ctx, ready, now)
		} else if ctx.Err() == nil {
			n.log.Error("webhooks wait: the store can't be asked what is due", zap.Error(err))
		}
		if now.Sub(counted) >= countEvery {
			n.count(ctx)
			counted = now
		}
		if now.Sub(forgotten) >= forgetEvery {
			n.forgetOld(ctx, now)
			forgotten = now
		}
		select {
		case <-n.after(pollEvery):
		case <-ctx.Done():
			return
		}
	}
}

// found wakes the lanes of queues, and gives up what has no webhook any more.
func (n *Notify) found(ctx context.Context, queues []string, now time.Time) {
	var orphans []string
	n.mu.Lock()
	for _, q := range queues {
		if l := n.lanes[q]; l != nil {
			n.wakeLane(l)
			continue
		}
		since, known := n.orphans[q]
		if !known {
			n.orphans[q] = now
		} else if now.Sub(since) >= orphanAfter {
			orphans = append(orphans, q)
		}
	}
	n.mu.Unlock()
	for _, q := range orphans {
		if err := n.giveUp(ctx, q, now); err != nil {
			n.log.Error("deliveries of a webhook that is gone stay", zap.String("queue", q), zap.Error(err))
		}
	}
}

// giveUp ends the deliveries of a webhook that is gone, as failed ones. What there are more than one
// step takes is found again.
func (n *Notify) giveUp(ctx context.Context, queue string, now time.Time) error {
	leased, err := n.store.Lease(ctx, queue, now, maxSettled, time.Minute)
	if err != nil || len(leased) == 0 {
		return err
	}
	endings := make([]ending, len(leased))
	for i, item := range leased {
		entry := logEntry{
			Created: now, State: schema.DeliveryFailed,
			Attempt: &schema.DeliveryAttempt{At: now, Error: "the webhook has been deleted"},
		}
		if p, _, err := readPending(item.Body); err == nil {
			entry.Created, entry.Event = p.Created, p.Event
		}
		endings[i] = ending{outcome: store.Outcome{Of: item, Body: item.Body}, mustLog: true, entry: store.Record{Log: queue, ID: item.ID, Body: entry.line()}}
	}
	n.log.Warn("deliveries were given up: their webhook is gone", zap.String("queue", queue), zap.Int("deliveries", len(leased)))
	n.mu.Lock()
	n.busy += len(endings) // which settled takes off
	n.mu.Unlock()
	if err := n.settleSome(ctx, endings); err != nil {
		n.mu.Lock()
		n.busy -= len(endings)
		n.mu.Unlock()
		return err
	}
	return nil
}

// count tells the metrics how much is waiting.
func (n *Notify) count(ctx context.Context) {
	held, err := n.store.Held(ctx)
	if err != nil {
		return // said by now
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for queue, l := range n.lanes {
		n.metrics.state(queue, held[queue], l.off)
	}
}

// Waiting returns how many deliveries of a project's webhooks are under way or to be tried again.
func (n *Notify) Waiting(ctx context.Context, project string) (map[int64]int, error) {
	waiting := map[int64]int{}
	if n.store == nil {
		return waiting, nil
	}
	held, err := n.store.Held(ctx)
	for queue, count := range held {
		if p, webhook := splitQueue(queue); p == project {
			waiting[webhook] = count
		}
	}
	return waiting, err
}
