package api

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// requested tells Prometheus what all clusters together ask for, those being deleted among them until nothing of them is
// left. A scheduler that stands by tells nothing: zeros would be a lie.
type requested struct {
	framework        Framework
	cpus, mem, disk  *prometheus.Desc
	nodes, endpoints *prometheus.Desc
}

func newRequested(f Framework) *requested {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("cotton_"+name, help, nil, nil) }
	return &requested{
		framework: f,
		cpus:      desc("requested_cpus", "CPUs of all instances that were asked for."),
		mem:       desc("requested_mem_mb", "Memory of all instances that were asked for."),
		disk:      desc("requested_disk_mb", "Disk of all instances that were asked for."),
		nodes:     desc("requested_instances", "Instances that were asked for."),
		endpoints: desc("serving_instances", "Instances that clients are told of."),
	}
}

// Describe implements prometheus.Collector.
func (r *requested) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{r.cpus, r.mem, r.disk, r.nodes, r.endpoints} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (r *requested) Collect(out chan<- prometheus.Metric) {
	views, err := r.framework.Clusters(context.Background())
	if err != nil {
		return
	}
	var cpus, mem, disk, nodes, serving float64
	for _, v := range views {
		n := float64(v.Record.Spec.Nodes)
		size := v.Record.Spec.Size
		nodes, cpus, mem, disk = nodes+n, cpus+n*size.CPUs, mem+n*float64(size.MemMB), disk+n*float64(size.DiskMB)
		serving += float64(len(v.Endpoints.Replicas))
		if v.Endpoints.Primary != nil {
			serving++
		}
	}
	for d, value := range map[*prometheus.Desc]float64{r.cpus: cpus, r.mem: mem, r.disk: disk, r.nodes: nodes, r.endpoints: serving} {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
}
