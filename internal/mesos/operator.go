package mesos

import (
	"context"
	"crypto/tls"
	"fmt"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/master/calls"
)

// OperatorConfig of an operator's access to the master.
type OperatorConfig struct {
	Master *Detector
	Credentials
	TLS *tls.Config // for https masters
}

// Operator makes calls of the operator API to the leading master. Its errors are *StatusError where the master refused:
// 409 with the reason for an operation that cannot be done.
type Operator struct {
	master *Detector
	http   *transport
}

// NewOperator connects nothing yet.
func NewOperator(cfg OperatorConfig) *Operator {
	return &Operator{master: cfg.Master, http: newTransport(cfg.Credentials, cfg.TLS)}
}

// Close drops idle connections.
func (o *Operator) Close() { o.http.close() }

// Call asks the leading master. The answer is empty when the master has nothing to say but that it did it.
func (o *Operator) Call(ctx context.Context, call *master.Call) (*master.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	leader, err := o.master.Leader(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.Type, err)
	}
	for range maxRedirects {
		answer := new(master.Response)
		err = o.http.ask(ctx, leader+operatorPath, call, answer)
		if err == nil {
			return answer, nil
		}
		to, ok := redirect(leader, err)
		if !ok {
			break
		}
		leader = to
	}
	return nil, fmt.Errorf("%s: %w", call.Type, err)
}

// Agents are all that the master knows: registered, and recovered but not back yet.
func (o *Operator) Agents(ctx context.Context) (*master.Response_GetAgents, error) {
	answer, err := o.Call(ctx, calls.GetAgents())
	if err != nil {
		return nil, err
	}
	if answer.GetAgents == nil {
		return nil, fmt.Errorf("%s: the master's answer is empty", master.Call_GET_AGENTS)
	}
	return answer.GetAgents, nil
}

// Frameworks are those that run, wait to come back, or are completed.
func (o *Operator) Frameworks(ctx context.Context) (*master.Response_GetFrameworks, error) {
	answer, err := o.Call(ctx, calls.GetFrameworks())
	if err != nil {
		return nil, err
	}
	if answer.GetFrameworks == nil {
		return nil, fmt.Errorf("%s: the master's answer is empty", master.Call_GET_FRAMEWORKS)
	}
	return answer.GetFrameworks, nil
}

// Tasks are those of all frameworks.
func (o *Operator) Tasks(ctx context.Context) (*master.Response_GetTasks, error) {
	answer, err := o.Call(ctx, calls.GetTasks())
	if err != nil {
		return nil, err
	}
	if answer.GetTasks == nil {
		return nil, fmt.Errorf("%s: the master's answer is empty", master.Call_GET_TASKS)
	}
	return answer.GetTasks, nil
}

// State is agents, frameworks, executors and tasks at one moment.
func (o *Operator) State(ctx context.Context) (*master.Response_GetState, error) {
	answer, err := o.Call(ctx, calls.GetState())
	if err != nil {
		return nil, err
	}
	if answer.GetState == nil {
		return nil, fmt.Errorf("%s: the master's answer is empty", master.Call_GET_STATE)
	}
	return answer.GetState, nil
}

// Reserve makes a reservation on an agent.
func (o *Operator) Reserve(ctx context.Context, agentID string, resources ...mesos.Resource) error {
	return o.act(ctx, calls.ReserveResources(mesos.AgentID{Value: agentID}, resources...))
}

// Unreserve ends one that is not in use and holds no volume.
func (o *Operator) Unreserve(ctx context.Context, agentID string, resources ...mesos.Resource) error {
	return o.act(ctx, calls.UnreserveResources(mesos.AgentID{Value: agentID}, resources...))
}

// CreateVolumes makes persistent volumes on reserved disk.
func (o *Operator) CreateVolumes(ctx context.Context, agentID string, volumes ...mesos.Resource) error {
	return o.act(ctx, calls.CreateVolumes(mesos.AgentID{Value: agentID}, volumes...))
}

// DestroyVolumes deletes volumes that are not in use, and what is on them.
func (o *Operator) DestroyVolumes(ctx context.Context, agentID string, volumes ...mesos.Resource) error {
	return o.act(ctx, calls.DestroyVolumes(mesos.AgentID{Value: agentID}, volumes...))
}

// MarkAgentGone tells the master that an agent will never come back: its tasks are TASK_GONE_BY_OPERATOR, its volumes lost.
func (o *Operator) MarkAgentGone(ctx context.Context, agentID string) error {
	return o.act(ctx, calls.MarkAgentGone(mesos.AgentID{Value: agentID}))
}

// Teardown ends a framework for good and kills its tasks; reservations and volumes stay.
func (o *Operator) Teardown(ctx context.Context, frameworkID string) error {
	return o.act(ctx, calls.Teardown(mesos.FrameworkID{Value: frameworkID}))
}

func (o *Operator) act(ctx context.Context, call *master.Call) error {
	_, err := o.Call(ctx, call)
	return err
}
