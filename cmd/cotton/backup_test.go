package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/testkit"
)

// Backups as a person meets them: asked for and waited for, listed also after the cluster is gone, and restored into a new
// one; refused with a reason where there is no store, or no such backup.
func TestBackupAndRestore(t *testing.T) {
	s := newSite(t)
	store := filepath.Join(s.dir, "backups")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	s.args = append(s.args, "--backup-store=dir:"+store)
	s.start()
	const password = "geheim-0123456789"
	passwordFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.do("create", "c1", "--password-file="+passwordFile, "--size=small", "--backup-every=24h", "--binlog-interval=1s", "--wait")
	for _, sql := range []string{"CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)", "INSERT INTO shop.t VALUES (42)"} {
		if _, err := s.query(*s.endpoints("c1").Primary, password, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var b v1.Backup
	if err := json.Unmarshal([]byte(s.do("backup", "c1", "--wait", "-o", "json")), &b); err != nil || b.Cluster != "c1" || b.Role != "primary" || b.Size == 0 || !strings.HasPrefix(b.Tool, "cotton ") {
		t.Fatalf("%+v, %v", b, err)
	}
	s.do("delete", "c1", "--password-file="+passwordFile, "--wait")
	if out := s.do("backups", "c1"); !strings.Contains(out, b.ID) || !strings.Contains(out, "primary 1") {
		t.Errorf("backups says:\n%s", out)
	}
	_, _, err := program(t, t.Context(), "create", "c2", "--backup-id=c1-20200101T000000Z", "--api="+s.url, "--work-dir="+s.dir)
	says(t, err, "Unknown backup", "cotton backups c1", "400")
	_, _, err = program(t, t.Context(), "create", "c2", "--backup-id="+b.ID, "--restore-to=yesterday", "--api="+s.url, "--work-dir="+s.dir)
	says(t, err, "restore_to", "no moment to restore to", "400")
	_, _, err = program(t, t.Context(), "create", "c2", "--backup-keep=3", "--api="+s.url, "--work-dir="+s.dir)
	says(t, err, "--backup-every")

	s.do("create", "c1", "--nodes=2", "--password-file="+passwordFile, "--size=small", "--backup-id="+b.ID, "--wait")
	for _, e := range append(s.endpoints("c1").Replicas, *s.endpoints("c1").Primary) {
		testkit.Eventually(t, patience, "the row is restored, for the user of the new cluster", func() bool {
			got, err := s.query(e, password, "SELECT id FROM shop.t") // a replica may not have that user yet
			return err == nil && got == "42"
		})
	}
	s.stop()
	s.noSecrets(password)
}
