package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"testing"
)

func TestWhatIsDoneAsideGoesAfterAllOthers(t *testing.T) {
	usual := runtime.GOMAXPROCS(0)
	t.Setenv("GOGC", "")
	gc := gcPercentNow()
	t.Cleanup(func() { debug.SetGCPercent(gc) })
	var during, nice, garbage int
	var p processors
	p.aside(func() {
		during, garbage = runtime.GOMAXPROCS(0), gcPercentNow()
		priority, err := syscall.Getpriority(syscall.PRIO_PROCESS, thisThread)
		if err != nil {
			t.Error(err)
		}
		nice = 20 - priority // as the system call itself counts
	})
	if during != usual+1 || nice != lastPriority {
		t.Errorf("%d processors, priority %d; want %d and %d", during, nice, usual+1, lastPriority)
	}
	if after := gcPercentNow(); garbage != gcPercentAside || after != gcPercent {
		t.Errorf("the heap may grow by %d %%, and %d %% afterwards; want %d and %d", garbage, after, gcPercentAside, gcPercent)
	}
	if after := runtime.GOMAXPROCS(0); after != usual {
		t.Errorf("%d processors are left; want %d", after, usual)
	}
	for range 4 * usual { // no other thread has got the priority
		priority := make(chan int)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			p, _ := syscall.Getpriority(syscall.PRIO_PROCESS, thisThread)
			priority <- 20 - p
		}()
		if got := <-priority; got == lastPriority {
			t.Error("a thread of the last priority is used for other things")
		}
	}
}

func TestWhatAnOperatorSaysOfTheHeapIsKept(t *testing.T) {
	t.Setenv("GOGC", "77")
	gc := debug.SetGCPercent(77)
	t.Cleanup(func() { debug.SetGCPercent(gc) })
	var p processors
	p.aside(func() {
		if got := gcPercentNow(); got != 77 {
			t.Errorf("aside the heap may grow by %d %%; want 77", got)
		}
	})
	if got := gcPercentNow(); got != 77 {
		t.Errorf("afterwards the heap may grow by %d %%; want 77", got)
	}
}

func gcPercentNow() int {
	percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(percent)
	return int(percent[0].Value.Uint64())
}
