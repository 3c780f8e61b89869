package faults

import (
	"errors"
	"slices"
	"syscall"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/testkit/cottonkit"
)

// agents are faults of Mesos' agents that outlast what Mesos and cotton wait for, and agents that come back as others.
var agents = []scenario{
	{number: "25", name: "agent of a replica lost from sight until it is replaced", replaces: true, gap: noGap, inject: func(r *run) {
		r.lose(r.replicas[0].Agent)
		r.replaced(r.replicas[0])
		r.find(r.replicas[0].Agent)
	}, end: func(r *run, c v1.Cluster) { r.goneFor(r.replicas[0], c) }},
	// It still receives, and acknowledges: nobody knows.
	{number: "25", name: "agent and port of a replica lost until it is replaced", replaces: true, cuts: true, gap: noGap, inject: func(r *run) {
		heal := r.part(r.replicas[0])
		r.replaced(r.replicas[0])
		heal()
	}, end: func(r *run, c v1.Cluster) { r.goneFor(r.replicas[0], c) }},
	{number: "25", name: "replica cut off until it is replaced, back as the primary is killed", replaces: true, cuts: true, changes: 1, gap: 30 * time.Second, inject: func(r *run) {
		deaf := cottonkit.CutFrom(r.t, r.bindReceivers(r.primary, r.replicas[0]), r.primary.Port)
		heal := r.part(r.replicas[0])
		r.replaced(r.replicas[0])
		r.kill(r.primary)
		deaf()
		heal()
	}, end: func(r *run, c v1.Cluster) { r.goneFor(r.replicas[0], c) }},
	// It has to be elected, and hands over.
	{number: "25", name: "replica out of reach until it is replaced, alone with the last writes as the primary is killed", replaces: true, cuts: true, changes: 2, gap: 30 * time.Second,
		inject: func(r *run) {
			heal := r.part(r.replicas[0])
			others := r.bindReceivers(r.primary, r.replicas[1], r.replaced(r.replicas[0]))
			cut := time.Now()
			deaf := cottonkit.CutFrom(r.t, others, r.primary.Port)
			r.until(5*time.Second, "writes are acknowledged by who is to leave", func() bool { return r.load.acknowledged(cut) > 50 })
			r.kill(r.primary)
			heal()
			r.nextPrimary()
			deaf() // not before: what a dead server has sent still arrives
		}, end: func(r *run, c v1.Cluster) {
			r.left(r.replicas[0], c)
			if !r.promoted(r.replicas[0]) {
				r.bad("%s alone had the last writes, and was not the primary for as long as it took to hand them over", r.replicas[0].Name)
			}
		}},
	{number: "25", name: "agent of the primary lost from sight until it is replaced", replaces: true, changes: 1, gap: noGap, inject: func(r *run) {
		r.lose(r.primary.Agent)
		r.replaced(r.primary)
		r.find(r.primary.Agent)
	}, end: func(r *run, c v1.Cluster) { r.goneFor(r.primary, c) }},
	{number: "25", name: "agent and port of the primary lost until it is replaced", replaces: true, cuts: true, changes: 1, gap: 30 * time.Second, inject: func(r *run) {
		heal := r.part(r.primary)
		r.replaced(r.primary)
		heal()
	}, end: func(r *run, c v1.Cluster) { r.goneFor(r.primary, c) }},
	{number: "26", name: "agent of a replica back under a new id", gap: noGap, inject: func(r *run) {
		r.forget(r.replicas[0], false)
	}, end: func(r *run, c v1.Cluster) { r.onItsVolume(r.replicas[0], c) }},
	{number: "26", name: "agent of the primary back under a new id", changes: 1, gap: 30 * time.Second, inject: func(r *run) {
		r.forget(r.primary, false)
	}, end: func(r *run, c v1.Cluster) { r.onItsVolume(r.primary, c) }},
	{number: "26", name: "agent of a replica found unreachable, then back under a new id", gap: noGap, inject: func(r *run) {
		r.forget(r.replicas[0], true)
	}, end: func(r *run, c v1.Cluster) { r.onItsVolume(r.replicas[0], c) }},
	{number: "26", name: "agent of the primary found unreachable, then back under a new id", changes: 1, gap: 30 * time.Second, inject: func(r *run) {
		r.forget(r.primary, true)
	}, end: func(r *run, c v1.Cluster) { r.onItsVolume(r.primary, c) }},
	{number: "26", name: "agent of a replica away until it is replaced, then back under a new id", replaces: true, gap: noGap, inject: func(r *run) {
		i := r.replicas[0]
		r.do(r.s.Mini.KillAgent(i.Agent))
		r.s.Signal(r.s.Executor(i.TaskID), syscall.SIGKILL) // its machine is down
		r.replaced(i)
		r.do(errors.Join(r.s.Mini.ForgetAgent(i.Agent), r.s.Mini.StartAgent(i.Agent)))
	}, end: func(r *run, c v1.Cluster) { r.goneFor(r.replicas[0], c) }},
}

// part cuts an instance's agent off, and its port; heal ends both.
func (r *run) part(i v1.Instance) (heal func()) {
	mend := cottonkit.Cut(r.t, i.Port)
	r.lose(i.Agent)
	return func() {
		if r.s.Executor(i.TaskID) == 0 {
			r.bad("%s does not run any more, so nothing comes back", i.TaskID)
		}
		mend()
		r.find(i.Agent)
	}
}

// replaced waits until another member serves in an instance's place, and returns that.
func (r *run) replaced(old v1.Instance) (next v1.Instance) {
	r.until(replaceAfter+convergeLimit, "another member serves in the place of "+old.Name, func() bool {
		c, err := r.s.Client.Cluster(r.t.Context(), clusterName)
		if err != nil {
			return false
		}
		for _, i := range c.Instances {
			if r.isNew(i.ID) && slices.ContainsFunc(c.Endpoints.Replicas, func(e v1.Endpoint) bool { return e.ID == i.ID }) {
				next = i
			}
		}
		return next.ID != 0
	})
	return next
}

// isNew tells whether there was no instance of that id before the fault.
func (r *run) isNew(id int) bool {
	return !slices.ContainsFunc(r.c.Instances, func(i v1.Instance) bool { return i.ID == id })
}

// left: an instance that was replaced while it was away is no member any more, and one other is.
func (r *run) left(old v1.Instance, c v1.Cluster) {
	news := 0
	for _, i := range c.Instances {
		if i.ID == old.ID {
			r.bad("%s is a member still: %+v", old.Name, i)
		}
		if r.isNew(i.ID) {
			news++
		}
	}
	if news != 1 {
		r.bad("%d new members, 1 is right: %+v", news, c.Instances)
	}
}

// goneFor is left, and that the instance was never the primary again.
func (r *run) goneFor(old v1.Instance, c v1.Cluster) {
	r.left(old, c)
	if r.promoted(old) {
		r.bad("%s was promoted after it had been replaced", old.Name)
	}
}

// promoted tells whether an instance became the primary since the fault.
func (r *run) promoted(i v1.Instance) bool {
	h, err := r.s.Client.History(r.t.Context(), clusterName)
	r.do(err)
	return slices.ContainsFunc(h.Changes, func(c v1.Change) bool { return c.Began.After(r.at) && c.To == i.Name && !c.TakenBack })
}

// forget has an instance's agent die and come back under another id, at once or once Mesos has found it unreachable.
func (r *run) forget(i v1.Instance, unreachable bool) {
	r.do(r.s.Mini.KillAgent(i.Agent))
	if unreachable {
		r.until(time.Minute, i.Name+" is out of sight", func() bool { return r.now(i).TaskState == "TASK_UNREACHABLE" })
	}
	r.do(errors.Join(r.s.Mini.ForgetAgent(i.Agent), r.s.Mini.StartAgent(i.Agent)))
}

// onItsVolume: an instance whose agent forgot it was launched once more, by the agent under its new id, with its data. A
// replica was not cloned: it has nothing that the primary lacks.
func (r *run) onItsVolume(before v1.Instance, c v1.Cluster) {
	at := slices.IndexFunc(c.Instances, func(i v1.Instance) bool { return i.ID == before.ID })
	if at < 0 {
		r.bad("%s is no member any more", before.Name)
		return
	}
	after := c.Instances[at]
	if after.AgentID == before.AgentID || after.Launches != before.Launches+1 || after.Agent != before.Agent || after.VolumeID != before.VolumeID ||
		after.Port != before.Port || after.ServerUUID != before.ServerUUID || c.Endpoints.Primary.ID == after.ID {
		r.bad("not the same on its volume, as a replica: before %+v, after %+v", before, after)
	}
	if before.ID == r.primary.ID {
		return
	}
	db, err := r.pool.DB(cottonkit.Addr(after))
	r.do(err)
	var clones int
	r.do(db.QueryRowContext(r.t.Context(), "SELECT COUNT(*) FROM performance_schema.clone_status WHERE begin_time > NOW() - INTERVAL ? SECOND",
		int(time.Since(r.at).Seconds())).Scan(&clones))
	if clones > 0 {
		r.bad("%s was cloned, although it had its data", after.Name)
	}
}
