package mini

import (
	"fmt"
	"strings"

	"github.com/gogo/protobuf/proto"
	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/mesos/mini/resources"
)

// launch is one task to be judged, with all that the judgement rests on.
type launch struct {
	framework *framework
	agent     *agentRecord
	role      string
	available resources.List
	task      mesos.TaskInfo
}

// judgement is what a task would use, or why it is refused, in Mesos' words.
type judgement struct {
	task, executor resources.List
	newExecutor    bool
	refusal        string
}

// judge decides whether a task may be launched. Each task is judged alone
// (rule 29).
func (l launch) judge() judgement {
	if problem := l.invalidTask(); problem != "" {
		return judgement{refusal: problem}
	}
	var j judgement
	var err error
	if j.task, err = resources.FromProto(l.task.Resources); err != nil {
		return judgement{refusal: "Task uses invalid resources: " + err.Error()}
	}
	if len(j.task) == 0 {
		return judgement{refusal: "Task uses no resources"}
	}
	if j.executor, err = resources.FromProto(l.task.Executor.Resources); err != nil {
		return judgement{refusal: "Executor uses invalid resources: " + err.Error()}
	}
	existing := l.agent.executors[executorKey{l.framework.id, l.task.Executor.ExecutorID.Value}]
	j.newExecutor = existing == nil
	if existing != nil {
		if problem := incompatible(existing.info, *l.task.Executor); problem != "" {
			return judgement{refusal: problem}
		}
		j.executor = nil
	}
	total := j.task.Plus(j.executor...)
	if !l.available.Contains(total...) {
		return judgement{refusal: fmt.Sprintf("Total resources %s required by task and its executor is more than available %s",
			total.Text(l.role), l.available.Text(l.role))}
	}
	return j
}

func (l launch) invalidTask() string {
	t := l.task
	id := t.TaskID.Value
	switch problem := invalidID(id); {
	case problem != "":
		return problem
	case l.framework.tasks[id] != nil || l.framework.lost[id] != nil:
		return "Task has duplicate ID: " + id
	case t.AgentID.Value != l.agent.id:
		return fmt.Sprintf("Task uses invalid agent %s while agent %s is expected", t.AgentID.Value, l.agent.id)
	case (t.Command == nil) == (t.Executor == nil):
		return "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
	case t.Executor == nil:
		return "Command tasks are not known to a single-machine Mesos: give the task an executor"
	case t.Executor.Type == mesos.ExecutorInfo_DEFAULT:
		return "The default executor is not known to a single-machine Mesos: give the task an executor of its own"
	case t.Container != nil || t.Executor.Container != nil:
		return "Containers are not known to a single-machine Mesos"
	case t.Executor.Command == nil:
		return "'ExecutorInfo.command' must be set for 'CUSTOM' executor"
	}
	if problem := invalidID(t.Executor.ExecutorID.Value); problem != "" {
		return problem
	}
	if have := t.Executor.GetFrameworkID().GetValue(); have != "" && have != l.framework.id {
		return fmt.Sprintf("ExecutorInfo has an invalid FrameworkID (Actual: %s vs Expected: %s)", have, l.framework.id)
	}
	return ""
}

// incompatible compares two ExecutorInfos with one id.
func incompatible(existing, given mesos.ExecutorInfo) string {
	a, b := normalExecutor(existing), normalExecutor(given)
	if a.Equal(&b) {
		return ""
	}
	rule := strings.Repeat("-", 60)
	return fmt.Sprintf("ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n%s\nExisting ExecutorInfo:\n%s\n%s\nTask's ExecutorInfo:\n%s\n%s\n",
		rule, proto.MarshalTextString(&existing), rule, proto.MarshalTextString(&given), rule)
}

// normalExecutor is info with what the master and the agent fill in, so that
// what a framework sends again can be compared with what it sent first.
func normalExecutor(info mesos.ExecutorInfo) mesos.ExecutorInfo {
	info = withCommandDefaults(info)
	info.FrameworkID = nil
	info.Resources = append([]mesos.Resource(nil), info.Resources...)
	for i := range info.Resources {
		info.Resources[i].AllocationInfo = nil
	}
	return info
}

// withCommandDefaults fills in an executor's command as the agent does (rule
// 32): shell true, variables of type VALUE.
func withCommandDefaults(info mesos.ExecutorInfo) mesos.ExecutorInfo {
	if info.Command == nil {
		return info
	}
	command := *info.Command
	if command.Shell == nil {
		command.Shell = ptr(true)
	}
	if command.Environment != nil {
		env := mesos.Environment{Variables: append([]mesos.Environment_Variable(nil), command.Environment.Variables...)}
		for i := range env.Variables {
			if env.Variables[i].Type == nil {
				env.Variables[i].Type = mesos.Environment_Variable_VALUE.Enum()
			}
		}
		command.Environment = &env
	}
	info.Command = &command
	return info
}

// operationInput is one RESERVE, UNRESERVE, CREATE or DESTROY to be judged.
type operationInput struct {
	principal *string
	role      string         // what is offered is allocated to it; empty for operators
	available resources.List // what the operation may touch
	total     resources.List // all of the agent
	used      resources.List // held by tasks and executors of the agent
	where     string         // " on agent ... at ..."
}

// conversion is what an operation takes away and gives.
type conversion struct{ consumed, converted resources.List }

// apply carries the conversion out; ok is false when what is to be consumed is
// not there.
func (c conversion) apply(l resources.List) (resources.List, bool) {
	rest, ok := l.Minus(c.consumed...)
	return rest.Plus(c.converted...), ok
}

// refusalError is why an operation is refused, in Mesos' words.
type refusalError struct {
	text    string
	missing bool // the resources are not there, rather than the request wrong
}

func (e refusalError) Error() string { return e.text }

func (in operationInput) refuse(format string, args ...any) error {
	return refusalError{text: fmt.Sprintf(format, args...) + in.where}
}

// step adds the conversion of one resource. Each is done on the result of the
// one before, and the first that cannot be is what the refusal names.
func (in *operationInput) step(c *conversion, from, to resources.Resource) error {
	rest, ok := in.available.Minus(from)
	if !ok {
		return refusalError{missing: true,
			text: fmt.Sprintf("%s does not contain %s", in.available.Text(in.role), from.Text(in.role))}
	}
	in.available = rest.Plus(to)
	c.consumed, c.converted = c.consumed.Plus(from), c.converted.Plus(to)
	return nil
}

func (in operationInput) reserve(given []mesos.Resource) (conversion, error) {
	list, err := in.read(given)
	if err != nil {
		return conversion{}, err
	}
	var c conversion
	for _, r := range list {
		n := len(r.Reservations)
		switch {
		case n == 0 || !r.Reservations[n-1].Dynamic:
			return c, in.refuse("Resource %s is not dynamically reserved", r.Text(in.role))
		case in.role != "" && r.Role() != in.role && !strings.HasPrefix(in.role, r.Role()+"/"):
			return c, in.refuse("A reserve operation was attempted for a resource with role '%s', but the resource was allocated to role '%s'", r.Role(), in.role)
		case r.Volume != nil:
			return c, in.refuse("A persistent volume %s must already be reserved", r.Text(in.role))
		}
		if have := r.Reservations[n-1].Principal; in.principal != nil && (have == nil || *have != *in.principal) {
			if have == nil {
				return c, in.refuse("A reserve operation was attempted by authenticated principal '%s', but there is a reserved resource in the request with no principal set", *in.principal)
			}
			return c, in.refuse("A reserve operation was attempted by authenticated principal '%s', which does not match a reserved resource in the request with principal '%s'", *in.principal, *have)
		}
		if err := in.step(&c, r.WithoutLastReservation(), r); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (in operationInput) unreserve(given []mesos.Resource) (conversion, error) {
	list, err := in.read(given)
	if err != nil {
		return conversion{}, err
	}
	var c conversion
	for _, r := range list {
		n := len(r.Reservations)
		switch {
		case n == 0 || !r.Reservations[n-1].Dynamic:
			return c, in.refuse("Resource %s is not dynamically reserved", r.Text(in.role))
		case r.Volume != nil:
			return c, in.refuse("A dynamically reserved persistent volume %s cannot be unreserved directly. Please destroy the persistent volume first then unreserve the resource", r.Text(in.role))
		}
		if err := in.step(&c, r, r.WithoutLastReservation()); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (in operationInput) create(given []mesos.Resource) (conversion, error) {
	list, err := in.readVolumes(given)
	if err != nil {
		return conversion{}, err
	}
	var c conversion
	for _, r := range list {
		if p := in.principal; p != nil && (r.Volume.Principal == nil || *r.Volume.Principal != *p) {
			if r.Volume.Principal == nil {
				return c, in.refuse("Create volume operation attempted by authenticated principal '%s', but there is a volume in the operation with no principal set in 'disk.persistence'", *p)
			}
			return c, in.refuse("Create volume operation attempted by authenticated principal '%s', which does not match a volume in the operation with principal '%s' set in 'disk.persistence'", *p, *r.Volume.Principal)
		}
		for _, have := range in.total {
			if have.Volume != nil && have.Volume.ID == r.Volume.ID && have.Role() == r.Role() {
				return c, in.refuse("Persistent volume ID '%s' already exists for role '%s'", r.Volume.ID, r.Role())
			}
		}
		if err := in.step(&c, r.WithoutVolume(), r); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (in operationInput) destroy(given []mesos.Resource) (conversion, error) {
	list, err := in.readVolumes(given)
	if err != nil {
		return conversion{}, err
	}
	var c conversion
	for _, r := range list {
		switch {
		case !in.total.Contains(r):
			return c, in.refuse("Persistent volumes not found")
		case in.used.Contains(r):
			return c, in.refuse("Persistent volumes in use")
		}
		if err := in.step(&c, r, r.WithoutVolume()); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (in operationInput) read(given []mesos.Resource) (resources.List, error) {
	list, err := resources.FromProto(given)
	if err != nil {
		return nil, in.refuse("Invalid resources: %v", err)
	}
	if len(list) == 0 {
		return nil, in.refuse("Invalid resources: none are given")
	}
	return list, nil
}

func (in operationInput) readVolumes(given []mesos.Resource) (resources.List, error) {
	list, err := in.read(given)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		switch {
		case r.Volume == nil:
			return nil, in.refuse("Resource %s is not a persistent volume", r.Text(in.role))
		case !r.Reserved():
			return nil, in.refuse("Invalid resources: Invalid DiskInfo: Persistent volumes cannot be created from unreserved resources")
		case r.Volume.ReadOnly:
			return nil, in.refuse("Not a persistent volume: Read-only persistent volume not supported")
		case strings.Contains(r.Volume.ContainerPath, ".."):
			return nil, in.refuse("Invalid resources: Invalid DiskInfo: Container path '%s' must not lead out of the sandbox", r.Volume.ContainerPath)
		}
		if problem := invalidID(r.Volume.ID); problem != "" {
			return nil, in.refuse("Invalid resources: Invalid DiskInfo: Invalid persistence ID for persistent volume: %s", problem)
		}
	}
	return list, nil
}
