package mysqld

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"

	"github.com/aosc/aosc/internal/flock"
	"github.com/aosc/aosc/internal/process"
)

// templateFormat changes whenever what Template makes does.
const templateFormat = "1"

// accountsSQL runs in a data directory while it is made, when nothing is logged or counted: copies start with an empty
// gtid_executed. Servers resolve no names, so the account that connects over TCP is that of the loopback address.
const accountsSQL = `CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '';
GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
`

var unsafeInName = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// Template is a data directory to copy for new servers, initialised once per build of MySQL, with the account
// root@127.0.0.1 (no password), certificates, an empty gtid_executed and no server_uuid. Processes that ask for the
// same one at once wait for each other; ctx bounds that, too.
func Template(ctx context.Context, in Install) (string, error) {
	name := "template-" + unsafeInName.ReplaceAllString(in.Build, "_") + "-" + templateFormat
	dir := filepath.Join(in.Tools, name)
	if exists(dir) { // moved into place when whole
		return dir, nil
	}
	if err := os.MkdirAll(in.Tools, 0o755); err != nil {
		return "", fmt.Errorf("make a MySQL template: %w", err)
	}
	unlock, err := flock.Lock(ctx, filepath.Join(in.Tools, "."+name+".lock"))
	if err != nil {
		return "", fmt.Errorf("make a MySQL template: %w", err)
	}
	defer unlock()
	if exists(dir) {
		return dir, nil
	}
	build := filepath.Join(in.Tools, "."+name+".build")
	if err := os.RemoveAll(build); err != nil { // of somebody who was killed: we hold the lock
		return "", fmt.Errorf("make a MySQL template: %w", err)
	}
	defer os.RemoveAll(build)
	if err := initialise(ctx, in, build, nil); err != nil {
		return "", fmt.Errorf("make a MySQL template with %s: %w", in.Mysqld, err)
	}
	if err := os.Rename(filepath.Join(build, "data"), dir); err != nil {
		return "", fmt.Errorf("make a MySQL template: %w", err)
	}
	return dir, nil
}

// initialise makes dir/data. extra are settings that are fixed in a data directory at its birth.
func initialise(ctx context.Context, in Install, dir string, extra map[string]string) error {
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	logPath := filepath.Join(dir, "init.err")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	conf := templateConfig()
	maps.Copy(conf, map[string]string{
		"datadir":         data,
		"log_error":       logPath,
		"loose_mysqlx":    "OFF",
		"skip_networking": "ON",
		"skip_log_bin":    "",
		"socket":          "init.sock", // in the data directory, so short whatever dir is
		"pid_file":        "init.pid",
		"init_file":       filepath.Join(dir, "init.sql"),

		"innodb_buffer_pool_size":             "64M",
		"innodb_buffer_pool_dump_at_shutdown": "OFF",
	})
	if os.Geteuid() == 0 {
		conf["user"] = "root"
	}
	maps.Copy(conf, extra)
	run := func(sql string, args ...string) error {
		if err := os.WriteFile(conf["init_file"], []byte(sql), 0o640); err != nil {
			return err
		}
		cnf := filepath.Join(dir, "init.cnf")
		if err := writeConfig(cnf, conf); err != nil {
			return err
		}
		if err := process.Run(ctx, in.command(cnf, log, args...)); err != nil {
			return fmt.Errorf("%w; its log ends:\n%s", err, tail(logPath, 0))
		}
		return nil
	}
	if err := run(accountsSQL, "--initialize-insecure"); err != nil {
		return err
	}
	// A first start and stop makes the certificates and keys that each copy would else spend time on, and leaves a
	// redo log of the smallest size to copy.
	conf["loose_innodb_redo_log_capacity"] = "8M"
	if err := run("SHUTDOWN;\n"); err != nil {
		return err
	}
	return os.Remove(filepath.Join(data, "auto.cnf")) // each copy makes a server_uuid of its own
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
