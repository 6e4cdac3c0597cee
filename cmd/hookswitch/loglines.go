package main

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// logLines is a log's way to where it is written. A line is queued, and nobody waits for it to be written: who
// reads the log may stall for good or be gone (a container's log driver, `| logger`, a full disk), and calls are
// answered nevertheless. What finds no room, or can't be written, is counted, and told where it is missing. Lines
// that come close upon each other are written together.
type logLines struct {
	out  io.Writer
	tell func(lost uint64) []byte // makes the line that tells
	lost atomic.Uint64            // lines, of all time
	done chan struct{}            // closed when the last line has been written
	// haste ends the writing goroutine's rest; of capacity 1.
	haste chan struct{}

	mu     sync.Mutex // guards what follows
	work   sync.Cond  // of mu
	queued []byte     // whole lines
	missed uint64     // lines that found no room behind queued
	closed bool

	// The writing goroutine's own.
	untold uint64 // lost lines
	torn   bool   // the last line was written in part
}

const (
	// maxQueued bytes wait to be written, and as many are being written: some thousand lines.
	maxQueued = 1 << 20
	// rest is how long lines gather between two writes, unless the queue is half full: each write wakes a thread,
	// in the middle of the calls that the lines tell of.
	rest = 50 * time.Millisecond
	// keptQueue is what of them stays allocated.
	keptQueue = 64 << 10
	// wholeWrite is how much a pipe takes without mixing it with what others write there (pipe(7), PIPE_BUF).
	wholeWrite = 4096
)

// startLogLines begins to write to out; close ends it.
func startLogLines(out io.Writer, tell func(lost uint64) []byte) *logLines {
	l := &logLines{out: out, tell: tell, done: make(chan struct{}), haste: make(chan struct{}, 1)}
	l.work.L = &l.mu
	go l.run()
	return l
}

// Write queues a line, a copy of it, and never fails: zap would write that to standard error itself, and wait.
func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	if l.closed || len(l.queued)+len(line) > maxQueued {
		l.missed++
		l.lost.Add(1)
	} else {
		l.queued = append(l.queued, line...)
	}
	full := len(l.queued) > maxQueued/2
	l.mu.Unlock()
	l.work.Signal()
	if full {
		l.hurry()
	}
	return len(line), nil
}

// Sync implements zapcore.WriteSyncer. It does nothing, as waiting is what nobody may; see close.
func (l *logLines) Sync() error { return nil }

// close writes what is queued, for as long as ctx lasts. Lines that come later are lost.
func (l *logLines) close(ctx context.Context) {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.work.Signal()
	l.hurry()
	select {
	case <-l.done:
	case <-ctx.Done():
	}
}

// hurry has what is queued written now.
func (l *logLines) hurry() {
	select {
	case l.haste <- struct{}{}:
	default: // it is told already
	}
}

func (l *logLines) run() {
	defer close(l.done)
	pause := time.NewTimer(rest)
	defer pause.Stop()
	for lines := []byte(nil); ; {
		var missed uint64
		var more bool
		if lines, missed, more = l.next(lines); !more {
			return
		}
		l.write(lines)
		l.untold += missed
		l.tellLost()
		pause.Reset(rest)
		select {
		case <-pause.C:
		case <-l.haste:
		}
	}
}

// next waits for lines and takes them all, with the count of those that are missing behind them; written is room
// for the next. After close there are no more once the queue is empty.
func (l *logLines) next(written []byte) (lines []byte, missed uint64, more bool) {
	if cap(written) > keptQueue {
		written = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queued) == 0 && l.missed == 0 {
		if l.closed {
			return nil, 0, false
		}
		l.work.Wait()
	}
	lines, missed = l.queued, l.missed
	l.queued, l.missed = written[:0], 0
	return lines, missed, true
}

func (l *logLines) write(lines []byte) {
	for len(lines) > 0 {
		l.tellLost()
		n := firstLines(lines)
		if written, err := l.put(lines[:n]); err != nil {
			lost := uint64(bytes.Count(lines[written:n], []byte{'\n'}))
			l.untold += lost
			l.lost.Add(lost)
		}
		lines = lines[n:]
	}
}

// firstLines returns the length of as many whole lines as are written at once: one at least.
func firstLines(lines []byte) int {
	if len(lines) <= wholeWrite {
		return len(lines)
	}
	if end := bytes.LastIndexByte(lines[:wholeWrite], '\n'); end >= 0 {
		return end + 1
	}
	if end := bytes.IndexByte(lines, '\n'); end >= 0 {
		return end + 1
	}
	return len(lines)
}

// tellLost tells of the lines that were lost, or leaves it for later where that can't be written either.
func (l *logLines) tellLost() {
	if l.untold == 0 {
		return
	}
	if _, err := l.put(l.tell(l.untold)); err == nil {
		l.untold = 0
	}
}

// put writes whole lines, on a line of their own.
func (l *logLines) put(lines []byte) (written int, err error) {
	if l.torn {
		if _, err := l.out.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		l.torn = false
	}
	written, err = l.out.Write(lines)
	l.torn = err != nil && written > 0 && lines[written-1] != '\n'
	return written, err
}
