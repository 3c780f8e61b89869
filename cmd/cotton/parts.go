package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/backup/dir"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/cotton/discovery/haproxy"
	discoveryzk "github.com/aosc/aosc/internal/cotton/discovery/zk"
	"github.com/aosc/aosc/internal/cotton/store"
	"github.com/aosc/aosc/internal/cotton/store/file"
	storezk "github.com/aosc/aosc/internal/cotton/store/zk"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/zookeeper"
)

// zookeeperLimit is how long a start waits for ZooKeeper before it says that it is not there.
const zookeeperLimit = 20 * time.Second

// stopLimit is how long the embedded Mesos may take to end.
const stopLimit = time.Minute

// parts are what the scheduler is built from; close ends them in reverse order.
type parts struct {
	mini *mini.Mini // nil with a real Mesos
	// miniSecret is what the embedded Mesos asks of everybody; empty with a real one.
	miniSecret string
	master     *mesos.Detector
	store      store.Store
	publisher  discovery.Publisher
	discovery  *zookeeper.URL // what is published in; nil = not in ZooKeeper
	keys       *cotton.Keyring
	keyfile    string
	backups    backup.Store // nil = none are kept
	apiURL     string
	closers    []func() error
}

func (p *parts) close() error {
	var errs []error
	for _, c := range slices.Backward(p.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// openParts opens all of them, or none. What can be wrong without anything being started is looked at first.
func openParts(ctx context.Context, env *daemon.Env) (*parts, error) {
	p := &parts{}
	for _, open := range []func(context.Context, *daemon.Env) error{p.openKey, p.openBackups, p.openStore, p.openPublisher, p.openMesos} {
		if err := open(ctx, env); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// openKey reads the admin key. For the embedded Mesos one is made: agents are on this machine, and have it with that.
func (p *parts) openKey(_ context.Context, env *daemon.Env) (err error) {
	v := env.Config
	p.keyfile = v.GetString("admin-keyfile")
	if p.keyfile == "" {
		if p.keyfile, err = inWorkDir(v.GetString("work-dir"), "admin.key"); err != nil {
			return err
		}
	}
	_, embedded, _ := miniAgents(v.GetString("mesos"))
	if _, err := os.Stat(p.keyfile); embedded && errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(p.keyfile); err != nil {
			return err
		}
		env.Log.Info("made an admin key", "file", p.keyfile)
	}
	p.keys, err = cotton.OpenKeyring(p.keyfile)
	return err
}

// makeKey writes 256 random bits, for its owner only. It never replaces a file: the clusters' passwords hang on it.
func makeKey(path string) error {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make an admin key: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(b[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make an admin key: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

func (p *parts) openBackups(_ context.Context, env *daemon.Env) (err error) {
	if address := env.Config.GetString("backup-store"); address != "" {
		p.backups, err = dir.Open(address)
	}
	return err
}

func (p *parts) openStore(ctx context.Context, env *daemon.Env) error {
	v := env.Config
	text := v.GetString("store")
	if strings.HasPrefix(text, "zk://") {
		u, err := zookeeperURL(v, "store")
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, zookeeperLimit)
		defer cancel()
		s, err := storezk.Open(ctx, u, storezk.Options{SessionTimeout: v.GetDuration("zk-session"), Log: env.Log})
		if err != nil {
			return err
		}
		p.store, p.discovery = s, &u
		p.closers = append(p.closers, s.Close)
		return nil
	}
	dir := strings.TrimPrefix(text, "file:")
	if dir == "" {
		var err error
		if dir, err = inWorkDir(v.GetString("work-dir"), "store"); err != nil {
			return err
		}
	}
	s, err := file.Open(dir)
	if err != nil {
		return err
	}
	p.store = s
	p.closers = append(p.closers, s.Close)
	return nil
}

// openPublisher opens where clients learn of clusters, beside the API.
func (p *parts) openPublisher(ctx context.Context, env *daemon.Env) error {
	v := env.Config
	var all publishers
	if v.GetString("discovery") != "" {
		u, err := zookeeperURL(v, "discovery")
		if err != nil {
			return err
		}
		p.discovery = &u
	}
	if p.discovery != nil {
		ctx, cancel := context.WithTimeout(ctx, zookeeperLimit)
		defer cancel()
		conn, err := zookeeper.Connect(ctx, *p.discovery, zookeeper.Options{SessionTimeout: v.GetDuration("zk-session"), Access: zookeeper.Published, Log: env.Log})
		if err != nil {
			return fmt.Errorf("open the discovery: %w", err)
		}
		p.closers = append(p.closers, func() error { conn.Close(); return nil })
		published := discoveryzk.New(conn, p.fence(v.GetString("store")))
		if err := protectPublished(ctx, env, published, *p.discovery); err != nil {
			return err
		}
		all = append(all, published)
	}
	if path := v.GetString("haproxy-file"); path != "" {
		first, last, err := portRange(v.GetString("haproxy-ports"))
		if err != nil {
			return err
		}
		h, err := haproxy.Open(haproxy.Config{File: path, Bind: v.GetString("haproxy-bind"), FirstPort: first, LastPort: last})
		if err != nil {
			return err
		}
		all = append(all, h)
	}
	p.publisher = all
	return nil
}

// protectPublished has clients read what is published and nobody else write it.
func protectPublished(ctx context.Context, env *daemon.Env, published *discoveryzk.Publisher, u zookeeper.URL) error {
	if u.User == "" {
		env.Log.Warn("the discovery's address names no user: whoever reaches ZooKeeper can tell clients that another server is the primary, "+
			"and be sent their passwords; give zk://user:password@..., or --zk-credentials-file", "discovery", u.String())
		return nil
	}
	changed, err := published.Protect(ctx)
	if err == nil && changed > 0 {
		env.Log.Info("what is published is for everybody to read and for nobody else to write now", "discovery", u.String(), "nodes", changed)
	}
	return err
}

// zookeeperURL is a key's address, with the user of the credentials' file where it names none.
func zookeeperURL(v *viper.Viper, key string) (zookeeper.URL, error) {
	u, err := zookeeper.ParseURL(v.GetString(key))
	file := v.GetString("zk-credentials-file")
	if err != nil || u.User != "" || file == "" {
		return u, err
	}
	text, err := client.ReadSecret(file)
	if err != nil {
		return u, fmt.Errorf("read ZooKeeper's credentials: %w", err)
	}
	var ok bool
	if u.User, u.Password, ok = strings.Cut(text, ":"); !ok || u.User == "" {
		return u, fmt.Errorf("read ZooKeeper's credentials: %s does not hold user:password", file)
	}
	return u, nil
}

// fence ties what is published to the leader lock, where both are in one ZooKeeper.
func (p *parts) fence(storeURL string) func() (string, bool) {
	s, ok := p.store.(*storezk.Store)
	u, err := zookeeper.ParseURL(storeURL)
	if !ok || err != nil || !slices.Equal(u.Servers, p.discovery.Servers) {
		return nil
	}
	return s.Fence
}

func (p *parts) openMesos(ctx context.Context, env *daemon.Env) error {
	v := env.Config
	address := v.GetString("mesos")
	n, embedded, err := miniAgents(address)
	if err != nil {
		return err
	}
	if embedded {
		config, err := miniConfig(env, n)
		if err != nil {
			return err
		}
		if config.Secret, err = miniSecret(v.GetString("secret-file"), config.Dir); err != nil {
			return err
		}
		p.miniSecret = config.Secret
		if p.mini, err = mini.Start(ctx, config); err != nil {
			return err
		}
		p.closers = append(p.closers, p.stopMini(v.GetBool("mini-stop-tasks")))
		address = p.mini.URL()
		env.Log.Info("embedded Mesos", "master", address, "agents", n, "dir", config.Dir)
	}
	if p.master, err = mesos.ParseMaster(address); err != nil {
		return err
	}
	p.closers = append(p.closers, func() error { p.master.Close(); return nil })
	return nil
}

// miniSecret is what the embedded Mesos asks of everybody: an operator's choice, or one of its own.
func miniSecret(file, dir string) (string, error) {
	if file != "" {
		secret, err := client.ReadSecret(file)
		if err != nil {
			return "", fmt.Errorf("read the principal's secret: %w", err)
		}
		return secret, nil
	}
	secret, err := mini.Secret(dir)
	if err != nil {
		return "", fmt.Errorf("make the secret of the embedded Mesos: %w", err)
	}
	return secret, nil
}

func (p *parts) stopMini(tasks bool) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if tasks {
			return p.mini.StopAll(ctx)
		}
		return p.mini.Stop(ctx)
	}
}

// miniConfig is n agents in racks a, b, c ..., each with its part of the ports.
func miniConfig(env *daemon.Env, n int) (mini.Config, error) {
	v := env.Config
	dir, err := inWorkDir(v.GetString("work-dir"), "mesos")
	if err != nil {
		return mini.Config{}, err
	}
	size, err := parseSize(v.GetString("mini-agent"))
	if err != nil {
		return mini.Config{}, err
	}
	first, last, err := portRange(v.GetString("mini-ports"))
	if err != nil {
		return mini.Config{}, err
	}
	each := (last - first + 1) / n
	if each == 0 {
		return mini.Config{}, fmt.Errorf("mini-ports: %d-%d are fewer ports than agents", first, last)
	}
	c := mini.Config{Dir: dir, Listen: v.GetString("mini-listen")}
	for i := range n {
		from := first + i*each
		c.Agents = append(c.Agents, mini.AgentConfig{
			Name: fmt.Sprintf("mini-%s", rackName(i)), CPUs: size.CPUs, MemMB: float64(size.MemMB), DiskMB: float64(size.DiskMB),
			Ports: fmt.Sprintf("%d-%d", from, from+each-1), Attributes: map[string]string{"rack": rackName(i), "zone": "z1"},
		})
	}
	return c, nil
}

// rackName counts a, b, ... z, a1, b1, ...
func rackName(i int) string {
	name := string(rune('a' + i%26))
	if i >= 26 {
		name += fmt.Sprint(i / 26)
	}
	return name
}

// publishers publish in several places. Each is tried, whatever becomes of the others: clients of one must not wait for
// another.
type publishers []discovery.Publisher

// Publish implements discovery.Publisher.
func (all publishers) Publish(ctx context.Context, cluster string, primary *discovery.Endpoint, replicas []discovery.Endpoint) error {
	var errs []error
	for _, p := range all {
		errs = append(errs, p.Publish(ctx, cluster, primary, replicas))
	}
	return errors.Join(errs...)
}

// Remove implements discovery.Publisher.
func (all publishers) Remove(ctx context.Context, cluster string) error {
	var errs []error
	for _, p := range all {
		errs = append(errs, p.Remove(ctx, cluster))
	}
	return errors.Join(errs...)
}
