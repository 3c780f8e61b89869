package mysqld

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/process"
)

const (
	// startLimit bounds a start whose context has no deadline. A new server takes under a second; recovery of a
	// killed one longer.
	startLimit = 3 * time.Minute
	// maxSocketPath is less than what Linux takes in a socket address (108 bytes), and mysqld complains early.
	maxSocketPath = 100
	// openConns is how many sessions DB may have: tests and the demo run their writers through it.
	openConns = 64
)

// Options say what server to start. The zero value is a new server in a new directory on a free port.
type Options struct {
	Install  Install           // zero = Find
	Dir      string            // data, my.cnf, log and socket; "" = a new one below os.TempDir()
	Host     string            // address to listen on; "" = 127.0.0.1
	Port     int               // 0 = a free one
	ServerID uint32            // 0 = the port, which is unique among servers of one address
	Config   map[string]string // lines of my.cnf, over the defaults: "innodb_buffer_pool_size": "1G"

	// Account is who DB connects as; zero = the template's root without a password. Another one is made by FirstSQL.
	Account mysql.Credentials
	// FirstSQL is run by the server itself, before it takes connections, at every start until one has succeeded. One
	// statement a line. The server is not read-only yet at that time.
	FirstSQL string
	// StartLimit bounds a start, recovery after a crash among it; 0 = 3 minutes.
	StartLimit time.Duration
	// Env is added to the environment of the process.
	Env []string
}

// Server is one mysqld. Its methods may be called from many goroutines, except that Restart, Stop and Remove are for
// one at a time.
type Server struct {
	opts     Options
	dir      string
	ownDir   bool // Remove deletes it
	addr     mysql.Addr
	serverID uint32
	socket   string
	port     *loopback.Port // nil when the caller chose the number
	db       *sql.DB

	mu      sync.Mutex
	child   *process.Process
	config  map[string]string // of the caller; keys in normal form
	logFrom int64             // where the last start's part of the log begins
}

// Start starts a server and returns when it answers. Dir/data is used as it is when it exists, else it is made: a
// copy of the template, or a fresh one where Config holds settings that are fixed for a data directory at its birth.
// The error of a server that does not start ends with its log.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := newServer(ctx, o)
	if err != nil {
		return nil, err
	}
	err = s.prepare(ctx)
	if err == nil {
		err = s.run(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start MySQL at %s in %s: %w", s.addr, s.dir, err), s.Remove())
	}
	return s, nil
}

// newServer settles what is left open in o.
func newServer(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Install.Mysqld == "" {
		if o.Install, err = Find(ctx); err != nil {
			return nil, err
		}
	}
	s := &Server{opts: o, dir: o.Dir, addr: mysql.Addr{Host: o.Host, Port: o.Port}, serverID: o.ServerID, config: map[string]string{}}
	for key, value := range o.Config {
		s.Configure(key, value)
	}
	if s.addr.Host == "" {
		s.addr.Host = "127.0.0.1"
	}
	if s.addr.Port == 0 {
		if s.port, err = loopback.Reserve(); err != nil {
			return nil, err
		}
		s.addr.Port = s.port.Number
	}
	if s.serverID == 0 {
		s.serverID = uint32(s.addr.Port)
	}
	if s.db, err = mysql.Open(s.addr, s.Credentials(), mysql.Options{MaxOpen: openConns}); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "aosc-mysqld-"); err != nil {
			return nil, errors.Join(err, s.Remove())
		}
		s.ownDir = true
	} else if s.dir, err = filepath.Abs(s.dir); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	s.socket = filepath.Join(s.dir, "mysqld.sock")
	if len(s.socket) > maxSocketPath {
		s.socket = filepath.Join(os.TempDir(), fmt.Sprintf("aosc-%d-%d.sock", os.Getpid(), s.addr.Port))
	}
	return s, nil
}

// prepare makes the directories; data is moved into place when whole.
func (s *Server) prepare(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(s.dir, "tmp"), 0o750); err != nil {
		return err
	}
	if exists(s.Datadir()) {
		return nil
	}
	fixed := map[string]string{}
	for _, key := range initOnly {
		if value, ok := s.config[key]; ok {
			fixed[key] = value
		}
	}
	build := filepath.Join(s.dir, "build")
	if err := os.RemoveAll(build); err != nil {
		return err
	}
	defer os.RemoveAll(build)
	if len(fixed) > 0 {
		if err := initialise(ctx, s.opts.Install, build, fixed); err != nil {
			return fmt.Errorf("initialise a data directory: %w", err)
		}
	} else {
		template, err := Template(ctx, s.opts.Install)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(build, 0o750); err != nil {
			return err
		}
		if err := copyTree(filepath.Join(build, "data"), template); err != nil {
			return fmt.Errorf("copy the template %s: %w", template, err)
		}
	}
	return os.Rename(filepath.Join(build, "data"), s.Datadir())
}

// run starts the process and waits until it answers. A server that does not is killed.
func (s *Server) run(ctx context.Context) error {
	cnf := filepath.Join(s.dir, "my.cnf")
	if err := writeConfig(cnf, s.myCnf()); err != nil {
		return err
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	first, err := s.firstSQL()
	if err != nil {
		return err
	}
	cmd := s.opts.Install.command(cnf, log, first...)
	if len(s.opts.Env) > 0 {
		cmd.Env = append(os.Environ(), s.opts.Env...)
	}
	p, err := process.Start(cmd)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.child, s.logFrom = p, from
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.opts.StartLimit, startLimit))
	defer cancel()
	if err := s.awaitAnswer(ctx, p); err != nil {
		return errors.Join(fmt.Errorf("%w; its log ends:\n%s", err, tail(s.logPath(), from)), p.Kill())
	}
	return s.firstSQLDone()
}

func (s *Server) firstSQLPath() string { return filepath.Join(s.dir, "first.sql") }

// ReadyFile, in a server's directory, marks a data directory in which FirstSQL was run.
const ReadyFile = "ready"

func (s *Server) readyPath() string { return filepath.Join(s.dir, ReadyFile) }

// firstSQL writes the statements that are still to be run, and returns the argument that has the server run them.
func (s *Server) firstSQL() ([]string, error) {
	if s.opts.FirstSQL == "" || exists(s.readyPath()) {
		return nil, nil
	}
	if err := os.WriteFile(s.firstSQLPath(), []byte(s.opts.FirstSQL), 0o600); err != nil {
		return nil, err
	}
	return []string{"--init-file=" + s.firstSQLPath()}, nil
}

// firstSQLDone remembers, durably, that they were: the server answers, so they all succeeded.
func (s *Server) firstSQLDone() error {
	if s.opts.FirstSQL == "" || exists(s.readyPath()) {
		return nil
	}
	f, err := os.Create(s.readyPath())
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Remove(s.firstSQLPath())
}

// awaitAnswer returns when p answers at the server's address. That it is p and not somebody else's server on the same
// port is seen by its pid file.
func (s *Server) awaitAnswer(ctx context.Context, p *process.Process) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	want := s.pidFile()
	for {
		var got string
		err := s.db.QueryRowContext(ctx, "SELECT @@pid_file").Scan(&got)
		if err == nil && got == want {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("another server listens there, its pid file is %s", got)
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return fmt.Errorf("mysqld ended: %w", endOf(p))
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w (%w)", context.Cause(ctx), err)
		}
	}
}

// endOf says how a process ended, also when it ended well where it should not have ended.
func endOf(p *process.Process) error {
	if err := p.Wait(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}

// current is the process of the last start.
func (s *Server) current() *process.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child
}

// Stop ends the server in good order. When ctx ends first, the server is killed, and the error is process.ErrKilled. A
// server that is paused is resumed for it; one that is down already is no error.
func (s *Server) Stop(ctx context.Context) error {
	p := s.current()
	if p == nil {
		return nil
	}
	if err := p.Stop(ctx); err != nil {
		return fmt.Errorf("stop MySQL at %s: %w; its log ends:\n%s", s.addr, err, s.ErrorLog())
	}
	return nil
}

// Kill ends the server with SIGKILL, as a crash would, and returns when it is gone.
func (s *Server) Kill() error {
	if p := s.current(); p != nil {
		return p.Kill()
	}
	return nil
}

// Pause stops all of the server's threads (SIGSTOP), as a hung machine would: its port still accepts connections.
func (s *Server) Pause() error { return s.current().Freeze() }

// Resume lets a paused server go on.
func (s *Server) Resume() error { return s.current().Thaw() }

// Restart starts the server again with the same data and address, stopping it first where it runs.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("restart MySQL at %s in %s: %w", s.addr, s.dir, err)
	}
	return nil
}

// Wait returns when the process has ended, with how it ended; nil after a stop in good order.
func (s *Server) Wait() error {
	return s.current().Wait()
}

// Done is closed when the present process has ended.
func (s *Server) Done() <-chan struct{} { return s.current().Done() }

// Remove kills the server, closes DB, gives the port back, and deletes the directory if Start made it.
func (s *Server) Remove() error {
	errs := []error{s.Kill()}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.port != nil {
		errs = append(errs, s.port.Release())
	}
	if s.ownDir {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	if s.socket != "" && !strings.HasPrefix(s.socket, s.dir) {
		for _, path := range []string{s.socket, s.socket + ".lock"} {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Configure changes a line of my.cnf for the next Restart.
func (s *Server) Configure(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config[normalKey(key)] = value
}

// Addr is where the server listens, running or not.
func (s *Server) Addr() mysql.Addr { return s.addr }

// Credentials are those of the account that DB uses: the template's root unless Options.Account says otherwise.
func (s *Server) Credentials() mysql.Credentials {
	if s.opts.Account.User != "" {
		return s.opts.Account
	}
	return mysql.Credentials{User: "root"}
}

// DSN connects to a database of the server through the driver; "" is none.
func (s *Server) DSN(database string) string { return "root@tcp(" + s.addr.String() + ")/" + database }

// DB is a pool of sessions of root. The server owns it; it survives restarts.
func (s *Server) DB() *sql.DB { return s.db }

// Pid is the process id of the last start's mysqld.
func (s *Server) Pid() int { return s.current().Pid() }

// Dir holds the server's data, my.cnf, log and, where the path is not too long, socket.
func (s *Server) Dir() string { return s.dir }

// Datadir is MySQL's data directory.
func (s *Server) Datadir() string { return filepath.Join(s.dir, "data") }

// Socket is the path of the server's unix socket; the account there is root@localhost.
func (s *Server) Socket() string { return s.socket }

// Version is what the installation says of itself.
func (s *Server) Version() mysql.Version { return s.opts.Install.Version }

// Install is the installation the server runs.
func (s *Server) Install() Install { return s.opts.Install }

// ErrorLog is the end of what the server logged since its last start.
func (s *Server) ErrorLog() string {
	s.mu.Lock()
	from := s.logFrom
	s.mu.Unlock()
	return tail(s.logPath(), from)
}

func (s *Server) pidFile() string { return filepath.Join(s.dir, "mysqld.pid") }

func (s *Server) logPath() string { return filepath.Join(s.dir, "error.log") }

// tailBytes is about 60 lines of MySQL's log.
const tailBytes = 8 << 10

// tail is the end of a file, of what lies behind from. It is for people: a file that cannot be read is said in words.
func tail(path string, from int64) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	text = text[min(from, int64(len(text))):]
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
	}
	return strings.TrimSpace(string(text))
}
