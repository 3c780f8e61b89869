// Package static is the inventory of a team that runs its own MySQL: a YAML file.
//
//	tiers:
//	  udb:
//	    databases: "dbid%"          # LIKE pattern
//	    clusters:
//	      - name: udb-1
//	        instances:
//	          - {host: 127.0.0.1, port: 13306, datacenter: east, rack: a}
//	          - {host: 127.0.0.1, port: 13307, datacenter: west, rack: b}
//
// The file lists who is there, not who is primary: that is read from the servers.
package static

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/fleet"
)

var _ fleet.Inventory = (*Inventory)(nil)

// settle is how long a changed file must have been left alone before it is believed. Something that writes it in place
// (an editor, a copy) may have got half way, and the first half of a list is a good list of too few servers.
const settle = time.Second

// Inventory is the file, read again whenever its content changes. It is safe for concurrent use.
type Inventory struct {
	path string

	mu    sync.Mutex
	text  []byte // what tiers and err were made of
	tiers []fleet.Tier
	err   error
}

// Load reads the file. The error says the file and, where the content is wrong, the line.
func Load(path string) (*Inventory, error) {
	inv := &Inventory{path: path}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	if inv.parse(text); inv.err != nil {
		return nil, inv.err
	}
	return inv, nil
}

// Tiers is what the file says, in its order; a change counts one second after the last write. While the file is
// missing or wrong, the error is returned on every call until somebody mends it: an older list is not passed off as the
// fleet.
func (inv *Inventory) Tiers(context.Context) ([]fleet.Tier, error) {
	text, err := os.ReadFile(inv.path)
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	// Comparing the content is hardly slower than looking at time stamps and sizes, and misses nothing.
	if !bytes.Equal(text, inv.text) && inv.settled() {
		inv.parse(text)
	}
	if inv.err != nil {
		return nil, inv.err
	}
	return fleet.CloneTiers(inv.tiers), nil
}

// settled tells whether the file's last write is a while ago (or, by a clock that is off, a while ahead).
func (inv *Inventory) settled() bool {
	info, err := os.Stat(inv.path)
	return err == nil && time.Since(info.ModTime()).Abs() >= settle
}

func (inv *Inventory) parse(text []byte) {
	inv.text = text
	if inv.tiers, inv.err = Parse(text); inv.err != nil {
		inv.err = fmt.Errorf("inventory %s: %w", inv.path, inv.err)
	}
}
