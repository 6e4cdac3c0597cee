package hookclient

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// within returns a context for a race.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestARaceIsWonByTheFirstToSucceed(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	for _, tc := range []struct {
		name     string
		outcomes []error // nil for a success
		want     int
		err      error
		tried    int
	}{
		{"the first try", []error{nil, nil}, 0, nil, 1},
		{"the second after the first has failed", []error{first, nil, nil}, 1, nil, 2},
		{"nobody, and the first failure is told", []error{first, second}, 0, first, 2},
	} {
		var mu sync.Mutex
		var tried []int
		got, err := race(within(t, patience), len(tc.outcomes), func(_ context.Context, i int) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			tried = append(tried, i)
			return i, tc.outcomes[i]
		}, func(late int) { t.Errorf("%s: %d came late", tc.name, late) })
		if err != tc.err || err == nil && got != tc.want || len(tried) != tc.tried || !slices.IsSorted(tried) {
			t.Errorf("%s: got %d, %v after tries %v", tc.name, got, err, tried)
		}
	}
}

func TestWhatSucceedsTooLateInARaceIsLetGo(t *testing.T) {
	letGo := make(chan string, 1)
	proceed := make(chan struct{})
	got, err := race(within(t, patience), 2, func(_ context.Context, i int) (string, error) {
		if i == 0 {
			<-proceed // longer than the other takes, and deaf to the context
			return "slow", nil
		}
		return "fast", nil
	}, func(late string) { letGo <- late })
	if got != "fast" || err != nil {
		t.Fatalf("got %s, %v", got, err)
	}
	close(proceed)
	select {
	case late := <-letGo:
		if late != "slow" {
			t.Errorf("%s was let go", late)
		}
	case <-time.After(patience):
		t.Error("nothing was let go")
	}
}

func TestARaceThatNobodyWinsEndsWithItsContext(t *testing.T) {
	proceed := make(chan struct{})
	defer close(proceed)
	_, err := race(within(t, 50*time.Millisecond), 2, func(context.Context, int) (int, error) {
		<-proceed
		return 0, nil
	}, func(int) {})
	if !isTimeout(err) {
		t.Errorf("got %v; want a timeout", err)
	}
}
