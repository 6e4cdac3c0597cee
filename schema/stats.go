package schema

import "time"

// Period is what was counted in one stretch of time.
type Period struct {
	At      time.Time // its beginning
	Sources [SourceCount]uint64
	Reasons [ReasonCount]uint64
	Took    [LatencyBuckets]uint64
}

// Sum adds periods up. At is the first one's.
func Sum(periods []Period) Period {
	var sum Period
	for i := range periods {
		p := &periods[i]
		if i == 0 {
			sum.At = p.At
		}
		for j, n := range p.Sources {
			sum.Sources[j] += n
		}
		for j, n := range p.Reasons {
			sum.Reasons[j] += n
		}
		for j, n := range p.Took {
			sum.Took[j] += n
		}
	}
	return sum
}

// Total is the number of outcomes.
func (p *Period) Total() uint64 {
	var n uint64
	for _, c := range p.Reasons {
		n += c
	}
	return n
}

// Quantile returns the time that the given part (0 to 1) of the outcomes took at most, as near as the
// buckets tell: within one, outcomes are taken to be spread evenly. 0 where there was none; what
// fell into the last bucket is taken for its lower bound.
func (p *Period) Quantile(part float64) time.Duration {
	var total uint64
	for _, n := range p.Took {
		total += n
	}
	rank, before := part*float64(total), float64(0)
	for i, n := range p.Took {
		if n == 0 || before+float64(n) < rank {
			before += float64(n)
			continue
		}
		low := time.Duration(0)
		if i > 0 {
			low = shortestBucket << (i - 1)
		}
		if i == LatencyBuckets-1 {
			return low
		}
		high := shortestBucket << i
		return low + time.Duration((rank-before)/float64(n)*float64(high-low))
	}
	return 0
}

// HookStats is how a hook has been answering, and how it is doing now.
type HookStats struct {
	Project, Hook string
	Breaker       string // closed, half_open or open
	InFlight      int    // calls waiting for it now
	MaxInFlight   int
	// PeriodLength is that of Periods, the last hour's, oldest first: what became of the calls that
	// came to the hook, those turned away by its breaker and its max_in_flight among them.
	PeriodLength time.Duration
	Periods      []Period
	Failures     []HookFailure // the last ones, newest first
}

// HookFailure is one time that a hook gave nothing of use.
type HookFailure struct {
	At         time.Time
	DecisionID string
	CallID     string
	Reason     Reason
	Detail     string
	Status     int // of the last answer; 0 for none
	Took       time.Duration
}

// Times are how long the stages of asking a webhook over a new connection took, each 0 where it did
// not come to that. A second request has its own; these are the last one's.
type Times struct {
	DNS, Connect, TLS time.Duration
	// FirstByte is from the request's first byte leaving to the answer's first one coming.
	FirstByte time.Duration
	Total     time.Duration // of it all: repetitions, pauses and the second URL included
}
