package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/api"
	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/cotton/framework"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/mysqld"
)

func schedulerCommand(stderr io.Writer) *cobra.Command {
	return daemonCommand(daemon.Spec{
		Name: "cotton scheduler", Short: "Launches clusters and keeps them; serves the API", EnvPrefix: "COTTON", OwnListen: defaultListen,
		Keys: schedulerKeys(), Checks: schedulerChecks(), Run: runScheduler,
	}, "scheduler", stderr)
}

func runScheduler(ctx context.Context, env *daemon.Env) (err error) {
	if env.Once {
		return errOnce
	}
	p, err := openParts(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	config, err := p.frameworkConfig(env)
	if err != nil {
		return err
	}
	f, err := framework.New(config)
	if err != nil {
		return err
	}
	server, err := p.openAPI(env, f)
	if err != nil {
		return err
	}
	env.Log.Info("serving the API", "url", server.URL())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error { reportReady(ctx, env, f); return nil })
	group.Go(func() error {
		if err := f.Run(ctx); err != nil {
			return err
		}
		return ctx.Err() // ends the group
	})
	return group.Wait()
}

// reportReady keeps /readyz as the framework's health is. One that stands by is not ready: it takes no requests; nor is one whose
// credentials Mesos does not take, though it answers.
func reportReady(ctx context.Context, env *daemon.Env, f *framework.Framework) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		h := f.Health()
		switch {
		case h.Ready && !h.Refused:
			env.SetReady(nil)
		default:
			env.SetReady(errors.New(cmp.Or(h.Problem, "starting")))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// frameworkConfig is the framework's configuration from the keys.
func (p *parts) frameworkConfig(env *daemon.Env) (framework.Config, error) {
	v := env.Config
	c := framework.Config{
		Store: p.store, Backups: p.backups, Publisher: p.publisher, Master: p.master, Holder: env.Holder,
		Name: v.GetString("framework-name"), User: v.GetString("framework-user"), Role: v.GetString("role"), Principal: v.GetString("principal"),
		FailoverTimeout: v.GetDuration("failover-timeout"), KillGrace: v.GetDuration("kill-grace"), LaunchTimeout: v.GetDuration("launch-timeout"),
		Quarantine: v.GetDuration("quarantine"), CloneMB: int64(v.GetInt("clone-mb")), ReplaceAfter: v.GetDuration("replace-after"),
		Timing: timing(v), Cooldown: cooldown(v),
		Keys: p.keys, AdminKeyfile: cmp.Or(v.GetString("agent-admin-keyfile"), p.keyfile),
		Log: env.Log, Metrics: env.Metrics,
	}
	if c.User == "" {
		me, err := user.Current()
		if err != nil {
			return c, fmt.Errorf("find the account this runs as: %w; give --framework-user", err)
		}
		c.User = me.Username
	}
	c.Secret = p.miniSecret
	if file := v.GetString("secret-file"); file != "" && c.Secret == "" {
		var err error
		if c.Secret, err = client.ReadSecret(file); err != nil {
			return c, fmt.Errorf("read the principal's secret: %w", err)
		}
	}
	if c.Secret != "" {
		// Masters may ask for it before they say who leads.
		p.master.Creds = mesos.Credentials{Principal: c.Principal, Secret: c.Secret}
	}
	var err error
	c.Executor, err = p.executorCommand(env)
	return c, err
}

// executorCommand is how agents start executors.
func (p *parts) executorCommand(env *daemon.Env) (framework.Command, error) {
	v := env.Config
	variables, err := pairs(v, "executor-env")
	if err != nil {
		return framework.Command{}, err
	}
	c := framework.Command{Value: v.GetString("executor-cmd"), URIs: v.GetStringSlice("executor-uri"), Env: variables}
	if c.Value == "" {
		if c.Value, err = defaultExecutor(c.URIs); err != nil {
			return c, err
		}
	}
	if _, given := c.Env["AOSC_TOOLS"]; !given && p.mini != nil {
		// An executor has no home and another working directory; on this machine it finds what we would.
		if c.Env["AOSC_TOOLS"], err = mysqld.Tools(); err != nil {
			return c, err
		}
	}
	return c, nil
}

// defaultExecutor is the first program that agents fetch, or this one, which they must have at the same path.
func defaultExecutor(uris []string) (string, error) {
	// exec: the shell that Mesos starts must not stay between the agent and the executor.
	if len(uris) > 0 {
		program, ok := framework.FetchedProgram(uris[0])
		if !ok {
			return "", fmt.Errorf("executor-uri %s: which program is to be started is not to be seen from it; give --executor-cmd", uris[0])
		}
		return "exec " + program + " executor", nil
	}
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w; give --executor-cmd", err)
	}
	return "exec " + shellQuote(program) + " executor", nil
}

func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// openAPI opens the API's port.
func (p *parts) openAPI(env *daemon.Env, f *framework.Framework) (*api.Server, error) {
	v := env.Config
	c := api.Config{Framework: f, Daemon: env.Handler(), Log: env.Log, Metrics: env.Metrics, ClusterURL: p.clusterURL,
		OpenWrites: v.GetBool("insecure-open-api")}
	var err error
	if c.Sizes, err = sizes(v); err != nil {
		return nil, err
	}
	if c.DefaultSize, err = parseSize(v.GetString("default-size")); err != nil {
		return nil, err
	}
	if c.Packages, err = pairs(v, "packages"); err != nil {
		return nil, err
	}
	if file := v.GetString("token-file"); file != "" {
		if c.Tokens, err = api.LoadTokens(file); err != nil {
			return nil, err
		}
	}
	if file := v.GetString("haproxy-file"); file != "" {
		c.HAProxy = func() ([]byte, error) { return os.ReadFile(file) }
	}
	server, err := api.Open(api.Listen{Addr: v.GetString("listen"), Cert: v.GetString("tls-cert"), Key: v.GetString("tls-key"),
		WorkDir: v.GetString("work-dir"), Log: env.Log}, api.New(c))
	if err == nil {
		p.apiURL = cmp.Or(strings.TrimRight(v.GetString("api-url"), "/"), server.URL())
	}
	return server, err
}

// clusterURL is where clients find a cluster's endpoints: as in the original in ZooKeeper (but never with credentials),
// else here.
func (p *parts) clusterURL(name string) string {
	if p.discovery != nil {
		return p.discovery.String() + "/discover/" + name
	}
	return p.apiURL + "/clusters/" + name + "/endpoints"
}

// inWorkDir is where something is kept unless it is told otherwise; the directory is made, for its owner only.
func inWorkDir(dir, name string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the work directory: %w; give another --work-dir", err)
	}
	return filepath.Join(dir, name), nil
}

// timing are the times of scheduler and executors that must fit each other.
func timing(v *viper.Viper) cotton.Timing {
	t := cotton.DefaultTiming().WithLease(v.GetDuration("primary-lease"))
	t.Silence = v.GetDuration("failover-silence")
	return t
}

// cooldown is none when it is 0, which to the framework means the default.
func cooldown(v *viper.Viper) time.Duration {
	if d := v.GetDuration("failover-cooldown"); d > 0 {
		return d
	}
	return -1
}
