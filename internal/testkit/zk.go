package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/process"
)

const (
	// zkClasses is ZooKeeper as Debian packages it, and a logger that writes to stderr. scripts/zookeeper-install.
	zkClasses = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"
	zkMain    = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
	// zkTick is ZooKeeper's unit of time: sessions are given 2 to 20 of them unless the bounds are set, as below.
	zkTick       = 200 * time.Millisecond
	zkStartLimit = time.Minute
)

// ZK is a running ZooKeeper of one or more servers, of one test.
type ZK struct {
	Servers []*ZKServer

	t testing.TB
}

// ZKServer is one process of a ZooKeeper.
type ZKServer struct {
	Addr string // of clients, host:port

	t       testing.TB
	dir     string
	java    string
	config  string // zoo.cfg
	process *process.Process
}

// ZooKeeper starts a ZooKeeper of n servers (1 = standalone, else an ensemble, 3 and more survive the loss of some) and
// returns when all serve. It is removed with the test. Sessions may be as short as 400 ms.
func ZooKeeper(t testing.TB, n int) *ZK {
	t.Helper()
	java, err := exec.LookPath("java")
	if err == nil {
		_, err = os.Stat(strings.Split(zkClasses, ":")[0])
	}
	if err != nil {
		t.Fatalf("no ZooKeeper on this machine, run `make tools`: %v", err)
	}
	ports, err := loopback.ReserveN(3 * n) // of clients, of the quorum, of elections
	if err != nil {
		t.Fatal(err)
	}
	z := &ZK{t: t}
	for i := range n { // before the clean-up below: the servers must be gone when their directories go
		s := &ZKServer{Addr: fmt.Sprintf("127.0.0.1:%d", ports[3*i].Number), t: t, dir: t.TempDir(), java: java}
		z.Servers = append(z.Servers, s)
	}
	t.Cleanup(func() {
		errs := []error{z.remove()}
		for _, port := range ports {
			errs = append(errs, port.Release())
		}
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
	var members strings.Builder
	for i := range n {
		fmt.Fprintf(&members, "server.%d=127.0.0.1:%d:%d\n", i+1, ports[3*i+1].Number, ports[3*i+2].Number)
	}
	if n == 1 {
		members.Reset() // standalone
	}
	for i, s := range z.Servers {
		s.config = zooCfg(s.dir, ports[3*i].Number, members.String())
		if err := os.WriteFile(filepath.Join(s.dir, "myid"), []byte(strconv.Itoa(i+1)), 0o644); err != nil {
			t.Fatal(err)
		}
		s.start()
	}
	z.AwaitServing()
	return z
}

// zooCfg is a server's configuration. Logs are not forced to disk: what they lose is only lost with the machine.
func zooCfg(dir string, port int, members string) string {
	return fmt.Sprintf(`dataDir=%s
clientPortAddress=127.0.0.1
clientPort=%d
tickTime=%d
initLimit=50
syncLimit=10
minSessionTimeout=%d
maxSessionTimeout=60000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=srvr,ruok
forceSync=no
preAllocSize=1024
%s`, dir, port, zkTick.Milliseconds(), 2*zkTick.Milliseconds(), members)
}

func (s *ZKServer) start() {
	s.t.Helper()
	cfg := filepath.Join(s.dir, "zoo.cfg")
	if err := os.WriteFile(cfg, []byte(s.config), 0o644); err != nil {
		s.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "zookeeper.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close() // the child has its own
	// A small and simple Java machine: it starts sooner than one tuned for throughput.
	cmd := exec.Command(s.java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.jmx.log4j.disable=true",
		"-cp", zkClasses, zkMain, cfg)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.dir
	if s.process, err = process.Start(cmd); err != nil {
		s.t.Fatal(err)
	}
}

// Connect is the connection string of all servers: host:port,host:port.
func (z *ZK) Connect() string { return strings.Join(z.Addrs(), ",") }

// Addrs are where clients connect.
func (z *ZK) Addrs() []string {
	var addrs []string
	for _, s := range z.Servers {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// AwaitServing waits until every server serves clients.
func (z *ZK) AwaitServing() {
	z.t.Helper()
	for _, s := range z.Servers {
		s.AwaitServing()
	}
}

// Leader is the server that leads at this moment; nil while there is none. A standalone server leads itself.
func (z *ZK) Leader() *ZKServer {
	for _, s := range z.Servers {
		if mode := s.Mode(); mode == "leader" || mode == "standalone" {
			return s
		}
	}
	return nil
}

func (z *ZK) remove() error {
	var errs []error
	for _, s := range z.Servers {
		if s.process == nil {
			continue
		}
		if z.t.Failed() {
			z.t.Logf("log of ZooKeeper at %s:\n%s", s.Addr, s.log())
		}
		errs = append(errs, s.process.Kill())
	}
	return errors.Join(errs...)
}

// log is the end of the server's log.
func (s *ZKServer) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "zookeeper.log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8<<10):])
}

// AwaitServing waits until the server serves clients: of an ensemble, until it is part of a quorum.
func (s *ZKServer) AwaitServing() {
	s.t.Helper()
	Eventually(s.t, zkStartLimit, "ZooKeeper at "+s.Addr+" serves", func() bool {
		if s.process.Ended() {
			s.t.Fatalf("ZooKeeper at %s ended: %v; its log ends:\n%s", s.Addr, s.process.Wait(), s.log())
		}
		return s.Mode() != ""
	})
}

// Mode is what the server says it is: standalone, leader or follower; "" while it does not serve or answer.
func (s *ZKServer) Mode() string {
	answer := s.command("srvr")
	_, after, found := strings.Cut(answer, "\nMode: ")
	if !found {
		return ""
	}
	mode, _, _ := strings.Cut(after, "\n")
	return mode
}

// command sends one of ZooKeeper's four-letter words; "" when there is no answer within a second.
func (s *ZKServer) command(word string) string {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return ""
	}
	if _, err := conn.Write([]byte(word)); err != nil {
		return ""
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return ""
	}
	return string(answer)
}

// Stop stops the server in good order.
func (s *ZKServer) Stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), zkStartLimit)
	defer cancel()
	// Java ends with 143 after SIGTERM.
	if err := s.process.Stop(ctx); errors.Is(err, process.ErrKilled) {
		s.t.Fatalf("ZooKeeper at %s: %v", s.Addr, err)
	}
}

// Kill ends the server with SIGKILL.
func (s *ZKServer) Kill() {
	s.t.Helper()
	if err := s.process.Kill(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause freezes the server (SIGSTOP): its sockets stay open.
func (s *ZKServer) Pause() {
	s.t.Helper()
	if err := s.process.Freeze(); err != nil {
		s.t.Fatal(err)
	}
}

// Resume lets a paused server go on.
func (s *ZKServer) Resume() {
	s.t.Helper()
	if err := s.process.Thaw(); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts a stopped or killed server again with its data, and waits until it serves.
func (s *ZKServer) Restart() {
	s.t.Helper()
	if !s.process.Ended() {
		s.Stop()
	}
	s.start()
	s.AwaitServing()
}
