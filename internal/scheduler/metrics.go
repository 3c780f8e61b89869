package scheduler

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/aoscdb"
)

type metrics struct {
	running *prometheus.GaugeVec
	blocked *prometheus.GaugeVec
	silent  *prometheus.GaugeVec
	actions *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aosc_scheduler_alters", Help: "Instances with an alter, by state in running_alters.",
		}, []string{"tier", "status"}),
		blocked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aosc_scheduler_blocked", Help: "Targets that wait: for a limit, for their turn in the cluster, or for an answer.",
		}, []string{"tier"}),
		silent: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aosc_scheduler_silent", Help: "Running alters without a sign of life: a person is needed.",
		}, []string{"tier"}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aosc_scheduler_actions_total", Help: "What the scheduler decided to do.",
		}, []string{"kind"}),
	}
	r.MustRegister(m.running, m.blocked, m.silent, m.actions)
	return m
}

func (m *metrics) observe(s Snapshot, d Decision) {
	m.running.Reset()
	m.blocked.Reset()
	m.silent.Reset()
	for group := range s.Tiers {
		for _, status := range []string{aoscdb.RunReady, aoscdb.RunRunning, aoscdb.RunDone} {
			m.running.WithLabelValues(group, status).Set(0)
		}
		m.blocked.WithLabelValues(group).Set(0)
		m.silent.WithLabelValues(group).Set(0)
	}
	for _, r := range s.Running {
		m.running.WithLabelValues(r.Group, r.OSCStatus).Inc()
	}
	for _, b := range d.Blocked {
		m.blocked.WithLabelValues(b.Alter.Group).Inc()
	}
	for _, a := range d.Actions {
		m.actions.WithLabelValues(string(a.Kind)).Inc()
		if a.Kind == Warn {
			m.silent.WithLabelValues(a.Alter.Group).Inc()
		}
	}
}
