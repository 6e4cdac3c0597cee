//go:build !race

package socket

import (
	"io"
	"testing"
)

func TestReadingAndWritingAllocateNothing(t *testing.T) {
	c, far := pair(t)
	go io.Copy(far, far)
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		c.Quiet()
	}); n != 0 {
		t.Errorf("%v allocations; want none", n)
	}
}
