package client

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

// Backups are those that the store has of a cluster, oldest first; also of one that was deleted.
func (c *Client) Backups(ctx context.Context, name string) (v1.Backups, error) {
	return call[v1.Backups](ctx, c, http.MethodGet, path("clusters", name)+"/backups", nil)
}

// Backup asks for a backup and returns before it is made.
func (c *Client) Backup(ctx context.Context, name string) (v1.BackupAsked, error) {
	return call[v1.BackupAsked](ctx, c, http.MethodPost, path("clusters", name)+"/backups", struct{}{})
}

// WaitBackup waits for the backup that was asked for. The error when ctx ends has the problems that backups of the
// cluster have.
func (c *Client) WaitBackup(ctx context.Context, asked v1.BackupAsked) (found v1.Backup, err error) {
	err = c.wait(ctx, func() (missing string, err error) {
		list, err := c.Backups(ctx, asked.Cluster)
		if err != nil {
			return "", err
		}
		for _, b := range list.Backups {
			if !b.OrderedAt.Before(asked.AskedAt) {
				found = b
				return "", nil
			}
		}
		missing = "it is not in the store"
		cluster, err := c.Cluster(ctx, asked.Cluster)
		for _, p := range cluster.Problems {
			if strings.HasPrefix(p, "backup: ") {
				missing += "; " + p
			}
		}
		return missing, err
	})
	if err != nil {
		return found, fmt.Errorf("wait for a backup of cluster %s: %w", asked.Cluster, err)
	}
	return found, nil
}
