package framework

import "github.com/prometheus/client_golang/prometheus"

// metrics of the framework (R34).
type metrics struct {
	offersReceived, offersDeclined, offersAccepted prometheus.Counter
	revives, suppresses, reconciles, kills         prometheus.Counter
	operations, statuses, actions                  *prometheus.CounterVec
	clusters, orphanMB                             prometheus.Gauge
	members                                        *prometheus.GaugeVec
	registered                                     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "cotton_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "cotton_" + name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cotton_" + name, Help: help}, labels)
	}
	m := &metrics{
		offersReceived: counter("offers_received_total", "Offers made by Mesos."),
		offersDeclined: counter("offers_declined_total", "Offers declined."),
		offersAccepted: counter("offers_accepted_total", "Offers accepted."),
		revives:        counter("revives_total", "REVIVE calls."),
		suppresses:     counter("suppresses_total", "SUPPRESS calls."),
		reconciles:     counter("reconciles_total", "RECONCILE calls."),
		kills:          counter("kills_total", "KILL calls, repetitions among them."),
		operations:     counters("operations_total", "Operations sent, by type.", "type"),
		statuses:       counters("task_statuses_total", "Task statuses received, by state; repetitions among them.", "state"),
		actions:        counters("actions_total", "Steps taken at servers, by kind and result.", "kind", "result"),
		clusters:       gauge("clusters", "Clusters stored, those being deleted among them."),
		orphanMB:       gauge("orphan_volume_mb", "Size of volumes reserved for us that no record claims."),
		registered:     gauge("framework_registered", "1 while subscribed to a Mesos master."),
		members:        prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cotton_members", Help: "Members, by phase."}, []string{"phase"}),
	}
	if reg != nil {
		reg.MustRegister(m.offersReceived, m.offersDeclined, m.offersAccepted, m.revives, m.suppresses, m.reconciles, m.kills,
			m.operations, m.statuses, m.actions, m.clusters, m.orphanMB, m.registered, m.members)
	}
	return m
}
