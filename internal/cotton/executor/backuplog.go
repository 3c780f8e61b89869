package executor

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// archive stores the closed binary logs that have something which the store lacks. The one in use is closed first if it
// does, too.
func (b *backups) archive(ctx context.Context, o cotton.Order) error {
	store, err := openStore(o.Backup.Store)
	if err != nil {
		return err
	}
	listing, err := store.List(ctx, b.i.task.Cluster)
	if err != nil {
		return err
	}
	done, err := needless(o.Backup.Origin, listing)
	if err != nil {
		return err
	}
	logs, err := b.closed(ctx, done)
	if err != nil {
		return err
	}
	server, err := mysql.ReadServer(ctx, b.i.server.DB())
	if err != nil {
		return err
	}
	for _, l := range logs {
		key := fmt.Sprintf("%s %s %d", server.UUID, l.Name, l.Size)
		if b.archived[key] {
			continue
		}
		if err := b.archiveOne(ctx, store, o, server.UUID, l, done); err != nil {
			return fmt.Errorf("binary log %s: %w", l.Name, err)
		}
		b.archived[key] = true
	}
	return nil
}

// needless are the transactions that no restore takes from a log that is not archived yet: those that are, and those
// that the oldest copy has.
func needless(origin string, l backup.Listing) (mysql.GTIDSet, error) {
	done, err := backup.Archived(origin, l.Logs)
	if err != nil {
		return done, err
	}
	for _, m := range l.Backups {
		if m.Origin != origin {
			continue
		}
		oldest, err := mysql.ParseGTIDSet(m.GTIDsFrom)
		return done.Union(oldest), err
	}
	return done, nil
}

// closed lists the binary logs that are not in use.
func (b *backups) closed(ctx context.Context, done mysql.GTIDSet) ([]mysql.BinaryLog, error) {
	db := b.i.server.DB()
	logs, err := mysql.BinaryLogs(ctx, db)
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	current := logs[len(logs)-1]
	previous, err := readPrevious(current.Path)
	if err != nil {
		return nil, fmt.Errorf("binary log %s: %w", current.Name, err)
	}
	executed, err := mysql.GTIDExecuted(ctx, db)
	if err != nil {
		return nil, err
	}
	if done.Contains(executed.Subtract(previous)) {
		return logs[:len(logs)-1], nil
	}
	if err := mysql.FlushBinaryLogs(ctx, db); err != nil {
		return nil, err
	}
	fault.Point(faultFlushed)
	if logs, err = mysql.BinaryLogs(ctx, db); err != nil || len(logs) == 0 {
		return nil, err
	}
	return logs[:len(logs)-1], nil
}

func readPrevious(path string) (mysql.GTIDSet, error) {
	f, err := os.Open(path)
	if err != nil {
		return mysql.GTIDSet{}, err
	}
	defer f.Close()
	return backup.ReadPrevious(f)
}

// archiveOne reads a log twice: what it holds and whether it is whole must be known before it is stored.
func (b *backups) archiveOne(ctx context.Context, store backup.Store, o cotton.Order, uuid string, l mysql.BinaryLog, done mysql.GTIDSet) error {
	f, err := os.Open(l.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := backup.NewSum()
	contents, err := backup.Scan(io.TeeReader(backup.Reader(ctx, f), sum), nil)
	if err != nil {
		return err
	}
	if done.Contains(contents.GTIDs) {
		return nil
	}
	file := sum.File(fmt.Sprintf("%s-%.8s-%s", contents.FirstAt.Format("20060102T150405.000000Z"), uuid, l.Name))
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	return store.PutLog(ctx, backup.Log{
		Format: backup.Format, Name: file.Name, Cluster: b.i.task.Cluster, Origin: o.Backup.Origin, Member: b.i.task.Member, Epoch: o.Epoch,
		ServerUUID: uuid, Binlog: l.Name, Previous: contents.Previous.String(), GTIDs: contents.GTIDs.String(),
		FirstAt: contents.FirstAt, LastAt: contents.LastAt, Size: file.Size, SHA256: file.SHA256,
	}, f)
}
