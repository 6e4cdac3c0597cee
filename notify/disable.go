package notify

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"hookswitch/store"
)

const (
	// disabledKind is the kind of the documents that say which endpoints are disabled, by queue: every
	// instance watches them.
	disabledKind = "webhook-disabled"
	noticesTrail = "notices"
	maxNotices   = 10_000
	// noteAfter is how long an endpoint has to fail before the store is told since when, and how often
	// it is told that one works: it is not asked to write with every request.
	noteAfter = time.Minute
)

// disabled is why and since when an endpoint gets nothing.
type disabled struct {
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason"`
	version uint64
}

// notice is an entry of the trail "notices": something that an operator should know.
type notice struct {
	At      time.Time `json:"at"`
	Project string    `json:"project"`
	Webhook int64     `json:"webhook"`
	Notice  string    `json:"notice"`
}

// storeTime bounds a step that no request waits for.
const storeTime = 3 * time.Second

func failingKey(queue string) string { return "failing:" + queue }

// noteFailing keeps in the store since when an endpoint has failed, across restarts and for all
// instances, and disables it where that has been too long.
func (n *Notify) noteFailing(l *lane, limit time.Duration, since time.Time, noted bool) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if !noted {
		first, set, err := n.store.SetIfAbsent(ctx, failingKey(l.queue), []byte(since.Format(time.RFC3339Nano)), limit+24*time.Hour)
		if err != nil {
			return // with the next failure
		}
		if earlier, err := time.Parse(time.RFC3339Nano, string(first)); !set && err == nil && earlier.Before(since) {
			since = earlier
		}
		n.mu.Lock()
		if !l.since.IsZero() {
			l.since, l.noted = since, true
		}
		n.mu.Unlock()
	}
	if limit == 0 || n.now().Sub(since) < limit {
		return
	}
	// Another instance may have had better luck in the meantime.
	if _, err := n.store.Get(ctx, failingKey(l.queue)); errors.Is(err, store.ErrNotFound) {
		n.mu.Lock()
		l.since, l.noted = n.now(), false
		n.mu.Unlock()
		return
	}
	n.disable(l.queue, "it has failed since "+since.UTC().Format(time.RFC3339))
}

// forgetFailing says that an endpoint works.
func (n *Notify) forgetFailing(queue string) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	_ = n.store.Unset(ctx, failingKey(queue)) // with a later success
}

// disable stops an endpoint on every instance, with a notice. Its deliveries are held.
func (n *Notify) disable(queue, reason string) {
	n.mu.Lock()
	if _, already := n.disabled[queue]; already {
		n.mu.Unlock()
		return
	}
	d := disabled{Since: n.now().UTC(), Reason: reason}
	n.disabled[queue] = d
	if l := n.lanes[queue]; l != nil {
		n.setOff(l)
	}
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	version, err := n.store.PutDoc(ctx, disabledKind, queue, mustJSON(d), 0)
	if errors.Is(err, store.ErrConflict) {
		return // another instance was first
	}
	if err != nil {
		n.log.Error("a webhook is disabled here, but other instances could not be told", zap.String("queue", queue), zap.Error(err))
	}
	n.mu.Lock()
	if _, still := n.disabled[queue]; still {
		d.version = version
		n.disabled[queue] = d
	}
	n.mu.Unlock()
	n.notice(ctx, queue, "disabled: "+reason)
}

// notice tells the operator.
func (n *Notify) notice(ctx context.Context, queue, text string) {
	project, webhook := splitQueue(queue)
	n.log.Warn("webhook "+text, zap.String("project", project), zap.Int64("webhook", webhook))
	n.metrics.notices.Inc()
	entry := notice{At: n.now().UTC(), Project: project, Webhook: webhook, Notice: text}
	if err := n.store.Append(ctx, noticesTrail, mustJSON(entry), maxNotices); err != nil {
		n.log.Error("a notice could not be kept", zap.Error(err))
	}
}

// Enable lets an endpoint that was disabled for its failures have its deliveries again, those held too.
// One that is not disabled stays as it is.
func (n *Notify) Enable(ctx context.Context, project string, webhook int64) error {
	if n.store == nil {
		return errNoStore
	}
	queue := queueOf(project, webhook)
	doc, err := n.store.GetDoc(ctx, disabledKind, queue)
	if err == nil {
		err = n.store.DeleteDoc(ctx, disabledKind, queue, doc.Version)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	enabled := err == nil
	if err := n.store.Unset(ctx, failingKey(queue)); err != nil {
		return err
	}
	n.mu.Lock()
	delete(n.disabled, queue)
	n.reopen(queue)
	n.mu.Unlock()
	if enabled {
		n.notice(ctx, queue, "enabled")
	}
	return nil
}

// reopen lets a lane begin anew, where it may. The caller has n.mu.
func (n *Notify) reopen(queue string) {
	l := n.lanes[queue]
	if l == nil {
		return
	}
	n.setOff(l)
	if !l.off {
		l.failures, l.since, l.noted, l.paused = 0, time.Time{}, false, time.Time{}
		l.width = min(startWidth, l.target.webhook.MaxInFlight)
		n.wakeLane(l)
	}
}

// Disabled says since when and why a webhook has been disabled for its failures, false where it is not.
func (n *Notify) Disabled(project string, webhook int64) (since time.Time, reason string, is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d, is := n.disabled[queueOf(project, webhook)]
	return d.Since, d.Reason, is
}

// watchDisabled follows what any instance disables and enables. It closes known when it knows that.
func (n *Notify) watchDisabled(ctx context.Context, known chan<- struct{}) {
	first := sync.OnceFunc(func() { close(known) })
	for range n.store.Watch(ctx) {
		for {
			err := n.readDisabled(ctx)
			if err == nil {
				first()
				break
			}
			if ctx.Err() != nil {
				return
			}
			n.log.Error("it is not known which webhooks are disabled", zap.Error(err))
			select {
			case <-time.After(busyStore):
			case <-ctx.Done():
			}
		}
	}
}

func (n *Notify) readDisabled(ctx context.Context) error {
	found := map[string]disabled{}
	for after := ""; ; {
		docs, err := n.store.ListDocs(ctx, disabledKind, "", after, page)
		if err != nil {
			return err
		}
		for _, doc := range docs {
			var d disabled
			_ = json.Unmarshal(doc.Body, &d) // that it is there is what counts
			d.version = doc.Version
			found[doc.ID], after = d, doc.ID
		}
		if len(docs) < page {
			break
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	was := n.disabled
	n.disabled = found
	for queue, d := range was {
		if _, still := found[queue]; still {
			continue
		}
		if d.version == 0 { // by this instance, just now
			found[queue] = d
			continue
		}
		n.reopen(queue)
	}
	for queue := range found {
		if l := n.lanes[queue]; l != nil {
			n.setOff(l)
		}
	}
	return nil
}
