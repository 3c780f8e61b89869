package executor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/executor/mycnf"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
)

// restartExit is the exit status with which mysqld asks its supervisor to start it again: after RESTART, and after a
// CLONE has replaced its data (sql_restart_server.cc, MYSQLD_RESTART_EXIT). It does so only where the variable says that
// there is a supervisor.
const (
	restartExit   = 16
	supervisorEnv = "MYSQLD_PARENT_PID"
)

// loopbackHost is where the executor itself reaches a server that listens everywhere.
const loopbackHost = "127.0.0.1"

// startServer brings up the instance of a task on its volume: installed, with a data directory and accounts, for now
// super_read_only and replicating nothing.
func (x *Executor) startServer(ctx context.Context, task cotton.Task) (*mysqld.Server, *secrets, error) {
	dir, err := x.volume(task)
	if err != nil {
		return nil, nil, err
	}
	own, err := openSecrets(task, dir)
	if err != nil {
		return nil, nil, err
	}
	server, err := x.startOn(ctx, task, dir, own)
	return server, own, err
}

// startOn is startServer on a volume, with secrets.
func (x *Executor) startOn(ctx context.Context, task cotton.Task, dir string, own *secrets) (*mysqld.Server, error) {
	if pid, err := takeOver(ctx, dir, x.cfg.KillGrace); err != nil {
		return nil, err
	} else if pid != 0 {
		x.cfg.Log.Warn("ended a mysqld that had outlived its executor", "pid", pid, "dir", dir)
	}
	in, err := x.cfg.Installer.Install(ctx, task.Package)
	if err != nil {
		return nil, err
	}
	template, err := mycnf.ReadTemplate(x.cfg.ConfigTemplate)
	if err != nil {
		return nil, err
	}
	host, bind := listen(task.Host)
	conf, err := mycnf.Build(mycnf.Settings{
		MemMB: task.Size.MemMB, Nodes: task.Nodes, Host: task.Host, Bind: bind, TLS: own.dir, Boot: bootID(), Template: template, Override: task.Config,
	})
	if err != nil {
		return nil, err
	}
	quiet := ""
	if mycnf.StopEvents(conf) {
		quiet = stopEventsSQL
	}
	if conf["init_file"], err = writeStartSQL(dir, quiet); err != nil {
		return nil, err
	}
	first, err := firstSQL(own)
	if err != nil {
		return nil, err
	}
	first += quiet // it takes the place of init_file
	opts := mysqld.Options{
		Install: in, Dir: dir, Host: host, Port: task.Port, ServerID: task.ServerID, Config: conf,
		Account: own.account(), FirstSQL: first, StartLimit: x.cfg.StartLimit,
		Env: []string{fmt.Sprintf("%s=%d", supervisorEnv, os.Getpid())},
	}
	if err := x.restore(ctx, task, own, opts, x.sayRestoring(ctx, task)); err != nil {
		return nil, err
	}
	server, err := mysqld.Start(ctx, opts)
	if err == nil && !task.HasData {
		err = syncFileSystem(dir)
	}
	return server, err
}

// syncFileSystem has all that was written to the file system of dir on the disk. A new data directory is only in memory for
// a while: the template's copy, and keys that mysqld makes and does not sync, without which it does not start again.
func syncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write the new data to the disk: %w", err)
	}
	if err := errors.Join(unix.Syncfs(int(d.Fd())), d.Close()); err != nil {
		return fmt.Errorf("write the new data to the disk: %w", err)
	}
	return nil
}

// listen says where to reach the server from here, and on which addresses it listens: on the one that clients are told
// where that is an address of this host, else on all: an agent may be known by an address that is translated on the way.
func listen(host string) (local, bind string) {
	if ip := net.ParseIP(host); ip != nil && ofThisHost(ip) {
		return host, host
	}
	return loopbackHost, "*"
}

func ofThisHost(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // then mysqld says what is wrong
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

// volume is the directory that outlives the task. One that should hold data and does not is an error: a new data
// directory in its place would look like a server that lost everything.
func (x *Executor) volume(task cotton.Task) (string, error) {
	path, err := filepath.EvalSymlinks(filepath.Join(x.cfg.Sandbox, cotton.VolumePath))
	if err != nil {
		return "", fmt.Errorf("find the persistent volume: %w", err)
	}
	_, err = os.Stat(filepath.Join(path, "data"))
	if task.HasData && errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the volume %s of an instance that had data holds none: it was lost or emptied outside of cotton, and no new one is made in its place", path)
	}
	return path, nil
}

// firstSQL makes the accounts of a new data directory, or those of restored data ours. Nothing of it is logged, so that all
// members of a cluster begin with an empty gtid_executed (I7); the passwords appear as the server's own hashes only.
func firstSQL(own *secrets) (string, error) {
	statements := []string{"SET SESSION sql_log_bin = 0"}
	for _, name := range []string{cotton.AdminAccount, cotton.ReplicationAccount} {
		hash, err := mysql.HashPassword(own.password(name))
		if err != nil {
			return "", err
		}
		account := "'" + name + "'@'%'"
		statements = append(statements, "CREATE USER IF NOT EXISTS "+account,
			fmt.Sprintf("ALTER USER %s IDENTIFIED WITH caching_sha2_password AS '%s' REQUIRE SSL ACCOUNT UNLOCK", account, hash),
			"ALTER USER "+account+" DISCARD OLD PASSWORD")
	}
	return strings.Join(append(statements,
		fmt.Sprintf("GRANT ALL ON *.* TO '%s'@'%%' WITH GRANT OPTION", cotton.AdminAccount),
		fmt.Sprintf("GRANT REPLICATION SLAVE, BACKUP_ADMIN, SYSTEM_USER ON *.* TO '%s'@'%%'", cotton.ReplicationAccount),
		"DROP USER IF EXISTS 'root'@'127.0.0.1'",
		"ALTER USER IF EXISTS 'root'@'localhost' ACCOUNT LOCK",
		"",
	), ";\n"), nil
}

// bootID names the present boot of this machine; where the system does not say, each start of an executor counts as one.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(strings.TrimSpace(string(text))) == 0 {
		return rand.Text()
	}
	return strings.TrimSpace(string(text))
}

// wantsRestart tells whether a server ended in order to be started again.
func wantsRestart(end error) bool {
	var exit *exec.ExitError
	return errors.As(end, &exit) && exit.ExitCode() == restartExit
}
