package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"go.etcd.io/bbolt"
)

// The first byte of a key in bucketValues.
const (
	aValue   = "v"
	aCounter = "c"
	aName    = "n" // that EnqueueOnce has seen
)

// Set is Values'.
func (b *Bolt) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	value = bytes.Clone(value)
	return b.setValue(ctx, aValue, key, ttl, func([]byte) ([]byte, error) { return value, nil })
}

// SetIfAbsent is Values'.
func (b *Bolt) SetIfAbsent(ctx context.Context, key string, value []byte, ttl time.Duration) ([]byte, bool, error) {
	value = bytes.Clone(value)
	var existing []byte
	err := b.setValue(ctx, aValue, key, ttl, func(old []byte) ([]byte, error) {
		if old != nil {
			existing = bytes.Clone(old)
			return nil, ErrConflict
		}
		return value, nil
	})
	switch err {
	case nil:
		return nil, true, nil
	case ErrConflict:
		return existing, false, nil
	}
	return nil, false, err
}

// Increment is Values'.
func (b *Bolt) Increment(ctx context.Context, key string, ttl time.Duration) (uint64, error) {
	var n uint64
	err := b.setValue(ctx, aCounter, key, ttl, func(old []byte) ([]byte, error) {
		if n = 1; old != nil {
			n += binary.BigEndian.Uint64(old)
		}
		return number(n), nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Unset is Values'.
func (b *Bolt) Unset(ctx context.Context, key string) error {
	return b.update(ctx, func(tx *bbolt.Tx) error { return dropValue(tx, []byte(aValue+key)) }, nil)
}

// Get is Values'.
func (b *Bolt) Get(ctx context.Context, key string) ([]byte, error) {
	v, err := b.value(ctx, aValue+key)
	if err == nil && v == nil {
		err = ErrNotFound
	}
	return v, err
}

// Count is Values'.
func (b *Bolt) Count(ctx context.Context, key string) (uint64, error) {
	v, err := b.value(ctx, aCounter+key)
	if v == nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// value returns what is under key and has not expired, nil for nothing.
func (b *Bolt) value(ctx context.Context, key string) (v []byte, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		v = bytes.Clone(b.live(tx.Bucket(bucketValues).Get([]byte(key))))
		return nil
	})
	return v, err
}

// live returns a value without its expiry, nil where that has passed.
func (b *Bolt) live(v []byte) []byte {
	if v == nil || binary.BigEndian.Uint64(v) <= millis(b.now()) {
		return nil
	}
	return v[8:]
}

// setValue keeps what next makes of the value there is, nil for none, from now for ttl.
func (b *Bolt) setValue(ctx context.Context, kind, key string, ttl time.Duration, next func(old []byte) ([]byte, error)) error {
	if err := checkValue(key, ttl); err != nil {
		return err
	}
	k := []byte(kind + key)
	return b.update(ctx, func(tx *bbolt.Tx) error {
		v, err := next(b.live(tx.Bucket(bucketValues).Get(k)))
		if err != nil {
			return err
		}
		return b.putValue(tx, k, v, ttl)
	}, nil)
}

// putValue keeps v at key k from now for ttl.
func (b *Bolt) putValue(tx *bbolt.Tx, k, v []byte, ttl time.Duration) error {
	expiry := number(millis(b.now().Add(ttl)))
	return errors.Join(dropValue(tx, k), tx.Bucket(bucketExpiry).Put(join(expiry, k), nil), tx.Bucket(bucketValues).Put(k, join(expiry, v)))
}

// dropValue deletes the value at key k, if there is one, with its expiry.
func dropValue(tx *bbolt.Tx, k []byte) error {
	values := tx.Bucket(bucketValues)
	old := values.Get(k)
	if old == nil {
		return nil
	}
	return errors.Join(tx.Bucket(bucketExpiry).Delete(join(old[:8], k)), values.Delete(k))
}

// sweep removes values that have expired. What it can't remove now, on a full disk, stays unseen.
func (b *Bolt) sweep() {
	var gone [][]byte
	_ = b.read(func(tx *bbolt.Tx) error {
		end := number(millis(b.now()))
		c := tx.Bucket(bucketExpiry).Cursor()
		for k, _ := c.First(); k != nil && bytes.Compare(k[:8], end) <= 0 && len(gone) < maxSweep; k, _ = c.Next() {
			gone = append(gone, bytes.Clone(k[8:]))
		}
		return nil
	})
	if len(gone) == 0 {
		return
	}
	_ = b.change(func(tx *bbolt.Tx) error {
		for _, k := range gone {
			if err := dropValue(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
}
