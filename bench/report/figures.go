package report

import (
	"fmt"
	"slices"
)

// Figure is one line of the design document's "Figures it must reach", with what this run says of it.
type Figure struct {
	What   string
	Checks []Check
}

// Check is one number of a figure and its limit.
type Check struct {
	Of       string // what the number is, "× bare pass-through"
	Value    float64
	Limit    float64
	AtLeast  bool // the limit is a floor, not a ceiling
	Measured bool
	Spread   string // over the rounds, "1.02 to 1.09"
	Unit     string
}

// Pass reports whether the number keeps to its limit.
func (c Check) Pass() bool {
	if c.AtLeast {
		return c.Value >= c.Limit
	}
	return c.Value <= c.Limit
}

// Verdict is "pass", "short", or "not measured".
func (c Check) Verdict() string {
	switch {
	case !c.Measured:
		return "not measured"
	case c.Pass():
		return "pass"
	}
	return "short"
}

// Ours is the name of the program whose figures these are.
const Ours = "hookswitch"

// Judge holds a run against the design document.
func Judge(r *Run) []Figure {
	return []Figure{
		{"CPU per decision, saturated, GET", []Check{
			r.ratio("get", cpu, Ours, "bare", 1.10, false, "× the bare pass-through"),
			r.ratio("get", cpu, Ours, "nginx", 1.0, false, "× nginx, plain proxy"),
		}},
		{"CPU per decision, saturated, POST of 25 JSON fields", []Check{
			r.ratio("post", cpu, Ours, "bare", 1.25, false, "× the bare pass-through"),
		}},
		{"throughput on one core, GET", []Check{
			r.ratio("get", rate, Ours, "nginx", 1.0, true, "× nginx, plain proxy"),
			r.ratio("get", rate, Ours, "haproxy", 1.0, true, "× haproxy, plain proxy"),
			r.ratio("get", rate, Ours, "lua", 1.3, true, "× nginx with Lua"),
			r.ratio("get", rate, Ours, "nethttp", 3, true, "× net/http with encoding/json"),
		}},
		{"latency added to the hook's own, 500 decisions/s", []Check{
			r.added("get-500", 50, 1.0),
			r.added("get-500", 99, 1.5),
		}},
		{"CPU per decision at 500/s", []Check{
			r.ratio("get-500", cpu, Ours, "bare", 1.15, false, "× the bare pass-through"),
		}},
		{"allocations per decision, steady state", []Check{
			r.value("allocs.count", 2, "allocations", ""),
			r.value("allocs.bytes", 64, "bytes", ""),
			r.value("allocs.intake", 0, "allocations in intake", ""),
			r.value("allocs.router", 0, "allocations in router", ""),
		}},
		{"answer time with the hook hung", []Check{
			r.value("hung.late_p99_ms", 3, "after request_timeout, p99", "ms"),
			r.value("hung.late_p999_ms", 10, "after request_timeout, p99.9", "ms"),
			r.value("open.p99_ms", 1, "with the breaker open, p99", "ms"),
		}},
		{"a hung hook beside healthy ones", []Check{
			r.value("beside.ratio_p99", 1.2, "× the healthy hook's p99 alone", ""),
		}},
		{"memory, 1,000 hooks, 10,000 numbers, 5,000 decisions/s offered", []Check{
			r.value("memory.rss_mib", 64, "RSS", "MiB"),
			r.value("memory.hung_growth", 1.1, "× as much later, every hook hung", ""),
		}},
		{"reload of 10,000 numbers and 1,000 hooks", []Check{
			r.value("reload.took_ms", 200, "to take it up", "ms"),
			r.value("reload.delay_ms", 5, "longest delay of a decision", "ms"),
		}},
	}
}

func cpu(s Sample) float64  { return s.CPU }
func rate(s Sample) float64 { return s.Rate }

// ratio is the middle of the rounds' ratios of two programs, each taken within one round: what else
// the machine did then fell on both.
func (r *Run) ratio(load string, of func(Sample) float64, a, b string, limit float64, atLeast bool, name string) Check {
	c := Check{Of: name, Limit: limit, AtLeast: atLeast}
	ratios := r.Ratios(load, of, a, b)
	if len(ratios) == 0 {
		return c
	}
	c.Value, c.Measured = median(ratios), true
	c.Spread = fmt.Sprintf("%.2f to %.2f in %d rounds", ratios[0], ratios[len(ratios)-1], len(ratios))
	return c
}

// Ratios returns, ascending, what a has for one of b's in each round that counts.
func (r *Run) Ratios(load string, of func(Sample) float64, a, b string) []float64 {
	la, lb := r.Find(load, a), r.Find(load, b)
	if la == nil || lb == nil {
		return nil
	}
	var ratios []float64
	for i := range min(len(la.Samples), len(lb.Samples)) {
		if sa, sb := la.Samples[i], lb.Samples[i]; sa.Clean && sb.Clean && of(sb) > 0 {
			ratios = append(ratios, of(sa)/of(sb))
		}
	}
	slices.Sort(ratios)
	return ratios
}

// added compares what hookswitch adds to the hook's own latency with what nginx adds.
func (r *Run) added(load string, percentile, limit float64) Check {
	c := Check{Of: fmt.Sprintf("× what nginx adds, p%g", percentile), Limit: limit}
	direct, nginx, ours := r.Find(load, "direct"), r.Find(load, "nginx"), r.Find(load, Ours)
	if direct == nil || nginx == nil || ours == nil {
		return c
	}
	base := direct.At(percentile)
	theirs, us := nginx.At(percentile)-base, ours.At(percentile)-base
	if base == 0 || theirs <= 0 {
		return c
	}
	c.Value, c.Measured = us/theirs, true
	c.Spread = fmt.Sprintf("%.3f ms; nginx %.3f ms", us, theirs)
	return c
}

func (r *Run) value(name string, limit float64, of, unit string) Check {
	v, ok := r.Values[name]
	return Check{Of: of, Value: v, Limit: limit, Measured: ok, Unit: unit}
}

// Median returns the middle of a lane's rounds that count, 0 where there is none.
func (l *Lane) Median(of func(Sample) float64) float64 {
	var values []float64
	for _, s := range l.Samples {
		if s.Clean {
			values = append(values, of(s))
		}
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return median(values)
}

// median of an ascending list that is not empty.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
