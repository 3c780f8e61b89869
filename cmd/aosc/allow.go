package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysql"
)

func allowCommand(a *app) *cobra.Command {
	row := aoscdb.AllowedAlter{ServerList: aoscdb.ServersDefault}
	var servers []string
	var uncommitted bool
	cmd := &cobra.Command{
		Use: "allow <tier> <table>", Short: "Allow a table to be altered to its desired schema", Args: cobra.ExactArgs(2),
		Long: "Inserts the row of allowed_alters that an operator would insert by hand:\n\n" +
			"  INSERT INTO allowed_alters VALUES ('udb','tabla1','istvan',NULL,10,'default');\n\n" +
			"When every database has the desired schema, the alter is checked verify_tries times, verify_interval_s apart, before it is finished: " +
			"with the defaults of a tier (3, 86400) three days later. `aosc status` says when; `aosc tier set` changes it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			row.Group, row.Table = args[0], args[1]
			if row.CutOver != aoscdb.CutOverAuto && row.CutOver != aoscdb.CutOverManual {
				return fmt.Errorf("--cut-over %q: want auto or manual", row.CutOver)
			}
			addrs, err := parseAddrs(servers)
			if err != nil {
				return err
			}
			if len(addrs) > 0 {
				row.ServerList = aoscdb.ServersCustom
			}
			store, err := a.store(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := store.Tier(cmd.Context(), row.Group); errors.Is(err, aoscdb.ErrNotFound) {
				if known, err := store.Names(cmd.Context()); err == nil {
					return unknownName("tier", row.Group, tiersOf(known), fmt.Sprintf(
						"`aosc tier list` shows those in the table tiers, `aosc tier set %s` makes it", row.Group))
				}
				return err
			} else if err != nil {
				return err
			}
			if err := a.checkCommitted(cmd, row.Group, row.Table); err != nil && !uncommitted {
				return err
			}
			custom := make([]aoscdb.CustomServer, len(addrs))
			for i, addr := range addrs {
				custom[i] = aoscdb.CustomServer{Group: row.Group, Table: row.Table, Host: addr.Host, Port: addr.Port}
			}
			// The list first: a permission must never be seen without the servers it is restricted to.
			if len(custom) > 0 {
				if err := store.SetCustomServers(cmd.Context(), row.Group, row.Table, custom); err != nil {
					return err
				}
			}
			if err := store.AllowBy(cmd.Context(), row); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s.%s allowed by %s; `aosc watch` shows its progress\n", row.Group, row.Table, row.AllowedBy)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&row.AllowedBy, "by", login(), "who allows it")
	f.IntVar(&row.Priority, "priority", 10, "higher goes first")
	f.BoolVar(&row.AllowUnsafe, "allow-unsafe", false, "permit a plan that loses data")
	f.StringVar(&row.CutOver, "cut-over", aoscdb.CutOverAuto,
		"auto | manual: a copy, verified and caught up, waits for `aosc cutover` before it is swapped in")
	f.StringVar(&row.Comment, "comment", "", "kept with the permission")
	f.BoolVar(&uncommitted, "uncommitted", false,
		"also a table that has no file at the head of the branch yet; the alter is on HOLD until it has")
	f.StringSliceVar(&servers, "server", nil, "host:port; only these instances (repeatable)")
	return cmd
}

func revokeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "revoke <tier> <table>", Short: "Withdraw the permission; what is being copied is stopped", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.store(cmd.Context())
			if err != nil {
				return err
			}
			found, err := store.Revoke(cmd.Context(), args[0], args[1], login())
			if err != nil {
				return err
			}
			if !found {
				if err := a.checkNames(cmd.Context(), args...); err != nil {
					return err
				}
				return fmt.Errorf("%s.%s is not in allowed_alters", args[0], args[1])
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s.%s revoked\n", args[0], args[1])
			return nil
		},
	}
}

func parseAddrs(list []string) ([]mysql.Addr, error) {
	out := make([]mysql.Addr, 0, len(list))
	for _, s := range list {
		addr, err := mysql.ParseAddr(s)
		if err != nil {
			return nil, err
		}
		out = append(out, addr)
	}
	return out, nil
}

// login is the name written as allowed_by when none is given.
func login() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}
