package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Backup writes the store as it is at one moment, while it goes on serving, followed by its SHA-256,
// by which Restore knows that it is whole. A slow w makes the file grow meanwhile: what is freed
// during a backup can't be used again before its end.
func (b *Bolt) Backup(ctx context.Context, w io.Writer) error {
	sum := sha256.New()
	err := b.read(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(io.MultiWriter(&untilDone{ctx, w}, sum))
		return err
	})
	if err == nil {
		_, err = w.Write(sum.Sum(nil))
	}
	if err != nil {
		return fmt.Errorf("back up the store: %w", err)
	}
	return nil
}

// untilDone is a writer that fails once its context has ended.
type untilDone struct {
	ctx context.Context
	io.Writer
}

func (w *untilDone) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

// Restore puts what Backup wrote in the place of the file at path, all or nothing. It refuses a backup
// that is not whole or too new, and a file that a process has open.
func Restore(ctx context.Context, path string, r io.Reader) error {
	if err := restore(ctx, path, r); err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	return nil
}

func restore(ctx context.Context, path string, r io.Reader) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".restore-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing once it has been renamed
	err = errors.Join(unpack(ctx, f, r), f.Close())
	if err != nil {
		return err
	}
	b, err := OpenBolt(ctx, f.Name()) // checks the schema
	if err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return err
	}
	// The lock on the old file keeps a process from going on with it, unseen, after it was replaced.
	// There may be none, and one that bbolt can't read is what a backup is for.
	old := newBolt()
	if err := old.open(path, &bbolt.Options{ReadOnly: true, Timeout: 100 * time.Millisecond}); errors.Is(err, bolterrors.ErrTimeout) {
		return errors.New("a process has it open; stop it first")
	} else if err == nil {
		defer old.close()
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// unpack copies a backup to f, checks its sum and takes that off.
func unpack(ctx context.Context, f *os.File, r io.Reader) error {
	size, err := io.Copy(&untilDone{ctx, f}, r)
	if err != nil {
		return err
	}
	size -= sha256.Size
	sum, want := sha256.New(), make([]byte, sha256.Size)
	if size > 0 {
		if _, err := f.ReadAt(want, size); err != nil {
			return err
		}
		if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size)); err != nil {
			return err
		}
	}
	if size <= 0 || string(sum.Sum(nil)) != string(want) {
		return errors.New("this is no backup of hookswitch, or not all of it: its checksum is wrong")
	}
	return errors.Join(f.Truncate(size), f.Chmod(0o640), f.Sync())
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
