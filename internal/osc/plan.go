package osc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/schema"
)

// Planner makes plans. What it learns of a change (difference, proof) it keeps by both definitions and the database's
// settings: hundreds of equal tables cost one proof. It is safe for concurrent use.
type Planner struct {
	pool *mysql.Pool
	mat  *schema.Materialiser

	mu   sync.Mutex
	memo map[changeKey]change
}

// NewPlanner makes a Planner with an empty memory.
func NewPlanner(pool *mysql.Pool, mat *schema.Materialiser) *Planner {
	return &Planner{pool: pool, mat: mat, memo: map[changeKey]change{}}
}

// maxMemo bounds the memory: a tier's alters under way are few.
const maxMemo = 256

type changeKey struct {
	current, desired schema.Form
	env              schema.DBEnv
}

// change is what is known of a change, whichever table it is made to.
type change struct {
	schema.Change
	proof      schema.Proof
	failed     string // why it is not proven
	direction  schema.Direction
	notRolling string
	shape      *verify.Table // what a copy of the table would be, where one might be made
}

// Plan plans one target. scratchDB is a server of the same version that takes unlogged DDL: db itself, or its cluster's
// primary where db is super_read_only. A reason why the plan may not run is in the plan; the error is about servers that
// could not be asked.
func (p *Planner) Plan(ctx context.Context, scratchDB, db *sql.DB, t Target, d schema.Desired, s Settings) (Plan, error) {
	plans, err := p.PlanMany(ctx, scratchDB, db, t, d, s, []string{t.Database})
	if err != nil {
		return Plan{Target: t}, err
	}
	return plans[0], nil
}

// PlanMany plans the table of t in each of the databases; the plans come in their order.
func (p *Planner) PlanMany(ctx context.Context, scratchDB, db *sql.DB, t Target, d schema.Desired, s Settings, databases []string) ([]Plan, error) {
	s = s.withDefaults()
	g := gathering{Planner: p, scratch: scratchDB, db: db, desired: d, settings: s}
	plans := make([]Plan, len(databases))
	refs := make([]schema.Ref, len(databases))
	for i, database := range databases {
		plans[i].Target = t
		plans[i].Database, plans[i].Table = database, d.Table
		refs[i] = schema.Ref{Database: database, Table: d.Table}
	}
	if d.Problem != nil {
		return refuseAll(plans, d.Problem), nil
	}
	var err error
	if g.envs, err = schema.ReadDBEnvs(ctx, db, databases); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Addr, err)
	}
	if g.forms, err = schema.CurrentForms(ctx, db, refs); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Addr, err)
	}
	if g.sizes, err = readSizes(ctx, db, d.Table, databases); err != nil {
		return nil, fmt.Errorf("%s: read the sizes of %s: %w", t.Addr, mysql.QuoteIdent(d.Table), err)
	}
	for i := range plans {
		if err := g.plan(ctx, &plans[i]); err != nil {
			return nil, fmt.Errorf("plan %s: %w", plans[i].Target, err)
		}
	}
	return plans, nil
}

func refuseAll(plans []Plan, reason error) []Plan {
	for i := range plans {
		plans[i].Refused, plans[i].Final = reason.Error(), true
	}
	return plans
}

// gathering is what PlanMany has read of one instance.
type gathering struct {
	*Planner
	scratch, db *sql.DB
	desired     schema.Desired
	settings    Settings
	envs        map[string]schema.DBEnv
	forms       map[schema.Ref]schema.Form
	sizes       map[string]tableSize
}

// plan fills in one plan.
func (g *gathering) plan(ctx context.Context, p *Plan) error {
	env, ok := g.envs[p.Database]
	if !ok {
		p.Refused = "there is no database " + mysql.QuoteIdent(p.Database)
		return nil
	}
	var err error
	if p.Desired, err = g.mat.Form(ctx, g.scratch, g.desired, env); err != nil {
		var refused *schema.DDLError
		if !errors.As(err, &refused) {
			return err
		}
		p.Refused, p.Final = err.Error(), true
		return nil
	}
	var exists bool
	p.Current, exists = g.forms[schema.Ref{Database: p.Database, Table: p.Table}]
	if err := schema.ZeroDefaults(p.Current, p.Desired, env); err != nil {
		p.Refused, p.Final = err.Error(), true
		return nil
	}
	p.asked = p.Desired
	if exists {
		p.Desired = p.Desired.WithGeneratedKeyOf(p.Current)
	} else {
		if p.Create, err = schema.Render(g.desired.Text, env); err != nil {
			return err // Form has rendered it a moment ago
		}
		if err := g.generateKey(ctx, p); err != nil {
			return err
		}
	}
	if p.Rows, p.Bytes, err = g.size(ctx, p.Target); err != nil {
		return err
	}
	s := g.settings
	p.Facts = Facts{Missing: !exists, Equal: exists && p.Current.Hash == p.Desired.Hash, DirectMaxRows: s.DirectMaxRows,
		Bytes: p.Bytes, DirectMaxBytes: s.DirectMaxBytes,
		HasReplicas: len(s.Replicas) > 0, NoBinlog: s.NoBinlog, CopyEngine: s.CopyEngine, CreateMissing: s.CreateMissing,
		AllowUnsafe: s.AllowUnsafe}
	if exists && !p.Facts.Equal {
		if err := g.examine(ctx, p, env); err != nil {
			return err
		}
	}
	p.Facts.Rows = p.Rows
	p.oneByOne = s.rolling()
	p.Engine, p.Refused = Choose(p.Facts)
	p.Final = p.Refused != ""
	if p.Engine.copies() && (p.Refused == "" || p.NeedsPermission()) {
		if err := g.examineCopy(ctx, p); err != nil {
			return err
		}
	}
	p.SQL = describe(*p)
	return nil
}

// generateKey gives a missing table without a primary key the one that the server's own setting adds.
func (g *gathering) generateKey(ctx context.Context, p *Plan) error {
	if p.Desired.HasPrimaryKey() {
		return nil
	}
	on, err := mysql.GeneratesPrimaryKeys(ctx, g.db)
	if err != nil || !on {
		return err
	}
	form, generated := p.Desired.WithGeneratedKey()
	p.Desired, p.withoutKey = form, !generated
	return nil
}

// examine finds out what the change of an existing table is, what it loses and how large the table is.
func (g *gathering) examine(ctx context.Context, p *Plan, env schema.DBEnv) error {
	c, err := g.change(ctx, g.scratch, p.Current, p.Desired, env)
	if err != nil {
		return err
	}
	p.Change, p.shape = c.Change, c.shape
	f := &p.Facts
	f.ProofFailed, f.NotRolling, p.Direction = c.failed, c.notRolling, c.direction
	if g.settings.rolling() && f.NotRolling == "" {
		if f.NotRolling, err = rollingNeeds(ctx, g.db, c.direction); err != nil {
			return err
		}
	}
	f.Instant, f.Inplace, f.Rebuilds, f.BuildsIndex = c.proof.Instant, c.proof.Inplace, c.proof.Rebuilds, c.proof.BuildsIndex
	if addsForeignKey(c.Change) {
		// The proof was made without foreign_key_checks. With them a new foreign key is checked row by row, under a lock.
		f.Instant, f.Inplace = false, false
	}
	if reason := errors.Join(c.Copyable, c.proof.Copy); reason != nil {
		f.NoCopy = reason.Error()
	}
	if c.failed != "" {
		return nil
	}
	if err := g.losses(ctx, p); err != nil {
		return err
	}
	if !f.Instant {
		p.Rows, err = countUpTo(ctx, g.db, p.Target, p.Rows, g.settings.DirectMaxRows)
	}
	return err
}

// losses keeps the findings that the rows of this table make real.
func (g *gathering) losses(ctx context.Context, p *Plan) error {
	if len(p.Change.Findings) == 0 {
		return nil
	}
	return mysql.WithSession(ctx, g.db, mysql.Session{ServerValues: true}, func(ctx context.Context, conn *sql.Conn) error {
		return lossesOf(ctx, conn, p)
	})
}

func lossesOf(ctx context.Context, q schema.Querier, p *Plan) error {
	for _, finding := range p.Change.Findings {
		real, err := finding.Real(ctx, q, p.Database, p.Table)
		switch {
		case err != nil && (mysql.Number(err) == 0 || mysql.IsConnection(err) || mysql.IsAccessDenied(err)):
			return err
		case err != nil:
			real = true // a question the server refuses proves nothing: suppose the worst
		}
		if real {
			p.Findings = append(p.Findings, finding)
			p.Facts.Loses = append(p.Facts.Loses, finding.String())
			if blocking(finding) {
				p.Facts.Blocks = append(p.Facts.Blocks, finding.String())
			}
		}
	}
	return nil
}

// blocking tells whether a real finding is about whole rows that have no place in the new table: the server refuses such an
// ALTER, and a copy would leave them out. One that was not asked of the rows may yet prove moot.
func blocking(f schema.Finding) bool {
	return f.Check != nil && (f.Code == schema.Unique || f.Code == schema.CheckAdded || f.Code == schema.Repartition)
}

// cutsValues tells whether a real finding is about values that are cut or converted to fit.
func cutsValues(f schema.Finding) bool {
	return f.Code == schema.NarrowColumn || f.Code == schema.ConvertColumn || f.Code == schema.CharsetLoss || f.Code == schema.NotNull
}

func addsForeignKey(c schema.Change) bool {
	for _, f := range c.Findings {
		if f.Code == schema.ForeignKey && strings.Contains(c.Clauses, " FOREIGN KEY (") {
			return true
		}
	}
	return false
}

// examineCopy looks at what a copy needs, once it is clear that one is needed.
func (g *gathering) examineCopy(ctx context.Context, p *Plan) error {
	refusal, err := examineCopy(ctx, g.db, *p)
	switch {
	case err != nil:
		return err
	case refusal == nil:
	case !refusal.Passing:
		p.Facts.NoCopy = refusal.Reason
		p.Engine, p.Refused = Choose(p.Facts)
		p.Final = p.Refused != ""
	case p.Refused == "":
		p.Refused = refusal.Reason
	}
	return nil
}

// NeedsPermission tells whether allow_unsafe is the one thing that keeps the plan from being run.
func (p Plan) NeedsPermission() bool { return p.Final && p.Facts.NeedsPermission() }

// change is the difference between two definitions, proven.
func (p *Planner) change(ctx context.Context, scratch *sql.DB, current, desired schema.Form, env schema.DBEnv) (change, error) {
	key := changeKey{current, desired, env}
	p.mu.Lock()
	c, ok := p.memo[key]
	p.mu.Unlock()
	if ok {
		return c, nil
	}
	var err error
	if c.Change, err = schema.Diff(current, desired, env.Version); err != nil {
		c.failed = err.Error()
	} else if c.proof, err = schema.Prove(ctx, scratch, env, current, desired, c.Change); err != nil {
		var proof *schema.ProofError
		if !errors.As(err, &proof) {
			return change{}, err
		}
		c.failed = err.Error()
	} else if c.proof.Rebuilds && c.Copyable == nil {
		if c.shape, err = shapeOf(ctx, scratch, env, desired); err != nil {
			return change{}, err
		}
	}
	c.direction = schema.DirectionOf(current, desired)
	c.notRolling = notRolling(current, desired, c.direction)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.memo) >= maxMemo {
		clear(p.memo)
	}
	p.memo[key] = c
	return c, nil
}

// describe is what would be run, for people.
func describe(p Plan) string {
	switch p.Engine {
	case EngineNone:
		return ""
	}
	if p.Engine.copies() {
		if p.Change.Statement == nil {
			return ""
		}
		return p.Change.Statement(p.Database, p.Table)
	}
	if p.Change.Statement == nil && p.Engine != EngineCreate {
		return ""
	}
	return strings.Join(statements(p), ";\n")
}
