package notify

import (
	"context"
	"errors"
	"fmt"
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
	errNoStore = fmt.Errorf("%w: none is configured", store.ErrUnavailable)
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
	readers := make([]logReader, len(logs))
	for i, log := range logs {
		readers[i] = logReader{store: n.store, log: log, before: before}
	}
	for range maxScan {
		r, err := newest(ctx, readers)
		if err != nil || r == nil || r.ID < since {
			return "", err
		}
		before = r.ID
		d, _, _ := readDelivery(r)
		if !selects(&f, &d) {
			continue
		}
		if more, err := yield(&d, r); err != nil || !more {
			return before, err
		}
	}
	return before, nil
}

// logsOf returns the logs in which there may be what the filter selects.
func (n *Notify) logsOf(ctx context.Context, f *schema.DeliveryFilter) (logs []string, err error) {
	if n.store == nil {
		return nil, errNoStore
	}
	if f.Project != "" && f.Webhook != 0 {
		return []string{queueOf(f.Project, f.Webhook)}, nil
	}
	all, err := n.store.Logs(ctx)
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
		(f.CallID == "" || f.CallID == d.CallID) && (f.Since.IsZero() || !d.Created.Before(f.Since))
}

// logReader goes through a log backwards.
type logReader struct {
	store  store.Records
	log    string
	before string
	list   []store.Record
	ended  bool
}

// peek returns the next record, nil at the end.
func (r *logReader) peek(ctx context.Context) (*store.Record, error) {
	if len(r.list) == 0 && !r.ended {
		list, err := r.store.ListRecords(ctx, r.log, r.before, page)
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
// ErrWaiting and ErrNoEvent say why it can't.
func (n *Notify) Replay(ctx context.Context, id string) error {
	r, err := n.record(ctx, id)
	if err != nil {
		return err
	}
	return n.replay(ctx, &r)
}

// ReplayFailed is Replay of all failed deliveries that the filter selects, whatever its State. It
// returns how many it put back, with an error too.
func (n *Notify) ReplayFailed(ctx context.Context, f schema.DeliveryFilter) (replayed int, err error) {
	f.State = schema.DeliveryFailed
	for before := ""; ; {
		before, err = n.each(ctx, f, before, func(_ *schema.Delivery, r *store.Record) (bool, error) {
			err := n.replay(ctx, r)
			if errors.Is(err, ErrNoEvent) {
				return true, nil
			}
			if err == nil {
				replayed++
			}
			return true, err
		})
		if err != nil || before == "" {
			return replayed, err
		}
	}
}

func (n *Notify) replay(ctx context.Context, r *store.Record) error {
	d, created, event := readDelivery(r)
	switch {
	case d.State == schema.DeliveryWaiting:
		return ErrWaiting
	case event == nil:
		return ErrNoEvent
	}
	now := n.now()
	p := pending{Created: created, Event: event}
	item := store.Item{ID: r.ID, Queue: r.Log, Due: now, Body: p.encode()}
	if err := n.store.Enqueue(ctx, item); err != nil {
		return err
	}
	entry := logEntry{State: schema.DeliveryWaiting, Next: &now, Replayed: now}
	// A crash before this leaves a delivery that the log has as failed, and that comes all the same.
	err := n.written.flush(ctx, store.Record{Log: r.Log, ID: r.ID, Body: entry.line()})
	n.wakeLanes([]store.Item{item})
	return err
}
