package oscworker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc"
)

// refuseHidingLoss refuses the plans of a replica that would give it the shape of data it does not have. Where the primary
// has rows in a table that is missing here, or values in a column that is, replication has passed them by: made anew they
// would be empty here, nothing would show it any more, and with a failover they would be gone (I1).
func (j *job) refuseHidingLoss(ctx context.Context, s scene, plans []osc.Plan) error {
	if s.turn.Source == nil {
		return nil
	}
	primary, err := j.d.Pool.DB(s.turn.Source.Addr())
	if err != nil {
		return err
	}
	for i := range plans {
		p := &plans[i]
		if p.Refused != "" {
			continue
		}
		what, err := missed(ctx, primary, *p)
		if err != nil {
			return fmt.Errorf("%w: look on the primary %s for data that %s lacks: %w", errNotNow, s.turn.Source, j.inst, err)
		}
		if what != "" {
			p.Refused, p.Final = fmt.Sprintf("%s on the primary %s and would be empty here: clone this replica anew", what, s.turn.Source), true
		}
	}
	return nil
}

// missed says what data of the primary a plan would leave out, "" when there is none: neither rows of a table that would
// be created nor values of columns that would be added, other than what the columns would get here too.
func missed(ctx context.Context, primary *sql.DB, p osc.Plan) (string, error) {
	what, condition := "the table has rows", ""
	if p.Engine != osc.EngineCreate {
		added, err := p.AddedColumns()
		if err != nil {
			return "it is not known whether added columns have values", nil // read by the planner already: not to be expected
		}
		if len(added) == 0 {
			return "", nil
		}
		var differ []string
		for i, c := range added {
			added[i] = mysql.QuoteIdent(c)
			differ = append(differ, "NOT ("+added[i]+" <=> DEFAULT("+added[i]+"))")
		}
		what, condition = "column "+strings.Join(added, ", ")+" has values", " WHERE "+strings.Join(differ, " OR ")
	}
	var found int
	err := primary.QueryRowContext(ctx, "SELECT /*+ MAX_EXECUTION_TIME(60000) */ 1 FROM "+mysql.QuoteIdents(p.Database, p.Table)+
		condition+" LIMIT 1").Scan(&found)
	switch {
	case err == nil:
		return what, nil
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case mysql.IsNoSuchTable(err), mysql.IsNoSuchDatabase(err), mysql.IsNumber(err, mysql.ErrBadField):
		return "", nil // the primary does not have it either: with ordering 'rolling' it goes last
	case mysql.Number(err) != 0 && !mysql.IsConnection(err):
		return what + " perhaps (" + err.Error() + ")", nil // a computed default, a table too large to be searched: suppose the worst
	}
	return "", err
}
