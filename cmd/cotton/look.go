package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
)

func listCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List all clusters", Args: cobra.NoArgs}
	return clientCommand(cmd, func(ctx context.Context, a *asking, _ []string) error {
		list, err := a.Clusters(ctx)
		if err != nil {
			return err
		}
		return a.print(v1.Clusters{Clusters: append([]v1.Cluster{}, list...)}, func(w io.Writer) {
			fmt.Fprintln(w, "NAME\tSTATE\tNODES\tSERVING\tPRIMARY\tPOLICY\tLABELS\tMISSING")
			for _, c := range list {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", c.Name, c.State, c.Nodes, serving(c.Endpoints), primary(c.Endpoints), c.Policy,
					pairsText(c.Labels), cmp.Or(client.OneLine(client.Missing(c), 4*maxCell), "-"))
			}
		})
	})
}

func showCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show <name>", Short: "Show one cluster: instances, roles, lag, problems", Args: cobra.ExactArgs(1)}
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		c, err := a.Cluster(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(c, func(w io.Writer) { clusterTable(w, c) })
	})
}

// maxCell is the longest text in a table, in characters; the rest is below it.
const maxCell = 100

func clusterTable(w io.Writer, c v1.Cluster) {
	fmt.Fprintf(w, "cluster %s: %s, epoch %d, created %s\n", c.Name, c.State, c.Epoch, c.CreatedAt.Format(time.DateTime))
	fmt.Fprintf(w, "%s: %s\n", c.Policy, c.Promise)
	fmt.Fprintf(w, "user %s; each instance has %g cpus, %d MB of memory, %d MB of disk; labels %s\n", c.User, c.Size.CPUs, c.Size.MemMB, c.Size.DiskMB, pairsText(c.Labels))
	fmt.Fprintln(w, c.URL)
	fmt.Fprintln(w, "\nINSTANCE\tPHASE\tROLE\tWRITES\tADDRESS\tAGENT\tRACK\tLAG\tACKS\tVERSION\tLAUNCHES\tPROBLEM")
	for _, in := range c.Instances {
		lag := "-"
		if in.LagSeconds != nil {
			lag = fmt.Sprintf("%d s", *in.LagSeconds)
		}
		address := "-"
		if in.Port != 0 {
			address = net.JoinHostPort(in.Host, strconv.Itoa(in.Port))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%t\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", in.Name, phase(in), cmp.Or(in.Role, "unknown"), in.Writable, address,
			cmp.Or(in.Agent, "-"), cmp.Or(in.Rack, "-"), lag, acks(in), cmp.Or(in.Version, "-"), in.Launches, cmp.Or(client.OneLine(in.Problem, maxCell), "-"))
	}
	fmt.Fprintln(w)
	for _, in := range c.Instances {
		if client.OneLine(in.Problem, maxCell) != in.Problem { // a part of a log, perhaps: it has no place in the table
			fmt.Fprintf(w, "%s says:\n  %s\n", in.Name, strings.ReplaceAll(strings.TrimSpace(in.Problem), "\n", "\n  "))
		}
		if in.Errant != "" {
			fmt.Fprintf(w, "errant: %s has %s, which the primary does not have\n", in.Name, in.Errant)
		}
	}
	switch {
	case c.Change != nil:
		fmt.Fprint(w, "under way: ", changeText(*c.Change))
	case c.LastChange != nil:
		text, _, _ := strings.Cut(changeText(*c.LastChange), "\n")
		fmt.Fprintf(w, "last change of primary: %s; cotton log %s\n", text, c.Name)
	}
	if c.Operation != nil {
		fmt.Fprint(w, "under way: ", operationText(*c.Operation))
	}
	for _, p := range c.Problems {
		fmt.Fprintln(w, "problem:", strings.ReplaceAll(strings.TrimSpace(p), "\n", "\n  "))
	}
}

// phase of an instance, with what an operation does with it.
func phase(in v1.Instance) string {
	switch {
	case in.Phase == "removing":
	case in.Leaving:
		return in.Phase + ", leaving"
	case in.Joining:
		return in.Phase + ", joining"
	case in.Outdated:
		return in.Phase + ", restart due"
	}
	return in.Phase
}

// acks is whether an instance acknowledges commits, or for how many of how many its own wait.
func acks(in v1.Instance) string {
	switch {
	case in.Acks > 0:
		return fmt.Sprintf("%d of %d", in.Acks, in.Clients)
	case in.Acknowledging:
		return "yes"
	}
	return "-"
}

func endpointsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "endpoints <name>", Short: "Show where clients of a cluster connect", Args: cobra.ExactArgs(1)}
	ca := cmd.Flags().Bool("ca", false, "print the authorities that the servers' certificates come from, PEM, and nothing else")
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		e, err := a.Endpoints(ctx, args[0])
		if err != nil {
			return err
		}
		if *ca {
			if e.CA == "" {
				return fmt.Errorf("cluster %s has servers that an earlier release launched, without certificates: `cotton restart %s` gives them some", args[0], args[0])
			}
			_, err := io.WriteString(a.out, e.CA)
			return err
		}
		return a.print(e, func(w io.Writer) { endpointsTable(w, e) })
	})
}

func endpointsTable(w io.Writer, e v1.Endpoints) {
	if e.Primary != nil {
		fmt.Fprintf(w, "primary\t%s\n", endpoint(*e.Primary))
	} else {
		fmt.Fprintln(w, "primary\tnone: no instance accepts writes at this moment")
	}
	for _, r := range e.Replicas {
		fmt.Fprintf(w, "replica\t%s\n", endpoint(r))
	}
}

func whyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "why <name>", Short: "Say what a cluster waits for, and what is wrong with each agent", Args: cobra.ExactArgs(1)}
	return clientCommand(cmd, func(ctx context.Context, a *asking, args []string) error {
		why, err := a.Why(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(why, func(w io.Writer) { whyTable(w, why) })
	})
}

func whyTable(w io.Writer, why v1.Why) {
	for _, m := range why.Maintenance {
		verb, end := "will be", ""
		if m.Begun {
			verb = "is"
		}
		if !m.End.IsZero() {
			end = ", until " + m.End.Format(time.DateTime)
		}
		fmt.Fprintf(w, "agent %s %s down for maintenance from %s%s\n", m.Hostname, verb, m.Start.Format(time.DateTime), end)
	}
	for _, a := range why.Withheld {
		fmt.Fprintln(w, a.Text)
	}
	if len(why.Members) == 0 {
		fmt.Fprintf(w, "all instances of %s have a place; `cotton show %s` says how they are\n", why.Cluster, why.Cluster)
		return
	}
	var names []string
	for _, id := range why.Members {
		names = append(names, fmt.Sprintf("%s-%d", why.Cluster, id))
	}
	fmt.Fprintf(w, "%s want a place; %d offers were looked at\n", strings.Join(names, ", "), why.OffersSeen)
	switch {
	case why.OffersSeen == 0:
		fmt.Fprintln(w, "Mesos has made no offer yet: are there agents, and may this role use them?")
	case len(why.Refusals) == 0:
		fmt.Fprintln(w, "no agent was refused: an offer has not come yet since it began to wait")
	default:
		fmt.Fprintln(w, "\nAGENT\tINSTANCE\tREASON\tAT")
		for _, r := range why.Refusals {
			fmt.Fprintf(w, "%s\t%s-%d\t%s\t%s\n", r.Hostname, why.Cluster, r.Member, client.OneLine(r.Reason, 2*maxCell), r.At.Format(time.TimeOnly))
		}
	}
}

func endpoint(e v1.Endpoint) string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

func primary(e v1.Endpoints) string {
	if e.Primary == nil {
		return "-"
	}
	return endpoint(*e.Primary)
}

func serving(e v1.Endpoints) int {
	n := len(e.Replicas)
	if e.Primary != nil {
		n++
	}
	return n
}

func pairsText(m map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, name+"="+m[name])
	}
	return cmp.Or(strings.Join(parts, ","), "-")
}
