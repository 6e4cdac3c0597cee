package schema

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Series counts outcomes over the last hour or so, a period at a time. Counting takes a few atomic
// additions and no lock; once in a period it makes the memory for it, so that what is idle holds none.
// It is safe for concurrent use; make one by NewSeries.
type Series struct {
	length  time.Duration
	periods []atomic.Pointer[counters] // a ring: period n of the clock stands at n modulo its size
	latest  atomic.Pointer[counters]   // one of them, found without a division
}

// counters are one period's. Once made they belong to that period for good: who is late counts into
// one that nobody looks at any more.
type counters struct {
	number  int64 // of the period: its beginning, in lengths since 1970
	begin   int64 // nanoseconds since then
	sources [SourceCount]atomic.Uint32
	reasons [ReasonCount]atomic.Uint32
	took    [LatencyBuckets]atomic.Uint32
}

// NewSeries returns a series of so many periods of that length each.
func NewSeries(length time.Duration, periods int) *Series {
	return &Series{length: length, periods: make([]atomic.Pointer[counters], periods)}
}

// Count adds one outcome, that came at now after took; a negative took is none that would tell anything.
func (s *Series) Count(now time.Time, source Source, reason Reason, took time.Duration) {
	nanos := now.UnixNano()
	c := s.latest.Load()
	if c == nil || uint64(nanos-c.begin) >= uint64(s.length) {
		c = s.at(nanos / int64(s.length))
	}
	c.sources[source].Add(1)
	c.reasons[reason].Add(1)
	if took >= 0 {
		c.took[LatencyBucket(took)].Add(1)
	}
}

// at returns the counters of the nth period, made where they are not there yet.
func (s *Series) at(n int64) *counters {
	slot := &s.periods[n%int64(len(s.periods))]
	c := slot.Load()
	if c != nil && c.number >= n {
		return c // a clock that was set back counts into the present period
	}
	fresh := &counters{number: n, begin: n * int64(s.length)}
	if slot.CompareAndSwap(c, fresh) {
		s.latest.Store(fresh)
		return fresh
	}
	return slot.Load()
}

// Last returns the periods up to the one of now, oldest first, no more than most. Those without an
// outcome are among them.
func (s *Series) Last(now time.Time, most int) []Period {
	most = min(most, len(s.periods))
	last := now.UnixNano() / int64(s.length)
	list := make([]Period, most)
	for i := range list {
		n := last - int64(most-1-i)
		list[i].At = time.Unix(0, n*int64(s.length)).UTC()
		if c := s.periods[n%int64(len(s.periods))].Load(); c != nil && c.number == n {
			c.read(&list[i])
		}
	}
	return list
}

// Length is a period's.
func (s *Series) Length() time.Duration { return s.length }

func (c *counters) read(p *Period) {
	for i := range c.sources {
		p.Sources[i] = uint64(c.sources[i].Load())
	}
	for i := range c.reasons {
		p.Reasons[i] = uint64(c.reasons[i].Load())
	}
	for i := range c.took {
		p.Took[i] = uint64(c.took[i].Load())
	}
}

// LatencyBuckets is the number of buckets of a latency: the first holds what took less than a quarter
// of a millisecond, each next one twice as much, the last one all that took longer than 16 s.
const LatencyBuckets = 18

const shortestBucket = 250 * time.Microsecond

// LatencyBucket returns the bucket that a time belongs to.
func LatencyBucket(took time.Duration) int {
	return min(bits.Len64(uint64(max(took, 0)/shortestBucket)), LatencyBuckets-1)
}
