package framework

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/fault"
	"github.com/aosc/aosc/internal/mysql"
)

// How replicas connect: tries for ever, notices a silent source soon (M9).
const (
	connectRetry    = time.Second
	connectTries    = 1_000_000
	heartbeatPeriod = cotton.Heartbeat
)

// take takes one step. Each was decided on what was seen under r, so each that the record has overtaken is dropped: a
// step of an old epoch never lands (M7).
func (d *driver) take(ctx context.Context, r cotton.Record, a cotton.Action) error {
	if now := d.c.snapshot(); now.Epoch != r.Epoch || now.State == cotton.StateDeleting {
		return errUnchanged
	}
	switch a.Kind {
	case cotton.ActChoose:
		return d.choose(ctx, a.Member)
	case cotton.ActFound:
		return d.found(ctx, r)
	case cotton.ActStrict:
		return d.storeStrict(ctx, r)
	case cotton.ActAcks:
		return d.storeAcks(ctx, r)
	case cotton.ActBase:
		return d.storeBase(ctx, r)
	}
	m, ok := r.Member(a.Member)
	if !ok {
		return errUnchanged
	}
	db, err := d.db(*m)
	if err != nil {
		return err
	}
	switch a.Kind {
	case cotton.ActFence:
		return d.fence(ctx, r, *m)
	case cotton.ActOrder:
		return d.orderFence(ctx, r, *m)
	case cotton.ActFreeze:
		return d.freeze(ctx, db)
	case cotton.ActDrain:
		return d.drain(ctx, r, *m)
	case cotton.ActDemote:
		return d.demote(ctx, r, *m)
	case cotton.ActCatchUp:
		return d.catchUp(ctx, r, *m)
	case cotton.ActPromote:
		return d.promote(ctx, r, *m)
	case cotton.ActOpen:
		return d.open(ctx, r, *m)
	case cotton.ActSemiSync:
		version, err := d.version(ctx, *m)
		if err != nil {
			return err
		}
		want := r.SemiSyncBeside(d.foreignNow(r))
		if m.ID != r.Primary {
			want.Enabled = false
			if err := nobodyWaits(ctx, db, r.MemberName(m.ID)); err != nil {
				return err
			}
		}
		return mysql.SetSemiSyncSource(ctx, db, version, want)
	case cotton.ActUser:
		return createUser(ctx, db, r.Spec, r.Seed() != 0)
	case cotton.ActExpel:
		seen, _ := d.c.last()
		for _, a := range seen[m.ID].Outsiders {
			d.f.cfg.Log.Warn("a session that acknowledges and is no member's is ended", "cluster", r.Spec.Name, "session", fmt.Sprint(a))
			if err := mysql.EndSession(ctx, db, a.Session); err != nil {
				return err
			}
		}
		return nil
	case cotton.ActQuiet:
		return mysql.StopEvents(ctx, db)
	case cotton.ActFollow:
		return d.follow(ctx, r, *m)
	case cotton.ActStart:
		return mysql.StartReplica(ctx, db)
	case cotton.ActAttest:
		return d.attest(ctx, r, *m)
	case cotton.ActRefetch:
		return d.refetch(ctx, r, db)
	case cotton.ActAdopt:
		return d.adopt(ctx, r, *m)
	case cotton.ActRelieve:
		return d.relieve(ctx, r, *m)
	case cotton.ActReattach:
		version, err := d.version(ctx, *m)
		if err != nil {
			return err
		}
		// One that joined while nobody was waited for does not acknowledge yet.
		if err := mysql.SetSemiSyncReplica(ctx, db, version, true); err != nil {
			return err
		}
		if err := mysql.StopReceiver(ctx, db); err != nil {
			return err
		}
		return mysql.StartReplica(ctx, db)
	}
	return fmt.Errorf("step %q is not known", a.Kind)
}

// nobodyWaits refuses a server on which switching semi-synchronous replication off would release commits: their clients
// would be told that they are done, and no other server has them (M5).
func nobodyWaits(ctx context.Context, db *sql.DB, name string) error {
	e, err := mysql.ReadExposure(ctx, db)
	if err != nil {
		return err
	}
	if !e.Closed() || e.Waiting > 0 {
		return fmt.Errorf("%s goes on to wait for acknowledgements: it is not closed (read_only %v, super_read_only %v), or %d sessions wait",
			name, e.ReadOnly, e.SuperReadOnly, e.Waiting)
	}
	return nil
}

// choose stores the first primary before anything is done with it.
func (d *driver) choose(ctx context.Context, member int) error {
	err := d.f.change(ctx, d.c, func(r *cotton.Record) error {
		if r.Primary != 0 {
			return errUnchanged
		}
		r.Primary = member
		r.Epoch++
		if m, ok := r.Member(member); ok {
			m.CountAgain()
		}
		return nil
	})
	if err == nil {
		fault.Point(faultPrimary)
	}
	return err
}

// primaryDB is the stored primary's; errUnchanged when there is none.
func (d *driver) primaryDB(r cotton.Record) (*sql.DB, error) {
	p, ok := r.Member(r.Primary)
	if !ok {
		return nil, errUnchanged
	}
	return d.db(*p)
}

// open lifts read-only of the stored primary. That nobody else is open is read once more, from everybody who can be
// asked, right before (I2).
func (d *driver) open(ctx context.Context, r cotton.Record, primary cotton.Member) error {
	for _, s := range d.gather(ctx, r) {
		if s.Member != primary.ID && s.Answered && s.Err == nil && s.Writable() {
			return fmt.Errorf("%s is open for writes, so %s is not opened", r.MemberName(s.Member), r.MemberName(primary.ID))
		}
	}
	if now := d.c.snapshot(); now.Primary != primary.ID || now.Epoch != r.Epoch || now.State == cotton.StateDeleting {
		return errUnchanged
	}
	db, err := d.db(primary)
	if err != nil {
		return err
	}
	server, err := mysql.ReadServer(ctx, db)
	if err != nil {
		return err
	}
	// Whoever may number transactions is known before it can.
	if len(r.Lineage) == 0 || r.Lineage[len(r.Lineage)-1] != server.UUID {
		if err := d.f.change(ctx, d.c, func(r *cotton.Record) error { r.AddLineage(server.UUID); return nil }); err != nil {
			return err
		}
	}
	fault.Point(faultOpen)
	err = mysql.SetReadOnly(ctx, db, false)
	d.opened(primary) // it may have been done all the same
	if err != nil {
		return err
	}
	fault.Point(faultOpened)
	return nil
}

// opened notes that a member has a lease from now on, also if it hears nothing of us: see executor.guard.look.
func (d *driver) opened(m cotton.Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lease(m).from = d.f.clock.now()
}

func (d *driver) version(ctx context.Context, m cotton.Member) (mysql.Version, error) {
	seen, _ := d.c.last()
	if s := seen[m.ID]; s.Answered {
		return s.Server.Version, nil
	}
	db, err := d.db(m)
	if err != nil {
		return mysql.Version{}, err
	}
	server, err := mysql.ReadServer(ctx, db)
	return server.Version, err
}

// source is how a member follows another: by GTID, over TLS, with the replication account. The password is the one that is
// wanted once the other has it, see credentials.
func (d *driver) source(ctx context.Context, r cotton.Record, member, of int) (mysql.SourceOptions, error) {
	p, ok := r.Member(of)
	if !ok {
		return mysql.SourceOptions{}, fmt.Errorf("%d is not a member", of)
	}
	ca := ""
	if m, ok := r.Member(member); ok && m.Proves && p.Proves {
		ca = cotton.AuthoritiesFromData
	}
	password, err := d.replicationPassword(ctx, r, *p)
	if err != nil {
		return mysql.SourceOptions{}, err
	}
	return mysql.SourceOptions{
		Addr: mysql.Addr{Host: p.Host, Port: p.Port}, SSL: true, VerifyBy: ca, User: cotton.ReplicationAccount, Password: password,
		ConnectRetry: connectRetry, RetryCount: connectTries, HeartbeatPeriod: heartbeatPeriod,
	}, nil
}

// follow points a member at the primary. Only the receiver is stopped: with the applier stopped, too, what was received
// and not applied would be thrown away (M2).
func (d *driver) follow(ctx context.Context, r cotton.Record, m cotton.Member) error {
	if m.ID == r.Primary {
		return errUnchanged
	}
	if m.Relieved { // before it can acknowledge anything
		if err := d.countAgain(ctx, m.ID, r.Epoch); err != nil {
			return err
		}
	}
	source, err := d.source(ctx, r, m.ID, r.Primary)
	if err != nil {
		return err
	}
	db, err := d.db(m)
	if err != nil {
		return err
	}
	version, err := d.version(ctx, m)
	if err != nil {
		return err
	}
	if source.Repoint, err = stopReceiving(ctx, db); err != nil {
		return err
	}
	if err := mysql.SetSemiSyncReplica(ctx, db, version, r.SemiSync().Enabled); err != nil {
		return err
	}
	fault.Point(faultFollow)
	if err := mysql.ChangeSource(ctx, db, source); err != nil {
		return err
	}
	return mysql.StartReplica(ctx, db)
}

// stopReceiving readies a server for another source. One that replicates keeps its applier running, which keeps what it has
// received; repoint tells that it does.
func stopReceiving(ctx context.Context, db *sql.DB) (repoint bool, err error) {
	status, err := mysql.ReadReplicaStatus(ctx, db)
	if err != nil || status == nil {
		return false, err
	}
	if err := mysql.StopReceiver(ctx, db); err != nil {
		return false, err
	}
	if !status.AutoPosition {
		return false, mysql.StopReplica(ctx, db)
	}
	if status.SQLRunning != "Yes" {
		if err := mysql.StartApplier(ctx, db); err != nil {
			return false, err
		}
	}
	return true, nil
}

// cloneInBackground replaces a member's data by the primary's; that may take hours. mysqld ends itself at the end and is
// started again by its executor; the loop then finds a server that has data and follows nobody.
func (d *driver) cloneInBackground(ctx context.Context, r cotton.Record, a cotton.Action) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[a.Member] != "" {
		return
	}
	d.busy[a.Member], d.donor[a.Member] = "clone", a.Donor
	var lost *cotton.Stray
	if s, any := cotton.Discarded(r, d.c.seenNow(), a.Member, d.f.clock.now()); any {
		lost = &s
	}
	d.running.Add(1)
	go func() {
		defer d.running.Done()
		err := d.clone(ctx, r, a.Member, a.Donor, lost)
		d.note(r, a, err)
		d.forgetStrays(a.Member)
		d.mu.Lock()
		delete(d.busy, a.Member)
		delete(d.donor, a.Member)
		d.mu.Unlock()
		d.c.poke()
	}()
}

// clone replaces a member's data; lost is what only it has.
func (d *driver) clone(ctx context.Context, r cotton.Record, member, from int, lost *cotton.Stray) error {
	if now := d.c.snapshot(); member == now.Primary || now.Epoch != r.Epoch || now.State == cotton.StateDeleting {
		return errUnchanged
	}
	m, ok := r.Member(member)
	if !ok {
		return errUnchanged
	}
	donor, err := d.source(ctx, r, member, from)
	if err != nil {
		return err
	}
	db, err := d.db(*m)
	if err != nil {
		return err
	}
	server, err := mysql.ReadServer(ctx, db)
	if err != nil {
		return err
	}
	if !server.SuperReadOnly || !server.ReadOnly { // whatever was decided: a server that takes writes is never overwritten
		return fmt.Errorf("%s is open for writes: it is not cloned over", r.MemberName(member))
	}
	// A server that follows somebody would go on to, with the data of somebody else.
	if err := forget(ctx, db); err != nil {
		return err
	}
	// CLONE first drops what is there, which super_read_only forbids to everybody. Clients are kept out by read_only, which
	// only accounts of ours pass; the server comes back with both, and one whose clone failed gets both again.
	if err := mysql.SetSuperReadOnly(ctx, db, false); err != nil {
		return err
	}
	defer func() {
		if err := mysql.SetSuperReadOnly(ctx, db, true); err != nil && !mysql.IsConnection(err) {
			d.f.cfg.Log.Warn("a member that was cloned is not super_read_only yet", "cluster", r.Spec.Name, "member", member, "error", err)
		}
	}()
	fault.Point(faultClone)
	if err := d.endSessions(ctx, db, r.MemberName(member)); err != nil {
		return err
	}
	if err := d.mayOverwrite(ctx, r, member, lost); err != nil {
		return err
	}
	if err := cloneFrom(ctx, db, donor); err != nil && !mysql.IsConnection(err) {
		return err
	}
	fault.Point(faultCloned)
	if err := d.awaitRestart(ctx, *m, server.UUID); err != nil {
		return err
	}
	fault.Point(faultRestarted)
	if m.Incomplete != "" {
		if err := d.f.changeMember(ctx, d.c, member, func(m *cotton.Member) error { m.Incomplete = ""; return nil }); err != nil {
			return err
		}
	}
	return forget(ctx, db) // a replica as donor gave its own source along, without the relay log
}

// endSessions ends what CLONE would wait for without end on a member whose data are replaced: prepared XA transactions, locks on the whole
// server, clients' sessions.
func (d *driver) endSessions(ctx context.Context, db *sql.DB, name string) error {
	blockers, err := mysql.KillBlockers(ctx, db)
	if err != nil {
		return err
	}
	clients, err := mysql.KillClients(ctx, db, ours...)
	if err != nil {
		return err
	}
	prepared, err := mysql.DiscardPrepared(ctx, db)
	if err != nil {
		return err
	}
	if len(blockers)+clients+prepared > 0 {
		d.f.cfg.Log.Info("a member's data are to be replaced: its sessions are ended", "member", name, "locks", fmt.Sprint(blockers), "clients", clients, "prepared", prepared)
	}
	return nil
}

// mayOverwrite stores the record once more, as it is, right before a member's data go: it fails if the member has been made primary, if a
// change of primary has begun, if the member is counted on again, or if another scheduler has taken over since the clone was decided.
func (d *driver) mayOverwrite(ctx context.Context, r cotton.Record, member int, lost *cotton.Stray) error {
	if lost != nil {
		d.f.cfg.Log.Warn("a member's errant transactions are lost with its data", "cluster", r.Spec.Name, "member", member, "transactions",
			lost.GTIDs, "note", lost.Note)
	}
	return d.f.change(ctx, d.c, func(now *cotton.Record) error {
		if lost != nil {
			now.Discard(*lost)
		}
		return now.MayOverwrite(member, r.Epoch)
	})
}

// forget ends all replication of a server whose data are, or were, replaced.
func forget(ctx context.Context, db *sql.DB) error {
	status, err := mysql.ReadReplicaStatus(ctx, db)
	if err != nil || status == nil {
		return err
	}
	if err := mysql.StopReplica(ctx, db); err != nil {
		return err
	}
	return mysql.ResetReplicaAll(ctx, db)
}

// cloneRestart bounds how long a cloned server may take to be back.
const cloneRestart = 5 * time.Minute

// awaitRestart returns when the server answers again after a clone. While a connection lost in the middle of one leaves
// it working, it answers, and says so.
func (d *driver) awaitRestart(ctx context.Context, m cotton.Member, uuid string) error {
	ctx, cancel := context.WithTimeout(ctx, cloneRestart)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	db, err := d.db(m)
	if err != nil {
		return err
	}
	for {
		state, problem, err := cloneState(ctx, db)
		switch {
		case err == nil && state == "Completed":
			return nil
		case err == nil && state == "Failed":
			return errors.New("clone: " + problem)
		case err == nil && state == "":
			return errors.New("clone: the server knows of none")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("clone: the server %s is not back: %w", uuid, context.Cause(ctx))
		}
	}
}
