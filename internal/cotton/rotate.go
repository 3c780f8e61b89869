package cotton

import (
	"fmt"
	"slices"
)

// Moving the passwords of our accounts to another key is a series of steps, each of which leaves everybody able to log in: the
// primary's accounts get the new password and keep the old one; the replicas' channels are given the new one, one at a time; the
// old one is taken away once nobody can need it. Certificates are the executors' own doing.

// AccountPasswords is what is known of an account at the primary.
type AccountPasswords struct {
	Account string
	Wanted  bool // it has the password of the key that is used
	// Retained: it has an old one besides; Listed: that is of a key that is still in the file.
	Retained, Listed bool
}

// MemberSecrets is what is known of a member.
type MemberSecrets struct {
	Member int
	// Keys are the ids of its executor's keys, Certificate is that by which its server's certificate was issued.
	Keys        []string
	Certificate string
	// Channel of one that is not the primary: it logs in to its source as it should, over a connection that is verified.
	Channel, Receiving bool
	Asked              bool // it was asked and answered
}

// SecretKind is what a step does.
type SecretKind string

const (
	SecretChange  SecretKind = "change password" // of an account, at the primary
	SecretRepoint SecretKind = "give the channel the password"
	SecretDiscard SecretKind = "discard the old password" // of an account, at the primary
	SecretSettled SecretKind = "settle"                   // nothing of an earlier release is accepted any more
)

// SecretStep is one.
type SecretStep struct {
	Kind    SecretKind
	Account string
	Member  int
}

// DecideSecrets is the next step that brings a cluster's passwords to the first of the keys; nil when there is none. problem is
// what keeps it from being the last. It is decided on a primary that takes writes, while nothing changes.
func DecideSecrets(r Record, keys []string, accounts []AccountPasswords, members []MemberSecrets) (step *SecretStep, problem string) {
	for _, a := range accounts {
		// Giving it a third one would take away the second, by which somebody may log in still.
		if !a.Wanted && (!a.Retained || len(laggards(r, keys, members)) == 0) {
			return &SecretStep{Kind: SecretChange, Account: a.Account}, ""
		}
		if !a.Wanted && a.Retained && a.Listed { // back to the former one, or on to a third while the second is not everywhere
			return &SecretStep{Kind: SecretChange, Account: a.Account}, ""
		}
	}
	for _, a := range accounts {
		if !a.Wanted {
			return nil, fmt.Sprintf("the password of %s is not changed again before the last change is over: %s", a.Account, first(laggards(r, keys, members)))
		}
	}
	for _, m := range members {
		if m.Member == r.Primary || m.Channel || !m.Asked {
			continue
		}
		// The others go on to acknowledge meanwhile.
		if slices.ContainsFunc(members, func(o MemberSecrets) bool { return o.Member != m.Member && o.Member != r.Primary && !o.Receiving }) {
			return nil, fmt.Sprintf("%s gets the new password of the replication account once all others follow", r.MemberName(m.Member))
		}
		return &SecretStep{Kind: SecretRepoint, Member: m.Member}, ""
	}
	late := laggards(r, keys, members)
	for _, a := range accounts {
		if !a.Retained || a.Listed {
			continue
		}
		if len(late) > 0 {
			return nil, fmt.Sprintf("the old password of %s is kept: %s", a.Account, late[0])
		}
		return &SecretStep{Kind: SecretDiscard, Account: a.Account}, ""
	}
	if r.Former && len(late) == 0 {
		return &SecretStep{Kind: SecretSettled}, ""
	}
	return nil, ""
}

// laggards are why an old password may be needed still, for people.
func laggards(r Record, keys []string, members []MemberSecrets) []string {
	var why []string
	for _, m := range r.Members {
		i := slices.IndexFunc(members, func(s MemberSecrets) bool { return s.Member == m.ID })
		name := r.MemberName(m.ID)
		switch {
		case m.Phase == PhasePending || m.Phase == PhaseRemoving: // it begins with the keys of then
		case !m.Proves:
			why = append(why, name+" was launched by an earlier release: restart it")
		case i < 0 || !members[i].Asked:
			why = append(why, name+" does not answer, and may know no other")
		case len(members[i].Keys) == 0 || members[i].Keys[0] != keys[0]:
			why = append(why, fmt.Sprintf("the executor of %s uses another admin key: %v", name, members[i].Keys))
		case members[i].Certificate != keys[0]:
			why = append(why, name+" has a certificate of another admin key")
		case m.ID != r.Primary && !members[i].Channel:
			why = append(why, name+" follows with another password")
		}
	}
	return why
}

func first(why []string) string {
	if len(why) == 0 {
		return "a member may need it"
	}
	return why[0]
}
