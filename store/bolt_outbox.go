package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
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
func (b *Bolt) Enqueue(ctx context.Context, items ...Item) error {
	if err := checkItems(items); err != nil || len(items) == 0 {
		return err
	}
	places, values := make([][]byte, len(items)), make([][]byte, len(items))
	for i, it := range items {
		places[i] = place(it.Queue, it.Due)
		values[i] = join(places[i], it.Body)
	}
	return b.update(ctx, func(tx *bbolt.Tx) error {
		for i := range items {
			id := []byte(items[i].ID)
			if tx.Bucket(bucketItems).Get(id) != nil {
				continue
			}
			if err := errors.Join(putItem(tx, id, places[i], values[i]), count(tx, items[i].Queue, 1)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// place is where an item of a queue stands in bucketDue, but for its id; its value begins with it.
func place(queue string, due time.Time) []byte {
	return binary.BigEndian.AppendUint64([]byte(queue+"\x00"), millis(due))
}

func putItem(tx *bbolt.Tx, id, place, value []byte) error {
	return errors.Join(tx.Bucket(bucketDue).Put(join(place, id), nil), tx.Bucket(bucketItems).Put(id, value))
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
	end := place(queue, now)
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

// Lease is Outbox's. It writes nothing to the disk.
func (b *Bolt) Lease(ctx context.Context, queue string, now time.Time, limit int, keep time.Duration) (leased []Leased, err error) {
	if limit < 1 {
		return nil, nil
	}
	token := rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		items := tx.Bucket(bucketItems)
		b.due(tx, queue, now, func(id []byte) bool {
			body := items.Get(id)[len(queue)+1+8:]
			leased = append(leased, Leased{ID: string(id), Queue: queue, Body: bytes.Clone(body), Token: token})
			return len(leased) < limit
		})
		return nil
	})
	for _, l := range leased {
		b.leases[l.ID] = lease{token, now.Add(keep)}
	}
	return leased, err
}

// Ack is Outbox's.
func (b *Bolt) Ack(ctx context.Context, l Leased) error {
	return b.giveBack(ctx, l, func(tx *bbolt.Tx, id []byte) error {
		return errors.Join(tx.Bucket(bucketItems).Delete(id), count(tx, l.Queue, -1))
	})
}

// Reschedule is Outbox's.
func (b *Bolt) Reschedule(ctx context.Context, l Leased, due time.Time, body []byte) error {
	to := place(l.Queue, due)
	value := join(to, body)
	return b.giveBack(ctx, l, func(tx *bbolt.Tx, id []byte) error { return putItem(tx, id, to, value) })
}

// giveBack takes an item off its place in bucketDue, does what comes instead, and ends the lease.
func (b *Bolt) giveBack(ctx context.Context, l Leased, instead func(tx *bbolt.Tx, id []byte) error) error {
	id := []byte(l.ID)
	return b.update(ctx, func(tx *bbolt.Tx) error {
		b.mu.Lock()
		held := b.leases[l.ID]
		b.mu.Unlock()
		old := tx.Bucket(bucketItems).Get(id)
		if held.token == "" || held.token != l.Token || !bytes.HasPrefix(old, []byte(l.Queue+"\x00")) {
			return ErrConflict
		}
		return errors.Join(tx.Bucket(bucketDue).Delete(join(old[:len(l.Queue)+1+8], id)), instead(tx, id))
	}, func() {
		// Only now: until the item has left its place for all to see, the lease keeps others off it.
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.leases, l.ID)
	})
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
