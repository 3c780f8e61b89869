package osc

import (
	"context"
	"database/sql"

	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/copy/preflight"
)

// readCopyFacts asks the server for all that the checks of a copy go by.
func readCopyFacts(ctx context.Context, db *sql.DB, p Plan) (preflight.Facts, error) {
	f, err := preflight.Gather(ctx, db, p.Database, p.Table, copy.NamesFor(p.Table).All(), p.Bytes)
	if err != nil {
		return f, err
	}
	f.Change, f.Lossy, f.Strict = p.Change, lossyColumns(p.Findings), refusedValues(p.Findings)
	columns, err := columnsOf(p.Desired)
	for _, c := range columns {
		f.Columns = append(f.Columns, c.name)
	}
	return f, err
}

// examineCopy is what speaks against a copy while it is planned. Whose the tables in its way are is known to the Runner, which has the
// records.
func examineCopy(ctx context.Context, db *sql.DB, p Plan) (*preflight.Refusal, error) {
	f, err := readCopyFacts(ctx, db, p)
	if err != nil {
		return nil, err
	}
	f.Beside, f.Copied = nil, p.shape
	return preflight.First(ctx, db, copier(p.Engine).Checks(), f)
}
