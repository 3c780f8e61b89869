// Package discovery tells clients where the primary and the replicas of a cluster are (I10). Adapters: zk keeps the
// original's ZooKeeper layout and ServerSet JSON, haproxy writes a configuration.
package discovery

import "context"

// Endpoint is one instance that clients may connect to.
type Endpoint struct {
	ID    int    `json:"id"` // the member's id in its cluster
	Host  string `json:"host"`
	Port  int    `json:"port"`
	Shard *int   `json:"shard,omitempty"` // of ServerSets; cotton's own instances have none
}

// Publisher is the port.
type Publisher interface {
	// Publish makes exactly this known of the cluster, in one step: a client never sees two primaries. A nil primary
	// means that no instance accepts writes at this moment. What is known already is not written again.
	Publish(ctx context.Context, cluster string, primary *Endpoint, replicas []Endpoint) error
	// Remove makes the cluster unknown; not an error when it is already.
	Remove(ctx context.Context, cluster string) error
}
