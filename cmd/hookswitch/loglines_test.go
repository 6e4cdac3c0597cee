package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// told is the line that tells of lost ones.
func told(lost uint64) []byte { return fmt.Appendf(nil, "%d lost\n", lost) }

// logFile is where lines are written: it may stall, fail, or be full.
type logFile struct {
	mu    sync.Mutex // held, it stalls every write
	text  bytes.Buffer
	sizes []int
	room  int // bytes; beyond them a write fails
}

func newLogFile() *logFile { return &logFile{room: 1 << 30} }

func (f *logFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(p), f.room)
	f.room -= n
	f.text.Write(p[:n])
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	f.sizes = append(f.sizes, n)
	return n, nil
}

// stalling is a writer that takes nothing until released.
type stalling struct {
	to      io.Writer
	release chan struct{}
}

func (s stalling) Write(p []byte) (int, error) {
	<-s.release
	return s.to.Write(p)
}

func say(l *logLines, format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

func closeWell(t *testing.T, l *logLines) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if l.close(ctx); ctx.Err() != nil {
		t.Error("what was queued was not written")
	}
}

func TestLinesAreWrittenInTheirOrderAndWhole(t *testing.T) {
	file, want := newLogFile(), &strings.Builder{}
	l := startLogLines(file, told)
	for i := range 2000 {
		line := fmt.Sprintf("%d %s", i, strings.Repeat("x", i*7919%400))
		if i == 1000 {
			line = strings.Repeat("y", 3*wholeWrite)
		}
		say(l, "%s", line)
		fmt.Fprintln(want, line)
	}
	closeWell(t, l)
	if got := file.text.String(); got != want.String() {
		t.Errorf("got %d bytes; want the %d that were logged, in their order", len(got), want.Len())
	}
	for rest := file.text.Bytes(); len(file.sizes) > 0; file.sizes = file.sizes[1:] {
		n := file.sizes[0]
		if rest[n-1] != '\n' || n > wholeWrite && bytes.IndexByte(rest, '\n') != n-1 {
			t.Fatalf("%d bytes were written at once; want whole lines, of %d bytes together where there are several", n, wholeWrite)
		}
		rest = rest[n:]
	}
}

func TestLinesOfManyGoroutinesAreEachWrittenOnce(t *testing.T) {
	file := newLogFile()
	l := startLogLines(file, told)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 100 {
				say(l, "%d-%d", g, i)
			}
		})
	}
	all.Wait()
	closeWell(t, l)
	next := [8]int{}
	for line := range strings.Lines(file.text.String()) {
		var g, i int
		if _, err := fmt.Sscanf(line, "%d-%d\n", &g, &i); err != nil || i != next[g] {
			t.Fatalf("got %q of goroutine %d; want its line %d", line, g, next[g])
		}
		next[g]++
	}
	if next != [8]int{100, 100, 100, 100, 100, 100, 100, 100} {
		t.Errorf("got %v lines", next)
	}
}

func TestAStalledWriterHoldsNobodyUpAndTheLinesItMissedAreToldInTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := newLogFile()
		l := startLogLines(stalling{file, make(chan struct{})}, told)
		stall := l.out.(stalling).release
		say(l, "first")
		synctest.Wait() // it is being written
		long := strings.Repeat("x", 999)
		for range maxQueued / 1000 {
			say(l, "%s", long)
		}
		for range 100 {
			say(l, "%s", long)
		}
		if len(l.queued) > maxQueued || l.lost.Load() != 100 {
			t.Errorf("%d bytes are queued, %d lines lost; want at most %d bytes, and 100 lines", len(l.queued), l.lost.Load(), maxQueued)
		}
		close(stall)
		synctest.Wait()
		say(l, "last")
		closeWell(t, l)
		want := "first\n" + strings.Repeat(long+"\n", maxQueued/1000) + "100 lost\nlast\n"
		if got := file.text.String(); got != want {
			t.Errorf("got %d bytes, with %q at the end; want %d, with %q", len(got), got[max(0, len(got)-40):], len(want), "100 lost\nlast\n")
		}
		if cap(l.queued) > 2*keptQueue {
			t.Errorf("the queue keeps %d bytes", cap(l.queued))
		}
	})
}

func TestLinesThatComeCloseUponEachOtherAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := newLogFile()
		l := startLogLines(file, told)
		for i := range 10 {
			say(l, "line %d", i)
			synctest.Wait()
		}
		file.mu.Lock()
		if got := file.text.String(); got != "line 0\n" {
			t.Errorf("got %q at first; want the first line at once", got)
		}
		file.mu.Unlock()
		time.Sleep(rest)
		synctest.Wait()
		if want := []int{len("line 0\n"), 9 * len("line 0\n")}; !slices.Equal(file.sizes, want) {
			t.Errorf("got writes of %d bytes; want %d", file.sizes, want)
		}
		closeWell(t, l)
	})
}

func TestAHalfFullQueueIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := newLogFile()
		l := startLogLines(file, told)
		say(l, "first")
		synctest.Wait()
		began := time.Now()
		long := strings.Repeat("x", 1000)
		for range maxQueued * 4 / 1000 {
			say(l, "%s", long)
			synctest.Wait()
		}
		if got := file.text.Len(); got < maxQueued*3 || time.Now() != began || l.lost.Load() != 0 {
			t.Errorf("%d bytes are written, %d lines lost; want most of %d, none lost", got, l.lost.Load(), maxQueued*4)
		}
		closeWell(t, l)
	})
}

func TestALineThatNeverFitsIsTold(t *testing.T) {
	file := newLogFile()
	l := startLogLines(file, told)
	say(l, "%s", strings.Repeat("x", maxQueued))
	closeWell(t, l)
	if got := file.text.String(); got != "1 lost\n" {
		t.Errorf("got %q", got)
	}
}

func TestCloseWaitsForAStalledWriterNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := newLogFile()
		l := startLogLines(stalling{file, make(chan struct{})}, told)
		say(l, "queued")
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), lastWords)
		defer cancel()
		l.close(ctx)
		if took := time.Since(began); took != lastWords {
			t.Errorf("close took %s; want %s", took, lastWords)
		}
		say(l, "too late")
		close(l.out.(stalling).release)
		<-l.done
		if got := file.text.String(); got != "queued\n1 lost\n" {
			t.Errorf("got %q", got)
		}
	})
}

func TestWhatCantBeWrittenIsToldOnceItCan(t *testing.T) {
	for _, tc := range []struct {
		name       string
		room       int
		lost       uint64
		wantInFull string
	}{
		{"the reader is gone before a line", len("one\n"), 2, "one\n2 lost\nfour\n"},
		{"the disk is full within a line", len("one\ntw"), 2, "one\ntw\n2 lost\nfour\n"},
		{"only the end of a line is missing", len("one\ntwo"), 2, "one\ntwo\n2 lost\nfour\n"},
		{"nothing could be written", 0, 3, "3 lost\nfour\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				file := newLogFile()
				file.room = tc.room
				l := startLogLines(file, told)
				for _, line := range []string{"one", "two", "three"} {
					say(l, "%s", line)
					time.Sleep(rest)
					synctest.Wait()
				}
				if got := l.lost.Load(); got != tc.lost {
					t.Errorf("%d lines are counted as lost; want %d", got, tc.lost)
				}
				file.room = 1 << 20
				say(l, "four")
				closeWell(t, l)
				if got := file.text.String(); got != tc.wantInFull {
					t.Errorf("got %q; want %q", got, tc.wantInFull)
				}
			})
		})
	}
}

func TestOfLinesWrittenTogetherThoseThatWereWrittenAreNotLost(t *testing.T) {
	file := newLogFile()
	file.room = len("one\ntwo\n")
	file.mu.Lock() // until all are queued
	l := startLogLines(file, told)
	l.mu.Lock()
	l.queued = []byte("one\ntwo\nthree\nfour\n")
	l.mu.Unlock()
	l.work.Signal()
	file.mu.Unlock()
	closeWell(t, l)
	if got, lost := file.text.String(), l.lost.Load(); got != "one\ntwo\n" || lost != 2 {
		t.Errorf("got %q, %d lines lost; want two written and two lost", got, lost)
	}
}

func TestTheErrorAtTheEndIsPrintedWhole(t *testing.T) {
	var out bytes.Buffer
	report(&out, errors.New("listen: address in use"), nil)
	if got := out.String(); got != "hookswitch: listen: address in use\n" {
		t.Errorf("got %q", got)
	}
}

func TestTheErrorAtTheEndWaitsForAStalledReaderNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := stalling{io.Discard, make(chan struct{})}
		report(out, errors.New("drain: cut off"), time.After(lastWords))
		close(out.release)
	})
}
