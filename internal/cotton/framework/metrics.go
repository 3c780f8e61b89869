package framework

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aosc/aosc/internal/cotton"
)

// metrics of the framework (R34).
type metrics struct {
	offersReceived, offersDeclined, offersAccepted prometheus.Counter
	revives, suppresses, reconciles, kills         prometheus.Counter
	repetitions                                    prometheus.Counter
	operations, statuses, actions                  *prometheus.CounterVec
	clusters, orphanMB, maintenance, withheld      prometheus.Gauge
	members, backedUp, archived                    *prometheus.GaugeVec
	registered                                     prometheus.Gauge
	changes                                        *prometheus.CounterVec
	changeSeconds                                  *prometheus.HistogramVec
	clusterOperations                              *prometheus.CounterVec
	operating, draining, leftBehind                prometheus.Gauge
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
		offersReceived:    counter("offers_received_total", "Offers made by Mesos."),
		offersDeclined:    counter("offers_declined_total", "Offers declined."),
		offersAccepted:    counter("offers_accepted_total", "Offers accepted."),
		revives:           counter("revives_total", "REVIVE calls."),
		suppresses:        counter("suppresses_total", "SUPPRESS calls."),
		reconciles:        counter("reconciles_total", "RECONCILE calls."),
		kills:             counter("kills_total", "KILL calls, repetitions among them."),
		repetitions:       counter("task_status_repetitions_total", "Task statuses that Mesos sent again, or that told what was known when it was asked."),
		operations:        counters("operations_total", "Operations sent, by type.", "type"),
		statuses:          counters("task_statuses_total", "Task statuses that said something new, by state.", "state"),
		actions:           counters("actions_total", "Steps taken at servers, by kind and result.", "kind", "result"),
		clusters:          gauge("clusters", "Clusters stored, those being deleted among them."),
		orphanMB:          gauge("orphan_volume_mb", "Size of volumes reserved for us that no record claims."),
		maintenance:       gauge("agents_in_maintenance", "Agents that an operator's plan takes down, or has taken down, and on which something of ours is."),
		withheld:          gauge("agents_withheld", "Agents that an operator of Mesos has drained or deactivated."),
		registered:        gauge("framework_registered", "1 while subscribed to a Mesos master."),
		changes:           counters("primary_changes_total", "Changes of primary that ended, by kind and result (done, taken back).", "kind", "result"),
		clusterOperations: counters("cluster_operations_total", "Operations on clusters (replace, scale, ...) that ended, by kind and result (done, canceled).", "kind", "result"),
		operating:         gauge("cluster_operations_running", "Clusters with an operation under way, those that wait among them."),
		draining:          gauge("agents_draining", "Agents that members are to leave."),
		leftBehind:        gauge("left_behind", "Placements of clusters deleted by force that wait for their agents to return."),
		changeSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cotton_primary_change_seconds", Help: "How long changes of primary took that were done, from their decision to the publication of the new one.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300},
		}, []string{"kind"}),
		backedUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cotton_backup_copied_timestamp_seconds",
			Help: "When the newest copy of a cluster in the backup store was made, 0 without one."}, []string{"cluster"}),
		archived: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cotton_backup_archived_timestamp_seconds",
			Help: "When the binary logs of a cluster were last archived completely, as far as this scheduler knows, else 0."}, []string{"cluster"}),
		members: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cotton_members", Help: "Members, by phase."}, []string{"phase"}),
	}
	if reg != nil {
		reg.MustRegister(m.offersReceived, m.offersDeclined, m.offersAccepted, m.revives, m.suppresses, m.reconciles, m.kills, m.repetitions,
			m.operations, m.statuses, m.actions, m.clusters, m.orphanMB, m.maintenance, m.withheld, m.registered, m.members, m.changes,
			m.changeSeconds,
			m.backedUp, m.archived, m.clusterOperations, m.operating, m.draining, m.leftBehind)
	}
	return m
}

// changed counts a change of primary that has just ended; r is the record after it.
func (m *metrics) changed(kind cotton.TransitionKind, r cotton.Record) {
	if kind != cotton.Finish && kind != cotton.TakeBack || len(r.History) == 0 {
		return
	}
	c := r.History[len(r.History)-1]
	result := "done"
	if c.Taken {
		result = "taken back"
	} else {
		m.changeSeconds.WithLabelValues(string(c.Kind)).Observe(c.Ended.Sub(c.Began).Seconds())
	}
	m.changes.WithLabelValues(string(c.Kind), result).Inc()
}
