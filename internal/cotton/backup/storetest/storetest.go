// Package storetest is the contract of backup.Store, run over every adapter.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aosc/aosc/internal/cotton/backup"
)

const uuid = "11111111-1111-1111-1111-111111111111"

// Manifest is a valid one.
func Manifest(id string) backup.Manifest {
	cluster, at, err := backup.ParseID(id)
	if err != nil {
		panic(err)
	}
	return backup.Manifest{
		Format: backup.Format, ID: id, Cluster: cluster, Origin: "o", Member: 2, Role: "replica", OrderedAt: at, BegunAt: at, CopiedAt: at,
		GTIDsFrom: uuid + ":1-5", GTIDsTo: uuid + ":1-7", Version: "9.7.4",
	}
}

// Log is a valid entry for contents.
func Log(cluster, name, contents string) backup.Log {
	sum := backup.NewSum()
	_, _ = sum.Write([]byte(contents))
	f := sum.File(name)
	return backup.Log{Format: backup.Format, Name: name, Cluster: cluster, Origin: "o", Previous: uuid + ":1-5", GTIDs: uuid + ":6-9", Size: f.Size, SHA256: f.SHA256}
}

// Run holds an empty store against the contract.
func Run(t *testing.T, open func(t *testing.T) backup.Store) {
	for name, test := range map[string]func(*testing.T, backup.Store){
		"a backup is visible once it is committed": visible, "an unfinished one is begun anew": anew, "logs": logs, "names": names,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func listing(t *testing.T, s backup.Store, cluster string) backup.Listing {
	t.Helper()
	l, err := s.List(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, u backup.Upload, name, contents string) backup.File {
	t.Helper()
	f, err := u.Put(t.Context(), name, strings.NewReader(contents))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t *testing.T, s backup.Store, cluster, id, file string) string {
	t.Helper()
	r, err := s.Open(t.Context(), cluster, id, file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func visible(t *testing.T, s backup.Store) {
	const id, later = "c0-20260102T000000Z", "c0-20260103T000000Z"
	if l := listing(t, s, "c0"); len(l.Backups)+len(l.Logs)+len(l.Unfinished)+len(l.Damaged) != 0 {
		t.Fatalf("a new store has %+v", l)
	}
	for _, id := range []string{later, id} {
		u, err := s.Begin(t.Context(), "c0", id)
		if err != nil {
			t.Fatal(err)
		}
		m := Manifest(id)
		m.Files = []backup.File{put(t, u, "ibdata1", "system"), put(t, u, "d/t#p#p0.ibd", id)}
		if l := listing(t, s, "c0"); len(l.Unfinished) != 1 || l.Unfinished[0] != id {
			t.Errorf("before its manifest is stored: %+v", l)
		}
		if _, err := s.Manifest(t.Context(), "c0", id); !errors.Is(err, backup.ErrNotFound) {
			t.Errorf("the manifest of an unfinished backup: %v", err)
		}
		if err := u.Commit(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if err := u.Abort(); err != nil {
			t.Error(err)
		}
	}
	l := listing(t, s, "c0")
	if len(l.Backups) != 2 || l.Backups[0].ID != id || l.Backups[1].ID != later || l.Backups[0].Files != nil || len(l.Unfinished) != 0 {
		t.Fatalf("two complete ones: %+v", l)
	}
	m, err := s.Manifest(t.Context(), "c0", id)
	if err != nil || len(m.Files) != 2 || m.Files[1].Name != "d/t#p#p0.ibd" {
		t.Fatalf("%+v, %v", m, err)
	}
	if got := read(t, s, "c0", id, "d/t#p#p0.ibd"); got != id {
		t.Errorf("read %q", got)
	}
	if err := backup.CopyVerified(io.Discard, strings.NewReader(id), m.Files[1]); err != nil {
		t.Error(err)
	}
	if err := backup.CopyVerified(io.Discard, strings.NewReader(id[1:]), m.Files[1]); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("a truncated file: %v", err)
	}
	if _, err := s.Open(t.Context(), "c0", id, "none"); !errors.Is(err, backup.ErrNotFound) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := s.Begin(t.Context(), "c0", id); !errors.Is(err, backup.ErrExists) {
		t.Errorf("a complete one was begun again: %v", err)
	}
	for range 2 {
		if err := s.Remove(t.Context(), "c0", id); err != nil {
			t.Fatal(err)
		}
	}
	if l := listing(t, s, "c0"); len(l.Backups) != 1 || l.Backups[0].ID != later || len(l.Unfinished) != 0 {
		t.Errorf("after a removal: %+v", l)
	}
}

func anew(t *testing.T, s backup.Store) {
	const id = "c0-20260102T000000Z"
	u, err := s.Begin(t.Context(), "c0", id)
	if err != nil {
		t.Fatal(err)
	}
	put(t, u, "stale", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, bad := range []struct {
		ctx context.Context
		r   io.Reader
	}{{ctx, strings.NewReader("y")}, {t.Context(), iotest.ErrReader(errors.New("the disk is gone"))}} {
		if _, err := u.Put(bad.ctx, "torn", bad.r); err == nil {
			t.Error("a file that could not be read was stored")
		}
	}
	if _, err := s.Open(t.Context(), "c0", id, "torn"); !errors.Is(err, backup.ErrNotFound) {
		t.Errorf("half a file is there: %v", err)
	}
	if u, err = s.Begin(t.Context(), "c0", id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "c0", id, "stale"); !errors.Is(err, backup.ErrNotFound) {
		t.Errorf("a file of the attempt before: %v", err)
	}
	incomplete := Manifest(id)
	incomplete.Files = []backup.File{put(t, u, "gone", "x")}
	if err := s.Remove(t.Context(), "c0", id); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context(), incomplete); err == nil {
		t.Error("a manifest of a file that is gone was stored")
	}
	if u, err = s.Begin(t.Context(), "c0", id); err != nil {
		t.Fatal(err)
	}
	bad := Manifest(id)
	bad.GTIDsTo = "nonsense"
	if err := u.Commit(t.Context(), bad); err == nil {
		t.Error("a manifest that cannot be read was stored")
	}
	if err := u.Abort(); err != nil {
		t.Fatal(err)
	}
	if l := listing(t, s, "c0"); len(l.Unfinished)+len(l.Backups) != 0 {
		t.Errorf("after an abort: %+v", l)
	}
}

func logs(t *testing.T, s backup.Store) {
	l := Log("c0", "l1", "events")
	if err := s.PutLog(t.Context(), l, strings.NewReader("event")); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("a truncated log: %v", err)
	}
	if got := listing(t, s, "c0"); len(got.Logs) != 0 {
		t.Fatalf("a truncated log is there: %+v", got)
	}
	for range 2 {
		if err := s.PutLog(t.Context(), l, strings.NewReader("events")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutLog(t.Context(), Log("c0", "l1", "others"), strings.NewReader("others")); !errors.Is(err, backup.ErrExists) {
		t.Errorf("another log of the name: %v", err)
	}
	if got := listing(t, s, "c0"); len(got.Logs) != 1 || got.Logs[0] != l {
		t.Fatalf("%+v", got.Logs)
	}
	r, err := s.OpenLog(t.Context(), "c0", "l1")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := backup.CopyVerified(&b, r, l.File()); err != nil || b.String() != "events" {
		t.Errorf("%q, %v", b.String(), err)
	}
	r.Close()
	for range 2 {
		if err := s.RemoveLog(t.Context(), "c0", "l1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.OpenLog(t.Context(), "c0", "l1"); !errors.Is(err, backup.ErrNotFound) {
		t.Errorf("a removed log: %v", err)
	}
}

func names(t *testing.T, s backup.Store) {
	u, err := s.Begin(t.Context(), "c0", "c0-20260102T000000Z")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "../x", "/etc/x", "a/../../x"} {
		if _, err := u.Put(t.Context(), name, strings.NewReader("x")); err == nil {
			t.Errorf("a file %q was stored", name)
		}
		if _, err := s.OpenLog(t.Context(), "c0", name); err == nil {
			t.Errorf("a log %q was opened", name)
		}
		if name == "" {
			continue
		}
		if err := s.Remove(t.Context(), "c0", name); err == nil {
			t.Errorf("a backup %q was removed", name)
		}
	}
	for at, ok := range map[string]bool{"c-0-20260102T000000Z": true, "c0": false, "-20260102T000000Z": false, "a/b-20260102T000000Z": false, "c0-2026": false} {
		if _, _, err := backup.ParseID(at); (err == nil) != ok {
			t.Errorf("id %q: %v", at, err)
		}
	}
	if id := backup.NewID("c-0", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)); id != "c-0-20260102T000000Z" {
		t.Errorf("id %q", id)
	}
}
