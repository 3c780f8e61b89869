package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/internal/cotton/api"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
)

// createFlags are what `cotton create` adds to v1.Create.
type createFlags struct {
	v1.Create
	waiting
	size, passwordFile                   string
	labels, config, scalars, constraints []string
	backups                              backupFlags
}

func createCommand() *cobra.Command {
	f := &createFlags{}
	cmd := &cobra.Command{
		Use: "create <name>", Short: "Launch a cluster", Args: cobra.ExactArgs(1),
		Long: "Asks the scheduler for a cluster and prints the password of its user, which is kept nowhere: only this once can it be seen.\n" +
			"To choose it yourself, so that a lost answer loses nothing, give --password-file.",
	}
	flags := cmd.Flags()
	flags.StringVar(&f.User, "user", "app", "account that clients of the cluster use")
	flags.StringVar(&f.passwordFile, "password-file", "", "its password, or - for standard input; empty = one is generated and printed")
	flags.IntVar(&f.Nodes, "nodes", 1, "number of instances")
	flags.StringVar(&f.size, "size", "", "of an instance: a name, or cpus/memory/disk such as 1/512mb/2gb; empty = the scheduler's default")
	flags.StringVar(&f.Policy, "policy", "", "lossless, available or single; empty = the safest for that many nodes")
	flags.StringArrayVar(&f.labels, "label", nil, "name=value (repeatable); tier=NAME joins it to a tier of the pipeline")
	flags.StringArrayVar(&f.config, "set", nil, "name=value of my.cnf (repeatable)")
	flags.StringArrayVar(&f.constraints, "constraint", nil, "attribute=value[|value...] that every agent of it must have, such as rack=a|b; hostname counts as one (repeatable)")
	flags.StringArrayVar(&f.scalars, "scalar", nil, "name=amount of a counted resource that each instance needs (repeatable)")
	flags.StringVar(&f.Package, "package", "", "what is installed, a name of the scheduler's --packages; empty = mysqld of the host")
	flags.BoolVar(&f.Sidecars, "sidecars", false, "run checksum and oscworker beside each mysqld")
	f.backups.add(cmd, &f.Create)
	f.waiting.add(cmd, "return once it takes writes and all instances serve")
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error { return f.run(ctx, a, args[0]) })
}

func (f *createFlags) run(ctx context.Context, a *asking, name string) error {
	if err := f.complete(); err != nil {
		return err
	}
	created, err := a.Create(ctx, name, f.Create)
	if err != nil {
		return err
	}
	// Printed before the wait: a wait that ends badly must not lose the password.
	if err := a.print(created, func(w io.Writer) {
		fmt.Fprintf(w, "cluster\t%s\nurl\t%s\nuser\t%s\n", name, created.ClusterURL, f.User)
		if f.passwordFile == "" {
			fmt.Fprintf(w, "password\t%s\n", created.Password)
		}
	}); err != nil {
		return err
	}
	return f.waiting.run(ctx, func(ctx context.Context) error {
		c, err := a.WatchRunning(ctx, name, (&launches{out: a.out, quiet: a.json, shown: map[string]bool{}}).show)
		if err != nil || a.json {
			return err
		}
		return a.print(c.Endpoints, func(w io.Writer) { endpointsTable(w, c.Endpoints) })
	})
}

// launches prints each failed launch once.
type launches struct {
	out   io.Writer
	quiet bool
	shown map[string]bool
}

func (l *launches) show(c v1.Cluster) {
	for _, in := range c.Instances {
		// While the next launch is under way the failure is that of the one before.
		key := fmt.Sprintf("%s %d", in.Name, in.Failures)
		if text := client.FailedLaunch(in); text != "" && !l.quiet && !l.shown[key] {
			l.shown[key] = true
			fmt.Fprintln(l.out, text)
		}
	}
}

// complete reads the flags that are more than a value.
func (f *createFlags) complete() (err error) {
	if f.Nodes < 1 { // in the request 0 would be absent, which is 1
		return fmt.Errorf("--nodes %d: a cluster has at least one instance", f.Nodes)
	}
	if f.size != "" {
		size, err := v1.ParseSize(f.size)
		if err != nil {
			return fmt.Errorf("--size %q: want a name of the scheduler's, or cpus/memory/disk such as 1/512mb/2gb: %w", f.size, err)
		}
		f.Size = &size
	}
	if f.passwordFile != "" {
		if f.Password, err = client.ReadSecret(f.passwordFile); err != nil {
			return fmt.Errorf("read the password: %w", err)
		}
	}
	if f.Backup, err = f.backups.policy(); err != nil {
		return err
	}
	if f.Labels, err = keyValues("label", f.labels); err != nil {
		return err
	}
	if f.Config, err = keyValues("set", f.config); err != nil {
		return err
	}
	if f.Constraints, err = keyValues("constraint", f.constraints); err != nil {
		return err
	}
	amounts, err := keyValues("scalar", f.scalars)
	if err != nil {
		return err
	}
	for name, text := range amounts {
		amount, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("--scalar %s=%s: not a number", name, text)
		}
		if f.Scalars == nil {
			f.Scalars = map[string]float64{}
		}
		f.Scalars[name] = amount
	}
	return nil
}

func deleteCommand() *cobra.Command {
	var passwordFile string
	var force bool
	var waiting waiting
	cmd := &cobra.Command{Use: "delete <name>", Short: "End a cluster and destroy its data", Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "the password of the cluster's user, or - for standard input")
	cmd.Flags().BoolVar(&force, "force", false, "do not wait for agents that are away: what they hold is destroyed when they return, see `cotton agents`")
	waiting.add(cmd, "return once nothing of it is left")
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		if passwordFile == "" {
			return errNeedsPassword
		}
		password, err := client.ReadSecret(passwordFile)
		if err != nil {
			return fmt.Errorf("read the password: %w", err)
		}
		end := a.Delete
		if force {
			end = a.ForceDelete
		}
		if err := end(ctx, args[0], password); err != nil {
			return err
		}
		if err := waiting.run(ctx, func(ctx context.Context) error { return a.WaitGone(ctx, args[0]) }); err != nil {
			return err
		}
		what := "is being deleted"
		if waiting.wait {
			what = "is gone"
		}
		return a.print(map[string]string{"cluster": args[0], "state": what}, func(w io.Writer) { fmt.Fprintln(w, "cluster", args[0], what) })
	})
}

func tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "token read|write <name>", Short: "Make a token for the API", Args: cobra.ExactArgs(2),
		Long: "Prints a new token on standard output, for its bearer's token file, and on standard error the line for the scheduler's --token-file:\n\n" +
			"  cotton token write ci > ci.token 2>> tokens\n\nThe line holds the token's hash only. The scheduler reads the file again when it changes; removing the line withdraws the token.",
		RunE: func(cmd *cobra.Command, args []string) error {
			role, err := api.ParseRole(args[0])
			if err != nil {
				return err
			}
			token, line, err := api.NewToken(role, args[1])
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), token); err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.ErrOrStderr(), line)
			return err
		},
	}
}
