// Package framework is the part of cotton that acts: it talks to Mesos, keeps the store, and drives every cluster by a
// goroutine of its own, gather -> decide (pure, in package cotton) -> act by SQL.
package framework

import (
	"context"
	"errors"

	"github.com/aosc/aosc/internal/cotton"
)

// Errors of requests.
var (
	// ErrExists: a cluster of that name exists, maybe one that is being deleted.
	ErrExists = errors.New("cluster already exists")
	// ErrUnknown: there is no cluster of that name.
	ErrUnknown = errors.New("cluster not found")
	// ErrNotReady: this process does not lead, has not read the store yet, or is not known to Mesos yet. Trying again
	// later, or at the leader, helps.
	ErrNotReady = errors.New("the scheduler is not ready")
)

// Framework is cotton's scheduler. Its methods may be called from many goroutines.
type Framework struct{}

// Create stores a cluster and starts to launch it; it returns as soon as the cluster is stored. Errors: a
// *cotton.InvalidError, ErrExists, ErrNotReady. Spec.Policy may be empty (the default for that many nodes).
func (f *Framework) Create(ctx context.Context, spec cotton.Spec) (cotton.Record, error) {
	return cotton.Record{}, ErrNotReady
}

// Delete marks a cluster as being deleted and returns; instances, volumes and reservations go in the background, also
// through restarts. Deleting one that is being deleted is no error. Errors: ErrUnknown, ErrNotReady.
func (f *Framework) Delete(ctx context.Context, name string) error { return ErrNotReady }

// Clusters are all clusters, by name; those being deleted are among them.
func (f *Framework) Clusters(ctx context.Context) ([]View, error) { return nil, ErrNotReady }

// Cluster is one cluster; ErrUnknown.
func (f *Framework) Cluster(ctx context.Context, name string) (View, error) {
	return View{}, ErrNotReady
}

// Why says what a cluster waits for and what is wrong with each agent; ErrUnknown.
func (f *Framework) Why(ctx context.Context, name string) (Wait, error) { return Wait{}, ErrNotReady }

// Endpoints are what is published of a cluster (I10); ErrUnknown.
func (f *Framework) Endpoints(ctx context.Context, name string) (Endpoints, error) {
	return Endpoints{}, ErrNotReady
}

// Health is how the framework stands. It never waits.
func (f *Framework) Health() Health { return Health{} }

// Run leads, subscribes and works until ctx ends (nil), or until going on would be wrong: the leader lock is lost, the
// master removed the framework, the store is not ours to read.
func (f *Framework) Run(ctx context.Context) error { return ErrNotReady }
