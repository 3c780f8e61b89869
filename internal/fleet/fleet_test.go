package fleet

import (
	"context"
	"errors"
	"strings"
	"testing"
)

type list struct {
	tiers []Tier
	err   error
}

func (l list) Tiers(context.Context) ([]Tier, error) { return l.tiers, l.err }

func TestFindTier(t *testing.T) {
	inv := list{tiers: []Tier{
		{Name: "adb"},
		{Name: "udb", Clusters: []Cluster{{Name: "u1", Instances: []Instance{{Host: "a"}, {Host: "b"}}}, {Name: "u2", Instances: []Instance{{Host: "c"}}}}},
	}}
	tier, err := FindTier(t.Context(), inv, "udb")
	if err != nil || len(tier.Instances()) != 3 || tier.Instances()[2].Host != "c" {
		t.Errorf("udb: %+v, %v", tier, err)
	}
	if c, ok := tier.Cluster("u2"); !ok || len(c.Instances) != 1 {
		t.Errorf("cluster u2: %+v, %v", c, ok)
	}
	if _, ok := tier.Cluster("u3"); ok {
		t.Error("there is no cluster u3")
	}
	if _, err := FindTier(t.Context(), inv, "UDB"); !errors.Is(err, ErrUnknownTier) || !strings.Contains(err.Error(), "adb, udb") {
		t.Errorf("an unknown tier: %v", err)
	}
	if _, err := FindTier(t.Context(), list{}, "udb"); !errors.Is(err, ErrUnknownTier) {
		t.Errorf("an empty inventory: %v", err)
	}
	// An inventory that cannot be read is not one without the tier (I11).
	broken := errors.New("line 3: oops")
	if _, err := FindTier(t.Context(), list{err: broken}, "udb"); !errors.Is(err, broken) || errors.Is(err, ErrUnknownTier) {
		t.Errorf("a broken inventory: %v", err)
	}
}
