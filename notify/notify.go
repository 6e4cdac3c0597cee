// Package notify turns call events into deliveries to webhooks, at least once: it accepts an event when
// it and its deliveries are durable, and works them off by the outbox. It reads no HTTP question and
// builds no request.
//
// # At least once, and rarely twice
//
// An event, its deliveries and the name that makes a repeat of it harmless are written in one step, so
// there is no crash between them. A delivery stays in the outbox until its webhook has taken it, or
// until its retries are used up and the log has it as failed. What a worker holds when it dies, another
// gets when the lease lapses: such a delivery may arrive twice, under the same id.
package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

// Sender makes webhooks ready to be sent to.
type Sender interface {
	// Prepare fails where the webhook names something that cannot be used, a file for example.
	Prepare(p *schema.Project, w *schema.Webhook) (Endpoint, error)
}

// Endpoint is a webhook that is ready to be sent to, by many goroutines at once.
type Endpoint interface {
	// Send makes one request and returns by the deadline. attempt counts from 1; variables is a JSON
	// object or "". What it returns is without secrets.
	Send(e *schema.Event, deliveryID string, attempt int, variables string, deadline time.Time) schema.Sent
	// Close frees the endpoint, when no request is under way.
	Close()
}

// Memory keeps what is known of callers, whose number is spelled as schema.CallerKey does.
type Memory interface {
	// Remember adds values, a JSON object, to the caller's variables, for ttl.
	Remember(ctx context.Context, project, caller string, values []byte, ttl time.Duration) error
	// Variables returns the caller's variables as a JSON object, nil for none.
	Variables(ctx context.Context, project, caller string) ([]byte, error)
}

// Options are what a Notify is made of. Sender is required.
type Options struct {
	// Store keeps what is to be delivered; without one no event that a webhook wants is accepted.
	Store  store.Store
	Sender Sender
	// Memory may be nil: then nothing is saved, and webhooks are sent no variables.
	Memory     Memory
	Log        *zap.Logger           // nil for none
	Registerer prometheus.Registerer // nil for nobody
	// Now and After are the clock that deliveries go by; nil for the time package's.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
	// Random spreads retries, from 0 to 1; nil for math/rand's.
	Random func() float64
	// Settings are those until the first Load.
	Settings schema.Events
}

// Notify accepts events and delivers them. It is safe for concurrent use; make one by New, give it its
// webhooks by Load, and let it Run.
type Notify struct {
	store    store.Store
	sender   Sender
	memory   Memory
	log      *zap.Logger
	now      func() time.Time
	after    func(time.Duration) <-chan time.Time
	random   func() float64
	metrics  *metrics
	settings atomic.Pointer[schema.Events]
	table    atomic.Pointer[table]
	written  *logbook
	looks    looks

	emitted  chan *schema.Event // by decisions, to be accepted
	taken    atomic.Uint64      // how many events were accepted
	ended    atomic.Bool        // Run has: what is emitted now is lost
	wake     chan struct{}      // there may be something to lease; capacity 1
	finished finished

	loading sync.Mutex     // held by Load, as one follows the other
	work    sync.WaitGroup // the requests under way

	mu       sync.Mutex           // guards what follows, and every lane and target
	lanes    map[string]*lane     // by queue
	ring     []*lane              // those with something due, in turn
	alarms   alarms               // lanes that get something due before the outbox is polled
	busy     int                  // deliveries that are leased and not settled
	suspects int                  // of them, requests to endpoints that fail
	disabled map[string]disabled  // by queue
	orphans  map[string]time.Time // queues of no webhook, and since when
}

// New makes a Notify without webhooks.
func New(o Options) *Notify {
	n := &Notify{
		store: o.Store, sender: o.Sender, memory: o.Memory, log: o.Log, now: o.Now, after: o.After, random: o.Random,
		emitted: make(chan *schema.Event, maxEmitted), wake: make(chan struct{}, 1),
		finished: finished{wake: make(chan struct{}, 1)}, looks: looks{by: map[string]*look{}},
		lanes: map[string]*lane{}, disabled: map[string]disabled{}, orphans: map[string]time.Time{},
	}
	if n.log == nil {
		n.log = zap.NewNop()
	}
	if n.now == nil {
		n.now = time.Now
	}
	if n.after == nil {
		n.after = time.After
	}
	if n.random == nil {
		n.random = rand.Float64
	}
	n.settings.Store(&o.Settings)
	n.table.Store(&table{})
	n.metrics = newMetrics(o.Registerer)
	n.written = &logbook{store: o.Store, metrics: n.metrics, log: n.log, wake: make(chan struct{}, 1)}
	return n
}

// Load takes up the webhooks of cfg, all or none. An endpoint whose webhook has not changed is kept.
func (n *Notify) Load(cfg *schema.Config) error {
	n.loading.Lock()
	defer n.loading.Unlock()
	old := n.table.Load()
	t, made, err := n.build(cfg, old)
	if err != nil {
		for _, fresh := range made {
			fresh.endpoint.Close()
		}
		return fmt.Errorf("webhooks: %w", err)
	}
	settings := cfg.Events
	n.settings.Store(&settings)
	n.written.keep.Store(int64(settings.LogEntries))
	n.table.Store(t)
	n.takeLanes(t)
	for queue := range old.targets {
		if t.targets[queue] == nil {
			project, webhook := splitQueue(queue)
			n.log.Warn("a webhook is gone; what waits for it is given up in an hour, unless one with its id comes: "+
				"a webhook without an id in its file becomes another when its url, event, type_call or name is edited",
				zap.String("project", project), zap.Int64("id", webhook))
		}
	}
	return nil
}

// Accept takes an event, whose ID it sets; a repeated event gets the first one's. key, where the PBX
// gave one, is the event's name; else its project, call and kind are. It returns EventAccepted or
// EventRepeated only where the event and all its deliveries are durable, or where no webhook wants it.
func (n *Notify) Accept(ctx context.Context, e *schema.Event, key string) schema.Acceptance {
	a := n.accept(ctx, e, key)
	n.metrics.events[a].Inc()
	if a == schema.EventAccepted {
		n.taken.Add(1)
	}
	return a
}

// Accepted counts the events that were taken since the start.
func (n *Notify) Accepted() uint64 { return n.taken.Load() }

func (n *Notify) accept(ctx context.Context, e *schema.Event, key string) schema.Acceptance {
	p := n.table.Load().projects[e.Project]
	if p == nil {
		return schema.EventNoProject
	}
	now := n.now()
	e.ID = newEventID(now)
	wanted := p.wanted(e)
	if len(wanted) == 0 {
		return schema.EventAccepted
	}
	if n.store == nil {
		return schema.EventNotKept
	}
	items := itemsOf(e, wanted, now)
	once, named := onceOf(e, key)
	if !named {
		_, err := n.store.Enqueue(ctx, items...)
		return n.accepted(err, items)
	}
	first, added, err := n.store.EnqueueOnce(ctx, once, items...)
	if err != nil || added {
		return n.accepted(err, items)
	}
	return repeated(e, first, once.Value, key != "")
}

// accepted is what became of the items.
func (n *Notify) accepted(err error, items []store.Item) schema.Acceptance {
	switch {
	case err == nil:
		n.wakeLanes(items)
		return schema.EventAccepted
	case errors.Is(err, store.ErrFull):
		n.log.Error("an event was refused: the store is full", zap.Error(err))
		return schema.EventNoSpace
	}
	n.log.Error("an event was refused: the store did not take it", zap.Error(err))
	return schema.EventNotKept
}

const (
	pollEvery = 500 * time.Millisecond // how late a retry may be found, or another instance's leftovers
	// drainFor is how long requests under way may take to end when Run does.
	drainFor = 5 * time.Second
)

// Run delivers until ctx is done, then waits for the requests under way, for five seconds at most. What
// has not ended by then stays in the outbox, and is delivered again by whoever runs next. Run is called
// once.
func (n *Notify) Run(ctx context.Context) {
	if n.store == nil {
		<-ctx.Done()
		return
	}
	var serving, settling, logging sync.WaitGroup
	known := make(chan struct{}) // which endpoints are disabled
	serving.Go(func() { n.watchDisabled(ctx, known) })
	serving.Go(func() { n.poll(ctx) })
	serving.Go(func() {
		select {
		case <-known:
			n.dispatch(ctx)
		case <-ctx.Done():
		}
	})
	for range emitters {
		serving.Go(func() { n.emit(ctx) })
	}
	over, told := make(chan struct{}), make(chan struct{})
	last, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	settling.Go(func() { n.settle(last, over) })
	logging.Go(func() { n.written.run(last, told) })
	<-ctx.Done()
	n.ended.Store(true)
	serving.Wait()
	drained := make(chan struct{})
	go func() {
		n.work.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(drainFor):
	}
	close(over)
	late := time.AfterFunc(lastWords, giveUp)
	defer late.Stop()
	settling.Wait()
	close(told)
	logging.Wait()
}

// Close frees the endpoints, those with a request under way when that ends. Call it when Run has returned.
func (n *Notify) Close() {
	n.loading.Lock()
	defer n.loading.Unlock()
	empty := &table{}
	n.table.Store(empty)
	n.takeLanes(empty)
}
