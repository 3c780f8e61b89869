package framework

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/aosc/aosc/internal/cotton/store"
	client "github.com/aosc/aosc/internal/mesos"
)

var _ client.AttemptHandler = (*Framework)(nil)

// Connected implements client.Handler: the framework's id is stored before anything else is asked of Mesos (R1).
func (f *Framework) Connected(ctx context.Context, e *scheduler.Event_Subscribed) error {
	f.working.Lock()
	defer f.working.Unlock()
	id := e.FrameworkID.GetValue()
	err := f.changeOwn(ctx, func(own *store.Framework) error {
		switch {
		case own.ID != "" && own.ID != id:
			return fmt.Errorf("the store has framework id %s, the master made %s: reservations carry the stored one", own.ID, id)
		case own.ID != "":
			return errUnchanged
		}
		own.ID, own.Role = id, f.cfg.Role
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return fmt.Errorf("store the framework id %s: %w", id, err)
	}
	f.maker.frameworkID = id
	f.offering = offering{connectedAt: time.Now()}
	f.reconcileAll()
	f.metrics.registered.Set(1)
	f.setHealth(func(h *Health) {
		h.Connected, h.Ready, h.Refused, h.Problem, h.FrameworkID, h.LastEvent = true, true, false, "", id, time.Now()
		if e.MasterInfo != nil && e.MasterInfo.Hostname != nil {
			h.Master = fmt.Sprintf("%s:%d", *e.MasterInfo.Hostname, e.MasterInfo.GetPort())
		}
	})
	f.cfg.Log.Info("subscribed to Mesos", "framework", id)
	return nil
}

// Disconnected implements client.Handler. Requests are taken on: they are stored, and carried out when Mesos is back.
func (f *Framework) Disconnected(why error) {
	f.metrics.registered.Set(0)
	f.setHealth(func(h *Health) {
		h.Connected = false
		h.Problem = fmt.Sprintf("not subscribed to Mesos: %v", why)
	})
}

// NotSubscribed implements client.AttemptHandler: why the last attempt failed is told, and that the credentials are not taken.
func (f *Framework) NotSubscribed(why error) {
	f.setHealth(func(h *Health) {
		h.Problem, h.Refused = fmt.Sprintf("not subscribed to Mesos: %v", why), client.Unauthorized(why)
	})
}

// Event implements client.Handler.
func (f *Framework) Event(ctx context.Context, e *scheduler.Event) error {
	f.working.Lock()
	defer f.working.Unlock()
	f.setHealth(func(h *Health) { h.LastEvent = time.Now() })
	switch e.Type {
	case scheduler.Event_OFFERS:
		f.offers(ctx, e.GetOffers().GetOffers())
	case scheduler.Event_UPDATE:
		f.status(ctx, e.GetUpdate().GetStatus())
	case scheduler.Event_MESSAGE:
		f.message(e.GetMessage().GetData())
	case scheduler.Event_FAILURE:
		// Of an executor: a status follows. Of an agent: TASK_UNREACHABLE follows. For people only.
		if e.Failure.ExecutorID == nil {
			f.mu.Lock()
			f.windows.begun(e.Failure.GetAgentID().GetValue())
			f.mu.Unlock()
		}
		f.cfg.Log.Warn("Mesos reports a failure", "agent", e.Failure.GetAgentID().GetValue(),
			"executor", e.Failure.GetExecutorID().GetValue(), "status", e.Failure.GetStatus())
	case scheduler.Event_INVERSE_OFFERS:
		f.inverseOffers(ctx, e.GetInverseOffers().GetInverseOffers())
	case scheduler.Event_RESCIND_INVERSE_OFFER:
		f.mu.Lock()
		f.windows.rescinded(e.GetRescindInverseOffer().GetInverseOfferID().Value)
		f.mu.Unlock()
	case scheduler.Event_RESCIND:
		// No offer is held; an ACCEPT that crossed with this is answered by TASK_DROPPED, REASON_INVALID_OFFERS.
	}
	return nil
}
