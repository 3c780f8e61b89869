package static

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/fleet"
)

// write puts text into the file as if its last write were age ago.
func write(t *testing.T, path, text string, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-age)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

func databases(t *testing.T, inv fleet.Inventory) string {
	t.Helper()
	tier, err := fleet.FindTier(t.Context(), inv, "udb")
	if err != nil {
		t.Fatal(err)
	}
	return tier.Databases
}

func TestInventoryFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	write(t, path, "tiers: {udb: {databases: one}}\n", 0)
	inv, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := databases(t, inv); got != "one" {
		t.Errorf("databases %q, want one", got)
	}

	// Same size, and a time stamp of the past: only the content tells.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "tiers: {udb: {databases: two}}\n", time.Since(info.ModTime())+settle)
	if got := databases(t, inv); got != "two" {
		t.Errorf("databases %q, want two", got)
	}

	// Bad: an error that names file and line, on every call, and no list.
	write(t, path, "tiers:\n  udb: {database: x}\n", settle)
	for range 2 {
		tiers, err := inv.Tiers(t.Context())
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 2:") || tiers != nil {
			t.Errorf("a bad file gave %v, %v", tiers, err)
		}
	}

	// Gone is not empty (I11).
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if tiers, err := inv.Tiers(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gave %v, %v", tiers, err)
	}

	write(t, path, "tiers: {udb: {databases: three}}\n", settle)
	if got := databases(t, inv); got != "three" {
		t.Errorf("databases %q, want three", got)
	}
}

// A file that is being written in place may be a good list of half the fleet: it counts once it was left alone.
func TestInventoryWaitsForTheWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	write(t, path, "tiers: {udb: {databases: old}}\n", settle)
	inv, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	write(t, path, "tiers: {}\n", 0)
	tier, err := fleet.FindTier(t.Context(), inv, "udb")
	switch held := time.Since(begun); {
	case held >= settle:
		t.Skipf("the machine was held up for %v: the file is no longer young, nothing can be shown", held)
	case err != nil || tier.Databases != "old":
		t.Errorf("a file half written was believed: databases %q, %v", tier.Databases, err)
	}
	write(t, path, "tiers: {udb: {databases: new}}\n", 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for databases(t, inv) != "new" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the new file was never believed")
		}
	}
}

// What a caller does to its list changes nobody else's.
func TestInventoryGivesCopies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	write(t, path, example, 0)
	inv, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	tiers, err := inv.Tiers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tiers[0].Clusters[0].Instances[0].Host = "changed"
	tiers[0].Clusters = tiers[0].Clusters[:1]
	again, err := inv.Tiers(t.Context())
	if err != nil || len(again[0].Clusters) != 2 || again[0].Clusters[0].Instances[0].Host != "127.0.0.1" {
		t.Errorf("the list was shared: %+v, %v", again, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	write(t, path, "tiers: 1\n", 0)
	if inv, err := Load(path); err == nil || inv != nil {
		t.Errorf("a bad file: %v, %v", inv, err)
	}
}
