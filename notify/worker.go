package notify

import (
	"context"
	"time"

	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

const (
	// spare is what a lease lasts beyond a request's timeout: for the clocks of instances to differ, and
	// for the store to be told how the request ended.
	spare = 10 * time.Second
	// busyStore is how long the store is left alone that could not be asked.
	busyStore = 500 * time.Millisecond
)

// dispatch leases what is due, for as many requests as may be under way, and starts them.
func (n *Notify) dispatch(ctx context.Context) {
	for ctx.Err() == nil {
		now := n.now()
		asks, wait := n.plan(now)
		if len(asks) > 0 {
			leased, err := n.store.LeaseAll(ctx, now, wants(asks)...)
			n.start(asks, leased)
			if err == nil {
				continue
			}
			if ctx.Err() == nil {
				n.log.Error("webhooks wait: the store can't be asked what is due", zap.Error(err))
			}
			wait = busyStore
		}
		var later <-chan time.Time
		if wait > 0 {
			later = n.after(wait)
		}
		select {
		case <-n.wake:
		case <-later:
		case <-ctx.Done():
		}
	}
}

// asked is how much is wanted for a lane. Until it is leased, it counts as under way.
type asked struct {
	lane    *lane
	target  *target
	limit   int
	wakes   uint64
	suspect bool
}

func wants(asks []asked) []store.Want {
	list := make([]store.Want, len(asks))
	for i, a := range asks {
		list[i] = store.Want{Queue: a.lane.queue, Limit: a.limit, Keep: a.target.webhook.RequestTimeout + spare}
	}
	return list
}

// plan asks each lane in turn for how much it has room; and where some have to wait, for how long.
func (n *Notify) plan(now time.Time) (asks []asked, wait time.Duration) {
	workers := max(1, n.settings.Load().Workers)
	n.mu.Lock()
	defer n.mu.Unlock()
	wait = n.ringAlarms(now)
	still := n.ring[:0]
	for _, l := range n.ring {
		if l.off {
			l.ready = false
			continue
		}
		still = append(still, l)
	}
	n.ring = still
	free := workers - n.busy
	share := max(1, free/max(1, len(n.ring)))
	for i, l := range n.ring {
		if free <= 0 {
			// Who has not had a turn is the first to have the next.
			n.ring = append(append(make([]*lane, 0, cap(n.ring)), n.ring[i:]...), n.ring[:i]...)
			break
		}
		limit, later := l.room(now, workers, free, share, n.suspects)
		if later > 0 && (wait == 0 || later < wait) {
			wait = later
		}
		if limit == 0 {
			continue
		}
		a := asked{l, l.target, limit, l.wakes, l.suspect()}
		n.reserve(a, limit)
		free -= limit
		asks = append(asks, a)
	}
	return asks, wait
}

// reserve counts requests as under way, or no longer where there are less than none. The caller has n.mu.
func (n *Notify) reserve(a asked, requests int) {
	a.lane.inFlight += requests
	a.lane.tokens -= float64(requests)
	a.target.uses += requests
	n.busy += requests
	if a.suspect {
		n.suspects += requests
	}
}

// start gives back what was asked for in vain and starts the rest.
func (n *Notify) start(asks []asked, leased []store.Leased) {
	n.mu.Lock()
	defer n.mu.Unlock()
	of := map[string][]store.Leased{}
	for _, item := range leased {
		of[item.Queue] = append(of[item.Queue], item)
	}
	for _, a := range asks {
		items := of[a.lane.queue]
		vain := a.limit - len(items)
		n.reserve(a, -vain)
		a.target.release()
		if vain > 0 && a.lane.wakes == a.wakes && a.lane.ready {
			n.leave(a.lane)
		}
		for _, item := range items {
			n.work.Go(func() { n.deliver(a, item) })
		}
	}
}

// leave takes a lane off the ring. The caller has n.mu.
func (n *Notify) leave(l *lane) {
	l.ready = false
	for i := range n.ring {
		if n.ring[i] == l {
			n.ring = append(n.ring[:i], n.ring[i+1:]...)
			return
		}
	}
}

// deliver makes one request and says what becomes of the delivery.
func (n *Notify) deliver(a asked, item store.Leased) {
	t := a.target
	p, e, err := readPending(item.Body)
	if err != nil { // nothing that we wrote
		n.log.Error("a delivery that can't be read was dropped", zap.String("delivery", item.ID), zap.Error(err))
		n.done(a, ending{outcome: store.Outcome{Of: item}})
		return
	}
	began := n.now()
	if p.Attempt++; p.First.IsZero() {
		p.First = began
	}
	// A request's time is the network's, whatever clock deliveries go by.
	deadline := time.Now().Add(t.webhook.RequestTimeout)
	sent := t.endpoint.Send(&e, item.ID, p.Attempt, n.variables(t, &e, deadline), deadline)
	ok := sent.Reason == schema.ReasonOK && succeeded(t.webhook.Success, sent.Status)
	if ok {
		n.save(t, &e, sent.Body)
	}
	n.judge(a.lane, t, &sent, ok)
	n.done(a, n.conclude(t, item, &p, &sent, began, ok))
}

// conclude decides how a delivery goes on after a request, and what the log is told.
func (n *Notify) conclude(t *target, item store.Leased, p *pending, sent *schema.Sent, began time.Time, ok bool) ending {
	end, now := ending{outcome: store.Outcome{Of: item}}, n.now()
	entry := logEntry{Attempt: attemptOf(began, sent, t.webhook.Success), State: schema.DeliveryDelivered}
	due, again := time.Time{}, false
	switch {
	case ok:
	case sent.Status == gone:
		due, again = now.Add(pollEvery), true // its endpoint is disabled; it waits until that is enabled
	default:
		due, again = retryAt(t.retry, p.Attempt, p.First, now, sent.RetryAfter, n.random())
	}
	if p.Attempt == 1 {
		entry.Created, entry.Event = p.Created, p.Event
	}
	switch {
	case again:
		end.outcome.Again, end.outcome.Due, end.outcome.Body = true, due, p.encode()
		entry.State, entry.Next = schema.DeliveryWaiting, &due
	case !ok:
		// Once it has left the outbox, the log is all that a replay has.
		entry.State, end.mustLog, end.outcome.Body = schema.DeliveryFailed, true, p.encode()
		entry.Created, entry.Event = p.Created, p.Event
	}
	end.entry = store.Record{Log: item.Queue, ID: item.ID, Body: entry.line(), Held: end.mustLog}
	n.metrics.attempted(item.Queue, sent, ok)
	if !again {
		n.metrics.ended(item.Queue, ok, now.Sub(p.Created))
	}
	return end
}

// gone is the status by which a receiver says that it wants no more (RFC 9110, section 15.5.11).
const gone = 410

// judge notes how the endpoint does, and disables it where it has failed for too long.
func (n *Notify) judge(l *lane, t *target, sent *schema.Sent, ok bool) {
	now := n.now()
	n.mu.Lock()
	if ok {
		clear := l.kept || now.Sub(l.cleared) > noteAfter
		if clear {
			l.cleared = now
		}
		l.succeed()
		n.mu.Unlock()
		if clear {
			n.forgetFailing(l.queue)
		}
		return
	}
	l.fail(now)
	if sent.RetryAfter > 0 {
		l.paused = now.Add(min(sent.RetryAfter, maxPause))
	}
	since, kept, limit := l.since, l.kept, t.webhook.DisableAfter
	note := limit > 0 && now.Sub(l.noted) >= noteAfter
	if note {
		l.noted = now
	}
	n.mu.Unlock()
	switch {
	case sent.Status == gone:
		n.disable(l.queue, "it answered 410 Gone")
	case note:
		n.noteFailing(l, limit, since, now, kept)
	}
}

// maxPause bounds how long a receiver's Retry-After holds up its other deliveries.
const maxPause = 5 * time.Minute

// done frees a request's place, and hands its ending to settle.
func (n *Notify) done(a asked, end ending) {
	n.mu.Lock()
	a.lane.inFlight--
	if a.suspect {
		n.suspects--
	}
	a.target.uses--
	a.target.release()
	if a.lane.ready {
		n.rouse()
	}
	n.mu.Unlock()
	n.finished.add(end)
}
