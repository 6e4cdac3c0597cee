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
	// noteAfter is how often the store is told of an endpoint that it fails, or works: it is not asked to
	// write with every request.
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

// failing is a run of failures as the store has it, across restarts and for all instances.
type failing struct {
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	Notes int       `json:"notes"` // how often the store was told of it
}

// minNotes is how many notes an endpoint is disabled for at least: that it failed twice, days apart and with
// nothing in between, says little.
const minNotes = 5

// quiet is how long nothing may be heard of an endpoint in a run of failures; the next one begins another.
func quiet(limit time.Duration) time.Duration { return max(limit/4, time.Hour) }

// noteFailing keeps in the store that an endpoint failed at now, since when on this instance, and
// disables it where that has gone on for too long.
func (n *Notify) noteFailing(l *lane, limit time.Duration, since, now time.Time, kept bool) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	run := failing{Since: since}
	text, err := n.store.Get(ctx, failingKey(l.queue))
	switch {
	case err == nil:
		var known failing
		if json.Unmarshal(text, &known) == nil && now.Sub(known.Last) <= quiet(limit) {
			if run.Notes = known.Notes; known.Since.Before(since) {
				run.Since = known.Since
			}
		}
	case !errors.Is(err, store.ErrNotFound):
		return // with the next failure
	case kept: // and another instance has had better luck in the meantime
		run.Since = now
	}
	run.Last = now
	run.Notes++
	if n.store.Set(ctx, failingKey(l.queue), mustJSON(run), 2*quiet(limit)) != nil {
		return
	}
	n.mu.Lock()
	if !l.since.IsZero() {
		l.since, l.kept = run.Since, true
	}
	n.mu.Unlock()
	if now.Sub(run.Since) >= limit && run.Notes >= minNotes {
		n.disable(l.queue, "it has failed since "+run.Since.UTC().Format(time.RFC3339))
	}
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
	n.mu.Lock()
	if mine, still := n.disabled[queue]; still && mine.version == 0 {
		if d.version = version; err == nil {
			n.disabled[queue] = d
		} else { // it holds on all instances or on none: what only this one knew, nobody could enable
			delete(n.disabled, queue)
			n.reopen(queue)
		}
	}
	n.mu.Unlock()
	switch {
	case err == nil:
		n.notice(ctx, queue, "disabled: "+reason)
	case errors.Is(err, store.ErrConflict): // another instance was first
		_ = n.readDisabled(ctx) // else with the next change
	default:
		n.log.Error("a webhook is not disabled until the store takes it; its next failure tries again", zap.String("queue", queue), zap.Error(err))
	}
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
		l.failures, l.since, l.kept, l.paused = 0, time.Time{}, false, time.Time{}
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
