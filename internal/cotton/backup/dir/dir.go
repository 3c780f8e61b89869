// Package dir is a backup store in a directory: of a file system that all agents and the scheduler have mounted at one
// path, or of one machine.
//
//	<root>/<cluster>/backups/<id>/data/...         a copy
//	<root>/<cluster>/backups/<id>/manifest.json    written last, removed first
//	<root>/<cluster>/logs/<name>                   a binary log
//	<root>/<cluster>/logs/<name>.json              its entry, written last, removed first
package dir

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/cotton/backup"
)

// Scheme begins what Open takes.
const Scheme = "dir:"

// modes: a backup holds all that the cluster does.
const (
	dirMode  = 0o700
	fileMode = 0o600
	// partSuffix is of files that are being written; they are no part of the store.
	partSuffix = ".part"
	manifest   = "manifest.json"
	entry      = ".json"
)

// Store implements backup.Store.
type Store struct{ root string }

// Parse checks the form of an address, dir:/absolute/path, and touches nothing.
func Parse(address string) (*Store, error) {
	root, ok := strings.CutPrefix(address, Scheme)
	if !ok || !filepath.IsAbs(root) {
		return nil, fmt.Errorf("backup store %q: want dir:/absolute/path", address)
	}
	return &Store{root: filepath.Clean(root)}, nil
}

// Open opens dir:/absolute/path. The directory is not made: one that is missing is most likely not mounted, and backups
// beneath the mount point would be none.
func Open(address string) (backup.Store, error) {
	s, err := Parse(address)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(s.root); err != nil {
		return nil, fmt.Errorf("backup store %s: %w; is it mounted on this machine? A new one is made by mkdir", s, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("backup store %s: it is no directory", s)
	}
	return s, nil
}

// String implements backup.Store.
func (s *Store) String() string { return Scheme + s.root }

// path is below the root; names come from orders and manifests, so none may leave it.
func (s *Store) path(parts ...string) (string, error) {
	for _, p := range parts {
		if p == "" || strings.ContainsAny(p, "\x00\\") || !filepath.IsLocal(filepath.FromSlash(p)) {
			return "", fmt.Errorf("backup store %s: %q is no name in it", s, p)
		}
	}
	return filepath.Join(append([]string{s.root}, parts...)...), nil
}

// List implements backup.Store.
func (s *Store) List(ctx context.Context, cluster string) (backup.Listing, error) {
	var l backup.Listing
	base, err := s.path(cluster)
	if err != nil {
		return l, err
	}
	if _, err := os.Stat(s.root); err != nil {
		return l, fmt.Errorf("backup store %s: %w", s, err)
	}
	copies, err := list(filepath.Join(base, "backups"))
	if err != nil {
		return l, fmt.Errorf("backup store %s: %w", s, err)
	}
	for _, e := range copies {
		m, err := s.Manifest(ctx, cluster, e.Name())
		switch {
		case err == nil:
			m.Files, m.Dirs = nil, nil
			l.Backups = append(l.Backups, m)
		case errors.Is(err, backup.ErrNotFound):
			l.Unfinished = append(l.Unfinished, e.Name())
		default:
			l.Damaged = append(l.Damaged, err.Error())
		}
	}
	slices.SortFunc(l.Backups, func(a, b backup.Manifest) int {
		return cmp.Or(a.OrderedAt.Compare(b.OrderedAt), strings.Compare(a.ID, b.ID))
	})
	return l, s.listLogs(ctx, base, &l)
}

func (s *Store) listLogs(ctx context.Context, base string, l *backup.Listing) error {
	files, err := list(filepath.Join(base, "logs"))
	if err != nil {
		return fmt.Errorf("backup store %s: %w", s, err)
	}
	for _, e := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !strings.HasSuffix(e.Name(), entry) {
			continue
		}
		var log backup.Log
		err := s.read(filepath.Join(base, "logs", e.Name()), &log)
		if err == nil {
			err = log.Check()
		}
		switch {
		case err == nil:
			l.Logs = append(l.Logs, log)
		case !errors.Is(err, backup.ErrNotFound): // it was removed meanwhile
			l.Damaged = append(l.Damaged, err.Error())
		}
	}
	return nil
}

func list(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// read reads a JSON file; ErrNotFound, ErrDamaged.
func (s *Store) read(path string, into any) error {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w %s", filepath.Base(filepath.Dir(path)), backup.ErrNotFound, s)
	case err != nil:
		return fmt.Errorf("backup store %s: %w", s, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w: %w", path, err, backup.ErrDamaged)
	}
	return nil
}

// Manifest implements backup.Store.
func (s *Store) Manifest(_ context.Context, cluster, id string) (backup.Manifest, error) {
	var m backup.Manifest
	path, err := s.path(cluster, "backups", id, manifest)
	if err != nil {
		return m, err
	}
	if err := s.read(path, &m); err != nil {
		return m, err
	}
	if m.ID != id || m.Cluster != cluster {
		return m, fmt.Errorf("%s says that it is backup %q of cluster %q: %w", path, m.ID, m.Cluster, backup.ErrDamaged)
	}
	return m, m.Check()
}

// Begin implements backup.Store.
func (s *Store) Begin(_ context.Context, cluster, id string) (backup.Upload, error) {
	dir, err := s.path(cluster, "backups", id)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, manifest)); err == nil {
		return nil, fmt.Errorf("backup %s: %w %s", id, backup.ErrExists, s)
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("backup store %s: remove what is left of backup %s: %w", s, id, err)
	}
	if err := s.mkdir(filepath.Join(dir, "data")); err != nil {
		return nil, err
	}
	return &upload{s: s, dir: dir, cluster: cluster, id: id, made: map[string]bool{}}, nil
}

// mkdir makes a directory below the root, which must exist, and makes it last.
func (s *Store) mkdir(dir string) error {
	if _, err := os.Stat(s.root); err != nil {
		return fmt.Errorf("backup store %s: %w; is it mounted?", s, err)
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("backup store %s: %w", s, err)
	}
	for d := dir; len(d) >= len(s.root); d = filepath.Dir(d) {
		if err := backup.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// write has fill write a file that appears when it is whole and on disk. An existing one is replaced.
func (s *Store) write(path string, fill func(io.Writer) error) (err error) {
	part := path + partSuffix
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return fmt.Errorf("backup store %s: %w", s, err)
	}
	err = fill(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return fmt.Errorf("backup store %s: write %s: %w", s, path, errors.Join(err, os.Remove(part)))
	}
	return nil
}

func (s *Store) writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	if err := s.write(path, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	return backup.SyncDir(filepath.Dir(path))
}

// upload implements backup.Upload.
type upload struct {
	s                *Store
	dir, cluster, id string
	made             map[string]bool // directories
	committed        bool
}

// Put implements backup.Upload.
func (u *upload) Put(ctx context.Context, name string, contents io.Reader) (backup.File, error) {
	path, err := u.s.path(u.cluster, "backups", u.id, "data", name)
	if err != nil {
		return backup.File{}, err
	}
	dir := filepath.Dir(path)
	if !u.made[dir] {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return backup.File{}, fmt.Errorf("backup store %s: %w", u.s, err)
		}
		u.made[dir] = true
	}
	sum := backup.NewSum()
	if err := u.s.write(path, func(w io.Writer) error {
		_, err := io.Copy(io.MultiWriter(w, sum), backup.Reader(ctx, contents))
		return err
	}); err != nil {
		return backup.File{}, err
	}
	return sum.File(name), nil
}

// Commit implements backup.Upload.
func (u *upload) Commit(_ context.Context, m backup.Manifest) error {
	if m.ID != u.id || m.Cluster != u.cluster {
		return fmt.Errorf("backup store %s: the manifest of %s/%s for %s/%s", u.s, m.Cluster, m.ID, u.cluster, u.id)
	}
	if err := m.Check(); err != nil {
		return err
	}
	for _, f := range m.Files { // somebody may have taken this for left behind, and removed it
		if info, err := os.Stat(filepath.Join(u.dir, "data", filepath.FromSlash(f.Name))); err != nil || info.Size() != f.Size {
			return fmt.Errorf("backup store %s: file %s of backup %s is not as it was put there: %w (%v)", u.s, f.Name, u.id, backup.ErrDamaged, err)
		}
	}
	dirs := []string{filepath.Join(u.dir, "data")}
	for d := range u.made {
		for ; len(d) > len(dirs[0]); d = filepath.Dir(d) {
			dirs = append(dirs, d)
		}
	}
	slices.Sort(dirs)
	for _, d := range slices.Compact(dirs) {
		if err := backup.SyncDir(d); err != nil {
			return fmt.Errorf("backup store %s: %w", u.s, err)
		}
	}
	if err := u.s.writeJSON(filepath.Join(u.dir, manifest), m); err != nil {
		return err
	}
	u.committed = true
	return nil
}

// Abort implements backup.Upload.
func (u *upload) Abort() error {
	if u.committed {
		return nil
	}
	return u.s.Remove(context.Background(), u.cluster, u.id)
}

// Open implements backup.Store.
func (s *Store) Open(_ context.Context, cluster, id, file string) (io.ReadCloser, error) {
	path, err := s.path(cluster, "backups", id, "data", file)
	if err != nil {
		return nil, err
	}
	return s.open(path)
}

func (s *Store) open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w %s", path, backup.ErrNotFound, s)
	}
	if err != nil {
		return nil, fmt.Errorf("backup store %s: %w", s, err)
	}
	return f, nil
}

// Remove implements backup.Store.
func (s *Store) Remove(_ context.Context, cluster, id string) error {
	dir, err := s.path(cluster, "backups", id)
	if err != nil {
		return err
	}
	err = os.Remove(filepath.Join(dir, manifest))
	if err == nil {
		err = backup.SyncDir(dir)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("backup store %s: remove backup %s: %w", s, id, err)
	}
	return nil
}

// PutLog implements backup.Store.
func (s *Store) PutLog(ctx context.Context, l backup.Log, contents io.Reader) error {
	if err := l.Check(); err != nil {
		return err
	}
	path, err := s.path(l.Cluster, "logs", l.Name)
	if err != nil {
		return err
	}
	var there backup.Log
	switch err := s.read(path+entry, &there); {
	case err == nil && there.SHA256 == l.SHA256:
		return nil
	case err == nil:
		return fmt.Errorf("log %s, with other contents: %w %s", l.Name, backup.ErrExists, s)
	case !errors.Is(err, backup.ErrNotFound):
		return err
	}
	if err := s.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := s.write(path, func(w io.Writer) error { return backup.CopyVerified(w, backup.Reader(ctx, contents), l.File()) }); err != nil {
		return err
	}
	return s.writeJSON(path+entry, l)
}

// OpenLog implements backup.Store.
func (s *Store) OpenLog(_ context.Context, cluster, name string) (io.ReadCloser, error) {
	path, err := s.path(cluster, "logs", name)
	if err != nil {
		return nil, err
	}
	return s.open(path)
}

// RemoveLog implements backup.Store.
func (s *Store) RemoveLog(_ context.Context, cluster, name string) error {
	path, err := s.path(cluster, "logs", name)
	if err != nil {
		return err
	}
	for _, p := range []string{path + entry, path} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("backup store %s: remove log %s: %w", s, name, err)
		}
	}
	return nil
}
