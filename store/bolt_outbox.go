package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"go.etcd.io/bbolt"
)

// lease says who holds an item until when. The file has one process, so leases live in its memory:
// when it dies, whoever held them is dead too.
type lease struct {
	token string
	until time.Time
}

// Enqueue is Outbox's.
func (b *Bolt) Enqueue(ctx context.Context, items ...Item) (there []string, err error) {
	if err := checkItems(items); err != nil || len(items) == 0 {
		return nil, err
	}
	kept := keptItems(items)
	var found []string
	err = b.update(ctx, func(tx *bbolt.Tx) (err error) {
		found, err = addItems(tx, kept)
		return err
	}, nil)
	if err != nil {
		return nil, err // and found may be written to yet
	}
	return found, nil
}

// EnqueueOnce is Outbox's.
func (b *Bolt) EnqueueOnce(ctx context.Context, once Once, items ...Item) ([]byte, bool, error) {
	if err := checkOnce(once, items); err != nil {
		return nil, false, err
	}
	kept, value := keptItems(items), bytes.Clone(once.Value)
	var existing []byte
	err := b.update(ctx, func(tx *bbolt.Tx) error {
		key := []byte(aName + once.Name)
		if old := b.live(tx.Bucket(bucketValues).Get(key)); old != nil {
			existing = bytes.Clone(old)
			return ErrConflict
		}
		_, err := addItems(tx, kept)
		return errors.Join(err, b.putValue(tx, key, value, once.Keep))
	}, nil)
	switch err {
	case nil:
		return nil, true, nil
	case ErrConflict:
		return existing, false, nil
	}
	return nil, false, err
}

// keptItem is an item as the file has it: its value begins with its place.
type keptItem struct {
	Item
	value []byte
}

func keptItems(items []Item) []keptItem {
	kept := make([]keptItem, len(items))
	for i, it := range items {
		kept[i] = keptItem{it, join(place(it.Queue, millis(it.Due)), it.Body)}
	}
	return kept
}

// addItems returns the ids of those that were there already.
func addItems(tx *bbolt.Tx, kept []keptItem) (there []string, err error) {
	for _, it := range kept {
		id := []byte(it.ID)
		if tx.Bucket(bucketItems).Get(id) != nil {
			there = append(there, it.ID)
			continue
		}
		if it.Group != "" {
			if err := joinGroup(tx, &it); err != nil {
				return nil, err
			}
		}
		if err := errors.Join(putItem(tx, id, it.Queue, it.value), count(tx, it.Queue, 1)); err != nil {
			return nil, err
		}
	}
	return there, nil
}

// never is when an item is due that waits for another of its group.
const never = math.MaxUint64

// joinGroup puts an item at its group's end. Where there are others before it, it is not due.
func joinGroup(tx *bbolt.Tx, it *keptItem) error {
	groups := tx.Bucket(bucketGroups)
	n, err := groups.NextSequence()
	if err != nil {
		return err
	}
	prefix := []byte(it.Group + "\x00")
	first, _ := groups.Cursor().Seek(prefix)
	if bytes.HasPrefix(first, prefix) {
		it.value = join(place(it.Queue, never), it.Body)
	}
	key := join(prefix, number(n))
	return errors.Join(groups.Put(key, join(number(millis(it.Due)), []byte(it.ID))), tx.Bucket(bucketGrouped).Put([]byte(it.ID), key))
}

// leaveGroup takes an item that is done with off its group, if it has one, whose next it makes due, in
// whichever queue that is.
func leaveGroup(tx *bbolt.Tx, id []byte) error {
	groups, grouped := tx.Bucket(bucketGroups), tx.Bucket(bucketGrouped)
	key := bytes.Clone(grouped.Get(id))
	if key == nil {
		return nil
	}
	if err := errors.Join(grouped.Delete(id), groups.Delete(key)); err != nil {
		return err
	}
	next, entry := groups.Cursor().Seek(key)
	if !bytes.HasPrefix(next, key[:len(key)-8]) {
		return nil
	}
	due, following := binary.BigEndian.Uint64(entry), bytes.Clone(entry[8:])
	old := tx.Bucket(bucketItems).Get(following)
	name, _, _ := bytes.Cut(old, []byte{0})
	queue := string(name)
	to := join(place(queue, due), old[placeLen(queue):])
	return errors.Join(tx.Bucket(bucketDue).Delete(join(old[:placeLen(queue)], following)), putItem(tx, following, queue, to))
}

// place is where an item of a queue stands in bucketDue, but for its id; its value begins with it.
func place(queue string, due uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(queue+"\x00"), due)
}

func placeLen(queue string) int { return len(queue) + 1 + 8 }

func putItem(tx *bbolt.Tx, id []byte, queue string, value []byte) error {
	return errors.Join(tx.Bucket(bucketDue).Put(join(value[:placeLen(queue)], id), nil), tx.Bucket(bucketItems).Put(id, value))
}

// count adds n to what is in the queue.
func count(tx *bbolt.Tx, queue string, n int) error {
	queues, key := tx.Bucket(bucketQueues), []byte(queue)
	if old := queues.Get(key); old != nil {
		n += int(binary.BigEndian.Uint64(old))
	}
	if n == 0 {
		return queues.Delete(key)
	}
	return queues.Put(key, number(uint64(n)))
}

// Ready is Outbox's.
func (b *Bolt) Ready(ctx context.Context, now time.Time) (ready []string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketQueues).ForEach(func(queue, _ []byte) error {
			b.due(tx, string(queue), now, func([]byte) bool {
				ready = append(ready, string(queue))
				return false
			})
			return nil
		})
	})
	return ready, err
}

// due yields the ids of the queue's items that are due at now and that nobody holds, the earliest
// first, while yield wants more. The caller has b.mu.
func (b *Bolt) due(tx *bbolt.Tx, queue string, now time.Time, yield func(id []byte) bool) {
	end := place(queue, millis(now))
	c := tx.Bucket(bucketDue).Cursor()
	for k, _ := c.Seek(end[:len(queue)+1]); len(k) > len(end) && bytes.Compare(k[:len(end)], end) <= 0; k, _ = c.Next() {
		id := k[len(end):]
		if l, held := b.leases[string(id)]; held && now.Before(l.until) {
			continue
		}
		if !yield(id) {
			return
		}
	}
}

// Lease is Outbox's.
func (b *Bolt) Lease(ctx context.Context, queue string, now time.Time, limit int, keep time.Duration) ([]Leased, error) {
	return b.LeaseAll(ctx, now, Want{queue, limit, keep})
}

// LeaseAll is Outbox's. It writes nothing to the disk.
func (b *Bolt) LeaseAll(ctx context.Context, now time.Time, wants ...Want) (leased []Leased, err error) {
	token := rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		items := tx.Bucket(bucketItems)
		for _, w := range wants {
			if w.Limit < 1 {
				continue
			}
			end := len(leased) + w.Limit
			b.due(tx, w.Queue, now, func(id []byte) bool {
				body := items.Get(id)[placeLen(w.Queue):]
				leased = append(leased, Leased{ID: string(id), Queue: w.Queue, Body: bytes.Clone(body), Token: token})
				b.leases[string(id)] = lease{token, now.Add(w.Keep)}
				return len(leased) < end
			})
		}
		return nil
	})
	return leased, err
}

// Ack is Outbox's.
func (b *Bolt) Ack(ctx context.Context, l Leased) error { return only(b.Settle(ctx, Outcome{Of: l})) }

// Reschedule is Outbox's.
func (b *Bolt) Reschedule(ctx context.Context, l Leased, due time.Time, body []byte) error {
	return only(b.Settle(ctx, Outcome{Of: l, Again: true, Due: due, Body: body}))
}

// only is the error of settling a single item.
func only(lost int, err error) error {
	if err == nil && lost > 0 {
		return ErrConflict
	}
	return err
}

// Settle is Outbox's.
func (b *Bolt) Settle(ctx context.Context, outcomes ...Outcome) (lost int, err error) {
	// What the transaction uses must be its own, as it may run after ctx has ended.
	todo := make([]Outcome, len(outcomes))
	for i, o := range outcomes {
		todo[i] = o
		todo[i].Body = bytes.Clone(o.Body)
	}
	var settled []string
	err = b.update(ctx, func(tx *bbolt.Tx) error {
		settled = settled[:0]
		for i := range todo {
			switch err := b.settle(tx, &todo[i]); {
			case err == nil:
				settled = append(settled, todo[i].Of.ID)
			case err != ErrConflict:
				return err
			}
		}
		if len(settled) == 0 {
			return ErrConflict
		}
		return nil
	}, func() {
		// Only now: until an item has left its place for all to see, the lease keeps others off it.
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, id := range settled {
			delete(b.leases, id)
		}
	})
	switch {
	case err == ErrConflict:
		return len(outcomes), nil
	case err != nil:
		return 0, err
	}
	return len(outcomes) - len(settled), nil
}

// settle takes an item off its place, and puts it where it belongs by now.
func (b *Bolt) settle(tx *bbolt.Tx, o *Outcome) error {
	id, queue := []byte(o.Of.ID), o.Of.Queue
	b.mu.Lock()
	held := b.leases[o.Of.ID]
	b.mu.Unlock()
	items := tx.Bucket(bucketItems)
	old := items.Get(id)
	if held.token == "" || held.token != o.Of.Token || !bytes.HasPrefix(old, []byte(queue+"\x00")) {
		return ErrConflict
	}
	if err := tx.Bucket(bucketDue).Delete(join(old[:placeLen(queue)], id)); err != nil {
		return err
	}
	if o.Again {
		return putItem(tx, id, queue, join(place(queue, millis(o.Due)), o.Body))
	}
	return errors.Join(items.Delete(id), count(tx, queue, -1), leaveGroup(tx, id))
}

// Held is Outbox's.
func (b *Bolt) Held(ctx context.Context) (map[string]int, error) {
	held := map[string]int{}
	err := b.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketQueues).ForEach(func(queue, n []byte) error {
			held[string(queue)] = int(binary.BigEndian.Uint64(n))
			return nil
		})
	})
	return held, err
}
