// Package storetest is the contract of store.Store: one test run over every adapter.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/mysql"
)

// Backing is the place that several processes share.
type Backing interface {
	// Open is what another process would open.
	Open(t *testing.T) store.Store
	// WriteRaw puts bytes where a cluster's record is kept, as an operator or another version would.
	WriteRaw(t *testing.T, cluster string, value []byte)
	// ReadRaw returns them.
	ReadRaw(t *testing.T, cluster string) []byte
}

// Run runs the contract; fresh makes an empty backing for each part of it.
func Run(t *testing.T, fresh func(t *testing.T) Backing) {
	parts := map[string]func(*testing.T, Backing){
		"framework":            testFramework,
		"failovers":            testFailovers,
		"record survives":      testRecordSurvives,
		"compare and set":      testCompareAndSet,
		"one winner":           testOneWinner,
		"delete":               testDelete,
		"many clusters":        testManyClusters,
		"not without the lead": testNotWithoutTheLead,
		"the lead passes on":   testLeadPassesOn,
		"waiting gives up":     testWaitingGivesUp,
		"one leads at a time":  testOneLeadsAtATime,
		"newer store":          testNewerStore,
		"later release":        testLaterRelease,
		"unreadable record":    testUnreadableRecord,
		"too large":            testTooLarge,
		"bad names":            testBadNames,
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) { part(t, fresh(t)) })
	}
}

const patience = 20 * time.Second

func leading(t *testing.T, b Backing) store.Store {
	t.Helper()
	s := open(t, b)
	lead(t, s, "test")
	return s
}

func open(t *testing.T, b Backing) store.Store {
	t.Helper()
	s := b.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func lead(t *testing.T, s store.Store, holder string) (lost <-chan struct{}, release func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lost, release, err := s.Lead(ctx, holder)
	if err != nil {
		t.Fatal(err)
	}
	return lost, release
}

// Record is one with every field set.
func Record(name string) cotton.Record {
	at := time.Date(2026, 11, 22, 4, 43, 3, 123456789, time.UTC)
	return cotton.Record{
		Spec: cotton.Spec{Name: name, User: "app", PasswordHash: "$A$005$h\x01sh", Nodes: 3,
			Size: cotton.Size{CPUs: 0.5, MemMB: 512, DiskMB: 2048}, Policy: cotton.PolicyLossless,
			Labels: map[string]string{"tier": "udb"}, Config: map[string]string{"max_connections": "50"},
			Scalars: map[string]float64{"ssd": 1}, Constraints: map[string]string{"rack": "a|b"}, Sidecars: true, CreatedAt: at},
		State:   cotton.StateRunning,
		Members: []cotton.Member{{ID: 1, Phase: cotton.PhaseRunning, TaskID: name + "-1-1", AgentID: "S0", Port: 31000, VolumeID: "v1", LaunchedAt: at}},
		Primary: 1, Epoch: 7, NextID: 4,
	}
}

func put(t *testing.T, s store.Store, r cotton.Record) cotton.Record {
	t.Helper()
	stored, err := s.Put(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func clusters(t *testing.T, s store.Store) []cotton.Record {
	t.Helper()
	all, err := s.Clusters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func testFramework(t *testing.T, b Backing) {
	s := leading(t, b)
	if f, err := s.Framework(t.Context()); err != nil || !reflect.DeepEqual(f, store.Framework{}) {
		t.Fatalf("of an empty store: %+v, %v", f, err)
	}
	first, err := s.PutFramework(t.Context(), store.Framework{ID: "x-0000", Role: "cotton"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.PutFramework(t.Context(), store.Framework{ID: "y-0000"})
	wantError(t, err, store.ErrConflict)
	second := first
	second.Role = "other"
	second.Draining = map[string]cotton.Drain{"a": {Since: time.Unix(1e9, 0).UTC(), Why: "disk"}}
	second.LeftBehind = []cotton.LeftBehind{{Cluster: "c9", Abandoned: cotton.Abandoned{Member: 2, ResourceID: "r", VolumeID: "v", Hostname: "a"}}}
	if second, err = s.PutFramework(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	_, err = s.PutFramework(t.Context(), first)
	wantError(t, err, store.ErrConflict)
	if f, err := open(t, b).Framework(t.Context()); err != nil || !reflect.DeepEqual(f, second) {
		t.Errorf("another process reads %+v, %v; want %+v", f, err, second)
	}
}

func testRecordSurvives(t *testing.T, b Backing) {
	s := leading(t, b)
	stored := put(t, s, Record("c0"))
	if stored.Version == 0 || stored.Schema != cotton.SchemaVersion {
		t.Errorf("version %d, schema %d", stored.Version, stored.Schema)
	}
	if got := clusters(t, open(t, b)); len(got) != 1 || !reflect.DeepEqual(got[0], stored) {
		t.Errorf("another process reads %+v\nwant %+v", got, stored)
	}
}

func testCompareAndSet(t *testing.T, b Backing) {
	s := leading(t, b)
	first := put(t, s, Record("c0"))
	_, err := s.Put(t.Context(), Record("c0")) // version 0: must not exist
	wantError(t, err, store.ErrConflict)
	changed := first
	changed.Epoch++
	second := put(t, s, changed)
	_, err = s.Put(t.Context(), changed)
	wantError(t, err, store.ErrConflict)
	missing := Record("c1")
	missing.Version = 3
	_, err = s.Put(t.Context(), missing)
	wantError(t, err, store.ErrConflict)
	if got := clusters(t, s); len(got) != 1 || !reflect.DeepEqual(got[0], second) {
		t.Errorf("after refused writes: %+v", got)
	}
}

// testOneWinner: of many writes at once on one version exactly one is made.
func testOneWinner(t *testing.T, b Backing) {
	s := leading(t, b)
	r := put(t, s, Record("c0"))
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			mine := r
			mine.Epoch = uint64(100 + i)
			_, errs[i] = s.Put(t.Context(), mine)
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%d and %d both won", winner, i)
		case err == nil:
			winner = i
		default:
			wantError(t, err, store.ErrConflict)
		}
	}
	if got := clusters(t, s)[0]; winner < 0 || got.Epoch != uint64(100+winner) {
		t.Errorf("stored is epoch %d, the winner was %d", got.Epoch, winner)
	}
}

func testDelete(t *testing.T, b Backing) {
	s := leading(t, b)
	wantError(t, s.Delete(t.Context(), "c0", 1), store.ErrNotFound)
	old := put(t, s, Record("c0"))
	r := put(t, s, old)
	kept := put(t, s, Record("c00"))
	wantError(t, s.Delete(t.Context(), "c0", old.Version), store.ErrConflict)
	wantError(t, s.Delete(t.Context(), "c0", 0), store.ErrConflict)
	if err := s.Delete(t.Context(), "c0", r.Version); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Delete(t.Context(), "c0", r.Version), store.ErrNotFound)
	if got := clusters(t, s); len(got) != 1 || !reflect.DeepEqual(got[0], kept) {
		t.Errorf("left: %+v", got)
	}
	put(t, s, Record("c0")) // the name is free again
}

func testManyClusters(t *testing.T, b Backing) {
	s := leading(t, b)
	const n = 120
	for i := range n {
		put(t, s, Record(fmt.Sprintf("c.%03d_x-Y", i)))
	}
	all := clusters(t, open(t, b))
	if len(all) != n {
		t.Fatalf("%d clusters, want %d", len(all), n)
	}
	for i, r := range all {
		if want := fmt.Sprintf("c.%03d_x-Y", i); r.Spec.Name != want {
			t.Errorf("%d: %s, want %s: the order is by name", i, r.Spec.Name, want)
		}
	}
}

func testNotWithoutTheLead(t *testing.T, b Backing) {
	s := open(t, b)
	refused := func() {
		t.Helper()
		_, err := s.Put(t.Context(), Record("c0"))
		wantError(t, err, store.ErrNotLeader)
		_, err = s.PutFramework(t.Context(), store.Framework{ID: "x"})
		wantError(t, err, store.ErrNotLeader)
		wantError(t, s.Delete(t.Context(), "c0", 1), store.ErrNotLeader)
	}
	refused()
	lost, release := lead(t, s, "test")
	put(t, s, Record("c1"))
	if _, _, err := s.Lead(t.Context(), "twice"); err == nil {
		t.Error("who leads was let wait for itself")
	}
	release()
	refused()
	select {
	case <-lost:
		t.Error("a lead that was given up counts as lost")
	default:
	}
	if got := clusters(t, s); len(got) != 1 || got[0].Spec.Name != "c1" {
		t.Errorf("stored: %+v", got)
	}
}

// testLeadPassesOn: the next one waits, then leads with all that was stored (I8).
func testLeadPassesOn(t *testing.T, b Backing) {
	first, second := open(t, b), open(t, b)
	_, release := lead(t, first, "first")
	f, err := first.PutFramework(t.Context(), store.Framework{ID: "x-0000"})
	if err != nil {
		t.Fatal(err)
	}
	leads := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, _, err := second.Lead(ctx, "second")
		leads <- err
	}()
	select {
	case err := <-leads:
		t.Fatalf("two lead at once: %v", err)
	case <-time.After(300 * time.Millisecond): // nothing may happen: there is no condition to wait for
	}
	release()
	if err := <-leads; err != nil {
		t.Fatal(err)
	}
	if got, err := second.Framework(t.Context()); err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("the second reads %+v, %v; want %+v", got, err, f)
	}
	put(t, second, Record("c0"))
	_, err = first.Put(t.Context(), Record("c1"))
	wantError(t, err, store.ErrNotLeader)
}

func testWaitingGivesUp(t *testing.T, b Backing) {
	_, release := lead(t, open(t, b), "host7:4711")
	waiter := open(t, b)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _, err := waiter.Lead(ctx, "waiter")
	wantError(t, err, context.DeadlineExceeded)
	if err != nil && !strings.Contains(err.Error(), "host7:4711") {
		t.Errorf("%q does not say who leads", err)
	}
	release()
	// The one that gave up left nothing in the way of others, itself included.
	lead(t, waiter, "waiter")
}

// testOneLeadsAtATime: with many that come and go, never two lead.
func testOneLeadsAtATime(t *testing.T, b Backing) {
	var mu sync.Mutex
	leaders, turns := 0, 0
	var wg sync.WaitGroup
	for i := range 5 {
		s := open(t, b)
		wg.Go(func() {
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				_, release, err := s.Lead(ctx, fmt.Sprint(i))
				cancel()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				leaders++
				turns++
				if leaders != 1 {
					t.Errorf("%d lead at once", leaders)
				}
				mu.Unlock()
				if _, err := s.PutFramework(t.Context(), store.Framework{ID: "x", Version: int64(turns - 1)}); err != nil {
					t.Errorf("turn %d: %v", turns, err)
				}
				mu.Lock()
				leaders--
				mu.Unlock()
				release()
			}
		})
	}
	wg.Wait()
	if turns != 15 {
		t.Errorf("%d turns, want 15", turns)
	}
}

func testNewerStore(t *testing.T, b Backing) {
	s := leading(t, b)
	put(t, s, Record("c0"))
	for _, raw := range []string{
		fmt.Sprintf(`{"schema":%d,"written_by":"v9.9.9","spec":{"name":"c1"},"shards":4}`, cotton.SchemaVersion+1),
		fmt.Sprintf(`{"schema":%d,"min_reader":%d,"written_by":"v9.9.9","spec":{"name":"c1"}}`, cotton.SchemaVersion+2, cotton.SchemaVersion+1),
	} {
		b.WriteRaw(t, "c1", []byte(raw))
		_, err := s.Clusters(t.Context())
		wantError(t, err, store.ErrNewer)
		for _, what := range []string{"c1", "v9.9.9", "start the scheduler of that release again"} {
			if err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("%v does not say %q", err, what)
			}
		}
	}
}

// testLaterRelease: what a later release has added can be read by this one, unless it says that it must not. What a user asked
// for is kept, whatever was only a state is forgotten, and named.
func testLaterRelease(t *testing.T, b Backing) {
	s := leading(t, b)
	b.WriteRaw(t, "c1", fmt.Appendf(nil, `{"schema":%d,"min_reader":%d,"written_by":"v9.9.9","spec":{"name":"c1","nodes":1,"colour":"red",`+
		`"backup":{"every":1,"keep":2,"binlog_interval":3,"where":"far"}},"state":"running","members":[{"id":1,"shade":2}],"mood":{"a":1},"next_id":2}`,
		cotton.SchemaVersion+1, cotton.SchemaVersion))
	all, err := s.Clusters(t.Context())
	if err != nil {
		t.Fatalf("a record with additional fields cannot be read: %v", err)
	}
	r := all[0]
	if r.Spec.Nodes != 1 || r.NextID != 2 || len(r.Members) != 1 || r.Members[0].ID != 1 {
		t.Errorf("%+v", r)
	}
	if got := strings.Join(r.Dropped, ", "); got != "members[].shade, mood, written by cotton v9.9.9" {
		t.Errorf("dropped: %s", got)
	}
	r.Epoch++
	stored := put(t, s, r)
	if len(stored.Dropped) > 0 || stored.Schema != cotton.SchemaVersion {
		t.Errorf("%+v", stored)
	}
	raw := string(b.ReadRaw(t, "c1"))
	for _, kept := range []string{`"colour":"red"`, `"where":"far"`, fmt.Sprintf(`"schema":%d`, cotton.SchemaVersion), `"epoch":1`} {
		if !strings.Contains(raw, kept) {
			t.Errorf("%s is not kept: %s", kept, raw)
		}
	}
	for _, gone := range []string{"shade", "mood", "v9.9.9"} {
		if strings.Contains(raw, gone) {
			t.Errorf("%s is kept: %s", gone, raw)
		}
	}
	if again := clusters(t, s); !reflect.DeepEqual(again[0], stored) {
		t.Errorf("read again: %+v\nwant %+v", again[0], stored)
	}
}

// testUnreadableRecord: one that cannot be read fails the whole, with its name: left out it would be taken for deleted.
func testUnreadableRecord(t *testing.T, b Backing) {
	for name, raw := range map[string]string{
		"not JSON":     `]`,
		"no schema":    `{"spec":{"name":"bad1"}}`,
		"another name": fmt.Sprintf(`{"schema":%d,"spec":{"name":"c9"}}`, cotton.SchemaVersion),
	} {
		s := open(t, b)
		b.WriteRaw(t, "bad1", []byte(raw))
		if _, err := s.Clusters(t.Context()); err == nil || !strings.Contains(err.Error(), "bad1") {
			t.Errorf("%s: %v, want an error that names bad1", name, err)
		}
	}
}

func testTooLarge(t *testing.T, b Backing) {
	s := leading(t, b)
	r := Record("c0")
	r.Spec.Labels = map[string]string{"x": strings.Repeat("x", store.MaxRecord-2<<10)}
	put(t, s, r) // the limit is one that the technology keeps to
	r.Spec.Name, r.Spec.Labels["x"] = "c1", strings.Repeat("x", store.MaxRecord)
	_, err := s.Put(t.Context(), r)
	wantError(t, err, store.ErrTooLarge)
	for _, what := range []string{"c1", "spec (", "nothing was stored"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v does not say %q", err, what)
		}
	}
	if got := clusters(t, s); len(got) != 1 {
		t.Errorf("%d records, want 1", len(got))
	}
}

// gaps is a set of so many ranges, as a client leaves that sets gtid_next.
func gaps(uuid string, n int) string {
	var b strings.Builder
	b.WriteString(uuid)
	for i := range n {
		fmt.Fprintf(&b, ":%d", 1000001+2*i)
	}
	return b.String()
}

// testFailovers: a cluster whose gtid_executed has gaps by the ten thousands goes through failover after failover, and each step of them is
// stored; the set is in the record once. Past the limit the first step that adds to it is refused, with what to do, and the record is as
// it was.
func testFailovers(t *testing.T, b Backing) {
	const uuid = "aaaaaaaa-0000-4000-8000-000000000001"
	s := leading(t, b)
	r := Record("c0")
	r.Members = append(r.Members, cotton.Member{ID: 2, Phase: cotton.PhaseRunning}, cotton.Member{ID: 3, Phase: cotton.PhaseRunning})
	r.Base, r.Founded = uuid+":1", true
	r = put(t, s, r)
	now := time.Unix(1e9, 0)
	failover := func(more string) error {
		primary, next := r.Primary, r.Primary%3+1
		for _, tr := range []cotton.Transition{
			{Kind: cotton.BeginFailover, Note: strings.Repeat("the primary is dead; ", 50)},
			{Kind: cotton.Elect, To: next, Target: r.Base + more, Frozen: []int{next, next%3 + 1}, Note: strings.Repeat("elected; ", 100)},
			{Kind: cotton.Promote, To: next, UUID: fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", next)}, {Kind: cotton.Finish},
		} {
			after := r.Clone()
			if err := after.Apply(tr, now); err != nil {
				t.Fatalf("%s from %d to %d: %v", tr.Kind, primary, next, err)
			}
			stored, err := s.Put(t.Context(), after)
			if err != nil {
				return fmt.Errorf("%s: %w", tr.Kind, err)
			}
			r = stored
		}
		return nil
	}
	for i := range 25 {
		if i == 22 {
			r.Base = gaps(uuid, 80_000) // 640 kB
			r = put(t, s, r)
		}
		if err := failover(fmt.Sprintf(",bbbbbbbb-0000-4000-8000-%012d:1-%d", r.Primary, 10*i+1)); err != nil {
			t.Fatalf("failover %d: %v", i, err)
		}
	}
	if got := clusters(t, s); len(got) != 1 || got[0].Base != r.Base || got[0].Epoch != r.Epoch {
		t.Errorf("after 25 failovers: epoch %d, %d bytes of Base, want %d and %d", got[0].Epoch, len(got[0].Base), r.Epoch, len(r.Base))
	}
	before := b.ReadRaw(t, "c0")
	after := r.Clone()
	set, err := mysql.ParseGTIDSet(gaps("cccccccc-0000-4000-8000-000000000001", 50_000))
	if err != nil {
		t.Fatal(err)
	}
	if err := after.RaiseBase(set); err != nil {
		t.Fatal(err)
	}
	_, err = s.Put(t.Context(), after)
	wantError(t, err, store.ErrTooLarge)
	for _, what := range []string{"c0", "base (", "nothing was stored", "gaps in gtid_executed"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v does not say %q", err, what)
		}
	}
	if now := b.ReadRaw(t, "c0"); !bytes.Equal(before, now) {
		t.Error("what was refused has changed the record")
	}
	if err := failover(""); err != nil {
		t.Errorf("a failover after the refusal: %v", err)
	}
}

func testBadNames(t *testing.T, b Backing) {
	s := leading(t, b)
	for _, name := range []string{"", ".", "..", "a/b", "../x", "a b", "a\x00b", "a\\b", "ä"} {
		if _, err := s.Put(t.Context(), Record(name)); err == nil {
			t.Errorf("name %q was stored", name)
		}
		if err := s.Delete(t.Context(), name, 1); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("delete %q: %v, want a refusal", name, err)
		}
	}
	if got := clusters(t, s); len(got) != 0 {
		t.Errorf("stored: %+v", got)
	}
}
