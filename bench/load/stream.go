package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Stream is one kind of question, asked of one server.
type Stream struct {
	Name     string
	Addr     string // IPv4 address and port
	Template Template
	// Callee chooses the number that a send asks for; nil where the template has no place for one.
	Callee func() uint64
	// Pace plans the sends. Without one the loop is closed: each connection sends again as soon as it
	// has been answered.
	Pace *Pace
	// Connections are kept alive and used in turn; a send that finds none free waits, and its latency
	// counts from when it was due. With PerRequest each send opens one of its own, and Connections is
	// how many may be open at once.
	Connections int
	PerRequest  bool
	// Want is what a good answer holds beside its status of 200; nil for nothing.
	Want []byte
	// Reasons asks for answers to be counted by their "reason".
	Reasons bool
	// Patience is how long a send waits for its answer before it counts as lost; 0 for ten seconds.
	Patience time.Duration
}

// stream is a Stream at work.
type stream struct {
	Stream
	addr unix.SockaddrInet4

	next   int             // the number of the next send of the plan
	queue  []time.Duration // due, and without a connection yet
	idle   []*conn         // first in, first out
	busy   int
	retry  time.Duration // a closed loop rests until then after a failure
	result Result
	line   *timeline
}

func newStream(s Stream) (*stream, error) {
	at, err := netip.ParseAddrPort(s.Addr)
	if err != nil || !at.Addr().Is4() || s.Connections < 1 {
		return nil, fmt.Errorf("stream %q: found address %q, %d connections; want an IPv4 address with a port, and 1 or more", s.Name, s.Addr, s.Connections)
	}
	if s.Patience == 0 {
		s.Patience = 10 * time.Second
	}
	if s.PerRequest {
		s.Template = s.Template.PerConnection()
	}
	return &stream{Stream: s, addr: unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}}, nil
}

func (s *stream) begin(step time.Duration) {
	s.next, s.queue, s.retry, s.line = 0, s.queue[:0], 0, newTimeline(step)
	s.result = Result{Name: s.Name, Latency: NewHistogram(), Reasons: map[string]uint64{}}
}

// plan queues what has come due, and returns when the next send will be.
func (s *stream) plan(now, end time.Duration) time.Duration {
	if s.Pace == nil {
		return end
	}
	for {
		due, ok := s.Pace.Moment(s.next)
		if !ok || due >= end {
			return end
		}
		if due > now {
			return due
		}
		s.next++
		s.result.Offered++
		s.queue = append(s.queue, due)
	}
}

// planned reports whether sends are still to come due.
func (s *stream) planned(now, end time.Duration) bool {
	if s.Pace == nil {
		return now < end
	}
	due, ok := s.Pace.Moment(s.next)
	return ok && due < end
}

// took counts one answer.
func (s *stream) took(now, since time.Duration, r response) {
	good := r.status == 200
	if good && s.Want != nil {
		good = contains(r.body, s.Want)
	}
	if !good {
		s.result.Refused++
		s.result.Worst = fmt.Sprintf("status %d: %.200s", r.status, r.body)
		return
	}
	s.result.Answered++
	if s.Reasons {
		s.result.Reasons[string(field(r.body, "reason"))]++
	}
	_ = s.result.Latency.RecordValue(clamp(now - since))
	s.line.add(now, now-since)
}

func (s *stream) lost(why string) {
	s.result.Lost++
	s.result.Worst = why
}

// Uniform chooses evenly among n numbers from first on; the same seed gives the same choices.
func Uniform(first uint64, n int, seed uint64) func() uint64 {
	r := rand.New(rand.NewPCG(seed, 1))
	return func() uint64 { return first + uint64(r.IntN(n)) }
}

// Zipf chooses among n numbers from first on, number k about 1/k^1.1 as often as the first: few
// customers make most calls.
func Zipf(first uint64, n int, seed uint64) func() uint64 {
	z := rand.NewZipf(rand.New(rand.NewPCG(seed, 1)), 1.1, 1, uint64(max(n, 1)-1))
	return func() uint64 { return first + z.Uint64() }
}

// InTurn chooses n numbers from first on, one after the other, and then again.
func InTurn(first uint64, n int) func() uint64 {
	i := -1
	return func() uint64 {
		i = (i + 1) % n
		return first + uint64(i)
	}
}

// Always chooses one number.
func Always(number uint64) func() uint64 { return func() uint64 { return number } }

// never is later than any run.
const never = time.Duration(math.MaxInt64)
