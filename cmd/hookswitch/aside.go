package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
)

// aside runs f, which computes for long, on a thread of its own that goes after all others, and waits for it.
// Go's scheduler knows no such order: on one processor, calls waited for as long as a large configuration took
// to read. So f gets a processor more, and the kernel keeps the order; and its garbage, of which a decision leaves
// next to none, is collected when f is over, as collecting takes processors from the calls. Two f at a time would
// end that for each other.
func (p *processors) aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is never unlocked: it ends here, and its priority with it. Where that may not be set, the
		// rest helps too.
		runtime.LockOSThread()
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, thisThread, lastPriority)
		p.add(1)
		defer p.add(-1)
		collectAt(gcPercentAside)
		defer collectAt(gcPercent)
		f()
	}()
	<-done
}

// How far the heap may grow before it is collected, in percent of what is in use, where GOGC does not say
// otherwise. While calls are all there is, collecting early costs next to nothing, and what is held, the table
// and the remembered decisions, is not doubled by garbage.
const (
	gcPercent      = 50
	gcPercentAside = 300
)

// collectAt leaves what an operator has set as it is.
func collectAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// Of setpriority(2).
const (
	thisThread   = 0
	lastPriority = 19
)
