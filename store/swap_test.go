package store

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"
)

func testSwap(t *testing.T, s Store) {
	ctx := t.Context()
	wantErr(t, "another value than there is, which is none", s.Swap(ctx, "k", []byte("old"), []byte("new"), time.Minute), ErrConflict)
	must(t, s.Swap(ctx, "k", nil, []byte("1"), time.Minute))
	wantErr(t, "none, where there is one", s.Swap(ctx, "k", nil, []byte("2"), time.Minute), ErrConflict)
	wantErr(t, "another value than there is", s.Swap(ctx, "k", []byte("2"), []byte("3"), time.Minute), ErrConflict)
	must(t, s.Swap(ctx, "k", []byte("1"), []byte{0, 0xff}, 50*time.Millisecond))
	if v, err := s.Get(ctx, "k"); err != nil || string(v) != "\x00\xff" {
		t.Errorf("got %q, %v", v, err)
	}
	eventually(t, "the swapped value has expired by its own time to live", func() bool {
		_, err := s.Get(ctx, "k")
		return errors.Is(err, ErrNotFound)
	})
	must(t, s.Swap(ctx, "k", nil, []byte("again"), time.Minute))

	// Whoever swaps until it works loses nobody's addition.
	const writers, each = 4, 25
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					old, err := s.Get(ctx, "sum")
					if err != nil && !errors.Is(err, ErrNotFound) {
						t.Error(err)
						return
					}
					n, _ := strconv.Atoi(string(old))
					if err = s.Swap(ctx, "sum", old, []byte(strconv.Itoa(n+1)), time.Minute); err == nil {
						break
					} else if !errors.Is(err, ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if v, err := s.Get(ctx, "sum"); err != nil || string(v) != strconv.Itoa(writers*each) {
		t.Errorf("got %s, %v after %d additions", v, err, writers*each)
	}
}
