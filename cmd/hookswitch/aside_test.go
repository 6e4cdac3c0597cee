package main

import (
	"runtime"
	"syscall"
	"testing"
)

func TestWhatIsDoneAsideGoesAfterAllOthers(t *testing.T) {
	usual := runtime.GOMAXPROCS(0)
	var during, nice int
	var r room
	r.aside(func() {
		during = runtime.GOMAXPROCS(0)
		priority, err := syscall.Getpriority(syscall.PRIO_PROCESS, thisThread)
		if err != nil {
			t.Error(err)
		}
		nice = 20 - priority // as the system call itself counts
	})
	if during != usual+1 || nice != lastPriority {
		t.Errorf("%d processors, priority %d; want %d and %d", during, nice, usual+1, lastPriority)
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
