package osc

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/schema"
)

// Runner runs plans.
type Runner struct {
	Pool      *mysql.Pool
	Leftovers Leftovers
	Log       *slog.Logger
	// Child is the argv that starts the gh-ost child: the own binary and its sub-command "ghost-child".
	Child []string
	Token string // of this process, recorded with each leftover
	// Replicas are those of a cluster, whose lag paces Clean; nil = none are known.
	Replicas func(cluster string) []mysql.Addr
}

var errPending = errors.New("pending")

// Planner makes plans.
type Planner struct{}

// NewPlanner makes a Planner with an empty memory.
func NewPlanner(pool *mysql.Pool, mat *schema.Materialiser) *Planner { return &Planner{} }

// Plan plans one target.
func (p *Planner) Plan(ctx context.Context, scratchDB, db *sql.DB, t Target, d schema.Desired, s Settings) (Plan, error) {
	return Plan{}, errPending
}

// PlanMany plans the table of t in each of the databases; the plans come in their order.
func (p *Planner) PlanMany(ctx context.Context, scratchDB, db *sql.DB, t Target, d schema.Desired, s Settings, databases []string) ([]Plan, error) {
	return nil, errPending
}

// Run brings one target to its desired form.
func (r *Runner) Run(ctx context.Context, p Plan, s Settings, c *Control, report func(Progress)) (Outcome, error) {
	return Outcome{}, errPending
}

// Clean removes leftovers of dead runs.
func (r *Runner) Clean(ctx context.Context, cluster string, primary *sql.DB, held func(database, table string) bool) (int, error) {
	return 0, errPending
}

// ChildMain is the gh-ost child.
func ChildMain(ctx context.Context, in io.Reader, out io.Writer) int { return 1 }
