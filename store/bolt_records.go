package store

import (
	"bytes"
	"context"
	"strings"

	"go.etcd.io/bbolt"
)

// heldIn is the bucket of a log's held records: no log has such a name.
func heldIn(log string) []byte { return []byte(log + "\x00held") }

// AddRecords is Records'.
func (b *Bolt) AddRecords(ctx context.Context, keep int, records ...Record) (int, error) {
	if err := checkRecords(records); err != nil || len(records) == 0 {
		return 0, err
	}
	kept := make([]Record, len(records))
	for i, r := range records {
		kept[i] = Record{r.Log, r.ID, bytes.Clone(r.Body), r.Held}
	}
	dropped := 0
	err := b.update(ctx, func(tx *bbolt.Tx) error {
		dropped = 0
		for i := range kept {
			over, err := addRecord(tx, &kept[i], uint64(max(1, keep)))
			if err != nil {
				return err
			}
			dropped += over
		}
		return nil
	}, nil)
	if err != nil {
		return 0, err // and dropped may be written to yet
	}
	return dropped, nil
}

// addRecord returns how many held records it has pushed out.
func addRecord(tx *bbolt.Tx, r *Record, keep uint64) (dropped int, err error) {
	logs, id := tx.Bucket(bucketRecords), []byte(r.ID)
	if held := logs.Bucket(heldIn(r.Log)); held != nil {
		if old := held.Get(id); old != nil {
			return 0, held.Put(id, join(old, r.Body))
		}
	}
	if !r.Held {
		_, err := putRecord(logs, []byte(r.Log), id, r.Body, keep)
		return 0, err
	}
	body := r.Body
	if others := logs.Bucket([]byte(r.Log)); others != nil {
		if old := others.Get(id); old != nil {
			body = join(old, r.Body)
			if err := forget(logs, []byte(r.Log), [][]byte{id}); err != nil {
				return 0, err
			}
		}
	}
	return putRecord(logs, heldIn(r.Log), id, body, keep*HeldRatio)
}

// putRecord adds to a record of a bucket, and returns how many others had to go.
func putRecord(logs *bbolt.Bucket, name, id, body []byte, keep uint64) (dropped int, err error) {
	log, err := logs.CreateBucketIfNotExists(name)
	if err != nil {
		return 0, err
	}
	old := log.Get(id)
	if err := log.Put(id, join(old, body)); err != nil || old != nil {
		return 0, err
	}
	n, c := log.Sequence()+1, log.Cursor()
	for ; n > keep; n-- {
		first, _ := c.First()
		if err := log.Delete(first); err != nil {
			return 0, err
		}
		dropped++
	}
	return dropped, log.SetSequence(n)
}

// forget takes records off a bucket, which goes with the last of them.
func forget(logs *bbolt.Bucket, name []byte, ids [][]byte) error {
	log := logs.Bucket(name)
	n := log.Sequence() - uint64(len(ids))
	if n == 0 {
		return logs.DeleteBucket(name)
	}
	for _, id := range ids {
		if err := log.Delete(id); err != nil {
			return err
		}
	}
	return log.SetSequence(n)
}

// GetRecord is Records'.
func (b *Bolt) GetRecord(ctx context.Context, log, id string) (r Record, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{[]byte(log), heldIn(log)} {
			records := tx.Bucket(bucketRecords).Bucket(name)
			if records == nil {
				continue
			}
			if body := records.Get([]byte(id)); body != nil {
				r = Record{Log: log, ID: id, Body: bytes.Clone(body)}
				return nil
			}
		}
		return ErrNotFound
	})
	return r, err
}

// ListRecords is Records'.
func (b *Bolt) ListRecords(ctx context.Context, log, before string, limit int) (list []Record, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{[]byte(log), heldIn(log)} {
			if records := tx.Bucket(bucketRecords).Bucket(name); records != nil {
				list = append(list, backwards(records, log, before, limit)...)
			}
		}
		list = lastOf(list, limit)
		return nil
	})
	return list, err
}

// ListHeld is Records'.
func (b *Bolt) ListHeld(ctx context.Context, log, before string, limit int) (list []Record, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		if records := tx.Bucket(bucketRecords).Bucket(heldIn(log)); records != nil {
			list = backwards(records, log, before, limit)
		}
		return nil
	})
	return list, err
}

// backwards returns up to limit records of a bucket before the id before, the last first.
func backwards(records *bbolt.Bucket, log, before string, limit int) (list []Record) {
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
		list = append(list, Record{Log: log, ID: string(k), Body: bytes.Clone(v)})
	}
	return list
}

// Logs is Records'.
func (b *Bolt) Logs(ctx context.Context) (logs []string, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		records := tx.Bucket(bucketRecords)
		return records.ForEachBucket(func(name []byte) error {
			log, _, held := strings.Cut(string(name), "\x00")
			if !held || records.Bucket([]byte(log)) == nil { // else it is named already
				logs = append(logs, log)
			}
			return nil
		})
	})
	return logs, err
}

// HeldLogs is Records'.
func (b *Bolt) HeldLogs(ctx context.Context) (logs []string, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRecords).ForEachBucket(func(name []byte) error {
			if log, _, held := strings.Cut(string(name), "\x00"); held {
				logs = append(logs, log)
			}
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
		logs := tx.Bucket(bucketRecords)
		for _, name := range [][]byte{[]byte(log), heldIn(log)} {
			records := logs.Bucket(name)
			if records == nil {
				continue
			}
			var ids [][]byte
			c := records.Cursor()
			for k, _ := c.First(); k != nil && string(k) < before && forgotten < limit; k, _ = c.Next() {
				ids = append(ids, bytes.Clone(k))
				forgotten++
			}
			if err := forget(logs, name, ids); err != nil {
				return err
			}
		}
		if forgotten == 0 {
			return ErrNotFound
		}
		return nil
	}, nil)
	switch err {
	case nil:
		return forgotten, nil
	case ErrNotFound:
		return 0, nil
	}
	return 0, err
}
