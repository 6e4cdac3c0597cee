package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hookswitch/schema"
)

// loadFile reads and validates a configuration, of a pipe too: somebody may make it as it is read.
func loadFile(name string) (*schema.Config, error) {
	return loadBy(readAny, name, 1)
}

func readAny(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// loadAgain is loadFile for the time that reading says, and for a regular file alone: were anything else
// waited for, no later file would be read.
func loadAgain(name string, reading uint64) (*schema.Config, error) {
	return loadBy(schema.ReadRegular, name, reading)
}

// loadBy loads what read reads of the file: its limit and one byte more at most.
func loadBy(read func(name string, limit int64) ([]byte, error), name string, reading uint64) (*schema.Config, error) {
	text, err := read(name, schema.MaxConfig)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return schema.Load(name, text, schema.LoadOptions{Version: reading})
}

// watchEvery is how often the file is looked at for changes. Looking works for every way of
// replacing a file, mounted ConfigMaps included, where notifications do not.
const watchEvery = time.Second

// watcher tells when the configuration is to be read anew.
type watcher struct {
	hup  chan os.Signal
	file fileWatch
}

// watch begins to watch the file called name. From now on a SIGHUP, which ends a process that does
// not expect it, waits for run.
func watch(name string) *watcher {
	w := &watcher{hup: make(chan os.Signal, 1), file: fileWatch{name: name}}
	signal.Notify(w.hup, syscall.SIGHUP)
	w.file.taken = w.file.read()
	w.file.seen = w.file.taken
	return w
}

// run calls reload on SIGHUP, and once the file has been written to or touched and then stayed the same
// for one look, so that a half-written file is not taken up. It returns when ctx is done.
func (w *watcher) run(ctx context.Context, reload func(cause string)) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.hup:
			w.file.taken = w.file.read()
			w.file.seen = w.file.taken
			reload("SIGHUP")
		case <-ticker.C:
			if w.file.settled() {
				reload("the file has changed")
			}
		}
	}
}

// fileWatch tells when a file is another than before, and no longer being written. It keeps a hash alone: a
// configuration may be of many megabytes.
type fileWatch struct {
	name        string
	hash        maphash.Hash
	seen, taken uint64 // of the file at the last look; of the one last acted on
}

// read returns the hash of the file's content and of when it was written to or touched; of one that can't
// be read, that of the reason, so that it is told once.
func (w *fileWatch) read() uint64 {
	w.hash.Reset()
	err := w.readInto(&w.hash)
	if errors.Is(err, fs.ErrNotExist) {
		return w.taken // being replaced: look again
	}
	if err != nil {
		w.hash.Reset()
		_, _ = w.hash.WriteString(err.Error())
	}
	return w.hash.Sum64()
}

func (w *fileWatch) readInto(hash io.Writer) error {
	f, err := schema.OpenRegular(w.name)
	if err != nil {
		return err
	}
	defer f.Close()
	about, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(hash, about.ModTime().UnixNano()); err != nil {
		return err
	}
	_, err = io.Copy(hash, io.LimitReader(f, schema.MaxConfig+1))
	return err
}

func (w *fileWatch) settled() bool {
	now := w.read()
	same := now == w.seen
	w.seen = now
	if now != w.taken && same {
		w.taken = now
		return true
	}
	return false
}
