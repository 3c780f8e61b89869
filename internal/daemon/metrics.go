package daemon

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are those of the chassis. They are registered once, however often Loop and Lead are entered.
type metrics struct {
	once     sync.Once
	passes   *prometheus.CounterVec
	seconds  prometheus.Histogram
	lastGood prometheus.Gauge
	leading  *prometheus.GaugeVec
}

func (e *Env) chassisMetrics() *metrics {
	m := &e.metrics
	m.once.Do(func() {
		m.passes = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aosc_pass_total", Help: "Passes of the daemon's loop by result (ok, error)."}, []string{"result"})
		m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "aosc_pass_seconds", Help: "How long a pass took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10)})
		m.lastGood = prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "aosc_last_good_pass_timestamp_seconds", Help: "When the last pass without an error ended, Unix time."})
		m.leading = prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aosc_leader", Help: "1 while this process holds the lease, 0 while it stands by."}, []string{"lease"})
		if e.Metrics != nil {
			e.Metrics.MustRegister(m.passes, m.seconds, m.lastGood, m.leading)
		}
	})
	return m
}

func (m *metrics) pass(err error, took time.Duration) {
	result := "ok"
	if err != nil {
		result = "error"
	} else {
		m.lastGood.SetToCurrentTime()
	}
	m.passes.WithLabelValues(result).Inc()
	m.seconds.Observe(took.Seconds())
}

// newRegistry returns the registry of a process: the Go runtime, the process and which build it is.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return r
}
