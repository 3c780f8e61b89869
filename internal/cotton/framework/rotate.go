package framework

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// rotation is what the loop keeps of the cluster's passwords.
type rotation struct {
	next     time.Time // when they are looked at again
	keys     string    // by which they were looked at last
	problems []string
	// accepted are passwords that belong to a hash, or "" for none: finding that out takes a while.
	accepted map[string]string
}

const (
	// secretsEvery is how often the passwords are looked at when nothing is to be done, secretsSoon while there is.
	secretsEvery = 30 * time.Second
	secretsSoon  = time.Second
	// secretsLimit bounds one look and its step.
	secretsLimit = 3 * time.Second
)

// keepSecrets has the cluster's accounts use the first of the admin keys, a step at a time. It is done only while all is well: who
// fails over does not wait for it.
func (d *driver) keepSecrets(ctx context.Context, r cotton.Record, seen []cotton.Seen, decision cotton.Decision) {
	keys := strings.Join(d.f.cfg.Keys.Keys().IDs(), " ")
	now := time.Now()
	if d.rotation.keys != keys {
		d.rotation = rotation{keys: keys, accepted: map[string]string{}}
	}
	if now.Before(d.rotation.next) || r.Change != nil || decision.Transition != nil || r.State != cotton.StateRunning {
		return
	}
	primary := slices.IndexFunc(seen, func(s cotton.Seen) bool { return s.Member == r.Primary && s.Err == nil && s.Writable() })
	if primary < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, secretsLimit)
	defer cancel()
	step, problem, err := d.nextSecret(ctx, r, seen)
	if err == nil && step != nil {
		err = d.takeSecret(ctx, r, *step)
		d.f.cfg.Log.Info("passwords are moved to another admin key", "cluster", r.Spec.Name, "step", step.Kind, "account", step.Account,
			"member", step.Member, "error", err)
	}
	d.rotation.problems, d.rotation.next = nil, now.Add(secretsEvery)
	switch {
	case err != nil && !errors.Is(err, errUnchanged):
		d.rotation.problems = []string{"the passwords of cotton's accounts cannot be moved to the admin key that is used: " + err.Error()}
	case problem != "":
		d.rotation.problems = []string{problem}
	}
	if step != nil || d.rotation.problems != nil {
		d.rotation.next = now.Add(secretsSoon)
	}
}

// nextSecret looks at all members and decides.
func (d *driver) nextSecret(ctx context.Context, r cotton.Record, seen []cotton.Seen) (*cotton.SecretStep, string, error) {
	db, err := d.primaryDB(r)
	if err != nil {
		return nil, "", err
	}
	keys := d.f.cfg.Keys.Keys()
	var accounts []cotton.AccountPasswords
	for _, name := range []string{cotton.AdminAccount, cotton.ReplicationAccount} {
		has, err := mysql.ReadPasswords(ctx, db, name)
		if err != nil {
			return nil, "", err
		}
		wanted := keys.Current().Password(r.Identity(), name)
		listed := keys.Passwords(cotton.Identity{Cluster: r.Spec.Name, Incarnation: r.Incarnation}, name)
		a := cotton.AccountPasswords{Account: name, Wanted: d.accepted(has.Current, listed) == wanted, Retained: has.Retained != ""}
		a.Listed = a.Retained && d.accepted(has.Retained, listed) != ""
		accounts = append(accounts, a)
	}
	members := mysql.FanOut(ctx, seen, 0, 0, func(ctx context.Context, s cotton.Seen) (cotton.MemberSecrets, error) {
		return d.memberSecrets(ctx, r, keys, s), nil
	})
	var list []cotton.MemberSecrets
	for _, m := range members {
		if m.Err == nil {
			list = append(list, m.Value)
		}
	}
	step, problem := cotton.DecideSecrets(r, keys.IDs(), accounts, list)
	return step, problem, nil
}

// accepted is the password that a hash is of, empty for none of them.
func (d *driver) accepted(hash string, passwords []string) string {
	if hash == "" {
		return ""
	}
	if known, ok := d.rotation.accepted[hash]; ok {
		return known
	}
	found := ""
	for _, p := range passwords {
		if mysql.CheckPassword(hash, p) {
			found = p
			break
		}
	}
	d.rotation.accepted[hash] = found
	return found
}

func (d *driver) memberSecrets(ctx context.Context, r cotton.Record, keys cotton.AdminKeys, s cotton.Seen) cotton.MemberSecrets {
	out := cotton.MemberSecrets{Member: s.Member}
	m, ok := r.Member(s.Member)
	if !ok || s.Err != nil {
		return out
	}
	if f, ok := d.c.factsOf(m.ID); ok && f.Task == m.TaskID {
		if out.Keys = f.Keys; f.Certificate != nil {
			out.Certificate = f.Certificate.Key
		}
	}
	if s.Replica == nil {
		out.Asked = m.ID == r.Primary
		return out
	}
	out.Receiving = s.Replica.Receiving()
	db, err := d.db(*m)
	if err != nil {
		return out
	}
	channel, err := mysql.ReadChannelSecrets(ctx, db)
	if err != nil || channel == nil {
		return out
	}
	p, ok := r.Member(r.Primary)
	verify := ""
	if ok && m.Proves && p.Proves {
		verify = cotton.AuthoritiesFromData
	}
	out.Asked = true
	out.Channel = channel.VerifyBy == verify && channel.Password(keys.Current().Password(r.Identity(), cotton.ReplicationAccount))
	return out
}

var (
	faultSecretChanged   = fault.Register("cotton.secret.changed", "an account has a new password and keeps the old one")
	faultSecretDiscarded = fault.Register("cotton.secret.discarded", "the old password of an account is good no more")
)

// takeSecret takes a step.
func (d *driver) takeSecret(ctx context.Context, r cotton.Record, s cotton.SecretStep) error {
	if now := d.c.snapshot(); now.Epoch != r.Epoch || now.State == cotton.StateDeleting || now.Change != nil {
		return errUnchanged
	}
	db, err := d.primaryDB(r)
	if err != nil {
		return err
	}
	switch s.Kind {
	case cotton.SecretChange:
		err = mysql.ChangePassword(ctx, db, s.Account, d.f.cfg.Keys.Keys().Current().Password(r.Identity(), s.Account))
		fault.Point(faultSecretChanged)
	case cotton.SecretDiscard:
		err = mysql.DiscardPassword(ctx, db, s.Account)
		fault.Point(faultSecretDiscarded)
	case cotton.SecretRepoint:
		m, ok := r.Member(s.Member)
		if !ok {
			return errUnchanged
		}
		err = d.follow(ctx, r, *m)
	case cotton.SecretSettled:
		err = d.f.change(ctx, d.c, func(r *cotton.Record) error {
			if !r.Former {
				return errUnchanged
			}
			r.Former = false
			return nil
		})
	}
	return err
}
