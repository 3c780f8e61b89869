package main

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
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
