package main

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"
)

// processors are those that Go's scheduler shares out, while there is work beside the calls: more of them than
// the machine has. A question that comes in is seen by a processor that has nothing to do, and else by the
// scheduler's watchdog, up to 10 ms later (runtime/proc.go, sysmon). So whatever work fills processors brings
// its own, and the kernel has the cores shared fairly.
//
// The zero processors is ready.
type processors struct {
	mu    sync.Mutex
	usual int // while more is not 0
	more  int
}

// add has n more of them, or fewer where n is less than 0.
func (p *processors) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.more == 0 {
		p.usual = runtime.GOMAXPROCS(0)
	}
	p.more += n
	if p.more == 0 && os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS() // which goes on following the container's limit
		return
	}
	runtime.GOMAXPROCS(p.usual + p.more)
}

const (
	// manyEvents a second are work that fills processors.
	manyEvents = 100
	// eventsLull is how long there are fewer before their processors are taken back.
	eventsLull = 10 * time.Second
)

// followEvents doubles the processors while many events are accepted, of which accepted counts all, until ctx
// is done.
func (p *processors) followEvents(ctx context.Context, accepted func() uint64) {
	const every = time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	more, last, busy := 0, accepted(), time.Time{}
	defer func() { p.add(-more) }()
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
			p.add(more)
			fallthrough
		case many:
			busy = time.Now()
		case more > 0 && time.Since(busy) >= eventsLull:
			p.add(-more)
			more = 0
		}
		last = count
	}
}
