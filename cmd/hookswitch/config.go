package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hookswitch/schema"
)

// loadFile reads and validates a configuration file.
func loadFile(name string) (*schema.Config, error) { return loadAgain(name, 1) }

// loadAgain is loadFile for the time that reading says.
func loadAgain(name string, reading uint64) (*schema.Config, error) {
	text, err := os.ReadFile(name)
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

// run calls reload on SIGHUP, and once the file's content has changed and then stayed the same for
// one look, so that a half-written file is not taken up. It returns when ctx is done.
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

// fileWatch tells when a file has new content that is no longer being written. It keeps the content's
// hash alone: a configuration may be of many megabytes.
type fileWatch struct {
	name        string
	hash        maphash.Hash
	seen, taken uint64 // of the content at the last look; of the content last acted on
}

func (w *fileWatch) read() uint64 {
	f, err := os.Open(w.name)
	if err != nil {
		return w.taken // being replaced: look again
	}
	defer f.Close()
	w.hash.Reset()
	if _, err := io.Copy(&w.hash, f); err != nil {
		return w.taken
	}
	return w.hash.Sum64()
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
