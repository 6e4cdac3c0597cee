package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"
	"go.uber.org/zap"

	"hookswitch/schema"
	"hookswitch/store"
)

// logEntry is what one request adds to a delivery's record: a line of JSON.
type logEntry struct {
	// Created and Event stand in the first entry, and in the one by which a delivery failed.
	Created time.Time               `json:"created,omitzero"`
	Event   json.RawMessage         `json:"event,omitempty"`
	Attempt *schema.DeliveryAttempt `json:"attempt,omitempty"`
	State   schema.DeliveryState    `json:"state"`
	Next    *time.Time              `json:"next,omitempty"`
	// Replayed is when a replay was asked for, of an entry that tells of one.
	Replayed time.Time `json:"replayed,omitzero"`
}

// at is when it happened. Entries may be written in another order, by several instances for example.
func (e *logEntry) at() time.Time {
	if e.Attempt != nil {
		return e.Attempt.At
	}
	return e.Replayed
}

// line is the entry in JSON. Its event is put in as it is, which encoding/json would not do.
func (e *logEntry) line() []byte {
	event := e.Event
	rest := *e
	rest.Event = nil
	b := mustJSON(rest)
	if event == nil {
		return append(b, '\n')
	}
	line := make([]byte, 0, len(b)+len(event)+len(`"event":,`)+1)
	line = append(append(append(line, `{"event":`...), event...), ',')
	return append(append(line, b[1:]...), '\n') // b has a state, at least
}

// maxExcerpt bounds what the log keeps of a request and of its answer, in bytes.
const maxExcerpt = 1 << 10

func attemptOf(began time.Time, sent *schema.Sent, success string) *schema.DeliveryAttempt {
	a := &schema.DeliveryAttempt{
		At: began, Status: sent.Status, TookMS: float64(sent.Took.Microseconds()) / 1000,
		Request: excerpt(sent.Request), Answer: excerpt(sent.Answer),
	}
	switch {
	case sent.Reason != schema.ReasonOK:
		a.Error = sent.Reason.String()
		if sent.Detail != "" {
			a.Error += ": " + excerpt(sent.Detail)
		}
	case !succeeded(success, sent.Status):
		a.Error = "the status is not " + success
	}
	return a
}

// excerpt is the text's beginning.
func excerpt(text string) string {
	if len(text) <= maxExcerpt {
		return text
	}
	return string(bytes.ToValidUTF8([]byte(text[:maxExcerpt]), nil)) + "…"
}

// readDelivery makes a delivery of its record, and returns the event for a replay, nil where the record
// has lost it.
func readDelivery(r *store.Record) (d schema.Delivery, created time.Time, event json.RawMessage) {
	d.ID, d.Attempts = r.ID, []schema.DeliveryAttempt{}
	d.Project, d.Webhook = splitQueue(r.Log)
	var entries []logEntry
	for line := range bytes.Lines(r.Body) {
		var e logEntry
		if json.Unmarshal(line, &e) == nil { // else nothing that we wrote
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, b logEntry) int { return a.at().Compare(b.at()) })
	for _, e := range entries {
		if e.Event != nil {
			created, event = e.Created, e.Event
		}
		if e.Attempt != nil {
			d.Attempts = append(d.Attempts, *e.Attempt)
		}
		d.State, d.Next = e.State, e.Next
	}
	var e schema.Event
	if event != nil && json.Unmarshal(event, &e) == nil {
		d.Created, d.Event, d.EventID, d.CallID = created, e.Kind, e.ID, e.CallID
	}
	return d, created, event
}

// readState is what readDelivery says of the delivery's state, and when it was last tried. It makes less garbage:
// it is done of all that failed, again and again while somebody watches.
func readState(r *store.Record) (state schema.DeliveryState, tried time.Time) {
	var created, last time.Time
	for line := range bytes.Lines(r.Body) {
		e, ok := readEntry(line)
		if !ok || e.at().Before(last) {
			continue // nothing that we wrote, or of before
		}
		state, last = e.State, e.at()
		if e.Attempt != nil {
			tried = last
		}
		if !e.Created.IsZero() {
			created = e.Created
		}
	}
	if tried.IsZero() {
		tried = created
	}
	return state, tried
}

// readEntry reads the state and the times of a line.
func readEntry(line []byte) (e logEntry, ok bool) {
	if !gjson.ValidBytes(line) {
		return e, false
	}
	gjson.ParseBytes(line).ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "created":
			e.Created, _ = time.Parse(time.RFC3339Nano, value.Str)
		case "attempt":
			e.Attempt = &schema.DeliveryAttempt{}
			e.Attempt.At, _ = time.Parse(time.RFC3339Nano, value.Get("at").Str)
		case "state":
			e.State = schema.DeliveryState(value.Str)
		case "replayed":
			e.Replayed, _ = time.Parse(time.RFC3339Nano, value.Str)
		}
		return true
	})
	return e, true
}

const (
	writeEvery = 200 * time.Millisecond // how far the log may be behind
	maxUnsaid  = 20_000                 // entries that wait for a store that is down; the oldest go
	maxWritten = 200                    // in one write, so that no other waits long for it
)

// logbook writes the delivery log, behind the deliveries: a crash loses the last entries, but never
// those of failed deliveries, which are flushed, and held apart from what newer ones push out.
type logbook struct {
	store   store.Store
	metrics *metrics
	log     *zap.Logger
	keep    atomic.Int64 // records of a webhook
	wake    chan struct{}

	writing sync.Mutex // held while records are written: each record's lines keep their order

	mu   sync.Mutex // guards list
	list []store.Record
}

func (b *logbook) add(r store.Record) {
	if r.ID == "" {
		return
	}
	b.mu.Lock()
	b.list = append(b.list, r)
	if over := len(b.list) - maxUnsaid; over > 0 {
		b.list = b.list[over:]
		b.metrics.unlogged.Add(float64(over))
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run writes what was added, a little later, until it is over, and then the rest.
func (b *logbook) run(ctx context.Context, over <-chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-b.wake:
		case <-over:
			ended = true
		}
		if err := b.flush(ctx); err != nil {
			b.log.Error("the delivery log is behind", zap.Error(err))
		}
		select {
		case <-time.After(writeEvery):
		case <-over:
		}
	}
}

// flush writes what was added and then more. What it can't write stays, but for more.
func (b *logbook) flush(ctx context.Context, more ...store.Record) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	list := b.list
	b.list = nil
	b.mu.Unlock()
	keep := int(b.keep.Load())
	for len(list) > 0 {
		some := list[:min(len(list), maxWritten)]
		if err := b.write(ctx, keep, some); err != nil {
			b.mu.Lock()
			b.list = append(list, b.list...)
			b.mu.Unlock()
			return err
		}
		list = list[len(some):]
	}
	return b.write(ctx, keep, more)
}

func (b *logbook) write(ctx context.Context, keep int, records []store.Record) error {
	dropped, err := b.store.AddRecords(ctx, keep, records...)
	if dropped > 0 {
		b.metrics.forgotten.Add(float64(dropped))
		b.log.Error("deliveries that were given up can no longer be replayed: there are too many of them; raise events.log_entries, or replay them sooner",
			zap.Int("deliveries", dropped))
	}
	return err
}

// forgetOld forgets what is older than the log is kept, a bounded number of each webhook at a time.
func (n *Notify) forgetOld(ctx context.Context, now time.Time) {
	logs, err := n.store.Logs(ctx)
	if err != nil {
		return // said by now
	}
	before := firstID(now.Add(-n.settings.Load().LogFor))
	for _, log := range logs {
		for range 10 {
			forgotten, err := n.store.ForgetRecords(ctx, log, before, maxWritten)
			if err != nil || forgotten < maxWritten {
				break
			}
		}
	}
}
