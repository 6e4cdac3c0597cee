package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

const (
	countEvery  = 10 * time.Second // how often the waiting deliveries are counted
	forgetEvery = time.Minute      // how often old log entries are looked for
	// orphanAfter is how long a webhook may be missing on every instance before its deliveries are given
	// up: an instance may learn of a webhook after another has accepted events for it, or never where
	// its file is an older one.
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

// found wakes the lanes of queues, and gives up what has no webhook any more, on any instance. Queues
// that have nothing due now are no orphans: somebody delivers what they hold.
func (n *Notify) found(ctx context.Context, queues []string, now time.Time) {
	orphans := map[string]time.Time{}
	var late []string
	n.mu.Lock()
	for _, q := range queues {
		if l := n.lanes[q]; l != nil {
			n.wakeLane(l)
			continue
		}
		since, known := n.orphans[q]
		if !known {
			since = now
		}
		if orphans[q] = since; now.Sub(since) >= orphanAfter {
			late = append(late, q)
		}
	}
	n.orphans = orphans
	n.mu.Unlock()
	for _, q := range late {
		if marked, err := n.marked(ctx, q, now); err != nil || marked {
			n.mu.Lock()
			n.orphans[q] = now // another instance's; or who knows
			n.mu.Unlock()
			continue
		}
		if err := n.giveUp(ctx, q, now); err != nil {
			n.log.Error("deliveries of a webhook that is gone stay", zap.String("queue", q), zap.Error(err))
		}
	}
}

// markKey is of the value that says when an instance last had a webhook for what a queue holds.
func markKey(queue string) string { return "webhook-known:" + queue }

// markEvery is how often it is written: an instance that is slow is not a dead one.
const markEvery = orphanAfter / 6

// mark says that this instance has webhooks for what is held.
func (n *Notify) mark(ctx context.Context, held map[string]int, now time.Time) {
	n.mu.Lock()
	var due []*lane
	for queue := range held {
		if l := n.lanes[queue]; l != nil && now.Sub(l.marked) >= markEvery {
			due = append(due, l)
		}
	}
	n.mu.Unlock()
	for _, l := range due {
		if n.store.Set(ctx, markKey(l.queue), []byte(now.Format(time.RFC3339Nano)), 2*orphanAfter) != nil {
			return // with the next count
		}
		n.mu.Lock()
		l.marked = now
		n.mu.Unlock()
	}
}

// marked reports whether an instance that lives, or did within orphanAfter, has a webhook for the queue.
func (n *Notify) marked(ctx context.Context, queue string, now time.Time) (bool, error) {
	text, err := n.store.Get(ctx, markKey(queue))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	at, wrong := time.Parse(time.RFC3339Nano, string(text))
	return err == nil && wrong == nil && now.Sub(at) < orphanAfter, err
}

// known reports whether anybody delivers what a queue gets.
func (n *Notify) known(ctx context.Context, queue string) bool {
	n.mu.Lock()
	here := n.lanes[queue] != nil
	n.mu.Unlock()
	if here {
		return true
	}
	there, _ := n.marked(ctx, queue, n.now())
	return there
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
		endings[i] = ending{outcome: store.Outcome{Of: item, Body: item.Body}, mustLog: true, entry: store.Record{Log: queue, ID: item.ID, Body: entry.line(), Held: true}}
	}
	n.mu.Lock()
	n.busy += len(endings) // which settled takes off
	n.mu.Unlock()
	if err := n.settleSome(ctx, endings); err != nil {
		n.mu.Lock()
		n.busy -= len(endings)
		n.mu.Unlock()
		return err
	}
	_, webhook := splitQueue(queue)
	n.notice(ctx, queue, fmt.Sprintf("is gone; %d deliveries were given up, which can be replayed once a webhook has the id %d", len(leased), webhook))
	return nil
}

// count tells the metrics how much is waiting, and the other instances whose that is.
func (n *Notify) count(ctx context.Context) {
	held, err := n.store.Held(ctx)
	if err != nil {
		return // said by now
	}
	n.mark(ctx, held, n.now())
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
