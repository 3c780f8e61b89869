package framework

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
)

// TierLabel of a cluster joins it to a tier of the pipeline.
const TierLabel = "tier"

// taskInfo describes a launch. Nothing in it is secret: Mesos shows it to everybody (R30).
func (f *Framework) taskInfo(r cotton.Record, m cotton.Member, a cotton.Assignment) (mesos.TaskInfo, error) {
	data, err := json.Marshal(cotton.Task{
		Schema: cotton.TaskSchema, Cluster: r.Spec.Name, Member: m.ID, ServerID: m.ServerID(), Nodes: max(r.Spec.Nodes, len(r.Members)),
		Host: m.Host, Port: m.Port, Size: r.Spec.Size, Config: r.Spec.Config, Package: r.Spec.Package,
		Tier: r.Spec.Labels[TierLabel], Sidecars: r.Spec.Sidecars, AdminKeyfile: f.cfg.AdminKeyfile, HasData: m.HasData,
		Incarnation: r.Incarnation, Former: r.Former, Restore: f.restoreOf(r, m),
	})
	if err != nil {
		return mesos.TaskInfo{}, fmt.Errorf("describe %s: %w", m.TaskID, err)
	}
	executorShare, taskShare := f.maker.shares(a)
	grace := &mesos.DurationInfo{Nanoseconds: f.cfg.KillGrace.Nanoseconds()}
	return mesos.TaskInfo{
		Name: r.MemberName(m.ID), TaskID: mesos.TaskID{Value: m.TaskID}, AgentID: mesos.AgentID{Value: m.AgentID},
		Resources: taskShare, Data: data, KillPolicy: &mesos.KillPolicy{GracePeriod: grace},
		Executor: &mesos.ExecutorInfo{
			Type: mesos.ExecutorInfo_CUSTOM, ExecutorID: mesos.ExecutorID{Value: m.TaskID}, Name: ptr("cotton executor"),
			FrameworkID: &mesos.FrameworkID{Value: f.maker.frameworkID}, Source: ptr(r.MemberName(m.ID)),
			Resources: executorShare, Command: f.cfg.Executor.info(), ShutdownGracePeriod: grace,
		},
	}, nil
}

func (c Command) info() *mesos.CommandInfo {
	info := &mesos.CommandInfo{Shell: ptr(true), Value: ptr(c.Value), Environment: &mesos.Environment{}}
	for _, uri := range c.URIs {
		packed := archive(uri) // a fetcher unpacks nothing that it makes executable
		info.URIs = append(info.URIs, mesos.CommandInfo_URI{Value: uri, Executable: ptr(!packed), Extract: ptr(packed)})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		info.Environment.Variables = append(info.Environment.Variables, mesos.Environment_Variable{Name: name, Value: ptr(c.Env[name])})
	}
	return info
}

// FetchedProgram is the shell's word for the program that one of Command.URIs becomes in the sandbox; ok is false for an
// archive, whose programs are not known, and for names that a shell would read otherwise.
func FetchedProgram(uri string) (word string, ok bool) {
	name := path.Base(uri) // as the fetcher names it, a query included
	return "./" + name, !archive(uri) && programName.MatchString(name)
}

var programName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// archive tells, by its name, whether Mesos' fetcher can unpack what a URI leads to.
func archive(uri string) bool {
	return slices.ContainsFunc([]string{".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip"},
		func(suffix string) bool { return strings.HasSuffix(uri, suffix) })
}

// newID is unique in the world: volumes are known by it alone (R14, R17).
func newID() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return "cotton-" + hex.EncodeToString(b)
}
