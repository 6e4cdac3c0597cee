package main

import (
	"runtime"
	"syscall"
)

// aside runs f, which computes for long, on a thread of its own that goes after all others, and waits for it.
// Go's scheduler knows no such order: on one processor, calls waited for as long as a large configuration took
// to read. So f gets room of its own, and the kernel keeps the order.
func (r *room) aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread, with its priority, ends here
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, thisThread, lastPriority); err == nil {
			r.add(1)
			defer r.add(-1)
		}
		f()
	}()
	<-done
}

// Of setpriority(2).
const (
	thisThread   = 0
	lastPriority = 19
)
