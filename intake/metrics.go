package intake

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are resolved when the server is made, so that counting is an addition and no look-up.
type metrics struct {
	requests   [formatCount][6]prometheus.Counter // by format and the status' first digit
	faults     [codeCount]prometheus.Counter
	links      *prometheus.CounterVec
	collectors []prometheus.Collector
}

func newMetrics(open func() int, turnedAway func() uint64) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hookswitch_intake_requests_total",
		Help: "Lookups answered, by dialect and class of HTTP status.",
	}, []string{"format", "status"})
	faults := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hookswitch_intake_errors_total",
		Help: "Requests refused, by error code.",
	}, []string{"code"})
	links := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hookswitch_incoming_requests_total",
		Help: "Requests through incoming links, by link and result: ok, refused, limited or failed.",
	}, []string{"project", "link", "result"})
	m := &metrics{links: links, collectors: []prometheus.Collector{
		requests, faults, links,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "hookswitch_intake_open_connections",
			Help: "Connections open on the PBX listener.",
		}, func() float64 { return float64(open()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "hookswitch_intake_turned_away_total",
			Help: "Connections closed at once because max_connections were open.",
		}, func() float64 { return float64(turnedAway()) }),
	}}
	for f := range formatCount {
		for class := 2; class <= 5; class++ {
			m.requests[f][class] = requests.WithLabelValues(formatNames[f], strconv.Itoa(class)+"xx")
		}
	}
	for c := range codeCount {
		m.faults[c] = faults.WithLabelValues(c.String())
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range m.collectors {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register the intake's metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) request(f format, status int) { m.requests[f][status/100].Inc() }

// forgetLink drops the series of a link that is gone.
func (m *metrics) forgetLink(project, id string) {
	m.links.DeletePartialMatch(prometheus.Labels{"project": project, "link": id})
}

func (m *metrics) fault(c code) { m.faults[c].Inc() }
