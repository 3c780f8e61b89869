package wiring

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

// Served are the instances of the inventory that the keys of InstanceKeys select: all of them when none is given, else
// those that satisfy every key given. Names that the inventory does not have are an error that lists what it has, so
// that a misspelt host does not idle for ever; callers ask again, because the inventory may yet change.
func Served(ctx context.Context, inv fleet.Inventory, v *viper.Viper) ([]fleet.Instance, error) {
	tier, host := v.GetString("tier"), v.GetString("host")
	tiers, err := inv.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	if tier != "" {
		found, err := fleet.FindTier(ctx, inv, tier)
		if err != nil {
			return nil, err
		}
		tiers = []fleet.Tier{found}
	}
	var all []fleet.Instance
	for _, t := range tiers {
		all = append(all, t.Instances()...)
	}
	if host != "" {
		onHost := slices.DeleteFunc(slices.Clone(all), func(i fleet.Instance) bool { return i.Host != host })
		if len(onHost) == 0 {
			return nil, fmt.Errorf("host %q has no instance%s in the inventory, which has hosts %s", host, ofTier(tier), list(all, hostOf))
		}
		all = onHost
	}
	wanted := v.GetStringSlice("instance")
	if len(wanted) == 0 {
		return all, nil
	}
	var served []fleet.Instance
	for _, text := range wanted {
		addr, err := mysql.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(all, func(i fleet.Instance) bool { return i.Addr() == addr })
		if at < 0 {
			return nil, fmt.Errorf("instance %s is not%s in the inventory, which has %s", addr, ofTier(tier), list(all, fleet.Instance.String))
		}
		if !slices.Contains(served, all[at]) {
			served = append(served, all[at])
		}
	}
	return served, nil
}

func hostOf(i fleet.Instance) string { return i.Host }

func ofTier(tier string) string {
	if tier == "" {
		return ""
	}
	return fmt.Sprintf(" of tier %q", tier)
}

// list names some of the instances for a message.
func list(all []fleet.Instance, name func(fleet.Instance) string) string {
	const most = 10
	var names []string
	for _, i := range all {
		if n := name(i); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
