package aoscdb

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func passOf(t *testing.T, s *Store, host string) Pass {
	t.Helper()
	for _, p := range must(s.Passes(t.Context()))(t) {
		if p.Host == host {
			return p
		}
	}
	t.Fatalf("no pass of %s", host)
	return Pass{}
}

// I11: what a pass proves is when it began, so no other pass may make that look newer than it is.
func TestPassesAreReplacedOnlyByNewerOnes(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	now := must(s.Now(ctx))(t)
	put := func(began time.Time, notOK int, fresh bool) {
		t.Helper()
		ok(t, s.PutPass(ctx, Pass{Host: "h", Port: 1, Group: nastyTier, CommitSHA: began.Format("150405.000000"), StartedAt: &began,
			Databases: 3, Tables: 9, NotOK: notOK}, fresh))
	}
	ok(t, s.PassFailed(ctx, "h", 1, nastyTier, strings.Repeat("€", 3000)))
	if p := passOf(t, s, "h"); p.StartedAt != nil || p.FinishedAt != nil || p.FreshStartedAt != nil || len([]rune(p.Error)) != maxReason {
		t.Errorf("a failure before any pass: %+v", p)
	}
	put(now, 4, true)
	p := passOf(t, s, "h")
	if !p.StartedAt.Equal(now) || !p.FreshStartedAt.Equal(now) || p.FinishedAt.Before(now) || p.NotOK != 4 || p.Databases != 3 ||
		p.Tables != 9 || p.Error != "" {
		t.Errorf("first pass: %+v", p)
	}
	later := now.Add(time.Minute)
	put(later, 2, false)
	if p := passOf(t, s, "h"); !p.StartedAt.Equal(later) || !p.FreshStartedAt.Equal(now) || p.NotOK != 2 {
		t.Errorf("a later pass that was not fresh: %+v", p)
	}
	between := now.Add(time.Second)
	put(between, 7, true)
	if p := passOf(t, s, "h"); !p.StartedAt.Equal(later) || p.NotOK != 2 || p.CommitSHA != later.Format("150405.000000") || !p.FreshStartedAt.Equal(between) {
		t.Errorf("a slow pass that began earlier, and was fresh: %+v", p)
	}
	put(now, 7, true)
	if p := passOf(t, s, "h"); !p.FreshStartedAt.Equal(between) {
		t.Errorf("an older fresh pass replaced a newer one: %+v", p)
	}
	ok(t, s.PassFailed(ctx, "h", 1, nastyTier, "down"))
	if p := passOf(t, s, "h"); p.Error != "down" || !p.StartedAt.Equal(later) || p.NotOK != 2 {
		t.Errorf("after a failure: %+v", p)
	}
}

func TestForgetInstance(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	now := must(s.Now(ctx))(t)
	for _, host := range []string{"a", "b"} {
		ok(t, s.PutPass(ctx, Pass{Host: host, Port: 1, Group: "g", StartedAt: &now}, false))
		ok(t, s.CentralStatus().PutLocal(ctx, []LocalStatus{{Host: host, Port: 1, Database: "d", Table: "t", Group: "g", Status: LocalOK}}))
	}
	ok(t, s.ForgetInstance(ctx, "a", 1, "g"))
	if passes := must(s.Passes(ctx))(t); len(passes) != 1 || passes[0].Host != "b" {
		t.Errorf("passes %+v, want b's alone", passes)
	}
	if n := ask[int](t, s.DB(), "SELECT COUNT(*) FROM aosc_local_status WHERE host = 'a'"); n != 0 {
		t.Errorf("%d status rows of a are left", n)
	}
	if n := ask[int](t, s.DB(), "SELECT COUNT(*) FROM aosc_local_status"); n != 1 {
		t.Errorf("%d status rows are left, want b's", n)
	}
}

func TestLocalStatusOf(t *testing.T) {
	both(t, func(t *testing.T, s *StatusStore) {
		hash, made := "h1", time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)
		row := func(host, database, table string) LocalStatus {
			return LocalStatus{Host: host, Port: 1, Database: database, Table: table, Group: "g", HashCurrent: &hash, HashDesired: "h2",
				Status: LocalINC, LastRun: made, CreateTime: &made, DesiredBlob: "b", TableRows: 5, Bytes: 6}
		}
		ok(t, s.PutLocal(t.Context(), []LocalStatus{row("h", "d1", nastyTable), row("h", nastyDatabase, nastyTable), row("h", "d1", "other"),
			row("else", "d1", nastyTable)}))
		rows := must(s.LocalStatusOf(t.Context(), "h", 1, []string{nastyTable, "absent"}))(t)
		var databases []string
		for _, r := range rows {
			databases = append(databases, r.Database)
			if r.Table != nastyTable || *r.HashCurrent != hash || !r.LastRun.Equal(made) || !r.CreateTime.Equal(made) || r.Bytes != 6 || r.TableRows != 5 {
				t.Errorf("row %+v", r)
			}
		}
		slices.Sort(databases)
		if want := []string{"d1", nastyDatabase}; !slices.Equal(databases, want) {
			t.Errorf("databases %q, want %q", databases, want)
		}
		if rows := must(s.LocalStatusOf(t.Context(), "h", 1, nil))(t); rows != nil {
			t.Errorf("rows of no table: %v", rows)
		}
	})
}

func TestForeign(t *testing.T) {
	s := newInstance(t)
	ctx := t.Context()
	local := func(host string, port int) LocalStatus {
		return LocalStatus{Host: host, Port: port, Database: "d", Table: "t", Group: "g", Status: LocalOK}
	}
	foreign := func() bool { return must(s.Foreign(ctx, "h", 1))(t) }
	ok(t, s.PutLocal(ctx, []LocalStatus{local("h", 1)}))
	ok(t, s.PutWaiting(ctx, OSCRow{Host: "h", Port: 1, Group: "g", Table: "t"}))
	if foreign() {
		t.Error("the instance's own rows are taken for another's")
	}
	ok(t, s.PutLocal(ctx, []LocalStatus{local("h", 2)}))
	if !foreign() {
		t.Error("another port's status row was not noticed")
	}
	must(s.DropForeign(ctx, "h", 1))(t)
	ok(t, s.PutWaiting(ctx, OSCRow{Host: "donor", Port: 1, Group: "g", Table: "t"}))
	if !foreign() {
		t.Error("another host's queue row was not noticed")
	}
	must(s.DropForeign(ctx, "h", 1))(t)
	if foreign() {
		t.Error("dropped rows are still noticed")
	}
}
