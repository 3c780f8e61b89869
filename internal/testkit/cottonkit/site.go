package cottonkit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mesoslib "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/process"
	"github.com/aosc/aosc/internal/testkit"
)

// Patience is how long a step may take on a busy machine.
const Patience = testkit.Patience

// Options of a Site.
type Options struct {
	Agents    int // 3
	ZooKeeper int // servers; 0 = the store is in files, and nothing is published but over REST
	DiskMB    int // of each agent, a file system of its own, see FillDisk; 0 = the machine's
	VolumesMB int // of each agent's volumes, a file system on a block device, see StallVolumes; 0 = the machine's
	// Flags of every scheduler, over those of the site.
	Flags []string
}

// Site is a machine room of its own. Its Mesos is in this process, all else is in processes of their own.
type Site struct {
	T       testing.TB
	Dir     string
	Mini    *mini.Mini
	ZK      *testkit.ZK // nil without
	Client  *client.Client
	Keyfile string

	o          Options
	port       *loopback.Port
	standby    *loopback.Port
	ports      string // of all agents
	operator   *mesos.Operator
	schedulers atomic.Int64
	admin      *mysql.Pool
	cluster    string // that admin is for
}

// New makes a site without a scheduler. All that runs in it ends with the test.
func New(t testing.TB, o Options) *Site {
	t.Helper()
	if o.Agents == 0 {
		o.Agents = 3
	}
	dir, err := os.MkdirTemp("", "aosc-cotton-") // short: sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Site{T: t, Dir: dir, o: o, Keyfile: filepath.Join(dir, "key")}
	if err := os.WriteFile(s.Keyfile, []byte("a key that is long enough to be one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.ZooKeeper > 0 {
		s.ZK = testkit.ZooKeeper(t, o.ZooKeeper)
	}
	s.startMesos()
	s.port, err = loopback.Reserve()
	s.Do(err)
	s.standby, err = loopback.Reserve()
	s.Do(err)
	t.Cleanup(func() { s.port.Release(); s.standby.Release() })
	s.Client, err = client.New(client.Config{URLs: []string{url(s.port), url(s.standby)}, WorkDir: dir, Timeout: 2 * time.Second})
	s.Do(err)
	t.Cleanup(s.Client.Close)
	return s
}

func url(p *loopback.Port) string { return fmt.Sprintf("http://127.0.0.1:%d", p.Number) }

// URL is where schedulers of this site serve the API, one at a time, but for a standby.
func (s *Site) URL() string { return url(s.port) }

// Standby starts a second scheduler, on the other port; the site's Client knows both. The one before is expected to end:
// whoever is started next takes the place of the second.
func (s *Site) Standby() *Scheduler {
	s.T.Helper()
	s.port, s.standby = s.standby, s.port
	return s.Scheduler("")
}

func (s *Site) startMesos() {
	s.T.Helper()
	c := mini.Config{
		Dir: filepath.Join(s.Dir, "mesos"), AllocationInterval: 200 * time.Millisecond, AgentPingTimeout: time.Second,
		UpdateRetryInterval: time.Second, HeartbeatInterval: 5 * time.Second, RecoveryTimeout: 2 * time.Minute,
	}
	const each = 20
	ports, err := loopback.ReserveN(s.o.Agents * each)
	s.Do(err)
	for i := range s.o.Agents {
		var list []string
		for _, p := range ports[i*each : (i+1)*each] {
			list = append(list, fmt.Sprintf("%d-%d", p.Number, p.Number))
		}
		c.Agents = append(c.Agents, mini.AgentConfig{
			Name: agentName(i), CPUs: 8, MemMB: 8192, DiskMB: 65536, Ports: strings.Join(list, ","),
			Attributes: map[string]string{"rack": agentName(i), "zone": "z1"},
		})
	}
	if s.o.DiskMB > 0 {
		for _, a := range c.Agents {
			s.mountDisk(filepath.Join(c.Dir, "agents", a.Name))
		}
	}
	if s.o.VolumesMB > 0 {
		for _, a := range c.Agents {
			s.mountVolumes(a.Name)
		}
	}
	s.Mini, err = mini.Start(s.T.Context(), c)
	s.Do(err)
	master, err := mesos.ParseMaster(s.Mini.URL())
	s.Do(err)
	s.operator = mesos.NewOperator(mesos.OperatorConfig{Master: master})
	s.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if s.T.Failed() {
			s.logs()
		}
		s.operator.Close()
		s.thawAll()
		err := s.Mini.StopAll(ctx)
		for _, p := range ports {
			err = errors.Join(err, p.Release())
		}
		if err != nil {
			s.T.Error(err)
		}
	})
}

func agentName(i int) string { return string(rune('a' + i)) }

// logs shows the ends of what executors and servers logged.
func (s *Site) logs() {
	_ = filepath.WalkDir(s.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (d.Name() == "stderr" || d.Name() == "error.log") {
			s.T.Logf("%s:\n%s", path, Tail(path, 4000))
		}
		return nil
	})
}

// Tail is the end of a file.
func Tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-n):])
}

// Do fails the test for an error.
func (s *Site) Do(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

// Scheduler is one scheduler as a process.
type Scheduler struct {
	*process.Process
	Log string // path
}

// Says tells whether the scheduler has logged a text.
func (p *Scheduler) Says(text string) bool {
	log, err := os.ReadFile(p.Log)
	return err == nil && strings.Contains(string(log), text)
}

// Scheduler starts a scheduler with faults armed ("" for none), on the site's port unless flags say otherwise.
func (s *Site) Scheduler(faults string, flags ...string) *Scheduler {
	s.T.Helper()
	tools, err := mysqld.Tools()
	s.Do(err)
	n := s.schedulers.Add(1)
	p := &Scheduler{Log: filepath.Join(s.Dir, fmt.Sprintf("scheduler-%d.log", n))}
	log, err := os.Create(p.Log)
	s.Do(err)
	defer log.Close()
	args := []string{"scheduler", "--listen=127.0.0.1:" + strconv.Itoa(s.port.Number), "--mesos=" + s.Mini.URL(), "--work-dir=" + s.Dir,
		"--admin-keyfile=" + s.Keyfile, "--kill-grace=20s", "--launch-timeout=10s", "--executor-env=AOSC_TOOLS=" + tools}
	if s.ZK != nil {
		args = append(args, "--store=zk://"+s.ZK.Connect()+"/cotton", "--zk-session=4s")
	}
	cmd := exec.Command(filepath.Join(bin, "cotton"), append(append(args, s.o.Flags...), flags...)...)
	cmd.Env = append(os.Environ(), fault.EnvVar+"="+faults)
	cmd.Stdout, cmd.Stderr = log, log
	p.Process, err = process.Start(cmd)
	s.Do(err)
	s.T.Cleanup(func() {
		if err := p.Kill(); err != nil {
			s.T.Error(err)
		}
		if s.T.Failed() {
			s.T.Logf("scheduler %d %s:\n%s", n, faults, Tail(p.Log, 12000))
		}
	})
	return p
}

// Ready waits until the API takes requests.
func (s *Site) Ready() {
	s.T.Helper()
	testkit.Eventually(s.T, Patience, "a scheduler is ready", func() bool {
		h, err := s.Client.Health(s.T.Context())
		return err == nil && h.Ready
	})
}

// Create makes a cluster through the API and waits until all of it is well.
func (s *Site) Create(name string, nodes int, policy cotton.Policy) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), Patience)
	defer cancel()
	_, err := s.Client.Create(ctx, name, v1.Create{User: "app", Password: Password, Nodes: nodes, Policy: string(policy),
		Size: &v1.Size{Resources: v1.Resources{CPUs: 0.5, MemMB: 512, DiskMB: 1024}}})
	s.Do(err)
	s.cluster = name
	s.admin = mysql.NewPool(s.adminAccount(name), mysql.Options{ConnectTimeout: 5 * time.Second})
	s.T.Cleanup(func() { s.admin.Close() })
	testkit.Eventually(s.T, Patience, "the cluster is complete", func() bool {
		c, err := s.Client.Cluster(s.T.Context(), name)
		return err == nil && Complete(c)
	})
}

// Password of the user "app" of every cluster.
const Password = "a password of the tests"

// App is the account of a cluster's clients.
var App = mysql.Credentials{User: "app", Password: Password, TLS: "skip-verify"}

func (s *Site) adminAccount(cluster string) mysql.Credentials {
	s.T.Helper()
	c, err := s.Client.Cluster(s.T.Context(), cluster)
	s.Do(err)
	id := cotton.Identity{Cluster: cluster, Incarnation: c.Incarnation}
	return mysql.Credentials{
		User: cotton.AdminAccount, TLS: "required", Passwords: func() []string { return s.keys().Passwords(id, cotton.AdminAccount) },
		Authority: func(mysql.Addr) (mysql.Authority, error) {
			pem, err := s.keys().Authorities(id)
			return mysql.Authority{PEM: pem}, err
		},
	}
}

// keys are the admin keys of now.
func (s *Site) keys() cotton.AdminKeys {
	s.T.Helper()
	keys, err := cotton.ReadAdminKeys(s.Keyfile)
	if err != nil { // also called where connections are made
		s.T.Error(err)
	}
	return keys
}

// Admin connects as the administrator to an instance of the cluster that was created last.
func (s *Site) Admin(i v1.Instance) *sql.DB {
	s.T.Helper()
	db, err := s.admin.DB(Addr(i))
	s.Do(err)
	return db
}

// AdminPool is a pool of the administrator of the caller's own.
func (s *Site) AdminPool(o mysql.Options) *mysql.Pool {
	return mysql.NewPool(s.adminAccount(s.cluster), o)
}

// Addr is where an instance listens.
func Addr(i v1.Instance) mysql.Addr { return mysql.Addr{Host: i.Host, Port: i.Port} }

// Complete tells whether a cluster says that all of it is well.
func Complete(c v1.Cluster) bool {
	return c.State == "running" && c.Endpoints.Primary != nil && len(c.Endpoints.Replicas) == c.Nodes-1 && len(c.Problems) == 0
}

// Primary is the instance that is published as the primary, and the others; false when none is.
func Primary(c v1.Cluster) (primary v1.Instance, replicas []v1.Instance, ok bool) {
	for _, i := range c.Instances {
		if c.Endpoints.Primary != nil && i.ID == c.Endpoints.Primary.ID {
			primary, ok = i, true
			continue
		}
		replicas = append(replicas, i)
	}
	return primary, replicas, ok
}

// Delete deletes the cluster and fails the test for anything that is left of it: tasks, reservations, volumes, or a name.
func (s *Site) Delete(name string) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), Patience)
	defer cancel()
	s.Do(s.Client.Delete(ctx, name, Password))
	s.Do(s.Client.WaitGone(ctx, name))
	tasks, reserved, err := s.Held(ctx)
	s.Do(err)
	if len(tasks)+len(reserved) > 0 {
		s.T.Errorf("left behind are the tasks %q, and the reservations with volumes %q", tasks, reserved)
	}
}

// Held are the tasks that Mesos runs, and the volume under each resource id that something is reserved for; empty where there
// is none.
func (s *Site) Held(ctx context.Context) (tasks []string, reserved map[string]string, err error) {
	running, err := s.operator.Tasks(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range running.Tasks {
		tasks = append(tasks, t.TaskID.Value)
	}
	agents, err := s.operator.Agents(ctx)
	if err != nil {
		return nil, nil, err
	}
	reserved = map[string]string{}
	for _, a := range agents.Agents {
		for _, r := range a.TotalResources {
			if n := len(r.Reservations); n > 0 {
				reserved[resourceID(r.Reservations[n-1])] += r.GetDisk().GetPersistence().GetID()
			}
		}
	}
	return tasks, reserved, nil
}

func resourceID(r mesoslib.Resource_ReservationInfo) string {
	for _, l := range r.GetLabels().GetLabels() {
		if l.Key == "resource_id" {
			return l.GetValue()
		}
	}
	return ""
}
