// Command aosc is the operator's command line. It reads and writes the same rows of aoscdb that a person with a mysql client
// would.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/operate"
	"github.com/aosc/aosc/internal/wiring"
)

// planTimeout bounds the planning of one table on one cluster: it may count duplicates in a large table.
const planTimeout = 10 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "aosc: "+operate.Plain(strings.ReplaceAll(err.Error(), "\n", "; ")))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	root := &cobra.Command{
		Use: "aosc", Short: "Online schema change for tiers of MySQL replica sets",
		Version: daemon.Version(), SilenceUsage: true, SilenceErrors: true,
	}
	a := &app{}
	defer a.close()
	flags := root.PersistentFlags()
	flags.StringVar(&a.file, "config", "", "configuration file (YAML, TOML or JSON)")
	a.bound = daemon.Bind(flags, "", wiring.Keys())
	root.AddCommand(initCommand(a), doctorCommand(a), tierCommand(a), planCommand(a), allowCommand(a), revokeCommand(a), statusCommand(a),
		watchCommand(a), explainCommand(a), pauseCommand(a), resumeCommand(a), stopCommand(a), cutoverCommand(a),
		demoCommand(), versionCommand())
	root.SetOut(operate.PlainWriter(os.Stdout))
	root.SetErr(operate.PlainWriter(os.Stderr))
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// app opens what a command needs, when it needs it: `aosc allow` wants aoscdb, not the inventory.
type app struct {
	bound *daemon.Bound
	file  string
	parts *wiring.Parts
	db    *aoscdb.Store
	// fanOut and timeout are how many instances are asked at once, and for how long. Set by open.
	fanOut  int
	timeout time.Duration
}

// rawStore opens aoscdb without asking for its version, for init.
func (a *app) rawStore() (*aoscdb.Store, error) {
	conf, err := a.bound.Load(a.file, "aoscdb-dsn", "aoscdb-ca-file")
	if err != nil {
		return nil, err
	}
	a.db, err = wiring.OpenStore(conf)
	return a.db, err
}

func (a *app) store(ctx context.Context) (*aoscdb.Store, error) {
	if a.db != nil {
		return a.db, nil
	}
	store, err := a.rawStore()
	if err != nil {
		return nil, err
	}
	return store, store.CheckVersion(ctx)
}

// open opens everything: aoscdb, the schemas' repository, the inventory and the instances' connections.
func (a *app) open(ctx context.Context) (*wiring.Parts, error) {
	if a.parts != nil {
		return a.parts, nil
	}
	conf, err := a.bound.Load(a.file)
	if err != nil {
		return nil, err
	}
	a.fanOut, a.timeout = conf.GetInt("fanout"), 2*conf.GetDuration("connect-timeout")
	env := daemon.NewEnv("aosc", conf, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	env.Once = true
	a.parts, err = wiring.Open(ctx, env)
	return a.parts, err
}

// desk opens what looking at and steering alters takes. names are a tier and a table, if they were given: misspelt ones are an error.
func (a *app) desk(ctx context.Context, names ...string) (*operate.Desk, error) {
	parts, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.checkNames(ctx, names...); err != nil {
		return nil, err
	}
	return &operate.Desk{Store: parts.Store, Inventory: parts.Inventory, Pool: parts.Pool, FanOut: a.fanOut, Timeout: a.timeout}, nil
}

func (a *app) close() {
	if a.parts != nil {
		a.parts.Close()
	}
	if a.db != nil {
		a.db.Close()
	}
}

// warnUnknownTier tells when a tier that was just created is not in the inventory: legal, but rarely meant.
func (a *app) warnUnknownTier(ctx context.Context, name string) error {
	parts, err := a.open(ctx)
	if err != nil {
		return fmt.Errorf("the inventory could not be read to look for it: %w", err)
	}
	_, err = fleet.FindTier(ctx, parts.Inventory, name)
	return err
}
