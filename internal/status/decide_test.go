package status

import (
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/schema"
)

var (
	created = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	boot    = created.Add(-time.Hour)
	now     = created.Add(time.Hour)
)

func ptr[T any](v T) *T { return &v }

// settled is a row whose hash may be reused: read a minute after the table was last altered.
func settled() *aoscdb.LocalStatus {
	return &aoscdb.LocalStatus{
		Host: "db1", Port: 3306, Database: "dbid1", Table: "tabla1", Group: "udb",
		HashCurrent: ptr("efgh"), HashDesired: "efgh", DesiredBlob: "blob1", Status: aoscdb.LocalOK,
		LastRun: created.Add(time.Minute), CreateTime: ptr(created), Bytes: 1 << 20,
	}
}

// I4: a stored hash may stand for the table only where nothing can have changed it since.
func TestDecide(t *testing.T) {
	type in struct {
		w     want
		old   *aoscdb.LocalStatus
		l     *listed
		c     clock
		trust trust
	}
	base := func() in {
		return in{
			w:   want{Table: "tabla1", Blob: "blob1", Hash: "efgh"},
			old: settled(),
			l:   &listed{CreateTime: created},
			c:   clock{Now: now, Up: boot},
		}
	}
	for name, tc := range map[string]struct {
		change func(*in)
		want   need
	}{
		"unchanged":             {func(*in) {}, needNothing},
		"differs and unchanged": {func(i *in) { i.old.HashCurrent, i.old.Status = ptr("abcd"), aoscdb.LocalINC }, needNothing},
		"differs, and that is doubted": {
			func(i *in) { i.old.HashCurrent, i.old.Status, i.trust = ptr("abcd"), aoscdb.LocalINC, trustOK }, needRead},
		"equal, where only differences are doubted": {func(i *in) { i.trust = trustOK }, needNothing},
		"new desired text":                          {func(i *in) { i.w.Blob, i.w.Hash = "blob2", "ijkl" }, needNothing},
		"fresh":                                     {func(i *in) { i.trust = trustNothing }, needRead},
		"never seen":                                {func(i *in) { i.old = nil }, needRead},
		"altered":                                   {func(i *in) { i.l.CreateTime = created.Add(time.Second) }, needRead},
		"swapped for an older":                      {func(i *in) { i.l.CreateTime = created.Add(-time.Hour) }, needRead},
		"read in the same second":                   {func(i *in) { i.old.LastRun = created }, needRead},
		"read two seconds later":                    {func(i *in) { i.old.LastRun = created.Add(2 * time.Second) }, needRead},
		"read three seconds later": {
			func(i *in) { i.old.LastRun = created.Add(3 * time.Second) }, needNothing},
		"read before its create_time (a replica with a slow clock)": {
			func(i *in) { i.old.LastRun = created.Add(-time.Second) }, needRead},
		"was missing": {
			func(i *in) { i.old.HashCurrent, i.old.CreateTime, i.old.Status = nil, nil, aoscdb.LocalNA }, needRead},
		"no create_time stored":         {func(i *in) { i.old.CreateTime = nil }, needRead},
		"server restarted since":        {func(i *in) { i.c.Up = i.old.LastRun.Add(time.Second) }, needRead},
		"clock set back since":          {func(i *in) { i.old.LastRun = now.Add(time.Minute) }, needRead},
		"same text, another form":       {func(i *in) { i.w.Hash = "ijkl" }, needRead},
		"foreign key":                   {func(i *in) { i.w.ForeignKey = true }, needRead},
		"gone":                          {func(i *in) { i.l = nil }, needMissing},
		"gone, fresh":                   {func(i *in) { i.l, i.trust = nil, trustNothing }, needMissing},
		"never there":                   {func(i *in) { i.l, i.old = nil, nil }, needMissing},
		"compared with other text, old": {func(i *in) { i.old.DesiredBlob, i.old.HashDesired = "blob0", "abcd" }, needNothing},
	} {
		t.Run(name, func(t *testing.T) {
			i := base()
			tc.change(&i)
			if got := decide(i.w, i.old, i.l, i.c, i.trust); got != tc.want {
				t.Errorf("decide = %d, want %d", got, tc.want)
			}
		})
	}
}

func TestRow(t *testing.T) {
	base := aoscdb.LocalStatus{Host: "db1", Port: 3306, Database: "dbid1", Group: "udb"}
	w := want{Table: "tabla1", Blob: "blob1", Hash: "efgh"}
	l := &listed{CreateTime: created, Rows: 7, Bytes: 99}
	for name, tc := range map[string]struct {
		hash   *string
		l      *listed
		status string
	}{
		"equal":     {ptr("efgh"), l, aoscdb.LocalOK},
		"different": {ptr("abcd"), l, aoscdb.LocalINC},
		"missing":   {nil, nil, aoscdb.LocalNA},
		// Dropped between the listing and the reading.
		"vanished": {nil, l, aoscdb.LocalNA},
	} {
		t.Run(name, func(t *testing.T) {
			r := row(base, w, tc.hash, tc.l, now)
			if r.Status != tc.status || r.Table != "tabla1" || r.HashDesired != "efgh" || r.DesiredBlob != "blob1" || !r.LastRun.Equal(now) {
				t.Errorf("row = %+v, want status %s", r, tc.status)
			}
			if present := r.CreateTime != nil; present != (tc.hash != nil) {
				t.Errorf("create_time %v for hash %v: a missing table has none", r.CreateTime, tc.hash)
			}
		})
	}
}

func TestStoredSkipsOnlyWhatChangesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*aoscdb.LocalStatus)
		stored bool
		says   bool
	}{
		"same":               {func(*aoscdb.LocalStatus) {}, true, true},
		"statistics drift":   {func(r *aoscdb.LocalStatus) { r.Bytes += 1 << 20; r.TableRows = 5 }, true, true},
		"grew a lot":         {func(r *aoscdb.LocalStatus) { r.Bytes += 1 << 30 }, false, true},
		"status":             {func(r *aoscdb.LocalStatus) { r.Status = aoscdb.LocalINC }, false, false},
		"current hash":       {func(r *aoscdb.LocalStatus) { r.HashCurrent = ptr("abcd") }, false, false},
		"current hash gone":  {func(r *aoscdb.LocalStatus) { r.HashCurrent = nil }, false, false},
		"desired hash":       {func(r *aoscdb.LocalStatus) { r.HashDesired = "ijkl" }, false, false},
		"only another blob":  {func(r *aoscdb.LocalStatus) { r.DesiredBlob = "blob2" }, false, false},
		"moved to a tier":    {func(r *aoscdb.LocalStatus) { r.Group = "vdb" }, false, false},
		"create_time":        {func(r *aoscdb.LocalStatus) { r.CreateTime = ptr(created.Add(time.Second)) }, false, true},
		"create_time is nil": {func(r *aoscdb.LocalStatus) { r.CreateTime = nil }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := settled(), settled()
			tc.change(b)
			if got := stored(a, b); got != tc.stored {
				t.Errorf("stored = %v, want %v", got, tc.stored)
			}
			if got := says(a, b); got != tc.says {
				t.Errorf("says = %v, want %v", got, tc.says)
			}
		})
	}
}

func TestForeignKeysAreNoticed(t *testing.T) {
	child := schema.Form{Text: "CREATE TABLE `child` (\n  CONSTRAINT `fk` FOREIGN KEY (`pid`) REFERENCES `parent` (`id`)\n)", Hash: "h"}
	if !newWant(schema.Desired{Table: "child"}, child).ForeignKey {
		t.Error("a form with a foreign key was not recognised: its hash would be reused when the parent is renamed")
	}
	if newWant(schema.Desired{Table: "t"}, schema.Form{Text: "CREATE TABLE `t` (\n  `id` int\n)"}).ForeignKey {
		t.Error("a form without a foreign key was taken for one")
	}
}
