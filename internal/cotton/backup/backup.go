// Package backup is what cotton's backups are: a physical copy of one member with its manifest, and the binary logs of
// the cluster since then, in a store. It holds the store's port and what is pure: when a cluster needs a copy and by
// whom, which copies and logs may go, how to get from a copy to a moment. Adapters of the port are named by technology.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/mysql"
)

// Format of manifests and of entries of the logs. One that is newer is refused.
const Format = 1

var (
	// ErrNotFound: the store has no such backup, or log.
	ErrNotFound = errors.New("not in the backup store")
	// ErrDamaged: what the store holds is not what was put there: torn, truncated, or changed.
	ErrDamaged = errors.New("damaged in the backup store")
	// ErrExists: a complete backup, or another log, has that name already; nothing was written.
	ErrExists = errors.New("already in the backup store")
)

// Manifest describes a physical copy. The backup exists once it is stored.
type Manifest struct {
	Format  int    `json:"format"`
	ID      string `json:"id"`
	Cluster string `json:"cluster"`
	// Origin tells clusters of one name apart that were created one after another: their histories have nothing in common.
	Origin string `json:"origin"`
	User   string `json:"user"` // of the cluster, the account whose password its clients had
	Member int    `json:"member"`
	Role   string `json:"role"` // primary or replica, when the copy was ordered
	Epoch  uint64 `json:"epoch"`
	// OrderedAt is by the clock of the scheduler, the others by that of the member.
	OrderedAt time.Time `json:"ordered_at"`
	BegunAt   time.Time `json:"begun_at"`
	CopiedAt  time.Time `json:"copied_at"` // nothing that was committed later is in the copy
	// GTIDsFrom and GTIDsTo are what the member had executed as the copying began and ended. The copy has all of the first
	// and nothing beyond the second; a server started on it says what it has.
	GTIDsFrom string `json:"gtid_executed_from"`
	GTIDsTo   string `json:"gtid_executed_to"`
	Version   string `json:"version"` // of the server
	Tool      string `json:"tool"`    // of cotton
	Size      int64  `json:"size"`    // of all files, in bytes
	Files     []File `json:"files,omitempty"`
	// Dirs are all directories of the copy, parents first: the server wants those without a file, too.
	Dirs []string `json:"dirs,omitempty"`
}

// File of a copy: its path in the data directory, with slashes.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // in bytes
	SHA256 string `json:"sha256"`
}

// Log is an archived binary log.
type Log struct {
	Format     int       `json:"format"`
	Name       string    `json:"name"` // in the store
	Cluster    string    `json:"cluster"`
	Origin     string    `json:"origin"` // see Manifest
	Member     int       `json:"member"`
	Epoch      uint64    `json:"epoch"`
	ServerUUID string    `json:"server_uuid"`
	Binlog     string    `json:"binlog"`         // its name at the server
	Previous   string    `json:"previous_gtids"` // what the server had executed when it began this log
	GTIDs      string    `json:"gtids"`          // the transactions in it
	FirstAt    time.Time `json:"first_at"`       // commits at their primary, earliest and latest
	LastAt     time.Time `json:"last_at"`
	Size       int64     `json:"size"` // in bytes
	SHA256     string    `json:"sha256"`
}

// Listing is what a store has of a cluster.
type Listing struct {
	Backups []Manifest // the complete ones, by OrderedAt; without Files and Dirs
	Logs    []Log      // by name
	// Unfinished are ids of copies whose manifest is not stored: under way, or left by somebody who died.
	Unfinished []string
	// Damaged says of each manifest or log's entry that cannot be read which it is, and why.
	Damaged []string
}

// Store is where backups are kept. What a call stores is durable when it returns, and whole or not visible at all.
type Store interface {
	// String says which store this is, in the form that it was opened by. No credentials.
	String() string
	// List is empty for a cluster that the store has nothing of.
	List(ctx context.Context, cluster string) (Listing, error)
	// Manifest reads one with its Files; ErrNotFound, ErrDamaged.
	Manifest(ctx context.Context, cluster, id string) (Manifest, error)
	// Begin begins a backup. What is left of an unfinished one of that id is removed; ErrExists when it is complete.
	Begin(ctx context.Context, cluster, id string) (Upload, error)
	// Open reads a file of a backup; ErrNotFound. The caller checks what it reads, see CopyVerified.
	Open(ctx context.Context, cluster, id, file string) (io.ReadCloser, error)
	// Remove removes a backup, complete or not; first it is no longer visible. None is no error.
	Remove(ctx context.Context, cluster, id string) error
	// PutLog stores a log whose contents are those that l describes, else ErrDamaged. The same log again is no error;
	// another one of the name is ErrExists.
	PutLog(ctx context.Context, l Log, contents io.Reader) error
	// OpenLog reads a log; ErrNotFound.
	OpenLog(ctx context.Context, cluster, name string) (io.ReadCloser, error)
	// RemoveLog removes a log; none is no error.
	RemoveLog(ctx context.Context, cluster, name string) error
}

// Upload is a backup that is being stored.
type Upload interface {
	// Put stores a file and says what was stored.
	Put(ctx context.Context, name string, contents io.Reader) (File, error)
	// Commit stores the manifest: from then on the backup is visible. Files of it that are not there any more are an error.
	Commit(ctx context.Context, m Manifest) error
	// Abort removes what was stored; after Commit it does nothing.
	Abort() error
}

// idTime is the form of the time in an id: to the second, in UTC.
const idTime = "20060102T150405Z"

// NewID names a backup of a cluster. Two of one second have the same.
func NewID(cluster string, at time.Time) string { return cluster + "-" + at.UTC().Format(idTime) }

// ParseID reads what NewID made.
func ParseID(id string) (cluster string, at time.Time, err error) {
	i := strings.LastIndexByte(id, '-')
	if i > 0 {
		at, err = time.Parse(idTime, id[i+1:])
	}
	if i <= 0 || err != nil || strings.ContainsAny(id, "/\\") || id[0] == '.' {
		return "", time.Time{}, fmt.Errorf("%.100q is not the id of a backup: want <cluster>-<time>, as `cotton backups <cluster>` lists them", id)
	}
	return id[:i], at, nil
}

// Sum counts and hashes what is written to it.
type Sum struct {
	size int64
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
}

// NewSum has seen nothing yet.
func NewSum() *Sum { return &Sum{hash: sha256.New()} }

// Write implements io.Writer.
func (s *Sum) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	return s.hash.Write(p)
}

// File describes what was written, under a name.
func (s *Sum) File(name string) File {
	return File{Name: name, Size: s.size, SHA256: hex.EncodeToString(s.hash.Sum(nil))}
}

// CopyVerified copies contents that must be those of want; ErrDamaged when they are not. What was written then is to be
// thrown away.
func CopyVerified(w io.Writer, r io.Reader, want File) error {
	sum := NewSum()
	if _, err := io.Copy(io.MultiWriter(w, sum), r); err != nil {
		return fmt.Errorf("copy %s: %w", want.Name, err)
	}
	switch got := sum.File(want.Name); {
	case got.Size != want.Size:
		return fmt.Errorf("%s has %d bytes, not %d: %w", want.Name, got.Size, want.Size, ErrDamaged)
	case got.SHA256 != want.SHA256:
		return fmt.Errorf("%s has another checksum than when it was stored: %w", want.Name, ErrDamaged)
	}
	return nil
}

// Reader ends what may take long with its context.
func Reader(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// SyncDir has the names in a directory on disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// File is what must be read of a log.
func (l Log) File() File { return File{Name: l.Name, Size: l.Size, SHA256: l.SHA256} }

// sets are a log's GTIDs; entries are checked when they are listed, so an error is one of a broken adapter.
func (l Log) sets() (previous, gtids mysql.GTIDSet, err error) {
	if previous, err = mysql.ParseGTIDSet(l.Previous); err == nil {
		gtids, err = mysql.ParseGTIDSet(l.GTIDs)
	}
	if err != nil {
		err = fmt.Errorf("archived log %s: %w", l.Name, err)
	}
	return previous, gtids, err
}

// Check says what is wrong with a manifest that was read.
func (m Manifest) Check() error {
	switch {
	case m.Format < 1 || m.Format > Format:
		return fmt.Errorf("backup %s has format %d, this cotton knows %d: use a newer one", m.ID, m.Format, Format)
	case m.ID == "" || m.Cluster == "" || m.Origin == "" || m.Version == "" || m.CopiedAt.IsZero() || m.OrderedAt.IsZero():
		return fmt.Errorf("the manifest of backup %s lacks id, cluster, origin, version or times: %w", m.ID, ErrDamaged)
	}
	names := slices.Clone(m.Dirs)
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	for _, name := range names {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("the manifest of backup %s names %q, which is no path in a data directory: %w", m.ID, name, ErrDamaged)
		}
	}
	for _, text := range []string{m.GTIDsFrom, m.GTIDsTo} {
		if _, err := mysql.ParseGTIDSet(text); err != nil {
			return fmt.Errorf("the manifest of backup %s: %w: %w", m.ID, err, ErrDamaged)
		}
	}
	return nil
}

// Check says what is wrong with a log's entry that was read.
func (l Log) Check() error {
	switch {
	case l.Format < 1 || l.Format > Format:
		return fmt.Errorf("log %s has format %d, this cotton knows %d: use a newer one", l.Name, l.Format, Format)
	case l.Name == "" || l.Cluster == "" || l.Origin == "" || l.Size <= 0 || l.SHA256 == "":
		return fmt.Errorf("the entry of log %s lacks name, cluster, origin, size or checksum: %w", l.Name, ErrDamaged)
	}
	if _, _, err := l.sets(); err != nil {
		return fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	return nil
}
