package notify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"hookswitch/schema"
	"hookswitch/store"
)

// maxGivenUp bounds the failed deliveries that Backlog counts: beyond, it is many.
const maxGivenUp = 1000

// Backlog tells how many deliveries of a project, "" for all, wait, and how many of the last day have
// been given up and can be replayed, a thousand at most. It takes a second at most. It is looked up anew every
// second while somebody asks, less often where that is much work: who asks meanwhile is told the same.
func (n *Notify) Backlog(project string) (schema.Backlog, error) {
	if n.store == nil {
		return schema.Backlog{}, errNoStore
	}
	l, mine := n.looks.of(project, n.now())
	if mine {
		n.look(l, project)
	}
	<-l.done
	b := l.backlog
	b.FailedBy = maps.Clone(b.FailedBy)
	return b, l.err
}

func (n *Notify) look(l *look, project string) {
	defer func() { n.looks.end(l, n.now()) }() // after a panic too, or others would wait for ever
	l.backlog, l.err = n.lookAtBacklog(project)
}

// look is one look at a project's backlog, which is shared by those who ask until it is old.
type look struct {
	began   time.Time
	old     time.Time     // the zero time while it is under way; guarded by looks.mu
	done    chan struct{} // closed when it has ended, and what follows may be read
	backlog schema.Backlog
	err     error
}

// looks are the last look at each project's backlog. Nothing is looked up unless somebody asks.
type looks struct {
	mu sync.Mutex       // guards by
	by map[string]*look // by project
}

// of returns the look that holds at now, and whether it is the caller's to do.
func (ls *looks) of(project string, now time.Time) (l *look, mine bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	maps.DeleteFunc(ls.by, func(_ string, l *look) bool { return !l.old.IsZero() && !now.Before(l.old) })
	if l = ls.by[project]; l != nil {
		return l, false
	}
	l = &look{began: now, done: make(chan struct{})}
	ls.by[project] = l
	return l, true
}

const (
	// looksEvery is a little less than a second, so that who asks every second is told anew each time.
	looksEvery = 900 * time.Millisecond
	// A look that finds a thousand failures with many attempts each takes its time: it is rested for so
	// many times as long, but no longer than a person would wait.
	lookRests   = 100
	maxLookRest = 10 * time.Second
)

// end ends a look, and says until when it holds.
func (ls *looks) end(l *look, now time.Time) {
	rest := looksEvery
	if l.err == nil {
		rest = min(max(rest, lookRests*now.Sub(l.began)), maxLookRest)
	}
	ls.mu.Lock()
	l.old = l.began.Add(rest)
	ls.mu.Unlock()
	close(l.done)
}

// lookAtBacklog is Backlog of this moment.
func (n *Notify) lookAtBacklog(project string) (schema.Backlog, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
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
	f := schema.DeliveryFilter{Project: project, State: schema.DeliveryFailed}
	logs, err := n.logsOf(ctx, &f)
	if err != nil {
		return b, err
	}
	const day = 24 * time.Hour // retries go on for more than one
	now := n.now()
	_, err = n.eachRecord(ctx, n.readers(logs, &f, ""), firstID(now.Add(-4*day)), func(r *store.Record) (bool, error) {
		if state, tried := readState(r); state == schema.DeliveryFailed && !tried.Before(now.Add(-day)) {
			b.Failed++
			p, _ := splitQueue(r.Log)
			b.FailedBy[p]++
		}
		return b.Failed < maxGivenUp, nil
	})
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
