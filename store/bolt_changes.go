package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"go.etcd.io/bbolt"
)

// numberChanges notes the last change of each document. What was deleted before is not known.
func numberChanges(tx *bbolt.Tx) error {
	if err := createBuckets(tx); err != nil { // some of them were added since
		return err
	}
	docs := tx.Bucket(bucketDocs)
	if docs.Sequence() == 0 {
		return nil
	}
	if err := tx.Bucket(bucketFloors).Put(everyKind, number(docs.Sequence())); err != nil {
		return err
	}
	return docs.ForEach(func(key, value []byte) error {
		kind, id, _ := bytes.Cut(key, []byte{0})
		return tx.Bucket(bucketLatest).Put(latestKey(string(kind), binary.BigEndian.Uint64(value)), id)
	})
}

// everyKind is the key in bucketFloors of a floor that holds for every kind. No kind has a NUL.
var everyKind = []byte{0}

func latestKey(kind string, version uint64) []byte {
	return join([]byte(kind), []byte{0}, number(version))
}

// noteChange keeps what Changed needs: the last change of the document, which was of the version found,
// 0 for none, is version.
func (b *Bolt) noteChange(tx *bbolt.Tx, kind, id string, found, version uint64, deleted bool) error {
	latest, gone := tx.Bucket(bucketLatest), tx.Bucket(bucketGone)
	key := docKey(kind, id)
	deletion := gone.Get(key)
	if deletion != nil {
		found = binary.BigEndian.Uint64(deletion)
	}
	var errs []error
	if found != 0 {
		errs = append(errs, latest.Delete(latestKey(kind, found)))
	}
	errs = append(errs, latest.Put(latestKey(kind, version), []byte(id)))
	switch {
	case deleted:
		errs = append(errs, gone.Put(key, number(version)), b.forgetOldest(tx, kind, 1))
	case deletion != nil:
		errs = append(errs, gone.Delete(key), b.forgetOldest(tx, kind, -1))
	}
	return errors.Join(errs...)
}

// forgetOldest counts deletions that have been added to gone, and where they are too many forgets a
// tenth of them, the oldest.
func (b *Bolt) forgetOldest(tx *bbolt.Tx, kind string, added int) error {
	floors := tx.Bucket(bucketFloors)
	floor, count := uint64(0), added
	if v := floors.Get([]byte(kind)); v != nil {
		floor, count = binary.BigEndian.Uint64(v), count+int(binary.BigEndian.Uint64(v[8:]))
	}
	if count > b.remember+b.remember/10 {
		gone, prefix := tx.Bucket(bucketGone), docKey(kind, "")
		var old [][]byte // keys of latest
		c := tx.Bucket(bucketLatest).Cursor()
		for k, id := c.Seek(prefix); bytes.HasPrefix(k, prefix) && count > b.remember; k, id = c.Next() {
			key := docKey(kind, string(id))
			if gone.Get(key) == nil {
				continue
			}
			floor = binary.BigEndian.Uint64(k[len(prefix):])
			old = append(old, bytes.Clone(k))
			if err := gone.Delete(key); err != nil {
				return err
			}
			count--
		}
		for _, k := range old {
			if err := tx.Bucket(bucketLatest).Delete(k); err != nil {
				return err
			}
		}
	}
	return floors.Put([]byte(kind), join(number(floor), number(uint64(count))))
}

// Changed is Documents'.
func (b *Bolt) Changed(ctx context.Context, kind string, since uint64, limit int) (list []Doc, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		docs, floors, prefix := tx.Bucket(bucketDocs), tx.Bucket(bucketFloors), docKey(kind, "")
		for _, key := range [][]byte{everyKind, []byte(kind)} {
			if v := floors.Get(key); v != nil && since < binary.BigEndian.Uint64(v) {
				return ErrTooOld
			}
		}
		if since > docs.Sequence() {
			return ErrTooOld
		}
		c := tx.Bucket(bucketLatest).Cursor()
		for k, id := c.Seek(latestKey(kind, since+1)); bytes.HasPrefix(k, prefix) && len(list) < limit; k, id = c.Next() {
			if v := docs.Get(docKey(kind, string(id))); v != nil {
				list = append(list, docOf(id, v))
				continue
			}
			list = append(list, Doc{ID: string(id), Version: binary.BigEndian.Uint64(k[len(prefix):]), Deleted: true})
		}
		return nil
	})
	return list, err
}
