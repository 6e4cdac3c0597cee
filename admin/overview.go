package admin

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"hookswitch/schema"
)

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
	BySecond  RatesBy           `json:"rates"`
	LastHour  uint64            `json:"last_hour"`
	BySource  map[string]uint64 `json:"by_source"`
	ByReason  map[string]uint64 `json:"by_reason"`
	P50MS     float64           `json:"p50_ms"`
	P99MS     float64           `json:"p99_ms"`
	PeriodS   float64           `json:"period_s"` // of a point
	Series    []Point           `json:"series"`
}

// RatesBy are decisions a second, lately.
type RatesBy struct {
	Source map[string]float64 `json:"by_source"`
	Reason map[string]float64 `json:"by_reason"`
}

// HooksOverview has the hooks that somebody should look at, the worst first, and those with the most
// calls in flight and lately.
type HooksOverview struct {
	Total     int         `json:"total"`
	Attention []HookState `json:"attention"`
	Busiest   []HookState `json:"busiest"`
}

// DeliveryOverview counts deliveries, and has the webhooks that get none since they failed for too long.
type DeliveryOverview struct {
	Waiting  int                      `json:"waiting"`
	Failed   int                      `json:"failed"`
	FailedBy map[string]int           `json:"failed_by_project"`
	Disabled []schema.DisabledWebhook `json:"disabled"`
}

func overviewOperations() []operation {
	return []operation{
		{"GET", "/api/v1/overview", scopeRead, false, getOverview},
		{"GET", "/api/v1/overview/stream", scopeRead, false, streamOverview},
	}
}

// getOverview tells how things are, of one project where the request is limited to that.
func getOverview(r *request) error {
	project, err := r.overviewOf()
	if err != nil {
		return err
	}
	return r.answer(r.overview(project))
}

// overviewOf returns the project that the overview is to be of, "" for all.
func (r *request) overviewOf() (string, error) {
	project, err := r.onlyProject()
	if err == nil && (r.live.Decisions == nil || r.live.Hooks == nil) {
		err = errNotLive
	}
	return project, err
}

func (s *Server) overview(project string) *Overview {
	now := s.now()
	o := &Overview{At: now.UTC(), Decisions: s.live.Decisions.counts(project, now), Hooks: overviewOf(s.live.Hooks.AllHookStats(project, usualMinutes*time.Minute))}
	if s.live.Backlog == nil {
		return o
	}
	b, err := s.live.Backlog(project)
	if err != nil {
		return o // the store is away; what is known without it is worth telling
	}
	o.Delivered = &DeliveryOverview{Waiting: b.Waiting, Failed: b.Failed, FailedBy: b.FailedBy, Disabled: []schema.DisabledWebhook{}}
	if s.deliveries != nil {
		o.Delivered.Disabled = append(o.Delivered.Disabled, s.deliveries.AllDisabled(project)...)
	}
	return o
}

// The overview is shown anew every overviewPace, to no more than maxStreams.
const overviewPace = time.Second

// shownOverview is a project's overview as all who watch it are shown it: of many hooks it takes
// milliseconds to make.
type shownOverview struct {
	watching int // guarded by showing.mu

	mu   sync.Mutex // held while body is made; guards what follows
	due  time.Time  // when it is to be made anew
	made int        // how often it was
	body []byte     // in JSON; it is replaced, and not changed
}

// showing is what is shown by project, "" for all of them, while somebody watches.
type showing struct {
	mu sync.Mutex // guards by
	by map[string]*shownOverview
}

// watch returns what is shown of a project. The caller leaves when it has seen enough.
func (s *showing) watch(project string) *shownOverview {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.by[project]
	if o == nil {
		o = &shownOverview{}
		s.by[project] = o
	}
	o.watching++
	return o
}

func (s *showing) leave(project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.by[project]
	if o.watching--; o.watching == 0 {
		delete(s.by, project)
	}
}

// at returns what is shown at now, and its number. Whoever looks first when it is due makes it.
func (o *shownOverview) at(now time.Time, overview func() *Overview) (body []byte, made int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Before(o.due.Add(-streamLook / 2)) { // the nearest look to when it is due is in time
		return o.body, o.made
	}
	if o.due = o.due.Add(overviewPace); o.due.Before(now) {
		o.due = now.Add(overviewPace)
	}
	o.body, _ = json.Marshal(overview()) // strings and numbers can always be written
	o.made++
	return o.body, o.made
}

// streamOverview shows the overview again and again, as server-sent events. It ends as the stream of
// decisions does.
func streamOverview(r *request) error {
	project, err := r.overviewOf()
	if err != nil {
		return err
	}
	if r.overviews.Add(1) > maxStreams {
		r.overviews.Add(-1)
		return unavailable("too many are watching already")
	}
	s := &stream{server: r.Server, conn: r.http.Conn()}
	r.events(func(w *bufio.Writer) {
		defer s.server.overviews.Add(-1)
		s.runOverview(w, project)
	})
	return nil
}

func (s *stream) runOverview(w *bufio.Writer, project string) {
	look := time.NewTicker(streamLook)
	defer look.Stop()
	now := time.Now()
	end := now.Add(streamFor)
	o := s.server.showing.watch(project)
	defer s.server.showing.leave(project)
	last := 0
	fmt.Fprint(w, "retry: 1000\n\n")
	for ; !s.server.closing.Load() && now.Before(end); now = <-look.C {
		body, made := o.at(now, func() *Overview { return s.server.overview(project) })
		if made == last {
			continue
		}
		last = made
		fmt.Fprintf(w, "event: overview\ndata: %s\n\n", body)
		if !s.flush(w) {
			return
		}
	}
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
	rate, rates := ratesOf(perSecond, now)
	return DecisionCounts{
		PerSecond: rate, BySecond: rates, LastHour: sum.Total(), BySource: sourcesOf(&sum), ByReason: reasonsOf(&sum),
		P50MS: milliseconds(sum.Quantile(0.5)), P99MS: milliseconds(sum.Quantile(0.99)),
		PeriodS: series.Length().Seconds(), Series: points(periods, true),
	}
}

// ratesOf are the outcomes a second over the last periods, ten at most: the present one as far as it has
// come.
func ratesOf(s *schema.Series, now time.Time) (all float64, by RatesBy) {
	n := 10
	if s.Length() > time.Second {
		n = 2
	}
	sum := schema.Sum(s.Last(now, n))
	seconds := now.Sub(sum.At).Seconds()
	each := func(counts map[string]uint64) map[string]float64 {
		rates := make(map[string]float64, len(counts))
		for name, n := range counts {
			rates[name] = float64(n) / seconds
		}
		return rates
	}
	return float64(sum.Total()) / seconds, RatesBy{each(sourcesOf(&sum)), each(reasonsOf(&sum))}
}

// A hook deserves attention whose breaker is not closed, or that failed a tenth of its calls in the last
// minutes, or that is nearly as busy as it may be.
func overviewOf(all []schema.HookStats) HooksOverview {
	o := HooksOverview{Total: len(all), Attention: []HookState{}, Busiest: make([]HookState, 0, len(all))}
	var open, others []HookState
	for i := range all {
		recent := latest(&all[i], usualMinutes)
		s := stateOf(&all[i], &recent)
		o.Busiest = append(o.Busiest, s)
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
	slices.SortStableFunc(o.Busiest, func(a, b HookState) int {
		return cmp.Or(cmp.Compare(b.InFlight, a.InFlight), cmp.Compare(b.Calls, a.Calls))
	})
	o.Busiest = o.Busiest[:min(len(o.Busiest), maxBusiest)]
	return o
}

// maxAttention bounds the list: of a thousand hooks that fail at once, a page is enough.
// maxBusiest are those that a glance takes in.
const (
	maxAttention = 100
	maxBusiest   = 20
)
