package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/backup/dir"
	"github.com/aosc/aosc/internal/daemon"
)

// backupKeys are those of the scheduler.
func backupKeys() []daemon.Key {
	return []daemon.Key{
		{Name: "backup-store", Default: "", Check: checkBackupStore,
			Help: "where backups are kept: dir:/absolute/path, a directory that exists and that all agents and schedulers have mounted there; empty = there are none"},
	}
}

func checkBackupStore(v *viper.Viper) error {
	if v.GetString("backup-store") == "" {
		return nil
	}
	_, err := dir.Parse(v.GetString("backup-store"))
	return err
}

// backupFlags are what `cotton create` takes about backups.
type backupFlags struct {
	every, interval time.Duration
	keep            int
}

func (f *backupFlags) add(cmd *cobra.Command, c *v1.Create) {
	flags := cmd.Flags()
	flags.DurationVar(&f.every, "backup-every", 0, "time between two physical copies into the scheduler's backup store; 0 = only on request")
	flags.DurationVar(&f.interval, "binlog-interval", 0, "how often binary logs are archived, with --backup-every; 0 = 5m")
	flags.IntVar(&f.keep, "backup-keep", 0, "how many copies stay, with --backup-every; 0 = 7")
	flags.StringVar(&c.BackupID, "backup-id", "", "restore this backup instead of beginning empty, see `cotton backups`")
	flags.StringVar(&c.RestoreTo, "restore-to", "", "moment to restore to: a time such as 2026-01-02T15:04:05Z, GTIDs, or latest; empty = that of the copy")
}

func (f *backupFlags) policy() (*v1.BackupPolicy, error) {
	if f.every == 0 {
		if f.keep != 0 || f.interval != 0 {
			return nil, fmt.Errorf("--backup-keep and --binlog-interval go with --backup-every")
		}
		return nil, nil
	}
	p := &v1.BackupPolicy{Every: f.every.String(), Keep: f.keep}
	if f.interval != 0 {
		p.BinlogInterval = f.interval.String()
	}
	return p, nil
}

func backupCommand() *cobra.Command {
	var waiting waiting
	cmd := &cobra.Command{Use: "backup <cluster>", Short: "Make a backup of a cluster now", Args: cobra.ExactArgs(1)}
	waiting.add(cmd, "return once it is in the store")
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		asked, err := a.Backup(ctx, args[0])
		if err != nil {
			return err
		}
		if !waiting.wait {
			return a.print(asked, func(w io.Writer) {
				fmt.Fprintf(w, "a backup of %s is asked for; `cotton backups %s` lists it once it is there\n", asked.Cluster, asked.Cluster)
			})
		}
		return waiting.run(ctx, func(ctx context.Context) error {
			b, err := a.WaitBackup(ctx, asked)
			if err != nil {
				return err
			}
			return a.print(b, func(w io.Writer) { backupsTable(w, v1.Backups{Backups: []v1.Backup{b}}) })
		})
	})
}

func backupsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "backups <cluster>", Short: "List the backups of a cluster, and how far each can be restored", Args: cobra.ExactArgs(1)}
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		list, err := a.Backups(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) { backupsTable(w, list) })
	})
}

func backupsTable(w io.Writer, list v1.Backups) {
	fmt.Fprintln(w, "ID\tCOPIED\tSIZE\tFROM\tVERSION\tRESTORABLE UNTIL\tGTIDS")
	for _, b := range list.Backups {
		until := "the copy only"
		if !b.RestorableTime.IsZero() {
			until = b.RestorableTime.Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%d MB\t%s %d\t%s\t%s\t%s\n", b.ID, b.CopiedAt.Format(time.DateTime), b.Size>>20, b.Role, b.Member, b.Version, until, b.RestorableGTIDs)
	}
	for _, p := range list.Problems {
		fmt.Fprintln(w, "problem:", p)
	}
}
