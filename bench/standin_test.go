package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"
	mesoslib "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mysql"
)

// standInEnv makes the test binary an executor whose mysqld is a stand-in: it speaks MySQL's protocol, over TLS and with a
// password, and says of itself what a server of a cluster would, so that the scheduler's work is the real one; but it keeps
// no data, so that a machine can have hundreds. Its value is the path of a certificate and key.
const standInEnv = "AOSC_BENCH_STAND_IN"

// standInMain is the executor.
func standInMain(ctx context.Context) error {
	env, err := mesos.ExecutorFromEnvironment()
	if err != nil {
		return err
	}
	x, err := mesos.NewExecutor(env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return x.Run(ctx, &standInExecutor{x: x, done: cancel})
}

type standInExecutor struct {
	x    *mesos.Executor
	done context.CancelFunc
}

func (h *standInExecutor) Connected(context.Context, *executor.Event_Subscribed) error { return nil }
func (h *standInExecutor) Disconnected(error)                                          {}

func (h *standInExecutor) Event(ctx context.Context, e *executor.Event) error {
	switch e.Type {
	case executor.Event_LAUNCH:
		id := e.Launch.Task.TaskID
		task, err := cotton.ParseTask(e.Launch.Task.Data)
		if err == nil {
			err = standIn(task)
		}
		if err != nil {
			return h.end(ctx, id, mesoslib.TASK_FAILED, err.Error())
		}
		return h.update(id, mesoslib.TASK_RUNNING, "stands in")
	case executor.Event_KILL:
		return h.end(ctx, e.Kill.TaskID, mesoslib.TASK_KILLED, "killed")
	case executor.Event_SHUTDOWN:
		h.done()
	}
	return nil
}

func (h *standInExecutor) update(id mesoslib.TaskID, state mesoslib.TaskState, message string) error {
	return h.x.Update(mesoslib.TaskStatus{TaskID: id, State: &state, Message: &message})
}

func (h *standInExecutor) end(ctx context.Context, id mesoslib.TaskID, state mesoslib.TaskState, message string) error {
	if err := h.update(id, state, message); err != nil {
		return err
	}
	go func() { // Flush waits for events: it must not be waited for in one
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_ = h.x.Flush(ctx) // the process ends either way
		h.done()
	}()
	return nil
}

// standIn listens as the task's mysqld until the process ends.
func standIn(task cotton.Task) error {
	keys, err := cotton.ReadAdminKeys(task.AdminKeyfile)
	if err != nil {
		return err
	}
	issued, err := keys.Current().Issue(task.Identity(), cotton.Server{Member: task.Member, Hosts: []string{task.Host}}, time.Now())
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(issued, issued)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(task.Host, strconv.Itoa(task.Port)))
	if err != nil {
		return err
	}
	users := server.NewInMemoryProvider()
	users.AddUser(cotton.AdminAccount, keys.Current().Password(task.Identity(), cotton.AdminAccount))
	conf := server.NewServer("9.7.4", gomysql.DEFAULT_COLLATION_ID, gomysql.AUTH_NATIVE_PASSWORD, nil, &tls.Config{Certificates: []tls.Certificate{pair}})
	hashes := map[string]string{}
	for _, account := range []string{cotton.AdminAccount, cotton.ReplicationAccount} {
		if hashes[account], err = mysql.HashPassword(keys.Current().Password(task.Identity(), account)); err != nil {
			return err
		}
	}
	s := &standInServer{task: task, hashes: hashes, replPassword: keys.Current().Password(task.Identity(), cotton.ReplicationAccount), variables: map[string]string{
		"version": "9.7.4", "server_uuid": uuidOf(task.Port), "hostname": "standin", "port": strconv.Itoa(task.Port),
		"server_id": strconv.FormatUint(uint64(task.ServerID), 10), "read_only": "1", "super_read_only": "1",
		"binlog_format": "ROW", "binlog_row_image": "FULL", "binlog_row_value_options": "", "binlog_transaction_compression": "0",
		"log_bin": "1", "log_replica_updates": "1", "gtid_mode": "ON", "gtid_executed": "", "gtid_purged": "", "sql_mode": "",
		"character_set_server": "utf8mb4", "collation_server": "utf8mb4_0900_ai_ci", "datadir": "/", "lower_case_table_names": "0",
		"rpl_semi_sync_source_enabled": "OFF", "rpl_semi_sync_source_timeout": "10000", "rpl_semi_sync_source_wait_for_replica_count": "1",
		"rpl_semi_sync_replica_enabled": "ON", "report_user": "boot",
	}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, conf, users)
		}
	}()
	return nil
}

// uuidOf lets everybody know everybody's server_uuid.
func uuidOf(port int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", port) }

// executedOf are the transactions of a primary.
func executedOf(port int) string { return uuidOf(port) + ":1-3" }

// standInServer is what the server says of itself.
type standInServer struct {
	task cotton.Task

	mu           sync.Mutex
	variables    map[string]string
	sourceHost   string
	sourcePort   int
	receiving    bool
	hasUser      bool
	hashes       map[string]string // of the passwords of cotton's accounts
	replPassword string
}

func (s *standInServer) serve(conn net.Conn, conf *server.Server, users server.CredentialProvider) {
	defer conn.Close()
	c, err := conf.NewCustomizedConn(conn, users, &standInSession{s: s})
	for err == nil {
		err = c.HandleCommand()
	}
}

// standInSession implements server.Handler.
type standInSession struct {
	server.EmptyHandler
	s *standInServer
}

func (h *standInSession) HandleQuery(query string) (*gomysql.Result, error) { return h.s.query(query) }

func (h *standInSession) UseDB(string) error { return nil }

var (
	assignment = regexp.MustCompile(`GLOBAL (\w+) = (\w+)`)
	selected   = regexp.MustCompile(`@@GLOBAL\.(\w+)`)
	source     = regexp.MustCompile(`SOURCE_HOST = '([^']*)', SOURCE_PORT = (\d+)`)
)

// query answers what the scheduler asks. One that it does not know is refused by name: the scheduler has learned to ask
// something new, and the stand-in must, too.
func (s *standInServer) query(q string) (*gomysql.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	has := func(part string) bool { return strings.Contains(q, part) }
	switch {
	case strings.HasPrefix(q, "SET GLOBAL "):
		for _, set := range assignment.FindAllStringSubmatch(q, -1) {
			s.set(set[1], set[2])
		}
		return nil, nil
	case has("WAIT_FOR_EXECUTED_GTID_SET"):
		return rows([]string{"timed_out"}, []any{"0"})
	case strings.HasPrefix(q, "SELECT @@GLOBAL."):
		var names []string
		var row []any
		for _, m := range selected.FindAllStringSubmatch(q, -1) {
			names, row = append(names, m[1]), append(row, s.variables[m[1]])
		}
		return rows(names, row)
	case has("information_schema.plugins"):
		return rows([]string{"n"}, []any{"1"})
	case has("additional_password"): // which passwords an account has; it is asked for both
		account := cotton.AdminAccount
		if has(cotton.ReplicationAccount) {
			account = cotton.ReplicationAccount
		}
		return rows([]string{"current", "retained", "tls"}, []any{s.hashes[account], "", "1"})
	case has("slave_master_info"):
		return rows([]string{"password", "ca", "verify"}, []any{s.replPassword, cotton.AuthoritiesFromData, "1"})
	case has("mysql.user"):
		return rows([]string{"n"}, []any{number(s.hasUser)})
	case has("replication_connection_status"): // how long ago the source was heard
		return rows([]string{"microseconds"}, []any{"1000"})
	case has("innodb_tablespaces"):
		return rows([]string{"mb"}, []any{"1"})
	case strings.HasPrefix(q, "SHOW GLOBAL STATUS LIKE"):
		return rows([]string{"Variable_name", "Value"}, []any{"Rpl_semi_sync_source_status", s.variables["rpl_semi_sync_source_enabled"]},
			[]any{"Rpl_semi_sync_source_clients", strconv.Itoa(s.task.Nodes - 1)}, []any{"Rpl_semi_sync_source_wait_sessions", "0"})
	case has("performance_schema.global_variables"):
		status := map[bool]string{true: "ON", false: "OFF"}[s.receiving]
		out := [][]any{{"Rpl_semi_sync_replica_status", status}}
		for name, value := range s.variables {
			if strings.HasPrefix(name, "rpl_semi_sync_") {
				out = append(out, []any{name, value})
			}
		}
		return rows([]string{"variable_name", "variable_value"}, out...)
	case strings.HasPrefix(q, "SHOW REPLICA STATUS"):
		return s.replicaStatus()
	}
	return s.change(q)
}

func (s *standInServer) set(name, value string) {
	switch name {
	case "super_read_only", "read_only":
		value = map[string]string{"ON": "1", "OFF": "0"}[value]
		s.variables["super_read_only"] = value
		if name == "read_only" || value == "1" {
			s.variables["read_only"] = value
		}
		return
	}
	s.variables[name] = value
}

// change takes the statements that change something.
func (s *standInServer) change(q string) (*gomysql.Result, error) {
	has := func(prefix string) bool { return strings.HasPrefix(q, prefix) }
	switch {
	case has("CHANGE REPLICATION SOURCE TO"):
		m := source.FindStringSubmatch(q)
		if m == nil {
			return nil, errors.New("no source in " + q)
		}
		s.sourceHost = m[1]
		s.sourcePort, _ = strconv.Atoi(m[2])
	case has("START REPLICA"):
		s.receiving = true
		s.variables["gtid_executed"] = executedOf(s.sourcePort)
	case has("STOP REPLICA"):
		s.receiving = false
	case has("GRANT"), has("CREATE USER"):
	case has("REVOKE"):
		s.hasUser = true
		s.variables["gtid_executed"] = executedOf(s.task.Port)
	case has("SET "), has("START TRANSACTION"), has("COMMIT"), has("ROLLBACK"):
	default:
		fmt.Fprintln(os.Stderr, "the stand-in knows no answer to:", q)
		return nil, gomysql.NewError(gomysql.ER_PARSE_ERROR, "the stand-in knows no answer to: "+q)
	}
	return nil, nil
}

func (s *standInServer) replicaStatus() (*gomysql.Result, error) {
	names := []string{"Channel_Name", "Source_Host", "Source_Port", "Source_UUID", "Replica_IO_Running", "Replica_SQL_Running",
		"Retrieved_Gtid_Set", "Executed_Gtid_Set", "Auto_Position", "Seconds_Behind_Source"}
	if s.sourceHost == "" {
		return rows(names)
	}
	running := map[bool]string{true: "Yes", false: "No"}[s.receiving]
	executed := s.variables["gtid_executed"]
	return rows(names, []any{"", s.sourceHost, strconv.Itoa(s.sourcePort), uuidOf(s.sourcePort), running, running, executed, executed, "1", "0"})
}

func rows(names []string, values ...[]any) (*gomysql.Result, error) {
	for _, row := range values {
		for i, value := range row {
			if text, ok := value.(string); ok {
				row[i] = []byte(text) // the library takes an empty string for NULL
			}
		}
	}
	set, err := gomysql.BuildSimpleTextResultset(names, values)
	return gomysql.NewResult(set), err
}

func number(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
