//go:build !race

package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

var logged = []byte(strings.Repeat("x", 400) + "\n")

func TestQueueingALineDoesNotAllocate(t *testing.T) {
	l := startLogLines(io.Discard, told)
	defer closeWell(t, l)
	for range 1000 { // until the queue is as large as it gets
		l.Write(logged)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Write(logged) }); n != 0 {
		t.Errorf("%v allocations a line; want none", n)
	}
}

// What a line costs, beside what it cost when each was written by whoever logged it.
func BenchmarkLogLine(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	b.Run("queued", func(b *testing.B) {
		l := startLogLines(null, told)
		for b.Loop() {
			l.Write(logged)
		}
		l.close(b.Context())
	})
	b.Run("written at once", func(b *testing.B) {
		for b.Loop() {
			null.Write(logged)
		}
	})
}
