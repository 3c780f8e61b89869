package checksum

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/status"
)

// metrics of the passes over instances; those of the daemon's own loop are the chassis's.
type metrics struct {
	passes *prometheus.CounterVec
	took   prometheus.Histogram
	read   prometheus.Counter
	notOK  *prometheus.GaugeVec
	good   *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aosc_checksum_passes_total", Help: "Checksums of one instance, by tier and result (ok, error)."}, []string{"tier", "result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "aosc_checksum_seconds", Help: "How long the checksum of one instance took.",
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 10)}),
		read: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "aosc_checksum_tables_read_total", Help: "SHOW CREATE TABLE statements run, the others were spared by create_time."}),
		notOK: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aosc_checksum_tables_not_ok", Help: "Tables of an instance that are missing or differ from the desired ones."}, []string{"tier", "instance"}),
		good: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aosc_checksum_last_good_timestamp_seconds", Help: "When the last good checksum of an instance ended, Unix time."}, []string{"tier", "instance"}),
	}
	if r != nil {
		r.MustRegister(m.passes, m.took, m.read, m.notOK, m.good)
	}
	return m
}

func (m *metrics) pass(i fleet.Instance, sum status.Summary, err error, took time.Duration) {
	result := "ok"
	if err != nil {
		result = "error"
	} else {
		m.notOK.WithLabelValues(i.Tier, i.String()).Set(float64(sum.NotOK))
		m.good.WithLabelValues(i.Tier, i.String()).SetToCurrentTime()
	}
	m.passes.WithLabelValues(i.Tier, result).Inc()
	m.took.Observe(took.Seconds())
	m.read.Add(float64(sum.Read))
}

// gone drops the series of an instance that is no longer served.
func (m *metrics) gone(tier, instance string) {
	m.notOK.DeleteLabelValues(tier, instance)
	m.good.DeleteLabelValues(tier, instance)
}
