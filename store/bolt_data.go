package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"
)

func docKey(kind, id string) []byte { return []byte(kind + "\x00" + id) }

func docOf(id, value []byte) Doc {
	return Doc{ID: string(id), Version: binary.BigEndian.Uint64(value), Body: bytes.Clone(value[8:])}
}

// GetDoc is Documents'.
func (b *Bolt) GetDoc(ctx context.Context, kind, id string) (d Doc, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketDocs).Get(docKey(kind, id))
		if v == nil {
			return ErrNotFound
		}
		d = docOf([]byte(id), v)
		return nil
	})
	return d, err
}

// PutDoc is Documents'.
func (b *Bolt) PutDoc(ctx context.Context, kind, id string, body []byte, expected uint64) (uint64, error) {
	if err := checkNames(kind, id); err != nil {
		return 0, err
	}
	return b.changeDoc(ctx, kind, id, join(number(0), body), expected)
}

// DeleteDoc is Documents'.
func (b *Bolt) DeleteDoc(ctx context.Context, kind, id string, expected uint64) error {
	_, err := b.changeDoc(ctx, kind, id, nil, expected)
	return err
}

// changeDoc gives the document that has the version expected another value, whose version it fills in
// and returns; nil deletes it.
func (b *Bolt) changeDoc(ctx context.Context, kind, id string, value []byte, expected uint64) (uint64, error) {
	var version uint64
	key := docKey(kind, id)
	err := b.update(ctx, func(tx *bbolt.Tx) error {
		docs := tx.Bucket(bucketDocs)
		var found uint64
		if v := docs.Get(key); v != nil {
			found = binary.BigEndian.Uint64(v)
		}
		switch {
		case found == 0 && (expected != 0 || value == nil):
			return ErrNotFound
		case found != expected:
			return ErrConflict
		}
		version = docs.Sequence() + 1
		if err := errors.Join(docs.SetSequence(version), b.noteChange(tx, kind, id, found, version, value == nil)); err != nil {
			return err
		}
		if value == nil {
			return docs.Delete(key)
		}
		binary.BigEndian.PutUint64(value, version)
		return docs.Put(key, value)
	}, b.wake)
	if err != nil {
		return 0, err
	}
	return version, nil
}

// ListDocs is Documents'.
func (b *Bolt) ListDocs(ctx context.Context, kind, prefix, after string, limit int) (list []Doc, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		within, c := docKey(kind, prefix), tx.Bucket(bucketDocs).Cursor()
		for k, v := c.Seek(docKey(kind, max(prefix, after))); bytes.HasPrefix(k, within) && len(list) < limit; k, v = c.Next() {
			if id := k[len(kind)+1:]; string(id) != after {
				list = append(list, docOf(id, v))
			}
		}
		return nil
	})
	return list, err
}

// Change is Documents'.
func (b *Bolt) Change(ctx context.Context) (n uint64, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		n = tx.Bucket(bucketDocs).Sequence()
		return nil
	})
	return n, err
}

// Watch is Documents'.
func (b *Bolt) Watch(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(ch)
		return ch
	}
	ch <- struct{}{}
	b.watchers[ch] = context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, open := b.watchers[ch]; open {
			delete(b.watchers, ch)
			close(ch)
		}
	})
	return ch
}

// wake wakes every watcher that is not awake already.
func (b *Bolt) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.watchers {
		wake(ch)
	}
}

func wake(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Append is Trails'.
func (b *Bolt) Append(ctx context.Context, trail string, body []byte, keep int) error {
	if err := checkNames(trail); err != nil {
		return err
	}
	body = bytes.Clone(body)
	return b.update(ctx, func(tx *bbolt.Tx) error {
		entries, err := tx.Bucket(bucketTrails).CreateBucketIfNotExists([]byte(trail))
		if err != nil {
			return err
		}
		n, err := entries.NextSequence()
		if err != nil {
			return err
		}
		if err := entries.Put(number(n), body); err != nil {
			return err
		}
		c := entries.Cursor()
		for k, _ := c.First(); binary.BigEndian.Uint64(k)+uint64(max(1, keep)) <= n; k, _ = c.First() {
			if err := entries.Delete(k); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// Entries is Trails'. An id is the entry's number in hexadecimal.
func (b *Bolt) Entries(ctx context.Context, trail, before string, limit int) (list []Entry, err error) {
	end := ^uint64(0)
	if before != "" {
		if end, err = strconv.ParseUint(before, 16, 64); err != nil {
			return nil, ErrNotFound
		}
	}
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		entries := tx.Bucket(bucketTrails).Bucket([]byte(trail))
		if entries == nil {
			return nil
		}
		c := entries.Cursor()
		back := c.Prev
		if k, _ := c.Seek(number(end)); k == nil { // all come before
			back = c.Last
		}
		for k, v := back(); k != nil && len(list) < limit; k, v = c.Prev() {
			list = append(list, Entry{fmt.Sprintf("%016x", k), bytes.Clone(v)})
		}
		return nil
	})
	return list, err
}
