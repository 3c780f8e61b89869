package cotton

import (
	"encoding/json"
	"fmt"
	"time"
)

// OrderSchema of Order. An executor ignores orders that are newer than it, and says so in its log.
const OrderSchema = 1

// Order is what the scheduler tells the executor of one instance, as a Mesos message: it may be lost, repeated or come
// late. An executor obeys none whose Epoch is lower than one it has seen.
type Order struct {
	Schema int       `json:"schema"`
	Task   string    `json:"task"`
	Epoch  uint64    `json:"epoch"` // of the cluster, see Record.Epoch
	Kind   OrderKind `json:"kind"`
	// Lease, of OrderLease: for how long the instance may stay open for writes without another one.
	Lease time.Duration `json:"lease_ns,omitempty"`
	// Reading, of OrderLease, is what the executor's clock was at by the facts that this answers (Facts.Clock): the lease counts from
	// then, however long the order was on its way. 0: from its arrival; the executor tells of no clock, or the scheduler is of an
	// earlier release.
	Reading int64 `json:"reading_ms,omitempty"`
	// Backup, of OrderBackup and OrderArchive.
	Backup *BackupOrder `json:"backup,omitempty"`
}

// OrderKind is what is asked for.
type OrderKind string

const (
	// OrderLease tells the executor of the primary that the scheduler still counts on it. A primary that hears none for
	// the lease, and that no replica acknowledges to any more, closes itself (R13): it may have been replaced.
	OrderLease OrderKind = "lease"
	// OrderFence: under Epoch this instance is not the primary. Its server is to be super_read_only at once; one that does
	// not answer is killed, and comes back closed.
	OrderFence OrderKind = "fence"
)

// Unread is the Reading of a scheduler that has heard nothing of the executor yet: the order grants nothing, and asks for facts.
const Unread = -1

// ParseOrder reads a message. The error says why it is not obeyed.
func ParseOrder(data []byte) (Order, error) {
	var o Order
	if err := json.Unmarshal(data, &o); err != nil {
		return Order{}, fmt.Errorf("read an order: %w", err)
	}
	switch {
	case o.Schema > OrderSchema:
		return Order{}, fmt.Errorf("an order has schema %d, this executor knows %d: update the executor on this agent", o.Schema, OrderSchema)
	case o.Task == "" || o.Kind == "":
		return Order{}, fmt.Errorf("an order lacks task or kind: %+v", o)
	}
	return o, nil
}
