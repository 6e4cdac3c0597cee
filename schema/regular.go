package schema

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// OpenRegular opens a regular file, which name may be a link to: what is none may have no end, or wait for
// ever to be written to. It does not wait itself.
func OpenRegular(name string) (*os.File, error) {
	// Looked at first: to open a pipe is to have read it, for who writes there.
	if about, err := os.Stat(name); err == nil && !about.Mode().IsRegular() {
		return nil, notRegular(name)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	about, err := f.Stat()
	if err == nil && !about.Mode().IsRegular() {
		err = notRegular(name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func notRegular(name string) error {
	return &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
}

// ReadRegular reads a file that OpenRegular opens, and of one with more than limit bytes just one more,
// which shows that.
func ReadRegular(name string, limit int64) ([]byte, error) {
	f, err := OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
