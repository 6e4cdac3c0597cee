package notify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hookswitch/schema"
)

// maxGivenUp bounds the failed deliveries that Backlog counts: beyond, it is many.
const maxGivenUp = 1000

// Backlog tells how many deliveries of a project, "" for all, wait, and how many of the last day have
// been given up and can be replayed, a thousand at most. It takes a second at most.
func (n *Notify) Backlog(project string) (schema.Backlog, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n.store == nil {
		return schema.Backlog{}, errNoStore
	}
	held, err := n.store.Held(ctx)
	if err != nil {
		return schema.Backlog{}, fmt.Errorf("count what waits: %w", err)
	}
	b := schema.Backlog{FailedBy: map[string]int{}}
	for queue, count := range held {
		if p, _ := splitQueue(queue); project == "" || p == project {
			b.Waiting += count
		}
	}
	const day = 24 * time.Hour // retries go on for more than one
	f := schema.DeliveryFilter{Project: project, State: schema.DeliveryFailed, Tried: n.now().Add(-day), Since: n.now().Add(-4 * day)}
	list, _, err := n.List(ctx, f, "", maxGivenUp)
	for i := range list {
		b.FailedBy[list[i].Project]++
	}
	b.Failed = len(list)
	return b, err
}

// AllDisabled lists the webhooks of a project, "" for all, that are disabled for their failures: the one
// that has been longest first.
func (n *Notify) AllDisabled(project string) []schema.DisabledWebhook {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []schema.DisabledWebhook
	for queue, d := range n.disabled {
		if p, webhook := splitQueue(queue); project == "" || p == project {
			list = append(list, schema.DisabledWebhook{Project: p, Webhook: webhook, Since: d.Since, Reason: d.Reason})
		}
	}
	slices.SortFunc(list, func(a, b schema.DisabledWebhook) int { return a.Since.Compare(b.Since) })
	return list
}
