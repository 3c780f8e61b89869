package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/cotton/client"
	"github.com/aosc/aosc/internal/daemon"
)

// clientKeys are those of the commands that ask the scheduler.
func clientKeys() []daemon.Key {
	return []daemon.Key{
		{Name: "api", Default: []string{"http://" + defaultListen}, Unit: "URL",
			Help: "the scheduler; may be repeated: standbys are passed over"},
		{Name: "token-file", Default: "", Help: "file with the bearer token, not readable by others"},
		{Name: "work-dir", Default: defaultWorkDir(),
			Help: "of a scheduler on this machine: its socket is used where it can be opened, and no token is needed"},
		{Name: "ca-file", Default: "", Help: "certificate authority of the scheduler, PEM; empty = the system's"},
	}
}

// asking is one run of a command that asks the scheduler.
type asking struct {
	*client.Client
	out  io.Writer
	json bool
}

// print writes v as JSON, or as the table that fill makes.
func (a *asking) print(v any, fill func(w io.Writer)) error {
	if a.json {
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, string(text))
		return err
	}
	w := tabwriter.NewWriter(a.out, 2, 0, 2, ' ', 0)
	fill(w)
	return w.Flush()
}

// clientCommand gives a command the keys of all, and a client.
func clientCommand(cmd *cobra.Command, do func(ctx context.Context, a *asking, args []string) error) *cobra.Command {
	file := cmd.Flags().String("config", "", "configuration file (YAML, TOML or JSON)")
	bound := daemon.Bind(cmd.Flags(), "COTTON", clientKeys())
	output := cmd.Flags().StringP("output", "o", "table", "table or json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := bound.Load(*file)
		if err != nil {
			return err
		}
		if *output != "table" && *output != "json" {
			return fmt.Errorf("--output %q: want table or json", *output)
		}
		c, err := newClient(v)
		if err != nil {
			return err
		}
		defer c.Close()
		return do(cmd.Context(), &asking{Client: c, out: cmd.OutOrStdout(), json: *output == "json"}, args)
	}
	return cmd
}

func newClient(v *viper.Viper) (*client.Client, error) {
	return client.New(client.Config{URLs: v.GetStringSlice("api"), TokenFile: v.GetString("token-file"), WorkDir: v.GetString("work-dir"),
		CAFile: v.GetString("ca-file")})
}

// waiting is the flags of commands that can wait for what they asked for.
type waiting struct {
	wait  bool
	limit time.Duration
}

func (w *waiting) add(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, what)
	cmd.Flags().DurationVar(&w.limit, "wait-limit", 10*time.Minute, "for how long to wait")
}

// run waits, when it was asked for.
func (w *waiting) run(ctx context.Context, wait func(context.Context) error) error {
	if !w.wait {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.limit, fmt.Errorf("not within %v", w.limit))
	defer cancel()
	return wait(ctx)
}

// keyValues reads flags of the form name=value.
func keyValues(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if _, twice := out[name]; !ok || name == "" || twice {
			return nil, fmt.Errorf("--%s %q: want name=value, each name once", flag, text)
		}
		out[name] = value
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// errNeedsPassword is for deletions, which prove by it that the right cluster is meant.
var errNeedsPassword = errors.New("--password-file is needed: a file with the password of the cluster's user, or - for standard input")
