package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"hookswitch/schema"
	"hookswitch/store"
)

// The errors of the delivery log, beside the store's own: store.ErrNotFound where there is no such
// delivery.
var (
	// ErrWaiting says that a delivery is under way already, by its retries or another replay.
	ErrWaiting = errors.New("the delivery waits for its next attempt; a replay would make it two")
	// ErrNoEvent says that the log has lost the event: a crash or the log's bounds took its first entry.
	ErrNoEvent = errors.New("the log no longer has the delivery's event")
	// ErrNoWebhook says that nobody would deliver it.
	ErrNoWebhook = errors.New("no webhook has the delivery's webhook id any more; give that id to the one that shall have it, and replay then")
	errNoStore   = fmt.Errorf("%w: none is configured", store.ErrUnavailable)
)

const (
	page = 64 // records read of a log at a time
	// maxScan bounds the records that one call looks at; what a filter lets pass may be rare.
	maxScan = 5000
)

// firstID is lower than every delivery's id from then on, and higher than those before.
func firstID(t time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(time.UnixMilli(max(0, t.UnixMilli())))) // fails in the year 10889
	return id.String()
}

// List returns up to limit deliveries that were tried at least once, those of the newest events first,
// and where to go on: before, "" for the beginning. next is "" at the end. A page may be short, or even
// empty, where few of many match.
func (n *Notify) List(ctx context.Context, f schema.DeliveryFilter, before string, limit int) (list []schema.Delivery, next string, err error) {
	list = []schema.Delivery{}
	next, err = n.each(ctx, f, before, func(d *schema.Delivery, _ *store.Record) (bool, error) {
		list = append(list, *d)
		return len(list) < limit, nil
	})
	return list, next, err
}

// each yields the deliveries that the filter selects, until yield says false; next is where to go on.
func (n *Notify) each(ctx context.Context, f schema.DeliveryFilter, before string, yield func(*schema.Delivery, *store.Record) (bool, error)) (next string, err error) {
	logs, err := n.logsOf(ctx, &f)
	if err != nil {
		return "", err
	}
	since := ""
	if !f.Since.IsZero() {
		since = firstID(f.Since)
	}
	return n.eachRecord(ctx, n.readers(logs, &f, before), since, func(r *store.Record) (bool, error) {
		d, _, _ := readDelivery(r)
		if !selects(&f, &d) {
			return true, nil
		}
		return yield(&d, r)
	})
}

// eachRecord yields what the readers have, the newest first, down to the id since and maxScan records at most.
func (n *Notify) eachRecord(ctx context.Context, readers []logReader, since string, yield func(*store.Record) (bool, error)) (next string, err error) {
	for range maxScan {
		r, err := newest(ctx, readers)
		if err != nil || r == nil || r.ID < since {
			return "", err
		}
		next = r.ID
		if more, err := yield(r); err != nil || !more {
			return next, err
		}
	}
	return next, nil
}

// readers read what the filter may select of the logs. What failed is among the held records, where it need
// not be looked for among all that was delivered.
func (n *Notify) readers(logs []string, f *schema.DeliveryFilter, before string) []logReader {
	list := n.store.ListRecords
	if f.State == schema.DeliveryFailed {
		list = n.store.ListHeld
	}
	readers := make([]logReader, len(logs))
	for i, log := range logs {
		readers[i] = logReader{more: list, log: log, before: before}
	}
	return readers
}

// logsOf returns the logs in which there may be what the filter selects.
func (n *Notify) logsOf(ctx context.Context, f *schema.DeliveryFilter) (logs []string, err error) {
	if n.store == nil {
		return nil, errNoStore
	}
	if f.Project != "" && f.Webhook != 0 {
		return []string{queueOf(f.Project, f.Webhook)}, nil
	}
	names := n.store.Logs
	if f.State == schema.DeliveryFailed {
		names = n.store.HeldLogs
	}
	all, err := names(ctx)
	for _, log := range all {
		project, webhook := splitQueue(log)
		if (f.Project == "" || f.Project == project) && (f.Webhook == 0 || f.Webhook == webhook) {
			logs = append(logs, log)
		}
	}
	return logs, err
}

func selects(f *schema.DeliveryFilter, d *schema.Delivery) bool {
	return (f.State == "" || f.State == d.State) && (f.Event == "" || f.Event == d.Event) &&
		(f.CallID == "" || f.CallID == d.CallID) && (f.Since.IsZero() || !d.Created.Before(f.Since)) && (f.Tried.IsZero() || !lastTried(d).Before(f.Tried))
}

// lastTried is when a delivery's last attempt began, or when it was created where the log has none.
func lastTried(d *schema.Delivery) time.Time {
	if len(d.Attempts) == 0 {
		return d.Created
	}
	return d.Attempts[len(d.Attempts)-1].At
}

// logReader goes through a log backwards.
type logReader struct {
	more   func(ctx context.Context, log, before string, limit int) ([]store.Record, error)
	log    string
	before string
	list   []store.Record
	ended  bool
}

// peek returns the next record, nil at the end.
func (r *logReader) peek(ctx context.Context) (*store.Record, error) {
	if len(r.list) == 0 && !r.ended {
		list, err := r.more(ctx, r.log, r.before, page)
		if err != nil {
			return nil, err
		}
		r.list, r.ended = list, len(list) < page
	}
	if len(r.list) == 0 {
		return nil, nil
	}
	return &r.list[0], nil
}

// newest takes the newest record that any reader has next, nil where all are at their end.
func newest(ctx context.Context, readers []logReader) (*store.Record, error) {
	var best *logReader
	for i := range readers {
		r, err := readers[i].peek(ctx)
		if err != nil {
			return nil, err
		}
		if r != nil && (best == nil || r.ID > best.list[0].ID) {
			best = &readers[i]
		}
	}
	if best == nil {
		return nil, nil
	}
	r := &best.list[0]
	best.list, best.before = best.list[1:], r.ID
	return r, nil
}

// Get returns a delivery, or store.ErrNotFound; one that was not tried yet is not in the log.
func (n *Notify) Get(ctx context.Context, id string) (schema.Delivery, error) {
	r, err := n.record(ctx, id)
	if err != nil {
		return schema.Delivery{}, err
	}
	d, _, _ := readDelivery(&r)
	return d, nil
}

// record finds a delivery's record by its id, which ends in the webhook's.
func (n *Notify) record(ctx context.Context, id string) (r store.Record, err error) {
	if n.store == nil {
		return r, errNoStore
	}
	_, webhook, _ := strings.Cut(id, "-")
	logs, err := n.store.Logs(ctx)
	if err != nil {
		return r, err
	}
	for _, log := range logs {
		if !strings.HasSuffix(log, "/"+webhook) || webhook == "" {
			continue
		}
		if r, err = n.store.GetRecord(ctx, log, id); !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
	}
	return r, store.ErrNotFound
}

// Replay delivers again what was delivered or given up, from its first attempt on and under its id.
// ErrWaiting, ErrNoEvent and ErrNoWebhook say why it can't.
func (n *Notify) Replay(ctx context.Context, id string) error {
	r, err := n.record(ctx, id)
	if err != nil {
		return err
	}
	if !n.known(ctx, r.Log) {
		return ErrNoWebhook
	}
	d, _, event := readDelivery(&r)
	switch {
	case event == nil && d.State == schema.DeliveryWaiting:
		return ErrWaiting
	case event == nil:
		return ErrNoEvent
	}
	if replayed, err := n.replay(ctx, r); replayed > 0 || err != nil {
		return err
	}
	return ErrWaiting
}

// maxReplayed bounds what one call of ReplayFailed does, so that its caller hears of it in time.
const maxReplayed = 1000

// ReplayFailed is Replay of failed deliveries that the filter selects, whatever its State; those that
// can't be replayed are passed over. It begins before the delivery with the id before, "" for the last
// one, and ends in time for ctx. It returns how many it put back, with an error too, and where to go on,
// "" where there are no more.
func (n *Notify) ReplayFailed(ctx context.Context, f schema.DeliveryFilter, before string) (replayed int, next string, err error) {
	f.State = schema.DeliveryFailed
	known := map[string]bool{}
	for {
		var batch []store.Record
		next, err = n.each(ctx, f, before, func(_ *schema.Delivery, r *store.Record) (bool, error) {
			is, asked := known[r.Log]
			if !asked {
				is = n.known(ctx, r.Log)
				known[r.Log] = is
			}
			if is {
				batch = append(batch, *r)
			}
			return len(batch) < page, nil
		})
		if err == nil {
			var some int
			some, err = n.replay(ctx, batch...)
			replayed += some
		}
		if err != nil {
			return replayed, before, err
		}
		deadline, bound := ctx.Deadline()
		if next == "" || replayed >= maxReplayed || bound && time.Until(deadline) < storeTime {
			return replayed, next, nil
		}
		before = next
	}
}

// replay puts deliveries back, those that have their event, and returns how many were not in the outbox
// yet. Whether they are the outbox knows; the log may be behind, and ahead of it where a delivery is just
// being given up.
func (n *Notify) replay(ctx context.Context, records ...store.Record) (int, error) {
	now := n.now()
	var items []store.Item
	for i := range records {
		if _, created, event := readDelivery(&records[i]); event != nil {
			p := pending{Created: created, Event: event}
			items = append(items, store.Item{ID: records[i].ID, Queue: records[i].Log, Due: now, Body: p.encode()})
		}
	}
	there, err := n.store.Enqueue(ctx, items...)
	if err != nil {
		return 0, err
	}
	items = slices.DeleteFunc(items, func(it store.Item) bool { return slices.Contains(there, it.ID) })
	entry := logEntry{State: schema.DeliveryWaiting, Next: &now, Replayed: now}
	for i := range items {
		n.written.add(store.Record{Log: items[i].Queue, ID: items[i].ID, Body: entry.line()})
	}
	_ = n.written.flush(ctx) // else a little later: they come in any case
	n.wakeLanes(items)
	return len(items), nil
}
