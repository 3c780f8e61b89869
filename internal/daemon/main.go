package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/release"
)

// Main runs the daemon a Spec describes as this process and never returns: exit status 0 after a clean stop, 1 with
// one line on stderr that says why. SIGTERM or SIGINT asks for a clean stop; a second one ends the process at once.
func Main(s Spec) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop)
	err := Execute(ctx, s, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, s.Name+": "+oneLine(err))
		os.Exit(1)
	}
	os.Exit(0)
}

// Execute is Main without the process: it runs the daemon with these arguments until it ends or ctx does. The end of
// ctx is not an error.
func Execute(ctx context.Context, s Spec, args []string, stdout, stderr io.Writer) error {
	root := &cobra.Command{
		Use: s.Name, Short: s.Short, Args: cobra.NoArgs,
		Version: Version(), SilenceUsage: true, SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	flags := root.Flags()
	flags.SortFlags = false
	file := flags.String("config", "", "configuration file (YAML, TOML or JSON)")
	once := flags.Bool("once", false, "one pass, then exit: 0, or 1 with the reason")
	printConfig := flags.Bool("print-config", false, "print the configuration in force, secrets masked, and exit")
	c := newConfiguration(s.EnvPrefix, append(chassisKeys(s.OwnListen), s.Keys...), flags)
	c.checks = s.Checks
	root.AddCommand(s.Commands...)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		err := c.load(*file)
		if *printConfig && len(c.source) > 0 {
			return errors.Join(c.print(stdout), err)
		}
		if err != nil {
			return err
		}
		return c.run(cmd.Context(), s, *once, stderr)
	}
	return root.ExecuteContext(ctx)
}

// run is the life of a configured daemon.
func (c *configuration) run(ctx context.Context, s Spec, once bool, stderr io.Writer) error {
	env := NewEnv(s.Name, c.viper, c.logger(stderr).With("daemon", s.Name))
	env.Metrics = newRegistry()
	env.Once = once
	if len(c.unknown) > 0 {
		env.Log.Info("keys of the configuration file that are not this daemon's", "file", c.file, "keys", strings.Join(c.unknown, ","))
	}
	if points := fault.Active(); points != "" {
		env.Log.Warn("fault points are armed, this is a test", "AOSC_FAULT", points)
	}
	if !once && s.OwnListen == "" {
		stop, err := env.serve(c.viper.GetString("listen"))
		if err != nil {
			return err
		}
		defer stop()
	}
	env.Log.Info("started", "version", Version(), "holder", env.Holder)
	err := s.Run(ctx, env)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		env.Log.Info("stopped")
		return nil
	}
	return err
}

// Version of this build: the module's version or the commit it was built from.
func Version() string { return release.Version() }

// oneLine keeps the reason of an exit greppable: joined errors come on several lines.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
}
