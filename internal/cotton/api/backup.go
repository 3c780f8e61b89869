package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/framework"
)

// backupError gives what can go wrong with a request about backups its answer.
func backupError(err error, name string) error {
	if errors.Is(err, framework.ErrNoBackups) {
		return fail(http.StatusNotFound, v1.CodeNotFound, "no backups are kept", "start the scheduler with --backup-store")
	}
	return named(err, name)
}

func (s *server) backups(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	list, problems, err := s.Framework.Backups(r.Context(), name)
	if err != nil {
		return backupError(err, name)
	}
	out := v1.Backups{Backups: make([]v1.Backup, len(list)), Problems: append([]string{}, problems...)}
	for i, b := range list {
		out.Backups[i] = v1.Backup{
			ID: b.ID, Cluster: b.Cluster, OrderedAt: b.OrderedAt, CopiedAt: b.CopiedAt, Member: b.Member, Role: b.Role, Version: b.Version, Tool: b.Tool,
			Size: b.Size, GTIDsFrom: b.GTIDsFrom, GTIDsTo: b.GTIDsTo, RestorableGTIDs: b.ToGTIDs, RestorableTime: b.ToTime,
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

// backup asks for one now and answers before it is made.
func (s *server) backup(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	body, isJSON, err := readBody(r)
	if err != nil {
		return err
	}
	if isJSON && len(body) > 0 {
		err = readJSON(body, &struct{}{})
	} else {
		_, err = readForm(body)
	}
	if err != nil {
		return err
	}
	at, err := s.Framework.Backup(r.Context(), name)
	if err != nil {
		return backupError(err, name)
	}
	return writeJSON(w, http.StatusAccepted, v1.BackupAsked{Cluster: name, AskedAt: at})
}

// backupPolicy reads what a create asks for; what is out of bounds is for the spec to say.
func backupPolicy(asked *v1.BackupPolicy) (*cotton.BackupPolicy, error) {
	if asked == nil {
		return nil, nil
	}
	p := &cotton.BackupPolicy{Keep: asked.Keep, BinlogInterval: cotton.DefaultBinlogInterval}
	if asked.Keep == 0 {
		p.Keep = cotton.DefaultBackupKeep
	}
	var err error
	if p.Every, err = time.ParseDuration(asked.Every); err != nil {
		return nil, invalid("backup.every", fmt.Sprintf("%q is not a duration", printable(asked.Every)), "want a number with a unit, such as 24h")
	}
	if asked.BinlogInterval != "" {
		if p.BinlogInterval, err = time.ParseDuration(asked.BinlogInterval); err != nil {
			return nil, invalid("backup.binlog_interval", fmt.Sprintf("%q is not a duration", printable(asked.BinlogInterval)), "want a number with a unit, such as 5m")
		}
	} else {
		p.BinlogInterval = min(p.BinlogInterval, p.Every)
	}
	return p, nil
}

func backupPolicyDocument(p *cotton.BackupPolicy) *v1.BackupPolicy {
	if p == nil {
		return nil
	}
	return &v1.BackupPolicy{Every: p.Every.String(), Keep: p.Keep, BinlogInterval: p.BinlogInterval.String()}
}
