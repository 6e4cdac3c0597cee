package notify

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookswitch/schema"
)

// acceptances are the results of events as the metrics name them.
var acceptances = [...]string{
	schema.EventAccepted: "accepted", schema.EventRepeated: "repeated", schema.EventNoProject: "no_project",
	schema.EventNoSpace: "no_space", schema.EventNotKept: "not_kept", schema.EventKeyReused: "key_reused",
}

type metrics struct {
	events     [len(acceptances)]prometheus.Counter
	dropped    prometheus.Counter
	unlogged   prometheus.Counter
	forgotten  prometheus.Counter
	lost       prometheus.Counter
	notices    prometheus.Counter
	attempts   *prometheus.CounterVec // by project, webhook, result
	deliveries *prometheus.CounterVec // by project, webhook, result
	waiting    *prometheus.GaugeVec   // by project, webhook
	off        *prometheus.GaugeVec   // by project, webhook
	delay      prometheus.Histogram
	took       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "hookswitch_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		dropped:   counter("events_dropped_total", "Events of decisions that were dropped: too many waited, or the store did not take them."),
		unlogged:  counter("delivery_log_dropped_total", "Entries of the delivery log that were dropped, as the store did not take them."),
		forgotten: counter("delivery_log_given_up_dropped_total", "Deliveries that were given up and left the log before events.log_for was over: there were too many."),
		lost:      counter("delivery_leases_lost_total", "Deliveries whose lease had lapsed when they ended: another worker has them, too."),
		notices:   counter("webhook_notices_total", "Notices about webhooks that were disabled or enabled."),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hookswitch_delivery_attempts_total", Help: "Requests to webhooks, by result: ok, status, or why there was no answer.",
		}, []string{"project", "webhook", "result"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hookswitch_deliveries_total", Help: "Deliveries that ended, by result: delivered or failed.",
		}, []string{"project", "webhook", "result"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hookswitch_deliveries_waiting", Help: "Deliveries under way or to be tried again, of all instances.",
		}, []string{"project", "webhook"}),
		off: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hookswitch_webhook_disabled", Help: "1 while a webhook is disabled, by hand or for its failures.",
		}, []string{"project", "webhook"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hookswitch_delivery_delay_seconds", Help: "From an event's acceptance to its delivery.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 300, 3600, 86400},
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hookswitch_delivery_request_seconds", Help: "How long requests to webhooks took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hookswitch_events_total", Help: "Call events, by what became of them.",
	}, []string{"result"})
	for i, name := range acceptances {
		m.events[i] = events.WithLabelValues(name)
	}
	reg.MustRegister(events, m.attempts, m.deliveries, m.waiting, m.off, m.delay, m.took)
	return m
}

func labels(queue string) (project, webhook string) {
	p, id := splitQueue(queue)
	return p, strconv.FormatInt(id, 10)
}

func (m *metrics) attempted(queue string, sent *schema.Sent, ok bool) {
	result := "ok"
	switch {
	case sent.Reason != schema.ReasonOK:
		result = sent.Reason.String()
	case !ok:
		result = "status"
	}
	project, webhook := labels(queue)
	m.attempts.WithLabelValues(project, webhook, result).Inc()
	m.took.Observe(sent.Took.Seconds())
}

func (m *metrics) ended(queue string, ok bool, delay time.Duration) {
	project, webhook := labels(queue)
	if !ok {
		m.deliveries.WithLabelValues(project, webhook, "failed").Inc()
		return
	}
	m.deliveries.WithLabelValues(project, webhook, "delivered").Inc()
	m.delay.Observe(delay.Seconds())
}

func (m *metrics) state(queue string, waiting int, off bool) {
	project, webhook := labels(queue)
	m.waiting.WithLabelValues(project, webhook).Set(float64(waiting))
	is := 0.0
	if off {
		is = 1
	}
	m.off.WithLabelValues(project, webhook).Set(is)
}

// forget drops the series of a webhook that is gone.
func (m *metrics) forget(queue string) {
	project, webhook := labels(queue)
	which := prometheus.Labels{"project": project, "webhook": webhook}
	m.attempts.DeletePartialMatch(which)
	m.deliveries.DeletePartialMatch(which)
	m.waiting.DeletePartialMatch(which)
	m.off.DeletePartialMatch(which)
}
