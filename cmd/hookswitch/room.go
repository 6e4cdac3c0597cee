package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// room is what work beside the calls is given while there is such work: processors, of which Go's scheduler has
// more than the machine then, and a heap that is collected less often.
//
// A question that comes in is seen by a processor that has nothing to do, and else by the scheduler's watchdog,
// up to 10 ms later (runtime/proc.go, sysmon). So whatever work fills processors brings its own, and the kernel
// has the cores shared fairly. Such work leaves garbage, too, of which a decision leaves next to none, and
// collecting it takes processors from the calls.
//
// The zero room is ready. There is one in a process.
type room struct {
	mu    sync.Mutex
	usual int // processors, while more is not 0
	more  int
}

// How far the heap may grow before it is collected, in percent of what is in use, where GOGC does not say
// otherwise. While calls are all there is, collecting early costs next to nothing, and what is held, the table
// and the remembered decisions, is not doubled by garbage.
const (
	gcPercent     = 50
	gcPercentMore = 300
)

// add gives n processors more, or takes them back where n is less than 0.
func (r *room) add(n int) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more == 0 {
		r.usual = runtime.GOMAXPROCS(0)
		collectAt(gcPercentMore)
	}
	r.more += n
	if r.more > 0 {
		runtime.GOMAXPROCS(r.usual + r.more)
		return
	}
	collectAt(gcPercent)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS() // which goes on following the container's limit
	} else {
		runtime.GOMAXPROCS(r.usual)
	}
}

// collectAt leaves what an operator has set as it is.
func collectAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

const (
	// manyEvents a second are work that fills processors.
	manyEvents = 100
	// eventsLull is how long there are fewer before their room is taken back.
	eventsLull = 10 * time.Second
)

// followEvents doubles the processors, and gives the heap room, while many events are accepted, of which accepted counts all, until ctx
// is done.
func (r *room) followEvents(ctx context.Context, accepted func() uint64) {
	const every = time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	more, last, busy := 0, accepted(), time.Time{}
	defer func() { r.add(-more) }()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		count := accepted()
		switch many := count-last >= manyEvents; {
		case many && more == 0:
			more = runtime.GOMAXPROCS(0)
			r.add(more)
			fallthrough
		case many:
			busy = time.Now()
		case more > 0 && time.Since(busy) >= eventsLull:
			r.add(-more)
			more = 0
		}
		last = count
	}
}
