package store

import (
	"errors"
	"fmt"
	"os"
	"path"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// bbolt maps its file to memory and believes what it finds there: a page that is none makes it panic, and one
// that is gone, or that the disk can't read, is a fault that ends the process. Calls are decided without the
// store, so neither may be felt by one: every access is by way of access, read or change.

// Alarm is what an operator has to know of a file that is in use.
type Alarm struct {
	Err   error  // ErrDamaged or ErrReplaced
	Where string // it was found where reading did, as it may be a fault of ours, too: the functions, the innermost first
}

// Alarms tells each of the two once, when it is found. The channel is never closed.
func (b *Bolt) Alarms() <-chan Alarm { return b.alarms }

// Damaged stands for a file that can't be opened, as OpenBolt said with err: all that it is asked is answered
// with that, and the file is not touched.
func Damaged(err error) *Bolt {
	b := newBolt()
	b.damage.Store(&err)
	go b.write()
	return b
}

// harm is the damage that was found, if any.
func (b *Bolt) harm() error {
	if found := b.damage.Load(); found != nil {
		return *found
	}
	return nil
}

// access runs do, which uses the file. Where that shows it to be damaged, this is the last access: what bbolt
// holds in memory is not to be trusted then either, and must not be written.
func (b *Bolt) access(do func() error) (err error) {
	if err := b.harm(); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if found := recover(); found != nil {
			err = b.harmed(found)
		}
	}()
	return do()
}

// harmed notes what a panic says, unless another was first.
func (b *Bolt) harmed(found any) error {
	if _, fault := found.(interface{ Addr() uintptr }); fault { // runtime/debug.SetPanicOnFault
		found = "it is shorter than it was, or its disk can't read it"
	}
	err := fmt.Errorf("%w: %v", ErrDamaged, found)
	if b.damage.CompareAndSwap(nil, &err) {
		b.alarms <- Alarm{err, panicked()}
	}
	return b.harm()
}

// panicked returns where the panic that is being recovered began.
func panicked() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs[:])])
	var at []string
	for more, begun := true, false; more && len(at) < 10; {
		var f runtime.Frame
		f, more = frames.Next()
		if f.Function == "runtime.gopanic" {
			begun = true
		} else if begun && !strings.HasPrefix(f.Function, "runtime.") {
			at = append(at, fmt.Sprintf("%s:%d", path.Base(f.Function), f.Line))
		}
	}
	return strings.Join(at, ", ")
}

// read runs do in a transaction that reads.
func (b *Bolt) read(do func(*bbolt.Tx) error) error {
	return b.access(func() error {
		tx, err := b.begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		return do(tx)
	})
}

// begin begins a transaction that reads. bbolt reads the file's first pages here, under locks which a panic
// would leave locked: other readers, who need them at their beginning and end, would wait for ever.
func (b *Bolt) begin() (*bbolt.Tx, error) {
	returned := false
	defer func() {
		if !returned {
			fields := reflect.ValueOf(b.db).Elem()
			(*sync.RWMutex)(unsafe.Pointer(fields.FieldByName("mmaplock").UnsafeAddr())).RUnlock()
			(*sync.Mutex)(unsafe.Pointer(fields.FieldByName("metalock").UnsafeAddr())).Unlock()
		}
	}()
	tx, err := b.db.Begin(false)
	returned = true
	return tx, err
}

// change runs do in a transaction that writes. The writer alone may call it: a panic can leave bbolt's lock on
// writing locked.
func (b *Bolt) change(do func(*bbolt.Tx) error) error {
	return b.access(func() error {
		if err := b.checkLength(); err != nil {
			return err
		}
		err := b.db.Update(do)
		b.length = max(b.length, b.lengthNow())
		return err
	})
}

// checkLength finds a file that was cut, be it behind what was in use: a write would make it longer again, with
// nothing where pages were, and be lost at the next start though none that is in use now is missed.
func (b *Bolt) checkLength() error {
	if now := b.lengthNow(); now < b.length {
		return b.harmed(fmt.Sprintf("it has %d bytes of %d", now, b.length))
	}
	return nil
}

// lengthNow returns how long the file is, as long as it was where that can't be told.
func (b *Bolt) lengthNow() int64 {
	info, err := b.file.Stat()
	if err != nil {
		return b.length
	}
	return info.Size()
}

// open opens the file, or makes it, within the time that o has. On an error nothing of it stays open.
func (b *Bolt) open(name string, o *bbolt.Options) error {
	o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		f, err = os.OpenFile(name, flag, mode)
		b.file = f
		return f, err
	}
	err := b.access(func() (err error) {
		b.db, err = bbolt.Open(name, 0o640, o)
		return err
	})
	switch {
	case b.harm() != nil:
		b.letGo()
	case err == nil:
		b.length = b.lengthNow()
	}
	return asDamage(err)
}

// asDamage makes ErrDamaged of what bbolt says of a file that is no database of ours or not all of one, or whose
// disk fails.
func asDamage(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	means := strings.Contains(err.Error(), "file size too small") // which has no value of its own
	for _, of := range []error{bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch, bolterrors.ErrIncompatibleValue, syscall.EIO} {
		means = means || errors.Is(err, of)
	}
	if means {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// close closes the file. One that is damaged is let go of, no more: bbolt's own Close may wait for a lock that
// is never freed.
func (b *Bolt) close() error {
	switch {
	case b.file == nil:
		return nil
	case b.harm() != nil:
		return b.letGo()
	}
	return b.db.Close()
}

// letGo leaves the file to others. It stays mapped until the process ends, and so the lock on it would.
func (b *Bolt) letGo() error {
	return errors.Join(syscall.Flock(int(b.file.Fd()), syscall.LOCK_UN), b.file.Close())
}

// checkWhole compares the file's size with what it says itself.
func (b *Bolt) checkWhole(tx *bbolt.Tx) error {
	if now := b.lengthNow(); now < tx.Size() {
		return fmt.Errorf("%w: it has %d bytes of %d", ErrDamaged, now, tx.Size())
	}
	return nil
}

// checkFile raises the alarm where the file was cut, or the path has no file any more, or another one.
func (b *Bolt) checkFile() {
	if b.file == nil || b.checkLength() != nil || b.replaced {
		return
	}
	ours, err := b.file.Stat()
	if err != nil {
		return
	}
	there, err := os.Stat(b.file.Name())
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(ours, there) {
		b.replaced = true
		b.alarms <- Alarm{Err: fmt.Errorf("%s: %w", b.file.Name(), ErrReplaced)}
	}
}
