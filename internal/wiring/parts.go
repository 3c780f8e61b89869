package wiring

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/fleet/cottonapi"
	"github.com/aosc/aosc/internal/fleet/static"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
)

// Parts are what the daemons of the pipeline are built from.
type Parts struct {
	Store     *aoscdb.Store
	Repo      *schema.Repo
	Inventory fleet.Inventory
	Pool      *mysql.Pool
	Writer    *mysql.Pool // for what is replicated; Pool itself where no account of its own is configured
	scratch   *mysql.Pool // for committed texts; Pool itself, too
	heart     *heart      // nil: a command, or a single pass
}

// Materialiser runs committed texts by the account that is configured for them.
func (p *Parts) Materialiser() *schema.Materialiser {
	m := &schema.Materialiser{Cache: p.Store.FormCache()}
	if p.scratch != p.Pool {
		m.Account = func(db *sql.DB) (*sql.DB, error) { return p.scratch.As(p.Pool, db) }
	}
	return m
}

// Account is one that works on the instances, by the key that names it.
type Account struct {
	Key  string
	Pool *mysql.Pool
}

// Accounts are those that are configured, mysql-user first.
func (p *Parts) Accounts() []Account {
	all := []Account{{"mysql-user", p.Pool}}
	if p.Writer != p.Pool {
		all = append(all, Account{"mysql-write-user", p.Writer})
	}
	if p.scratch != p.Pool {
		all = append(all, Account{"scratch-user", p.scratch})
	}
	return all
}

// otherPool is a pool of another account, the usual one where none is configured.
func (p *Parts) otherPool(v *viper.Viper, user, file string) (*mysql.Pool, error) {
	if v.GetString(user) == "" {
		return p.Pool, nil
	}
	password, err := readPassword(v.GetString(file))
	if err != nil {
		return nil, err
	}
	c := p.Pool.Credentials()
	c.User, c.Password = v.GetString(user), password
	return mysql.NewPool(c, mysql.Options{ConnectTimeout: v.GetDuration("connect-timeout")}), nil
}

// Open builds the parts from the keys of Keys. It waits while aoscdb is down (with env.Once it fails at once), and
// fails when its tables are of another version than this build, the inventory is bad, or there is no such repository
// or branch: those need a person.
func Open(ctx context.Context, env *daemon.Env) (*Parts, error) {
	v := env.Config
	inventory, err := OpenInventory(v.GetString("inventory"))
	if err != nil {
		return nil, err
	}
	password, err := readPassword(v.GetString("mysql-password-file"))
	if err != nil {
		return nil, err
	}
	account := mysql.Credentials{User: v.GetString("mysql-user"), Password: password, TLS: v.GetString("mysql-tls")}
	if err := verify(&account, v.GetString("mysql-ca-file"), inventory); err != nil {
		return nil, err
	}
	store, err := OpenStore(v)
	if err != nil {
		return nil, err
	}
	p := &Parts{Store: store, Inventory: inventory, Pool: mysql.NewPool(account, mysql.Options{ConnectTimeout: v.GetDuration("connect-timeout")})}
	p.Writer, p.scratch = p.Pool, p.Pool
	if p.Writer, err = p.otherPool(v, "mysql-write-user", "mysql-write-password-file"); err != nil {
		return nil, errors.Join(err, p.Pool.Close(), store.Close())
	}
	if p.scratch, err = p.otherPool(v, "scratch-user", "scratch-password-file"); err != nil {
		return nil, errors.Join(err, p.Writer.Close(), p.Pool.Close(), store.Close())
	}
	if err := waitForStore(ctx, env, store); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.Repo, err = schema.OpenRepo(ctx, schema.RepoConfig{
		URL: v.GetString("schemas-repo"), Branch: v.GetString("schemas-branch"), Cache: v.GetString("schemas-cache")})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if !env.Once {
		p.heart = startHeart(ctx, env, store)
	}
	return p, nil
}

// OpenStore opens aoscdb; nothing is asked of it yet.
func OpenStore(v *viper.Viper) (*aoscdb.Store, error) {
	dsn := v.GetString("aoscdb-dsn")
	ca, err := readCA(v.GetString("aoscdb-ca-file"))
	if err != nil {
		return nil, err
	}
	if ca != nil {
		if dsn, err = mysql.VerifyDSN(dsn, ca); err != nil {
			return nil, fmt.Errorf("aoscdb: %w", err)
		}
	}
	return aoscdb.Open(dsn)
}

// verify settles by what instances are verified: a file, else what their inventory says, else the system's authorities. Where
// nothing is said of TLS and the inventory knows, they are verified, but for clusters of an earlier release.
func verify(account *mysql.Credentials, file string, inventory fleet.Inventory) error {
	ca, err := readCA(file)
	if err != nil {
		return err
	}
	knows, ok := inventory.(interface {
		Authority(mysql.Addr) (mysql.Authority, error)
	})
	switch {
	case ca != nil:
		account.Authority = func(mysql.Addr) (mysql.Authority, error) { return mysql.Authority{PEM: ca}, nil }
	case ok && account.TLS == "":
		account.TLS = "required"
		account.Authority = func(a mysql.Addr) (mysql.Authority, error) {
			by, err := knows.Authority(a)
			if errors.Is(err, cottonapi.ErrUnproven) {
				return mysql.Authority{Unproven: true}, nil
			}
			return by, err
		}
	case ok:
		account.Authority = knows.Authority
	}
	return nil
}

// OpenInventory opens the inventory of that name: a YAML file, or the clusters that cotton launched, as in
// cotton+http://127.0.0.1:5055.
func OpenInventory(name string) (fleet.Inventory, error) {
	if strings.HasPrefix(name, cottonapi.Prefix) {
		return cottonapi.Open(name)
	}
	return static.Load(name)
}

// Close closes the connections.
func (p *Parts) Close() error {
	if p.heart != nil {
		p.heart.close()
	}
	errs := []error{p.Pool.Close(), p.Store.Close()}
	for _, other := range []*mysql.Pool{p.Writer, p.scratch} {
		if other != p.Pool {
			errs = append(errs, other.Close())
		}
	}
	return errors.Join(errs...)
}

// waitForStore returns once aoscdb answers with tables of the right version.
func waitForStore(ctx context.Context, env *daemon.Env, store *aoscdb.Store) error {
	const every = time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := false
	for {
		err := checkVersion(ctx, store)
		if err == nil {
			return nil
		}
		if env.Once || !mysql.IsConnection(err) {
			return err
		}
		env.SetReady(err)
		if !said {
			env.Log.Error("aoscdb does not answer, waiting for it", "error", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// checkVersion bounds one try: a hung server must not hide that we wait.
func checkVersion(ctx context.Context, store *aoscdb.Store) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return store.CheckVersion(ctx)
}

// Settings are how a tier wants its tables altered. Whoever plans or runs an alter takes them from here, so that all
// of them judge a plan alike. A worker that alters a lone replica of an ordering='primary' tier sets NoBinlog itself.
func Settings(t aoscdb.Tier, allowUnsafe bool) osc.Settings {
	return osc.Settings{
		Ordering:       t.Ordering,
		CopyEngine:     t.CopyEngine,
		DirectMaxRows:  t.DirectMaxRows,
		DirectMaxBytes: t.DirectMaxBytes,
		CreateMissing:  t.CreateMissing,
		AllowUnsafe:    allowUnsafe,
		NoBinlog:       t.Ordering == aoscdb.OrderingRolling,
	}
}

// Waker returns a daemon.LoopOptions.Wake that answers true once for every request to wake the named daemon.
func Waker(store *aoscdb.Store, name string) func(context.Context) (bool, error) {
	seen := map[string]time.Time{}
	return func(ctx context.Context) (bool, error) {
		asked, err := store.Wakeups(ctx, name)
		if err != nil {
			return false, fmt.Errorf("look for requests to %s: %w", name, err)
		}
		wake := false
		for scope, w := range asked {
			if w.RequestedAt.After(seen[scope]) {
				seen[scope] = w.RequestedAt
				wake = true
			}
		}
		return wake, nil
	}
}
