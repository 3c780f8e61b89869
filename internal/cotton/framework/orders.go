package framework

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/aosc/aosc/internal/cotton"
)

// order sends an order to the executor of a member. That it arrives is not known: what matters is what the executor
// reports, or what becomes of the server.
func (f *Framework) order(ctx context.Context, m cotton.Member, o cotton.Order) error {
	o.Schema, o.Task = cotton.OrderSchema, m.TaskID
	data, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("write an order for %s: %w", m.TaskID, err)
	}
	if err := f.scheduler.Call(ctx, calls.Message(m.AgentID, m.TaskID, data)); err != nil {
		return fmt.Errorf("send the order %s to the executor of %s: %w", o.Kind, m.TaskID, err)
	}
	return nil
}
