package load

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Generator drives the connections of its streams. It is used by one goroutine.
type Generator struct {
	poll    int // epoll's descriptor
	streams []*stream
	conns   []*conn
	ready   []unix.EpollEvent
	callID  uint64

	start time.Time
	end   time.Duration // of sending, in the run at hand
}

// Event is something that happens during a run, on the generator's own thread: it must be quick.
type Event struct {
	At time.Duration
	Do func()
}

const (
	maxAnswer = 16 << 10 // bytes of one, headers included
	sweep     = 20 * time.Millisecond
)

// Open makes a generator and opens the connections that are kept alive.
func Open(streams ...Stream) (*Generator, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	// Call ids go on from the clock's microseconds, which no run outpaces: no two runs share one.
	g := &Generator{poll: poll, ready: make([]unix.EpollEvent, 256), callID: uint64(time.Now().UnixMicro()), start: time.Now()}
	for _, config := range streams {
		s, err := newStream(config)
		if err != nil {
			g.Close()
			return nil, err
		}
		g.streams = append(g.streams, s)
		for range s.Connections {
			c := &conn{s: s, index: int32(len(g.conns)), fd: -1, raw: append([]byte(nil), s.Template.raw...), buf: make([]byte, maxAnswer)}
			g.conns = append(g.conns, c)
			g.rest(c)
		}
	}
	if err := g.dialAll(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// dialAll opens every connection that is to be kept alive, and waits until all are.
func (g *Generator) dialAll() error {
	g.Reconnect()
	for until := g.now() + 5*time.Second; ; {
		left, closed := 0, 0
		for _, c := range g.conns {
			switch {
			case c.state == dialing:
				left++
			case c.fd < 0 && !c.s.PerRequest:
				closed++
			}
		}
		if left == 0 && closed == 0 {
			return nil
		}
		if left == 0 || g.now() > until {
			return fmt.Errorf("%d of %d connections could not be opened", left+closed, len(g.conns))
		}
		g.wait(sweep)
	}
}

// Reconnect closes every connection that is kept alive and opens it anew, all at once; one that waits
// for an answer is closed when it has it.
func (g *Generator) Reconnect() {
	for _, s := range g.streams {
		if s.PerRequest {
			continue
		}
		free := s.idle
		s.idle = nil
		for _, c := range free {
			g.close(c)
			c.state = dialing
			if err := g.open(c); err != nil {
				g.rest(c)
			}
		}
	}
	for _, c := range g.conns {
		c.drop = c.state == waiting
	}
}

// Close closes every connection; further calls do nothing.
func (g *Generator) Close() {
	for _, c := range g.conns {
		g.close(c)
	}
	g.conns, g.streams = nil, nil
	if g.poll >= 0 {
		_ = unix.Close(g.poll)
	}
	g.poll = -1
}

func (g *Generator) now() time.Duration { return time.Since(g.start) }

// Run sends for d, waits for the answers that are then still due, and returns a result a stream, in
// their order. step is the grain of the time lines. It can be called again; the connections stay.
func (g *Generator) Run(d, step time.Duration, events ...Event) []Result {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A timer of this thread may be 50 µs late by default, to save power.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	g.start, g.end = time.Now(), d
	for _, s := range g.streams {
		s.begin(step)
	}
	heldUp := time.Duration(0)
	for swept := time.Duration(0); ; {
		now := g.now()
		for len(events) > 0 && events[0].At <= now {
			events[0].Do()
			events = events[1:]
		}
		next := min(g.sendDue(now), swept+sweep)
		if len(events) > 0 {
			next = min(next, events[0].At)
		} else if g.done(now) {
			break
		}
		g.wait(next - now)
		now = g.now()
		heldUp = max(heldUp, now-next)
		if now >= swept+sweep {
			g.giveUp(now)
			swept = now
		}
	}
	results := make([]Result, len(g.streams))
	for i, s := range g.streams {
		s.line.flush()
		s.result.Timeline, s.result.HeldUp = s.line.buckets, heldUp
		results[i] = s.result
	}
	return results
}

// sendDue sends what is due and finds a connection, and returns when the next send is due.
func (g *Generator) sendDue(now time.Duration) time.Duration {
	next := never
	for _, s := range g.streams {
		if at := s.plan(now, g.end); now < g.end {
			next = min(next, at)
		}
		for len(s.idle) > 0 {
			due := now
			switch {
			case len(s.queue) > 0:
				due = s.queue[0]
				s.queue = s.queue[1:]
			case s.Pace == nil && now < g.end && now >= s.retry:
				s.result.Offered++
			default:
				due = never
			}
			if due == never {
				break
			}
			c := s.idle[0]
			s.idle = s.idle[1:]
			g.send(c, now, due)
		}
	}
	return next
}

func (g *Generator) done(now time.Duration) bool {
	for _, s := range g.streams {
		if s.busy > 0 || len(s.queue) > 0 || s.planned(now, g.end) {
			return false
		}
	}
	return true
}

// giveUp counts as lost what has waited longer than its stream's patience.
func (g *Generator) giveUp(now time.Duration) {
	for _, c := range g.conns {
		if (c.state == waiting || c.state == opening) && now-c.sent > c.s.Patience {
			g.fail(c, now, fmt.Errorf("%s: no answer within %v", c.s.Addr, c.s.Patience))
		}
	}
	for _, s := range g.streams {
		for len(s.queue) > 0 && now-s.queue[0] > s.Patience {
			s.queue = s.queue[1:]
			s.lost(fmt.Sprintf("no free connection within %v", s.Patience))
		}
	}
}

// wait lets the connections work until d has passed or something has happened on one.
func (g *Generator) wait(d time.Duration) {
	timeout := unix.NsecToTimespec(int64(max(d, 0)))
	// epoll_pwait2 is epoll_wait with a time-out finer than a millisecond.
	n, _, err := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(g.poll), uintptr(unsafe.Pointer(&g.ready[0])), uintptr(len(g.ready)),
		uintptr(unsafe.Pointer(&timeout)), 0, 0)
	if err != 0 && !errors.Is(err, unix.EINTR) {
		panic(fmt.Sprintf("epoll_pwait2: %v; the generator needs Linux 5.11 or later", err))
	}
	if err != 0 {
		return
	}
	for _, e := range g.ready[:n] {
		c := g.conns[e.Fd]
		switch {
		case c.fd < 0: // closed by an event before it in the same batch
		case c.state == dialing || c.state == opening:
			g.opened(c, g.now())
		default:
			g.read(c)
		}
	}
}
