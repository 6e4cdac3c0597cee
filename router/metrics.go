package router

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
)

// metrics are the router's, with every label value resolved beforehand: counting is an addition.
// Label values come from the configuration and closed sets only, never from a request.
type metrics struct {
	decisions [schema.SourceCount][schema.ReasonCount]prometheus.Counter
	panics    prometheus.Counter
	repeats   prometheus.Counter
	seconds   prometheus.Histogram
	latency   *prometheus.HistogramVec
	attempts  *prometheus.CounterVec
	openings  *prometheus.CounterVec
}

// hookMetrics are one hook's.
type hookMetrics struct {
	project, hook string
	latency       prometheus.Observer
	opened        prometheus.Counter
	retried       prometheus.Counter
	attempts      *prometheus.CounterVec
	// outcomes are resolved as each first occurs: a thousand hooks have few kinds each.
	outcomes [schema.ReasonCount]atomic.Pointer[prometheus.Counter]
}

func newMetrics(reg prometheus.Registerer, r *Router) *metrics {
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hookswitch_decisions_total", Help: "Decisions, by where the destinations came from and why.",
	}, []string{"source", "reason"})
	m := &metrics{
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hookswitch_internal_faults_total", Help: "Faults of our own that became a fallback.",
		}),
		repeats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hookswitch_repeats_total", Help: "Lookups sent again that got the decision already made.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hookswitch_decision_seconds", Help: "Time from a question read to its decision.", Buckets: buckets,
		}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hookswitch_hook_seconds", Help: "Time that asking a hook took, retry and second URL included.", Buckets: buckets,
		}, []string{"project", "hook"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hookswitch_hook_answers_total", Help: "Outcomes of asking a hook; retried counts second requests.",
		}, []string{"project", "hook", "outcome"}),
		openings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hookswitch_breaker_openings_total", Help: "Times that a hook's breaker opened.",
		}, []string{"project", "hook"}),
	}
	for s := schema.Source(0); s < schema.SourceCount; s++ {
		for reason := schema.Reason(0); reason < schema.ReasonCount; reason++ {
			m.decisions[s][reason] = decisions.WithLabelValues(s.String(), reason.String())
		}
	}
	reg.MustRegister(decisions, m.panics, m.repeats, m.seconds, m.latency, m.attempts, m.openings, newStateCollector(r))
	return m
}

func (m *metrics) count(d *schema.Decision) {
	m.decisions[d.Source][d.Reason].Inc()
	m.seconds.Observe(d.Elapsed.Seconds())
}

func (m *metrics) hook(project, id string) *hookMetrics {
	return &hookMetrics{
		project: project, hook: id, attempts: m.attempts,
		latency: m.latency.WithLabelValues(project, id),
		opened:  m.openings.WithLabelValues(project, id),
		retried: m.attempts.WithLabelValues(project, id, "retried"),
	}
}

// forget drops the series of hooks that are gone, so that reloads leave nothing behind.
func (m *metrics) forget(old, next *table) {
	for id, p := range old.projects {
		n := next.projects[id]
		if n == p {
			continue
		}
		for hook := range p.hooks {
			if n != nil && n.hooks[hook] != nil {
				continue
			}
			gone := prometheus.Labels{"project": id, "hook": hook}
			m.latency.DeletePartialMatch(gone)
			m.attempts.DeletePartialMatch(gone)
			m.openings.DeletePartialMatch(gone)
		}
	}
}

// asked counts the outcome of asking a hook, which took that many requests and that long.
func (h *hookMetrics) asked(outcome schema.Reason, requests int, took time.Duration) {
	h.latency.Observe(took.Seconds())
	if requests > 1 {
		h.retried.Add(float64(requests - 1))
	}
	c := h.outcomes[outcome].Load()
	if c == nil {
		made := h.attempts.WithLabelValues(h.project, h.hook, outcome.String())
		c = &made
		h.outcomes[outcome].Store(c)
	}
	(*c).Inc()
}

// stateCollector reads, when scraped, what the router knows anyway.
type stateCollector struct {
	r                            *Router
	inFlight, breaker, version   *prometheus.Desc
	numbers, hooks, projectCount *prometheus.Desc
}

func newStateCollector(r *Router) *stateCollector {
	labels := []string{"project", "hook"}
	return &stateCollector{
		r:            r,
		inFlight:     prometheus.NewDesc("hookswitch_hook_in_flight", "Calls waiting for a hook now.", labels, nil),
		breaker:      prometheus.NewDesc("hookswitch_breaker_state", "A hook's breaker: 0 closed, 1 half open, 2 open.", labels, nil),
		version:      prometheus.NewDesc("hookswitch_table_version", "Number of the table in use; one more after each reload.", nil, nil),
		numbers:      prometheus.NewDesc("hookswitch_numbers", "Numbers in the table.", nil, nil),
		hooks:        prometheus.NewDesc("hookswitch_hooks", "Hooks in the table.", nil, nil),
		projectCount: prometheus.NewDesc("hookswitch_projects", "Projects in the table.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.inFlight, c.breaker, c.version, c.numbers, c.hooks, c.projectCount} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	t, now, hooks := c.r.table.Load(), time.Now(), 0
	states := map[string]float64{"closed": 0, "half_open": 1, "open": 2}
	for id, p := range t.projects {
		for _, h := range p.hooks {
			gauge(c.inFlight, float64(h.bulkhead.inFlight.Load()), id, h.conf.ID)
			gauge(c.breaker, states[h.breaker.state(now)], id, h.conf.ID)
			hooks++
		}
	}
	gauge(c.version, float64(t.version))
	if t.numbers != nil {
		gauge(c.numbers, float64(t.numbers.count))
	}
	gauge(c.hooks, float64(hooks))
	gauge(c.projectCount, float64(len(t.projects)))
}
