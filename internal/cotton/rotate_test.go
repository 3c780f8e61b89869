package cotton_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
)

// TestDecideSecrets: each step of a rotation, and what it waits for.
func TestDecideSecrets(t *testing.T) {
	const a, b = "aaaaaaaa", "bbbbbbbb" // a is rotated to b
	admin, repl := cotton.AdminAccount, cotton.ReplicationAccount
	accounts := func(text string) []cotton.AccountPasswords { // "W" wanted, "R" retained, "L" that one is listed; of both
		one := cotton.AccountPasswords{Wanted: strings.Contains(text, "W"), Retained: strings.Contains(text, "R"), Listed: strings.Contains(text, "L")}
		x, y := one, one
		x.Account, y.Account = admin, repl
		return []cotton.AccountPasswords{x, y}
	}
	members := func(edit func([]cotton.MemberSecrets)) []cotton.MemberSecrets {
		var all []cotton.MemberSecrets
		for id := 1; id <= 3; id++ {
			all = append(all, cotton.MemberSecrets{Member: id, Keys: []string{b}, Certificate: b, Channel: id > 1, Receiving: id > 1, Asked: true})
		}
		if edit != nil {
			edit(all)
		}
		return all
	}
	for _, tc := range []struct {
		name     string
		accounts string
		edit     func([]cotton.MemberSecrets)
		record   func(*cotton.Record)
		want     string
		problem  string
	}{
		{"all is done", "W", nil, nil, "", ""},
		{"another key is used", "", nil, nil, "change password cotton_admin 0", ""},
		{"also where executors do not have it yet", "", func(m []cotton.MemberSecrets) { m[2].Keys = []string{a} }, nil, "change password cotton_admin 0", ""},
		{"back to the former one", "RL", func(m []cotton.MemberSecrets) { m[2].Certificate = a }, nil, "change password cotton_admin 0", ""},
		{"a third before the second is everywhere", "R", func(m []cotton.MemberSecrets) { m[2].Channel = false }, nil, "", "c0-3 follows with another password"},
		{"a channel has the old one", "WRL", func(m []cotton.MemberSecrets) { m[2].Channel = false }, nil, "give the channel the password  3", ""},
		{"another replica does not follow", "WRL", func(m []cotton.MemberSecrets) { m[2].Channel, m[1].Receiving = false, false }, nil, "", "once all others follow"},
		{"the old key is in the file still", "WRL", nil, nil, "", ""},
		{"it was taken out", "WR", nil, nil, "discard the old password cotton_admin 0", ""},
		{"too early: a member is away", "WR", func(m []cotton.MemberSecrets) { m[2].Asked = false }, nil, "", "c0-3 does not answer"},
		{"too early: an executor has the old key", "WR", func(m []cotton.MemberSecrets) { m[1].Keys = []string{a, b} }, nil, "", "executor of c0-2"},
		{"too early: a certificate is old", "WR", func(m []cotton.MemberSecrets) { m[0].Certificate = a }, nil, "", "c0-1 has a certificate"},
		{"too early: a member is of an earlier release", "WR", nil, func(r *cotton.Record) { r.Members[1].Proves = false }, "", "launched by an earlier release"},
		{"one that is being removed is not waited for", "WR", func(m []cotton.MemberSecrets) { m[2].Asked = false },
			func(r *cotton.Record) { r.Members[2].Phase = cotton.PhaseRemoving }, "discard the old password cotton_admin 0", ""},
		{"the last of an earlier release is gone", "W", nil, func(r *cotton.Record) { r.Former = true }, "settle  0", ""},
		{"a member of it runs", "W", nil, func(r *cotton.Record) { r.Former, r.Members[1].Proves = true, false }, "", ""},
	} {
		r := cotton.Record{Spec: cotton.Spec{Name: "c0", Nodes: 3}, Primary: 1, Incarnation: "i"}
		for id := 1; id <= 3; id++ {
			r.Members = append(r.Members, cotton.Member{ID: id, Phase: cotton.PhaseRunning, Proves: true})
		}
		if tc.record != nil {
			tc.record(&r)
		}
		step, problem := cotton.DecideSecrets(r, []string{b}, accounts(tc.accounts), members(tc.edit))
		got := ""
		if step != nil {
			got = fmt.Sprint(step.Kind, " ", step.Account, " ", step.Member)
		}
		if got != tc.want || !strings.Contains(problem, tc.problem) || tc.problem == "" && problem != "" {
			t.Errorf("%s: %q, %q; want %q, %q", tc.name, got, problem, tc.want, tc.problem)
		}
	}
}
