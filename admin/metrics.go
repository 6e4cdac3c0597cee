package admin

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count the API's requests, by operation and status.
type metrics struct{ requests *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hookswitch_admin_requests_total",
		Help: "Requests to the admin API, by operation (method and path pattern; none for an unknown one) and status.",
	}, []string{"operation", "status"})}
	if reg == nil {
		return m, nil
	}
	if err := reg.Register(m.requests); err != nil {
		return nil, fmt.Errorf("register the admin metrics: %w", err)
	}
	return m, nil
}

func (m *metrics) count(r *request) {
	name := "none"
	if r.op != nil {
		name = r.op.Method + " " + r.op.Path
	}
	m.requests.WithLabelValues(name, strconv.Itoa(r.http.Response.StatusCode())).Inc()
}
