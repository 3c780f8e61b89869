package mysqld

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// copyTree copies the directories and plain files below src into dst, which must not exist. File systems that can
// share blocks do (FICLONE); elsewhere runs of zeros become holes, which is most of a new InnoDB tablespace.
func copyTree(dst, src string) error {
	if err := os.Mkdir(dst, 0o750); err != nil {
		return err
	}
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == src {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		switch {
		case d.IsDir():
			return os.Mkdir(to, 0o750)
		case d.Type().IsRegular():
			return copyFile(to, path)
		}
		return fmt.Errorf("copy %s: neither a file nor a directory", path)
	})
}

// copyFile copies one file with its mode.
func copyFile(dst, src string) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	return copySparse(out, in, info.Size())
}

// copyGrain is InnoDB's default page size: a hole is at least one page.
const copyGrain = 16 << 10

var zeros [copyGrain]byte

// copySparse copies in to the empty file out and leaves holes where whole grains are zero.
func copySparse(out, in *os.File, size int64) error {
	if err := out.Truncate(size); err != nil {
		return err
	}
	buf := make([]byte, 64*copyGrain)
	for offset := int64(0); ; {
		n, err := io.ReadFull(in, buf)
		if werr := writeNonZero(out, buf[:n], offset); werr != nil {
			return werr
		}
		offset += int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// writeNonZero writes the grains of chunk that hold anything, neighbours in one write.
func writeNonZero(out *os.File, chunk []byte, offset int64) error {
	start := -1 // of the run being collected
	flush := func(end int) error {
		if start < 0 {
			return nil
		}
		_, err := out.WriteAt(chunk[start:end], offset+int64(start))
		start = -1
		return err
	}
	for at := 0; at < len(chunk); at += copyGrain {
		end := min(at+copyGrain, len(chunk))
		if bytes.Equal(chunk[at:end], zeros[:end-at]) {
			if err := flush(at); err != nil {
				return err
			}
		} else if start < 0 {
			start = at
		}
	}
	return flush(len(chunk))
}
