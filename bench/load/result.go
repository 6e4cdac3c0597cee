package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what came of one stream in one run.
type Result struct {
	Name string
	// Offered were due, Answered got a good answer, Refused one of another status or without what was
	// wanted in it, and Lost none at all. Offered is their sum.
	Offered, Answered, Refused, Lost uint64
	// Reasons count the answers by their "reason", where the stream asks for that.
	Reasons map[string]uint64
	// Latency is in nanoseconds, from the planned moment to the whole answer, in which a stall of the
	// server or a want of connections counts. In a closed loop it is from the actual send.
	Latency *hdrhistogram.Histogram
	// Timeline is the same by time, in equal steps.
	Timeline []Bucket
	// Worst says what went wrong last, for a person; empty where nothing did.
	Worst string
	// HeldUp is the longest time by which the generator itself was late to look: what took that long
	// says nothing of the server.
	HeldUp time.Duration
}

// Bucket is one step of a time line.
type Bucket struct {
	From          time.Duration
	Count         int64
	P50, P99, Max time.Duration
}

// NewHistogram holds a microsecond to a minute to three digits, in nanoseconds.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(time.Minute), 3)
}

// Percentile reads a histogram; p is 0 to 100.
func Percentile(h *hdrhistogram.Histogram, p float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(p))
}

// Add merges another run's result of the same stream into r, its time line left aside.
func (r *Result) Add(o Result) {
	r.Offered += o.Offered
	r.Answered += o.Answered
	r.Refused += o.Refused
	r.Lost += o.Lost
	if r.Reasons == nil {
		r.Reasons = map[string]uint64{}
	}
	for reason, n := range o.Reasons {
		r.Reasons[reason] += n
	}
	if r.Latency == nil {
		r.Latency = NewHistogram()
	}
	r.Latency.Merge(o.Latency)
	r.HeldUp = max(r.HeldUp, o.HeldUp)
	if o.Worst != "" {
		r.Worst = o.Worst
	}
}

// timeline gathers buckets while a run goes on.
type timeline struct {
	step    time.Duration
	now     *hdrhistogram.Histogram
	from    time.Duration
	buckets []Bucket
}

func newTimeline(step time.Duration) *timeline {
	return &timeline{step: step, now: hdrhistogram.New(int64(time.Microsecond), int64(time.Minute), 2)}
}

// add counts an answer that arrived at the moment at; moments never go back.
func (t *timeline) add(at, took time.Duration) {
	for at >= t.from+t.step {
		t.flush()
	}
	_ = t.now.RecordValue(clamp(took))
}

func (t *timeline) flush() {
	b := Bucket{From: t.from, Count: t.now.TotalCount()}
	if b.Count > 0 {
		b.P50, b.P99, b.Max = Percentile(t.now, 50), Percentile(t.now, 99), time.Duration(t.now.Max())
		t.now.Reset()
	}
	t.buckets = append(t.buckets, b)
	t.from += t.step
}

// clamp fits a latency into what a histogram holds.
func clamp(d time.Duration) int64 {
	return int64(min(max(d, time.Microsecond), time.Minute))
}
