package framework

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// newIncarnation tells a cluster from all others that ever had its name, anywhere.
func newIncarnation() string { return strings.ToLower(rand.Text()) }

// incarnate gives a record of an earlier release an incarnation, before anything else is done with it: its servers have
// certificates from their next launch on, and passwords that derive from it from then on.
func (f *Framework) incarnate(ctx context.Context, r cotton.Record) (cotton.Record, error) {
	if r.Incarnation != "" {
		return r, nil
	}
	r.Incarnation, r.Former = newIncarnation(), true
	stored, err := f.cfg.Store.Put(ctx, r)
	if err != nil {
		return r, fmt.Errorf("give cluster %s, which an earlier release made, an incarnation: %w", r.Spec.Name, err)
	}
	f.cfg.Log.Info("a cluster of an earlier release gets passwords and certificates of its own", "cluster", r.Spec.Name)
	return stored, nil
}

// serverKey is one server of one member.
type serverKey struct {
	member int
	at     mysql.Addr
}

// db is the pool for a member's server. Nothing is sent to one that has not proven that it is the member (I16).
func (d *driver) db(m cotton.Member) (*sql.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := serverKey{m.ID, mysql.Addr{Host: m.Host, Port: m.Port}}
	if db, ok := d.dbs[key]; ok {
		return db, nil
	}
	db, err := mysql.Open(key.at, d.f.administrator(d.c, m.ID), mysql.Options{ConnectTimeout: d.f.cfg.ProbeTimeout})
	if err != nil {
		return nil, err
	}
	d.dbs[key] = db
	return db, nil
}

// administrator is the account by which a member is spoken to. What it is verified by, and its passwords, are looked up at
// each new connection.
func (f *Framework) administrator(c *cluster, member int) mysql.Credentials {
	return mysql.Credentials{
		User: cotton.AdminAccount, TLS: "required",
		Passwords: func() []string {
			return f.cfg.Keys.Keys().Passwords(c.snapshot().Identity(), cotton.AdminAccount)
		},
		Authority: func(mysql.Addr) (mysql.Authority, error) {
			r := c.snapshot()
			m, ok := r.Member(member)
			if !ok {
				return mysql.Authority{}, fmt.Errorf("%d is no member any more", member)
			}
			return f.proof(r, *m)
		},
	}
}

// proof is what a member must prove before anything secret is sent to it.
func (f *Framework) proof(r cotton.Record, m cotton.Member) (mysql.Authority, error) {
	if !m.Proves {
		return mysql.Authority{Unproven: true}, nil
	}
	authorities, err := f.cfg.Keys.Keys().Authorities(r.Identity())
	if err != nil {
		return mysql.Authority{}, err
	}
	return mysql.Authority{PEM: authorities, Name: r.Identity().ServerName(m.ID)}, nil
}

// closeAll closes all connections of the loop.
func (d *driver) closeAll() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, db := range d.dbs {
		errs = append(errs, db.Close())
	}
	clear(d.dbs)
	return errors.Join(errs...)
}

// unproven is for people: members that an earlier release launched.
func unproven(r cotton.Record) []string {
	var problems []string
	for _, m := range r.Members {
		if !m.Proves && m.Phase == cotton.PhaseRunning {
			problems = append(problems, fmt.Sprintf("%s was launched by an earlier release and cannot prove who it is: "+
				"whoever takes its port is sent passwords; `cotton restart %s` gives it a certificate", r.MemberName(m.ID), r.Spec.Name))
		}
	}
	return problems
}

// replicationPassword is the password of the replication account that a source accepts, the wanted one first: while keys are
// rotated it may have another one still.
func (d *driver) replicationPassword(ctx context.Context, r cotton.Record, source cotton.Member) (string, error) {
	all := d.f.cfg.Keys.Keys().Passwords(r.Identity(), cotton.ReplicationAccount)
	if len(all) == 1 {
		return all[0], nil
	}
	db, err := d.db(source)
	if err != nil {
		return "", err
	}
	has, err := mysql.ReadPasswords(ctx, db, cotton.ReplicationAccount)
	if err != nil {
		return "", err
	}
	for _, password := range all {
		if has.Accepts(password) {
			return password, nil
		}
	}
	return "", fmt.Errorf("%s has a password for %s that none of the admin keys gives", r.MemberName(source.ID), cotton.ReplicationAccount)
}

// followKeys takes up other admin keys as soon as their file has them.
func (f *Framework) followKeys(ctx context.Context) {
	f.cfg.Keys.Follow(ctx, func(changed bool, err error) {
		if err != nil {
			f.cfg.Log.Error("the admin keys are not taken up anew", "error", err)
			return
		}
		f.cfg.Log.Info("the admin keys have changed", "keys", f.cfg.Keys.Keys().IDs())
		for _, c := range f.list() {
			c.poke()
		}
	})
}

// authorities are what clients verify a cluster's servers by; empty while an earlier release's server could not be verified.
func (f *Framework) authorities(r cotton.Record) string {
	if slices.ContainsFunc(r.Members, func(m cotton.Member) bool { return !m.Proves && m.Phase == cotton.PhaseRunning }) {
		return ""
	}
	pem, err := f.cfg.Keys.Keys().Authorities(r.Identity())
	if err != nil { // of a cluster that has no incarnation: there is none any more
		return ""
	}
	return string(pem)
}
