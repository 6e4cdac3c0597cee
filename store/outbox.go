package store

import (
	"context"
	"fmt"
	"time"
)

// Item is something to deliver. Its ID is the caller's and names it for good: one that is derived from
// the event and the endpoint makes a repeated event harmless.
type Item struct {
	ID    string
	Queue string    // what is delivered side by side with the others, an endpoint's id
	Due   time.Time // to the millisecond
	Body  []byte
	// Group, where given, keeps an order: of the items of one group, whatever their queues, only the
	// first is ever due; the next is when that one has been acknowledged, however often it is
	// rescheduled before.
	Group string
}

// Once names what is enqueued only once: it is remembered for Keep, together with Value.
type Once struct {
	Name  string
	Value []byte
	Keep  time.Duration
}

// Want asks for up to Limit due items of a queue, leased for Keep.
type Want struct {
	Queue string
	Limit int
	Keep  time.Duration
}

// Leased is an item that a worker holds.
type Leased struct {
	ID, Queue string
	Body      []byte
	Token     string // says whose lease it is
}

// Outcome is what became of a leased item: it is done with, or to be tried Again when Due with Body.
type Outcome struct {
	Of    Leased
	Again bool
	Due   time.Time
	Body  []byte
}

// Outbox keeps items until they are acknowledged, at least once: a lease that its worker neither
// acknowledges nor reschedules lapses, and another worker gets the item. Times are the workers' own
// clocks, which must agree within what a lease can spare. Fairness between queues is the caller's:
// it asks which are ready, and leases from each as much as that endpoint may have.
type Outbox interface {
	// Enqueue adds the items, all or none. One whose ID is in the outbox already is left as it is, and
	// its ID returned.
	Enqueue(ctx context.Context, items ...Item) (there []string, err error)
	// EnqueueOnce is Enqueue where once.Name is new, or was forgotten; it is remembered in the same
	// step. Where it is not new nothing is added, and the value it came with is returned, with false.
	EnqueueOnce(ctx context.Context, once Once, items ...Item) (existing []byte, added bool, err error)
	// Ready returns the queues with something to lease at now, in no special order.
	Ready(ctx context.Context, now time.Time) ([]string, error)
	// Lease takes up to limit due items off a queue, the earliest first, until now + keep.
	Lease(ctx context.Context, queue string, now time.Time, limit int, keep time.Duration) ([]Leased, error)
	// LeaseAll is Lease from many queues, which are all different, at once.
	LeaseAll(ctx context.Context, now time.Time, wants ...Want) ([]Leased, error)
	// Ack ends an item. ErrConflict says that the lease has lapsed and the item is another's or gone.
	Ack(ctx context.Context, l Leased) error
	// Reschedule gives an item back, to be due at another time, with the body b; errors as Ack's.
	Reschedule(ctx context.Context, l Leased, due time.Time, b []byte) error
	// Settle is Ack or Reschedule of many at once. It returns how many were no longer the worker's;
	// the others are settled, all or none.
	Settle(ctx context.Context, outcomes ...Outcome) (lost int, err error)
	// Held returns how many items each queue holds, leased ones too.
	Held(ctx context.Context) (map[string]int, error)
}

// checkItems refuses what not every backend can keep.
func checkItems(items []Item) error {
	for i := range items {
		if err := checkNames(items[i].ID, items[i].Queue); err != nil {
			return err
		}
		if g := items[i].Group; g != "" {
			if err := checkNames(g); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOnce(once Once, items []Item) error {
	if err := checkValue(once.Name, once.Keep); err != nil {
		return fmt.Errorf("enqueue once: %w", err)
	}
	return checkItems(items)
}

// millis is a time as the backends keep it; times before 1970 are all the same: long due.
func millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }
