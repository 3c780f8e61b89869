package main

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/client"
)

// TestWhyTable: what `cotton why` says of a cluster that waits, and of machines that will go.
func TestWhyTable(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		why  v1.Why
		want []string
	}{
		{"all is placed", v1.Why{Cluster: "c"}, []string{"all instances of c have a place"}},
		{"no offers", v1.Why{Cluster: "c", Members: []int{1, 3}}, []string{"c-1, c-3 want a place", "Mesos has made no offer yet"}},
		{"refused", v1.Why{Cluster: "c", Members: []int{1}, OffersSeen: 2, Refusals: []v1.Refusal{{Member: 1, Hostname: "h", Reason: "rack: a wanted, the agent has b", At: at}}},
			[]string{"h", "c-1", "rack: a wanted, the agent has b"}},
		{"a machine will go, and one is down", v1.Why{Cluster: "c", Maintenance: []v1.Maintenance{
			{Hostname: "h1", Start: at, End: at.Add(time.Hour)}, {Hostname: "h2", Start: at, Begun: true}}},
			[]string{"agent h1 will be down for maintenance from 2026-03-01 12:00:00, until 2026-03-01 13:00:00\n", "agent h2 is down for maintenance from 2026-03-01 12:00:00\n",
				"all instances of c have a place"}},
		{"an agent is drained at Mesos", v1.Why{Cluster: "c", Withheld: []v1.Withheld{{Hostname: "h1", State: "drained",
			Text: "agent h1 is drained"}}},
			[]string{"agent h1 is drained\n"}},
	} {
		var b strings.Builder
		whyTable(&b, tc.why)
		for _, want := range tc.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q lacks %q", tc.name, b.String(), want)
			}
		}
	}
}

// TestShowIsATable: what an instance says in many lines, a log of mysqld for instance, stands below the table and not in it.
func TestShowIsATable(t *testing.T) {
	long := "lost TASK_FAILED mysqld ended: exit status 1\n2026-03-01 [ERROR] one\n2026-03-01 [ERROR] two\tthree"
	c := v1.Cluster{Name: "c", Instances: []v1.Instance{
		{ID: 1, Name: "c-1", Phase: "running", Problem: "Mesos does not reach its agent since 2026-03-01 12:00:00 UTC (TASK_UNREACHABLE)"},
		{ID: 2, Name: "c-2", Phase: "lost", Problem: long + strings.Repeat(" x", 200)},
	}}
	var b strings.Builder
	clusterTable(&b, c)
	_, rows, _ := strings.Cut(b.String(), "\nINSTANCE")
	table, below, _ := strings.Cut(rows, "\n\n")
	if n := strings.Count(table, "\n"); n != 2 {
		t.Errorf("%d lines for two instances:\n%s", n, table)
	}
	if !strings.Contains(table, "TASK_UNREACHABLE") || !strings.Contains(below, "c-2 says:\n  lost TASK_FAILED") || !strings.Contains(below, "[ERROR] two") {
		t.Errorf("%s", b.String())
	}
}

// TestFailedLaunches: create --wait says once of each launch that failed why.
func TestFailedLaunches(t *testing.T) {
	var b strings.Builder
	l := launches{out: &b, shown: map[string]bool{}}
	c := v1.Cluster{Nodes: 1, Instances: []v1.Instance{{ID: 1, Name: "c-1", Agent: "h1", Launches: 1}}}
	for failures := range 3 {
		c.Instances[0].Failures, c.Instances[0].Launches = failures, failures
		c.Instances[0].Failure = "no mysqld\nin PATH"
		l.show(c)
		l.show(c)
	}
	want := "c-1: launch 1 on agent h1 failed, 1 in a row: no mysqld in PATH\nc-1: launch 2 on agent h1 failed, 2 in a row: no mysqld in PATH\n"
	if b.String() != want {
		t.Errorf("%q", b.String())
	}
	if missing := client.Missing(c); !strings.Contains(missing, "no mysqld in PATH") {
		t.Errorf("what is missing does not say why: %s", missing)
	}
}
