package api

import (
	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/framework"
)

// document is the public side of a view. What is not copied here stays inside, the password's hash above all.
func (s *server) document(v framework.View) v1.Cluster {
	spec := v.Record.Spec
	c := v1.Cluster{
		Name: spec.Name, State: string(v.Record.State), User: spec.User, Nodes: spec.Nodes,
		Size:   v1.Resources{CPUs: spec.Size.CPUs, MemMB: spec.Size.MemMB, DiskMB: spec.Size.DiskMB},
		Policy: string(spec.Policy), Promise: v.Promise,
		Labels: spec.Labels, Config: spec.Config, Package: s.packageName(spec), Scalars: spec.Scalars, Constraints: spec.Constraints,
		BackupID: spec.BackupID, RestoreTo: spec.RestoreTo, Backup: backupPolicyDocument(spec.Backup), Sidecars: spec.Sidecars, CreatedAt: spec.CreatedAt,
		Epoch: v.Record.Epoch, Incarnation: v.Record.Incarnation, URL: s.ClusterURL(spec.Name), Endpoints: endpointsDocument(v.Endpoints),
		Instances: make([]v1.Instance, len(v.Instances)), Problems: append([]string{}, v.Problems...),
		Operation: operationDocument(v, v.Record.Operation), Change: changeDocument(v.Record, v.Record.Change), Diagnoses: []v1.Diagnosis{},
	}
	if n := len(v.Record.History); n > 0 {
		c.LastChange = changeDocument(v.Record, &v.Record.History[n-1])
	}
	for _, d := range v.Diagnoses {
		c.Diagnoses = append(c.Diagnoses, v1.Diagnosis{Code: string(d.Code), Certain: d.Certain, Text: d.Text})
	}
	for i, in := range v.Instances {
		c.Instances[i] = instanceDocument(in)
	}
	return c
}

// packageName is what the request called the package; the URI may be of an internal server.
func (s *server) packageName(spec cotton.Spec) string {
	for name, uri := range s.Packages {
		if uri == spec.Package {
			return name
		}
	}
	return spec.Package
}

func instanceDocument(in framework.Instance) v1.Instance {
	return v1.Instance{
		ID: in.ID, Name: in.Name, Phase: string(in.Phase), Role: in.Role, Writable: in.Writable, Host: in.Host, Port: in.Port,
		Agent: in.Hostname, Rack: in.Rack, Zone: in.Zone,
		LagSeconds: in.LagSeconds, Version: in.Version, ServerID: in.ServerID(), ServerUUID: in.ServerUUID, GTIDs: in.GTIDs,
		TaskID: in.TaskID, TaskState: in.TaskState, AgentID: in.AgentID, VolumeID: in.VolumeID, Launches: in.Launches,
		Failures: in.Failures, Failure: in.Failure,
		Problem: in.Problem, SeenAt: in.SeenAt, DownSince: in.DownSince,
		Source: in.Source, Receiving: in.Receiving, Applying: in.Applying, Acknowledging: in.Acknowledging, Acks: in.Acks, Clients: in.Clients,
		Errant: in.Errant, DiskUsedMB: in.DiskUsedMB, DiskFreeMB: in.DiskFreeMB, Restarts: in.Restarts,
		Joining: in.Joining, Leaving: in.Leaving, Outdated: in.Restart, Keys: in.Keys, Certificate: certificateDocument(in.Certificate),
	}
}

func certificateDocument(c *cotton.Certificate) *v1.Certificate {
	if c == nil {
		return nil
	}
	return &v1.Certificate{Key: c.Key, Until: c.Until}
}

func endpointsDocument(e framework.Endpoints) v1.Endpoints {
	out := v1.Endpoints{Replicas: make([]v1.Endpoint, len(e.Replicas)), CA: e.CA}
	if e.Primary != nil {
		p := endpointDocument(*e.Primary)
		out.Primary = &p
	}
	for i, r := range e.Replicas {
		out.Replicas[i] = endpointDocument(r)
	}
	return out
}

func endpointDocument(e discovery.Endpoint) v1.Endpoint {
	return v1.Endpoint{ID: e.ID, Host: e.Host, Port: e.Port}
}

func whyDocument(w framework.Wait) v1.Why {
	out := v1.Why{Cluster: w.Cluster, Members: append([]int{}, w.Members...), Refusals: make([]v1.Refusal, len(w.Refusals)), OffersSeen: w.OffersSeen}
	for i, r := range w.Refusals {
		out.Refusals[i] = v1.Refusal{Member: r.Member, AgentID: r.AgentID, Hostname: r.Hostname, Reason: r.Reason, At: r.At}
	}
	out.Withheld = withheldDocuments(w.Withheld)
	for _, m := range w.Maintenance {
		planned := v1.Maintenance{AgentID: m.AgentID, Hostname: m.Hostname, Start: m.Start, Begun: m.Begun}
		if m.Duration > 0 {
			planned.End = m.Start.Add(m.Duration)
		}
		out.Maintenance = append(out.Maintenance, planned)
	}
	return out
}

func withheldDocuments(all []cotton.Withheld) []v1.Withheld {
	var out []v1.Withheld
	for _, w := range all {
		out = append(out, v1.Withheld{AgentID: w.AgentID, Hostname: w.Hostname, State: w.State, Gone: w.Gone, Since: w.Since,
			Text: w.String() + ": " + w.Next()})
	}
	return out
}

func healthDocument(h framework.Health) v1.Health {
	return v1.Health{Ready: h.Ready, Leading: h.Leading, Connected: h.Connected, FrameworkID: h.FrameworkID, Master: h.Master,
		Clusters: h.Clusters, LastEvent: h.LastEvent, Problem: h.Problem}
}
