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

// Overview is the installation at a glance, or one project.
type Overview struct {
	At        time.Time         `json:"at"`
	Decisions DecisionCounts    `json:"decisions"`
	Hooks     HooksOverview     `json:"hooks"`
	Delivered *DeliveryOverview `json:"deliveries"` // null where none are made
}

// DecisionCounts are the last hour's. Lookups sent again are not counted.
type DecisionCounts struct {
	PerSecond float64           `json:"per_second"` // lately
	LastHour  uint64            `json:"last_hour"`
	BySource  map[string]uint64 `json:"by_source"`
	ByReason  map[string]uint64 `json:"by_reason"`
	P50MS     float64           `json:"p50_ms"`
	P99MS     float64           `json:"p99_ms"`
	PeriodS   float64           `json:"period_s"` // of a point
	Series    []Point           `json:"series"`
}

// HooksOverview has the hooks that somebody should look at: the worst first.
type HooksOverview struct {
	Total     int         `json:"total"`
	Attention []HookState `json:"attention"`
}

// DeliveryOverview counts deliveries.
type DeliveryOverview struct {
	Waiting int `json:"waiting"`
	Failed  int `json:"failed"`
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
		return notFound("such hook")
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

// getOverview tells how things are, of one project where the request is limited to that.
func getOverview(r *request) error {
	project, err := r.onlyProject()
	if err != nil {
		return err
	}
	if r.live.Decisions == nil || r.live.Hooks == nil {
		return errNotLive
	}
	now := r.now()
	o := Overview{At: now.UTC(), Decisions: r.live.Decisions.counts(project, now), Hooks: overviewOf(r.live.Hooks.AllHookStats(project))}
	if r.live.Backlog != nil {
		o.Delivered = &DeliveryOverview{}
		if o.Delivered.Waiting, o.Delivered.Failed, err = r.live.Backlog(project); err != nil {
			o.Delivered = nil // the store is away; what is known without it is worth telling
		}
	}
	return r.answer(o)
}

// counts sums up a project's last hour, "" for everybody's.
func (ds *Decisions) counts(project string, now time.Time) DecisionCounts {
	series, perSecond := ds.minutes, ds.seconds
	if project != "" {
		series = ds.projects.find(project)
		if series == nil {
			series = schema.NewSeries(projectPeriod, projectPeriods) // no call yet
		}
		perSecond = series
	}
	periods := series.Last(now, int(time.Hour/series.Length()))
	sum := schema.Sum(periods)
	return DecisionCounts{
		PerSecond: rate(perSecond, now), LastHour: sum.Total(), BySource: sourcesOf(&sum), ByReason: reasonsOf(&sum),
		P50MS: milliseconds(sum.Quantile(0.5)), P99MS: milliseconds(sum.Quantile(0.99)),
		PeriodS: series.Length().Seconds(), Series: points(periods, true),
	}
}

// rate is the outcomes a second over the last periods, ten at most: the present one as far as it has
// come.
func rate(s *schema.Series, now time.Time) float64 {
	n := 10
	if s.Length() > time.Second {
		n = 2
	}
	periods := s.Last(now, n)
	sum := schema.Sum(periods)
	return float64(sum.Total()) / now.Sub(sum.At).Seconds()
}

// A hook deserves attention whose breaker is not closed, or that failed a tenth of its calls in the last
// minutes, or that is nearly as busy as it may be.
func overviewOf(all []schema.HookStats) HooksOverview {
	o := HooksOverview{Total: len(all), Attention: []HookState{}}
	var open, others []HookState
	for i := range all {
		recent := latest(&all[i], usualMinutes)
		s := stateOf(&all[i], &recent)
		switch {
		case s.Breaker != "closed":
			open = append(open, s)
		case s.Failed > 0 && s.Failed*10 >= s.Calls, s.MaxInFlight > 0 && s.InFlight*5 >= s.MaxInFlight*4:
			others = append(others, s)
		}
	}
	o.Attention = append(append(o.Attention, open...), others...)
	if len(o.Attention) > maxAttention {
		o.Attention = o.Attention[:maxAttention]
	}
	return o
}

// maxAttention bounds the list: of a thousand hooks that fail at once, a page is enough.
const maxAttention = 100
