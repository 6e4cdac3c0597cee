package notify

import (
	"context"
	"fmt"
	"time"

	"hookswitch/schema"
)

// maxGivenUp bounds the failed deliveries that Backlog counts: beyond, it is many.
const maxGivenUp = 1000

// Backlog tells how many deliveries of a project, "" for all, wait, and how many of the last day have
// been given up and can be replayed, a thousand at most. It takes a second at most.
func (n *Notify) Backlog(project string) (waiting, failed int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n.store == nil {
		return 0, 0, errNoStore
	}
	held, err := n.store.Held(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("count what waits: %w", err)
	}
	for queue, count := range held {
		if p, _ := splitQueue(queue); project == "" || p == project {
			waiting += count
		}
	}
	f := schema.DeliveryFilter{Project: project, State: schema.DeliveryFailed, Since: n.now().Add(-24 * time.Hour)}
	list, _, err := n.List(ctx, f, "", maxGivenUp)
	return waiting, len(list), err
}
