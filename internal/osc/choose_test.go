package osc

import (
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	big := Facts{Rows: 1_000_000, DirectMaxRows: 5000, HasReplicas: true, CopyEngine: "ghost", CreateMissing: true}
	with := func(change func(*Facts)) Facts {
		f := big
		change(&f)
		return f
	}
	for _, c := range []struct {
		name    string
		facts   Facts
		engine  Engine
		refused string // part of the reason, "" = may run
	}{
		{"equal", with(func(f *Facts) { f.Equal = true }), EngineNone, ""},
		{"equal though unsafe to reach", with(func(f *Facts) { f.Equal = true; f.Loses = []string{"x"} }), EngineNone, ""},
		{"missing", with(func(f *Facts) { f.Missing = true }), EngineCreate, ""},
		{"missing, not to be made", with(func(f *Facts) { f.Missing, f.CreateMissing = true, false }), EngineCreate, "create_missing"},
		{"missing on one instance", with(func(f *Facts) { f.Missing, f.NoBinlog = true, true }), EngineCreate, ""},
		{"instant", with(func(f *Facts) { f.Instant, f.Inplace = true, true }), EngineInstant, ""},
		{"instant beats direct", with(func(f *Facts) { f.Instant, f.Rows = true, 1 }), EngineInstant, ""},
		{"inplace, metadata only", with(func(f *Facts) { f.Inplace = true }), EngineInplace, ""},
		{"inplace rebuild is a copy", with(func(f *Facts) { f.Inplace, f.Rebuilds = true, true }), EngineGhost, ""},
		{"index with replicas is a copy", with(func(f *Facts) { f.Inplace, f.BuildsIndex = true, true }), EngineGhost, ""},
		{"index that no copy can add", with(func(f *Facts) { f.Inplace, f.BuildsIndex, f.NoCopy = true, true, "UNIQUE" }), EngineInplace, ""},
		{"rebuild that no copy can do", with(func(f *Facts) { f.Inplace, f.Rebuilds, f.NoCopy = true, true, "no key" }), EngineGhost, "no key"},
		{"index without replicas", with(func(f *Facts) { f.Inplace, f.BuildsIndex, f.HasReplicas = true, true, false }), EngineInplace, ""},
		{"index on a small table", with(func(f *Facts) { f.Inplace, f.BuildsIndex, f.Rows = true, true, 5000 }), EngineInplace, ""},
		{"index on one instance", with(func(f *Facts) { f.Inplace, f.BuildsIndex, f.NoBinlog = true, true, true }), EngineInplace, ""},
		{"rebuild on one instance", with(func(f *Facts) { f.Inplace, f.Rebuilds, f.NoBinlog = true, true, true }), EngineInplace, ""},
		{"rebuild of a small table", with(func(f *Facts) { f.Inplace, f.Rebuilds, f.Rows = true, true, 10 }), EngineDirect, ""},
		{"direct at the limit", with(func(f *Facts) { f.Rows = 5000 }), EngineDirect, ""},
		{"copy above the limit", with(func(f *Facts) { f.Rows = 5001 }), EngineGhost, ""},
		{"never direct", with(func(f *Facts) { f.Rows, f.DirectMaxRows = 1, 0 }), EngineGhost, ""},
		{"spirit is refused by name", with(func(f *Facts) { f.CopyEngine = "spirit" }), "spirit", "'spirit'"},
		{"spirit does not matter without a copy", with(func(f *Facts) { f.CopyEngine, f.Instant = "spirit", true }), EngineInstant, ""},
		{"no unique key", with(func(f *Facts) { f.NoCopy = "no usable unique key" }), EngineGhost, "no usable unique key"},
		{"no unique key but small", with(func(f *Facts) { f.NoCopy, f.Rows = "no usable unique key", 5000 }), EngineDirect, ""},
		{"no unique key but instant", with(func(f *Facts) { f.NoCopy, f.Instant = "no usable unique key", true }), EngineInstant, ""},
		{"I6: loses data", with(func(f *Facts) { f.Instant, f.Loses = true, []string{"drops column a"} }), EngineInstant, "drops column a"},
		{"loses data with permission", with(func(f *Facts) { f.Instant, f.AllowUnsafe, f.Loses = true, true, []string{"drops column a"} }), EngineInstant, ""},
		{"I1: rows in the way, whatever is allowed", with(func(f *Facts) { f.Instant, f.AllowUnsafe, f.Blocks = true, true, []string{"duplicates"} }), EngineInstant, "duplicates"},
		{"rows in the way come before a loss that could be allowed", with(func(f *Facts) { f.Loses, f.Blocks = []string{"duplicates"}, []string{"duplicates"} }), EngineGhost, "rows are in the way"},
		{"I6: not proven, whatever is allowed", with(func(f *Facts) { f.ProofFailed, f.AllowUnsafe = "does not converge", true }), EngineGhost, "does not converge"},
		{"a permission would not help: no copy", with(func(f *Facts) { f.Loses, f.NoCopy = []string{"narrows v"}, "triggers" }), EngineGhost,
			"triggers"},
		{"a permission would not help: rolling", with(func(f *Facts) {
			f.Loses, f.NoBinlog, f.Instant, f.NotRolling = []string{"x"}, true, true, "column order"
		}), EngineInstant,
			"column order"},
		{"rolling, and no copy could be made", with(func(f *Facts) { f.NoBinlog, f.NoCopy = true, "triggers" }), EngineGhost,
			"would not help: triggers"},
		{"rolling needs a copy", with(func(f *Facts) { f.NoBinlog = true }), EngineGhost, "'rolling'"},
		{"rolling breaks replication", with(func(f *Facts) { f.NoBinlog, f.Instant, f.NotRolling = true, true, "column order" }), EngineInstant, "column order"},
		{"that does not matter to the primary", with(func(f *Facts) { f.Instant, f.NotRolling = true, "column order" }), EngineInstant, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			engine, refused := Choose(c.facts)
			if engine != c.engine {
				t.Errorf("engine %s, want %s", engine, c.engine)
			}
			if (refused == "") != (c.refused == "") || !strings.Contains(refused, c.refused) {
				t.Errorf("refused %q, want one with %q", refused, c.refused)
			}
		})
	}
}

// TestSmall: what a plain ALTER may hold up is bounded by rows and by bytes.
func TestSmall(t *testing.T) {
	for _, c := range []struct {
		f    Facts
		want Engine
	}{
		{Facts{Rows: 200, DirectMaxRows: 5000, Bytes: 200 << 20, DirectMaxBytes: 32 << 20}, EngineGhost},
		{Facts{Rows: 200, DirectMaxRows: 5000, Bytes: 32 << 20, DirectMaxBytes: 32 << 20}, EngineDirect},
		{Facts{Rows: 200, DirectMaxRows: 5000, Bytes: 200 << 20}, EngineDirect},
		{Facts{Rows: 0, DirectMaxRows: 0, Bytes: 200 << 20, DirectMaxBytes: 32 << 20}, EngineDirect}, // empty: only its file is large
		{Facts{Rows: 5001, DirectMaxRows: 5000, Bytes: 1, DirectMaxBytes: 32 << 20}, EngineGhost},
		{Facts{Inplace: true, BuildsIndex: true, HasReplicas: true, Rows: 200, DirectMaxRows: 5000, Bytes: 200 << 20, DirectMaxBytes: 32 << 20},
			EngineGhost},
		{Facts{Inplace: true, BuildsIndex: true, HasReplicas: true, Rows: 200, DirectMaxRows: 5000, Bytes: 1 << 20, DirectMaxBytes: 32 << 20},
			EngineInplace},
	} {
		c.f.CopyEngine = "ghost"
		if got := cheapest(c.f); got != c.want {
			t.Errorf("%+v: %s, want %s", c.f, got, c.want)
		}
	}
}

// I6: a permission is asked for only where it is all that lacks. Over all combinations of facts: granted, the plan may run; and
// where it is not asked for, granting it changes nothing.
func TestPermissionHelps(t *testing.T) {
	asked := 0
	const bits = 14
	for n := range 1 << bits {
		bit := func(i int) bool { return n>>i&1 == 1 }
		text := func(i int, s string) string {
			if bit(i) {
				return s
			}
			return ""
		}
		f := Facts{Missing: bit(0), Equal: bit(1) && !bit(0), Instant: bit(2), Inplace: bit(3), Rebuilds: bit(4), BuildsIndex: bit(5),
			ProofFailed:   text(6, "proof"),
			DirectMaxRows: 10, Rows: 5, HasReplicas: bit(7), NoBinlog: bit(8), NotRolling: text(9, "rolling"), CopyEngine: "ghost",
			CreateMissing: bit(10),
			NoCopy:        text(11, "no copy"), Loses: []string{"loss"}}
		if bit(12) {
			f.Rows = 50
		}
		if bit(13) {
			f.Blocks = f.Loses
		}
		_, refused := Choose(f)
		asks := strings.Contains(refused, "allow_unsafe")
		if asks != f.NeedsPermission() {
			t.Fatalf("%+v: refused %q, NeedsPermission %v", f, refused, f.NeedsPermission())
		}
		f.AllowUnsafe = true
		switch _, now := Choose(f); {
		case asks && now != "":
			t.Fatalf("%+v: the permission was asked for, and then: %s", f, now)
		case !asks && now != refused:
			t.Fatalf("%+v: not asked for, and it changes %q to %q", f, refused, now)
		case asks:
			asked++
		}
	}
	if asked == 0 {
		t.Error("it was never asked for")
	}
}
