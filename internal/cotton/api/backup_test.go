package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/api"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
)

// Backups by HTTP: listed, asked for, restored from by form and JSON; their policy is kept, and a bad one refused.
func TestBackups(t *testing.T) {
	b := serve(t)
	for _, method := range []string{"GET", "POST"} {
		b.send(t, "POST", "/clusters/c0", "cluster_user=a", asForm)
		if a := b.send(t, method, "/clusters/c0/backups", ""); a.status != 404 || !strings.Contains(a.failureOf(t).Detail, "--backup-store") {
			t.Errorf("%s without a store: %d %s", method, a.status, a.body)
		}
	}
	b.fake.known = "c0-20260102T030405Z"
	c, err := client.New(client.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	asked, err := c.Backup(t.Context(), "c0")
	if err != nil || b.fake.asked != 1 || !asked.AskedAt.Equal(backupAt) {
		t.Errorf("%+v, %v", asked, err)
	}
	if found, err := c.WaitBackup(t.Context(), asked); err != nil || found.ID != b.fake.known || found.Size != 5<<20 || found.RestorableGTIDs != "far" || !found.RestorableTime.Equal(backupAt.Add(time.Hour)) {
		t.Errorf("%+v, %v", found, err)
	}
	if list, err := c.Backups(t.Context(), "c0"); err != nil || len(list.Backups) != 1 || len(list.Problems) != 1 || list.Backups[0].GTIDsTo != "to" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := c.Backups(t.Context(), "c9"); !client.IsCode(err, v1.CodeNotFound) {
		t.Errorf("of nothing: %v", err)
	}
	if a := b.send(t, "POST", "/clusters/c0/backups", "keep=1", asForm); a.status != 400 {
		t.Errorf("an unknown parameter: %d %s", a.status, a.body)
	}

	if a := b.send(t, "POST", "/clusters/f0", "cluster_user=a&backup_id="+b.fake.known+"&restore_to=latest", asForm); a.status != 200 {
		t.Errorf("by form: %d %s", a.status, a.body)
	}
	if spec := b.fake.spec(t, "f0"); spec.BackupID != b.fake.known || spec.RestoreTo != "latest" || spec.Backup != nil {
		t.Errorf("by form: %+v", spec)
	}
	if _, err := c.Create(t.Context(), "j0", v1.Create{User: "a", BackupID: b.fake.known, RestoreTo: " 2026-01-02T03:04:05Z ", Backup: &v1.BackupPolicy{Every: "24h"}}); err != nil {
		t.Fatal(err)
	}
	want := cotton.BackupPolicy{Every: 24 * time.Hour, Keep: cotton.DefaultBackupKeep, BinlogInterval: cotton.DefaultBinlogInterval}
	if spec := b.fake.spec(t, "j0"); spec.Backup == nil || *spec.Backup != want || spec.RestoreTo != "2026-01-02T03:04:05Z" {
		t.Errorf("by JSON: %+v %+v", spec, spec.Backup)
	}
	if got, err := c.Cluster(t.Context(), "j0"); err != nil || got.Backup == nil || *got.Backup != (v1.BackupPolicy{Every: "24h0m0s", Keep: 7, BinlogInterval: "5m0s"}) || got.BackupID != b.fake.known {
		t.Errorf("shown: %+v, %v", got, err)
	}
	for field, body := range map[string]string{
		"backup.every":           `"backup":{"every":"daily"}`,
		"backup.keep":            `"backup":{"every":"1h","keep":-1}`,
		"backup.binlog_interval": `"backup":{"every":"1h","binlog_interval":"2h"}`,
		"restore_to":             `"restore_to":"latest"`,
		"backup_id":              `"backup_id":"../etc"`,
	} {
		if a := b.send(t, "POST", "/clusters/bad", `{"cluster_user":"a",`+body+`}`, asJSON); a.status != 400 || a.failureOf(t).Field != field {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

// Tokens that may only read list backups and make none.
func TestBackupRoles(t *testing.T) {
	path, tokens := tokensFile(t)
	loaded, err := api.LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	b := serve(t, func(c *api.Config) { c.Tokens = loaded })
	b.fake.known = "c0-20260102T030405Z"
	for method, status := range map[string]int{"GET": 200, "POST": 403} {
		if a := b.send(t, method, "/clusters/c0/backups", "", "Authorization: Bearer "+tokens[api.RoleRead]); a.status != status {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
}
