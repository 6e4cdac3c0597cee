package store

import (
	"bytes"
	"context"
	"errors"

	"go.etcd.io/bbolt"
)

// AddRecords is Records'.
func (b *Bolt) AddRecords(ctx context.Context, keep int, records ...Record) error {
	if err := checkRecords(records); err != nil || len(records) == 0 {
		return err
	}
	kept := make([]Record, len(records))
	for i, r := range records {
		kept[i] = Record{r.Log, r.ID, bytes.Clone(r.Body)}
	}
	return b.update(ctx, func(tx *bbolt.Tx) error {
		for i := range kept {
			if err := addRecord(tx, &kept[i], uint64(max(1, keep))); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

func addRecord(tx *bbolt.Tx, r *Record, keep uint64) error {
	log, err := tx.Bucket(bucketRecords).CreateBucketIfNotExists([]byte(r.Log))
	if err != nil {
		return err
	}
	old := log.Get([]byte(r.ID))
	if err := log.Put([]byte(r.ID), join(old, r.Body)); err != nil || old != nil {
		return err
	}
	n := log.Sequence() + 1
	c := log.Cursor()
	for ; n > keep; n-- {
		first, _ := c.First()
		if err := log.Delete(first); err != nil {
			return err
		}
	}
	return log.SetSequence(n)
}

// GetRecord is Records'.
func (b *Bolt) GetRecord(ctx context.Context, log, id string) (r Record, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		records := tx.Bucket(bucketRecords).Bucket([]byte(log))
		if records == nil {
			return ErrNotFound
		}
		body := records.Get([]byte(id))
		if body == nil {
			return ErrNotFound
		}
		r = Record{log, id, bytes.Clone(body)}
		return nil
	})
	return r, err
}

// ListRecords is Records'.
func (b *Bolt) ListRecords(ctx context.Context, log, before string, limit int) (list []Record, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		records := tx.Bucket(bucketRecords).Bucket([]byte(log))
		if records == nil {
			return nil
		}
		c := records.Cursor()
		k, v := c.Last()
		if before != "" {
			if k, _ = c.Seek([]byte(before)); k == nil { // all come before
				k, v = c.Last()
			} else {
				k, v = c.Prev()
			}
		}
		for ; k != nil && len(list) < limit; k, v = c.Prev() {
			list = append(list, Record{log, string(k), bytes.Clone(v)})
		}
		return nil
	})
	return list, err
}

// Logs is Records'.
func (b *Bolt) Logs(ctx context.Context) (logs []string, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRecords).ForEachBucket(func(log []byte) error {
			logs = append(logs, string(log))
			return nil
		})
	})
	return logs, err
}

// ForgetRecords is Records'.
func (b *Bolt) ForgetRecords(ctx context.Context, log, before string, limit int) (int, error) {
	forgotten := 0
	err := b.update(ctx, func(tx *bbolt.Tx) error {
		forgotten = 0
		records := tx.Bucket(bucketRecords).Bucket([]byte(log))
		if records == nil {
			return ErrNotFound
		}
		n, c := records.Sequence(), records.Cursor()
		for k, _ := c.First(); k != nil && string(k) < before && forgotten < limit; k, _ = c.First() {
			if err := records.Delete(k); err != nil {
				return err
			}
			forgotten++
		}
		if forgotten == 0 {
			return ErrNotFound
		}
		if n == uint64(forgotten) {
			return tx.Bucket(bucketRecords).DeleteBucket([]byte(log))
		}
		return records.SetSequence(n - uint64(forgotten))
	}, nil)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	return forgotten, nil
}
