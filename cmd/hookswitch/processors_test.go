package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestProcessorsAreMoreWhileSomethingNeedsThem(t *testing.T) {
	usual := runtime.GOMAXPROCS(0)
	var p processors
	for _, step := range []struct{ add, want int }{{1, 1}, {usual, 1 + usual}, {-1, usual}, {-usual, 0}, {0, 0}, {2, 2}, {-2, 0}} {
		p.add(step.add)
		if got := runtime.GOMAXPROCS(0) - usual; got != step.want {
			t.Errorf("after adding %d: %d more; want %d", step.add, got, step.want)
		}
	}
}

func TestManyEventsBringProcessorsAndTheirLullTakesThemBack(t *testing.T) {
	usual := runtime.GOMAXPROCS(0)
	var many, few uint64 = manyEvents, manyEvents - 1
	synctest.Test(t, func(t *testing.T) {
		var p processors
		var accepted atomic.Uint64
		ctx, cancel := context.WithCancel(t.Context())
		followed := make(chan struct{})
		go func() {
			p.followEvents(ctx, accepted.Load)
			close(followed)
		}()
		time.Sleep(time.Millisecond) // between its looks
		for i, second := range []struct {
			events uint64
			want   int
		}{{few, 0}, {many, usual}, {many, usual}, {few, usual}, {many, usual}, {0, usual}} {
			accepted.Add(second.events)
			time.Sleep(time.Second)
			synctest.Wait()
			if got := runtime.GOMAXPROCS(0) - usual; got != second.want {
				t.Errorf("after second %d: %d processors more; want %d", i+1, got, second.want)
			}
		}
		time.Sleep(eventsLull)
		synctest.Wait()
		if got := runtime.GOMAXPROCS(0); got != usual {
			t.Errorf("after the lull: %d processors; want %d", got, usual)
		}
		accepted.Add(many)
		time.Sleep(time.Second)
		cancel()
		<-followed
		if got := runtime.GOMAXPROCS(0); got != usual {
			t.Errorf("at the end: %d processors; want %d", got, usual)
		}
	})
}
