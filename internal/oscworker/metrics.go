package oscworker

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	working prometheus.Gauge
	ended   *prometheus.CounterVec
	tables  *prometheus.CounterVec
	cleaned prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		working: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "aosc_oscworker_working", Help: "Instances being altered by this worker.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aosc_oscworker_ended_total", Help: "Alters of one instance that ended, by how.",
		}, []string{"tier", "end"}),
		tables: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aosc_oscworker_tables_total", Help: "Tables altered, by engine.",
		}, []string{"tier", "engine"}),
		cleaned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "aosc_oscworker_leftovers_cleaned_total", Help: "Leftovers of dead runs and due old tables that were removed.",
		}),
	}
	r.MustRegister(m.working, m.ended, m.tables, m.cleaned)
	return m
}
