package preflight

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/aosc/aosc/internal/mysql"
)

// diskMargin is left free whatever the size of the table.
const diskMargin = 512 << 20

// CopyNeeds estimates the bytes that copying a table of this size takes: the copy itself, a fifth larger because its pages
// are filled in another order and its indexes are new, and the binary log of all its rows.
func CopyNeeds(bytes uint64) uint64 { return bytes + bytes/5 + bytes + diskMargin }

// FreeSpace tells how much room there is where a server keeps its data. MySQL itself does not know: it is asked of the file
// system, so it is known only on the machine the server runs on. That it runs here is proven by its own UUID in
// the data directory; a path of the same name may be any machine's. Otherwise ok is false and the check falls away: a copy
// that runs out of space fails and is cleaned up.
func FreeSpace(s mysql.Server) (free uint64, ok bool) {
	if s.UUID == "" || uuidIn(filepath.Join(s.Datadir, "auto.cnf")) != s.UUID {
		return 0, false
	}
	var stat syscall.Statfs_t
	if syscall.Statfs(s.Datadir, &stat) != nil {
		return 0, false
	}
	return stat.Bavail * uint64(stat.Bsize), true
}

// uuidIn reads server-uuid from a server's auto.cnf, "" when there is none to be read.
func uuidIn(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, found := strings.Cut(lines.Text(), "="); found && strings.TrimSpace(name) == "server-uuid" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
