package store

import (
	"context"
	"time"
)

// Item is something to deliver. Its ID is the caller's and names it for good: one that is derived from
// the event and the endpoint makes a repeated event harmless.
type Item struct {
	ID    string
	Queue string    // what is delivered side by side with the others, an endpoint's id
	Due   time.Time // to the millisecond
	Body  []byte
}

// Leased is an item that a worker holds.
type Leased struct {
	ID, Queue string
	Body      []byte
	Token     string // says whose lease it is
}

// Outbox keeps items until they are acknowledged, at least once: a lease that its worker neither
// acknowledges nor reschedules lapses, and another worker gets the item. Times are the workers' own
// clocks, which must agree within what a lease can spare. Fairness between queues is the caller's:
// it asks which are ready, and leases from each as much as that endpoint may have.
type Outbox interface {
	// Enqueue adds the items, all or none. One whose ID is in the outbox already is left as it is.
	Enqueue(ctx context.Context, items ...Item) error
	// Ready returns the queues with something to lease at now, in no special order.
	Ready(ctx context.Context, now time.Time) ([]string, error)
	// Lease takes up to limit due items off a queue, the earliest first, until now + keep.
	Lease(ctx context.Context, queue string, now time.Time, limit int, keep time.Duration) ([]Leased, error)
	// Ack ends an item. ErrConflict says that the lease has lapsed and the item is another's or gone.
	Ack(ctx context.Context, l Leased) error
	// Reschedule gives an item back, to be due at another time, with the body b; errors as Ack's.
	Reschedule(ctx context.Context, l Leased, due time.Time, b []byte) error
	// Held returns how many items each queue holds, leased ones too.
	Held(ctx context.Context) (map[string]int, error)
}

// checkItems refuses what not every backend can keep.
func checkItems(items []Item) error {
	for i := range items {
		if err := checkNames(items[i].ID, items[i].Queue); err != nil {
			return err
		}
	}
	return nil
}

// millis is a time as the backends keep it; times before 1970 are all the same: long due.
func millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }
