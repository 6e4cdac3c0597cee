package notify

import (
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// target is an endpoint with its webhook. Its counts are guarded by Notify.mu.
type target struct {
	setup    setup
	webhook  *schema.Webhook
	endpoint Endpoint
	retry    schema.Retry
	asks     bool // for variables of the caller
	order    string
	uses     int  // requests under way
	retired  bool // to be closed when there is none
}

func (n *Notify) newTarget(p *schema.Project, w *schema.Webhook, s setup) (*target, error) {
	retry, err := schema.ParseRetry(w.Retry)
	if err != nil {
		return nil, err
	}
	endpoint, err := n.sender.Prepare(p, w)
	if err != nil {
		return nil, err
	}
	return &target{setup: s, webhook: w, endpoint: endpoint, retry: retry, asks: asksForMore(w), order: orderOf(p.ID, w)}, nil
}

// release ends the use of a target that nobody will use again. The caller has Notify.mu.
func (t *target) release() {
	if t.retired && t.uses == 0 {
		t.endpoint.Close()
	}
}

// lane is the way out to one endpoint: how much it may get at a time. It is guarded by Notify.mu.
type lane struct {
	queue  string
	target *target
	gone   bool // its webhook is no more

	ready bool   // in the ring: it may have something due
	wakes uint64 // how often it was told so
	off   bool   // disabled, by hand or for its failures: what it has is held

	marked time.Time // when the store was last told that an instance has the webhook

	inFlight int
	// width is how many requests may be under way now: half as many after each failure, down to one
	// that tries whether the endpoint is back, and twice as many after each success, up to max_in_flight.
	width    int
	failures int // in a row
	// since is when they began, without a quiet time in between, last when the last one was; kept says
	// that the store has them. It was last told that the endpoint fails when noted, and that it works
	// when cleared.
	since, last, noted, cleared time.Time
	kept                        bool

	paused time.Time // the endpoint asked to be left alone until then
	// tokens are the requests that its rate allows at the moment refilled.
	tokens   float64
	refilled time.Time
}

// startWidth is how much a lane may have under way before it is known how its endpoint does.
const startWidth = 4

// takeLanes gives every target of t its lane, keeps those that there are, and ends the others.
func (n *Notify) takeLanes(t *table) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for queue, target := range t.targets {
		l := n.lanes[queue]
		if l == nil {
			l = &lane{queue: queue, width: startWidth}
			n.lanes[queue] = l
		} else if l.target != target {
			l.target.retired = true
			l.target.release()
			l.failures = 0 // of the endpoint as it was
		}
		l.target = target
		l.width = max(1, min(l.width, target.webhook.MaxInFlight))
		n.setOff(l)
		n.wakeLane(l)
	}
	for queue, l := range n.lanes {
		if t.targets[queue] == nil {
			l.gone, l.off = true, true
			l.target.retired = true
			l.target.release()
			delete(n.lanes, queue)
			n.metrics.forget(queue)
		}
	}
}

// setOff says whether a lane is open, by its webhook and by its failures. The caller has n.mu.
func (n *Notify) setOff(l *lane) {
	_, failed := n.disabled[l.queue]
	l.off = l.gone || failed || l.target.webhook.Disabled
}

// wakeLanes tells the lanes of items that they have something due.
func (n *Notify) wakeLanes(items []store.Item) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range items {
		if l := n.lanes[items[i].Queue]; l != nil {
			n.wakeLane(l)
		}
	}
}

// wakeLane puts a lane in the ring. The caller has n.mu.
func (n *Notify) wakeLane(l *lane) {
	l.wakes++
	if !l.ready && !l.off {
		l.ready = true
		n.ring = append(n.ring, l)
	}
	n.rouse()
}

// rouse lets the dispatcher look again.
func (n *Notify) rouse() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// suspect says that a lane's endpoint has been failing, so that its requests may take as long as they
// are let.
func (l *lane) suspect() bool { return l.failures >= 3 }

// room returns how many requests the lane may start now, of so many free workers in all and its share
// of them, and where it is none for the time being, for how long. Three rules keep endpoints that hang from taking every worker: the
// last quarter of the workers is for lanes that have none; of the lanes that fail, each has one, and
// all together half.
func (l *lane) room(now time.Time, workers, free, share, suspects int) (n int, wait time.Duration) {
	if wait = l.paused.Sub(now); wait > 0 {
		return 0, wait
	}
	n = min(l.width-l.inFlight, free, share)
	if free <= workers/4 {
		n = min(n, 1-l.inFlight)
	}
	if l.suspect() {
		n = min(n, 1-l.inFlight, max(1, workers/2)-suspects)
	}
	if n <= 0 {
		return 0, 0
	}
	return l.allowed(n, now)
}

// allowed returns how many of n requests the endpoint's rate allows now, and if none, when one is.
func (l *lane) allowed(n int, now time.Time) (int, time.Duration) {
	rate := l.target.webhook.Rate
	if rate <= 0 {
		return n, 0
	}
	// A tenth of a second's worth may come together.
	l.tokens = min(l.tokens+now.Sub(l.refilled).Seconds()*rate, max(1, rate/10))
	l.refilled = now
	if l.tokens < 1 {
		return 0, max(time.Millisecond, time.Duration((1-l.tokens)/rate*float64(time.Second)))
	}
	return min(n, int(l.tokens)), 0
}

// succeed and fail take note of how a request ended.
func (l *lane) succeed() {
	l.failures, l.since, l.kept = 0, time.Time{}, false
	l.width = min(2*l.width, l.target.webhook.MaxInFlight)
}

func (l *lane) fail(now time.Time) {
	l.failures++
	if l.since.IsZero() || now.Sub(l.last) > quiet(l.target.webhook.DisableAfter) {
		l.since, l.kept = now, false
	}
	l.last = now
	l.width = max(1, l.width/2)
}
