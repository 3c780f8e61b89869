package schema

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/aosc/aosc/internal/mysql"
)

// Proof is what a server did with a change on an empty copy of the table.
type Proof struct {
	// Instant: every statement took ALGORITHM=INSTANT. A table that had 64 of those since its last rebuild may refuse
	// one more (mysql.ErrMaxRowVersion).
	Instant bool
	// Inplace: every statement took ALGORITHM=INPLACE, LOCK=NONE (INSTANT ones do too, in effect).
	Inplace bool
	// Rebuilds: the rows are written anew, in place or by a copy.
	Rebuilds bool
	// BuildsIndex: rows are read to fill an index, which takes time too.
	BuildsIndex bool
	// Result is the form that the change ends in: the desired one.
	Result Form
	// Copy says why a copy made by CREATE TABLE ... LIKE, changed by CopyClauses and renamed into place, does not end in
	// the desired form. It is nil when it does, and when it was not tried because nothing needs to be copied.
	Copy error
}

// ProofError says that a change does not end in the desired form: its alter could never be finished.
type ProofError struct {
	Table string
	Want  string // the desired normal form
	Got   string // what the server made of it, "" when it refused
	Err   error  // the refusal
}

func (e *ProofError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("tried on an empty copy of %s, the change is refused: %v", e.Table, e.Err)
	}
	return fmt.Sprintf("tried on an empty copy of %s, the change does not end in the desired definition: %s", e.Table, firstDifference(e.Want, e.Got))
}

func (e *ProofError) Unwrap() error { return e.Err }

// firstDifference shows the first line in which two definitions differ.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "", ""
		if i < len(w) {
			a = strings.TrimSpace(w[i])
		}
		if i < len(g) {
			b = strings.TrimSpace(g[i])
		}
		if a != b {
			return fmt.Sprintf("want %q, got %q", a, b)
		}
	}
	return "only names of CHECK constraints differ"
}

// Prove runs a change on an empty copy of the table in a scratch schema of db, by the cheapest algorithm that the server
// takes, and compares what comes out with the desired form. Where rows would have to be rewritten it also proves the
// change of a copy engine. The error is a *ProofError when the change is no good, anything else is about the server.
func Prove(ctx context.Context, db *sql.DB, env DBEnv, current, desired Form, c Change) (Proof, error) {
	var p Proof
	if c.Empty {
		return Proof{Instant: true, Inplace: true, Result: desired}, nil
	}
	tolerant := env
	tolerant.SQLMode = tolerantSQLMode
	err := WithScratch(ctx, db, tolerant, func(ctx context.Context, conn *sql.Conn, schemaName string) (err error) {
		pr := &prover{conn: conn, schema: schemaName, current: current, desired: desired, change: c, alterMode: AlterMode(env.SQLMode)}
		if pr.table, err = tableName(current.Text); err != nil {
			return err
		}
		p, err = pr.run(ctx)
		return err
	})
	if err != nil {
		return Proof{}, err
	}
	return p, nil
}

// tolerantSQLMode lets a table be made as it is, with zero dates that today's sql_mode would refuse.
const tolerantSQLMode = "ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"

// tableName is the name in a normal form.
func tableName(form string) (string, error) {
	toks, err := lex(form)
	if err != nil {
		return "", err
	}
	c := &cursor{text: form, toks: toks}
	name, ok := "", c.accept("CREATE", "TABLE")
	if ok {
		name, ok = c.name()
	}
	if !ok {
		return "", &DiffError{Table: "the table", Err: fmt.Errorf("it is not a table (%s)", clip(form))}
	}
	return name, nil
}

type prover struct {
	conn             *sql.Conn
	schema, table    string
	current, desired Form
	change           Change
	alterMode        string
}

func (p *prover) run(ctx context.Context) (Proof, error) {
	var proof Proof
	for _, try := range []struct {
		modifiers        string
		instant, inplace bool
	}{
		{"ALGORITHM=INSTANT", true, true},
		{"ALGORITHM=INPLACE, LOCK=NONE", false, true},
		{"", false, false},
	} {
		rebuilt, err := p.alter(ctx, try.modifiers)
		if err != nil && try.modifiers != "" && mysql.Number(err) != 0 && !mysql.IsConnection(err) {
			continue
		}
		if err != nil {
			return Proof{}, p.judge(err)
		}
		proof.Instant, proof.Inplace = try.instant, try.inplace
		proof.Rebuilds = !try.inplace || rebuilt
		break
	}
	proof.BuildsIndex = !proof.Instant && (proof.Rebuilds || p.addsIndex())
	var err error
	if proof.Result, err = showForm(ctx, p.conn, p.schema, p.table); err != nil {
		return Proof{}, err
	}
	if proof.Result.Hash != p.desired.Hash {
		return Proof{}, &ProofError{Table: p.table, Want: p.desired.Text, Got: proof.Result.Text}
	}
	if proof.Rebuilds && p.change.copied != nil {
		proof.Copy, err = p.copy(ctx)
	}
	return proof, err
}

// judge tells the server's word on the change from trouble with the server.
func (p *prover) judge(err error) error {
	if mysql.Number(err) == 0 || mysql.IsConnection(err) || mysql.IsReadOnly(err) || mysql.IsAccessDenied(err) {
		return fmt.Errorf("prove the change of %s: %w", p.table, err)
	}
	return &ProofError{Table: p.table, Want: p.desired.Text, Err: err}
}

// alter makes the table as it is and changes it, and tells whether rows were written anew. That is asked of INPLACE only:
// INSTANT never does, and what neither takes always does.
func (p *prover) alter(ctx context.Context, modifiers string) (rebuilt bool, err error) {
	if err := p.create(ctx); err != nil {
		return false, err
	}
	if err := p.mode(ctx, p.alterMode, "DEFAULT"); err != nil {
		return false, err
	}
	look := strings.Contains(modifiers, "INPLACE")
	var before, after spaces
	if look {
		if before, err = readSpaces(ctx, p.conn, p.schema); err != nil {
			return false, err
		}
	}
	for _, statement := range p.change.Statements(p.schema, p.table, modifiers) {
		if _, err := p.conn.ExecContext(ctx, statement); err != nil {
			return false, err
		}
		if look {
			if after, err = readSpaces(ctx, p.conn, p.schema); err != nil {
				return false, err
			}
			rebuilt, before = rebuilt || moved(before, after), after
		}
	}
	return rebuilt, nil
}

func (p *prover) create(ctx context.Context) error {
	if _, err := p.conn.ExecContext(ctx, "DROP TABLE IF EXISTS "+mysql.QuoteIdents(p.schema, p.table)); err != nil {
		return err
	}
	// A table may be such that InnoDB, when strict, would not make it again.
	if err := p.mode(ctx, tolerantSQLMode, "0"); err != nil {
		return err
	}
	_, err := p.conn.ExecContext(ctx, p.current.Text)
	return err
}

func (p *prover) mode(ctx context.Context, mode, strict string) error {
	_, err := p.conn.ExecContext(ctx, "SET SESSION innodb_strict_mode = "+strict+", SESSION sql_mode = "+mysql.QuoteString(mode)+createSettings)
	return err
}

func (p *prover) addsIndex() bool {
	for _, a := range p.change.alters {
		for _, o := range a.AlterOptions {
			if _, ok := o.(*sqlparser.AddIndexDefinition); ok {
				return true
			}
		}
	}
	return false
}

// copy does what a copy engine does, less the rows: LIKE, ALTER, and the two renames at once.
func (p *prover) copy(ctx context.Context) (refused, err error) {
	if err := p.create(ctx); err != nil {
		return nil, p.judge(err)
	}
	if err := p.mode(ctx, p.alterMode, "DEFAULT"); err != nil {
		return nil, err
	}
	ghost, old := auxiliary(p.table, "_gho"), auxiliary(p.table, "_del")
	table, copied := mysql.QuoteIdents(p.schema, p.table), mysql.QuoteIdents(p.schema, ghost)
	for _, statement := range []string{
		"CREATE TABLE " + copied + " LIKE " + table,
		AlterStatement(p.schema, ghost, "", p.change.CopyClauses(ghost)),
		"RENAME TABLE " + table + " TO " + mysql.QuoteIdents(p.schema, old) + ", " + copied + " TO " + table,
	} {
		if _, err := p.conn.ExecContext(ctx, statement); err != nil {
			err = p.judge(err)
			if _, ok := err.(*ProofError); ok {
				return fmt.Errorf("a copy of the table cannot be changed so: %w", err), nil
			}
			return nil, err
		}
	}
	result, err := showForm(ctx, p.conn, p.schema, p.table)
	if err != nil {
		return nil, err
	}
	if result.Hash != p.desired.Hash {
		return &ProofError{Table: p.table, Want: p.desired.Text, Got: result.Text}, nil
	}
	return nil, nil
}

// auxiliary names a table of a copy engine, the base cut so that 64 characters are enough.
func auxiliary(table, suffix string) string {
	base := []rune(table)
	return "_" + string(base[:min(len(base), 64-1-len(suffix))]) + suffix
}

// spaces are InnoDB's ids of the tablespaces of one schema, by name: one per table or partition. An id that changed means
// that the rows were written anew.
type spaces map[string]int64

// readSpaces reads them from a view over the data dictionary. innodb_tables would open every table of the server.
func readSpaces(ctx context.Context, q Querier, schemaName string) (spaces, error) {
	rows, err := q.QueryContext(ctx, "SELECT name, space FROM information_schema.innodb_tablespaces_brief WHERE name LIKE ?",
		strings.ReplaceAll(schemaName, "_", `\_`)+"/%")
	if err != nil {
		return nil, fmt.Errorf("read tablespaces: %w", err)
	}
	defer rows.Close()
	out := spaces{}
	for rows.Next() {
		var name string
		var id int64
		if err := rows.Scan(&name, &id); err != nil {
			return nil, err
		}
		out[name] = id
	}
	return out, rows.Err()
}

// moved tells whether rows were written anew: a tablespace was replaced, or some went while others came (a partition split in
// two). Added and dropped partitions alone move nothing. Without tablespaces of their own (a general tablespace) nobody
// can tell, and the dearer answer is the safe one.
func moved(before, after spaces) bool {
	if len(before) == 0 || len(after) == 0 {
		return true
	}
	gone, came := 0, len(after)
	for name, id := range before {
		now, ok := after[name]
		switch {
		case !ok:
			gone++
			continue
		case now != id:
			return true
		}
		came--
	}
	return gone > 0 && came > 0
}
