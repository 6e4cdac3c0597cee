package admin

import (
	"time"

	"hookswitch/schema"
)

// HookReport is how a hook has been answering, over the last minutes and the last hour.
type HookReport struct {
	HookState
	// Minutes are those that the figures above count: what was asked for, in whole periods.
	Minutes  int               `json:"minutes"`
	ByReason map[string]uint64 `json:"by_reason"`
	Series   []Point           `json:"series"`
	Failures []Failure         `json:"failures"`
}

// HookState is a hook at a glance.
type HookState struct {
	Project     string `json:"project"`
	Hook        string `json:"hook"`
	Breaker     string `json:"breaker"` // closed, half_open or open
	InFlight    int    `json:"in_flight"`
	MaxInFlight int    `json:"max_in_flight"`
	// Calls are those that came to the hook, Failed those of them that it was of no use to, those that
	// its breaker or max_in_flight turned away among them. The times are of those that were asked.
	Calls  uint64  `json:"calls"`
	Failed uint64  `json:"failed"`
	P50MS  float64 `json:"p50_ms"`
	P95MS  float64 `json:"p95_ms"`
	P99MS  float64 `json:"p99_ms"`
}

// Point is one period of a plot.
type Point struct {
	At       time.Time         `json:"at"`
	Calls    uint64            `json:"calls"`
	BySource map[string]uint64 `json:"by_source,omitempty"`
	ByReason map[string]uint64 `json:"by_reason"`
	P50MS    float64           `json:"p50_ms"`
	P99MS    float64           `json:"p99_ms"`
}

// Failure is one time that a hook was of no use.
type Failure struct {
	At         time.Time `json:"at"`
	DecisionID string    `json:"decision_id"`
	CallID     string    `json:"callid"`
	Reason     string    `json:"reason"`
	Detail     string    `json:"detail"`
	Status     int       `json:"status"`
	TookMS     float64   `json:"took_ms"`
}

const (
	usualMinutes = 5
	lastHour     = 60 // minutes
)

// getHookStats tells of one hook.
func getHookStats(r *request) error {
	if r.live.Hooks == nil {
		return errNotLive
	}
	minutes, err := r.count("minutes", usualMinutes, lastHour)
	if err != nil {
		return err
	}
	stats, ok := r.live.Hooks.HookStats(r.project.ID, r.arg("id"))
	if !ok {
		return behind(notFound("such hook"))
	}
	recent := latest(&stats, minutes)
	report := HookReport{
		HookState: stateOf(&stats, &recent), Minutes: len(lastOf(&stats, minutes)) * int(stats.PeriodLength/time.Minute),
		ByReason: reasonsOf(&recent), Series: points(stats.Periods, false), Failures: []Failure{},
	}
	for _, f := range stats.Failures {
		report.Failures = append(report.Failures, Failure{
			At: f.At.UTC(), DecisionID: f.DecisionID, CallID: f.CallID, Reason: f.Reason.String(), Detail: f.Detail, Status: f.Status, TookMS: milliseconds(f.Took),
		})
	}
	return r.answer(report)
}

// lastOf returns the periods of the last minutes, the present one too.
func lastOf(s *schema.HookStats, minutes int) []schema.Period {
	n := int((time.Duration(minutes)*time.Minute + s.PeriodLength - 1) / s.PeriodLength)
	return s.Periods[max(0, len(s.Periods)-n):]
}

func latest(s *schema.HookStats, minutes int) schema.Period { return schema.Sum(lastOf(s, minutes)) }

func stateOf(s *schema.HookStats, recent *schema.Period) HookState {
	calls := recent.Total()
	return HookState{
		Project: s.Project, Hook: s.Hook, Breaker: s.Breaker, InFlight: s.InFlight, MaxInFlight: s.MaxInFlight,
		Calls: calls, Failed: calls - recent.Reasons[schema.ReasonOK],
		P50MS: milliseconds(recent.Quantile(0.5)), P95MS: milliseconds(recent.Quantile(0.95)), P99MS: milliseconds(recent.Quantile(0.99)),
	}
}

// reasonsOf and sourcesOf name the counts that are not 0.
func reasonsOf(p *schema.Period) map[string]uint64 {
	by := map[string]uint64{}
	for i, n := range p.Reasons {
		if n > 0 {
			by[schema.Reason(i).String()] = n
		}
	}
	return by
}

func sourcesOf(p *schema.Period) map[string]uint64 {
	by := map[string]uint64{}
	for i, n := range p.Sources {
		if n > 0 {
			by[schema.Source(i).String()] = n
		}
	}
	return by
}

func points(periods []schema.Period, sources bool) []Point {
	list := make([]Point, len(periods))
	for i := range periods {
		p := &periods[i]
		list[i] = Point{At: p.At, Calls: p.Total(), ByReason: reasonsOf(p), P50MS: milliseconds(p.Quantile(0.5)), P99MS: milliseconds(p.Quantile(0.99))}
		if sources {
			list[i].BySource = sourcesOf(p)
		}
	}
	return list
}
