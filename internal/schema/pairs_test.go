package schema_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/schema/pairs"
	"github.com/aosc/aosc/internal/testkit"
)

// TestPairs holds every pair against a server: what is found, what is proven, and that the change, run over the rows
// where it may be, ends in the desired form (I4: read from the server).
func TestPairs(t *testing.T) {
	// Thousands of DDL statements, of which none has to survive a power cut.
	srv := testkit.FreshServer(t, map[string]string{"innodb_flush_method": "nosync", "innodb_doublewrite": "OFF"})
	mat := &schema.Materialiser{}
	seen := map[string]bool{}
	for _, p := range pairs.All() {
		if seen[p.Name] {
			t.Errorf("two pairs are named %q", p.Name)
		}
		seen[p.Name] = true
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			r := newPairRun(t, srv, mat, p)
			r.found()
			r.proven()
		})
	}
	if len(seen) < 60 {
		t.Errorf("only %d pairs", len(seen))
	}
}

type pairRun struct {
	*testing.T
	pairs.Pair
	db               *sql.DB
	database         string
	env              schema.DBEnv
	current, desired schema.Form
	change           schema.Change
	err              error
}

func newPairRun(t *testing.T, srv *mysqld.Server, mat *schema.Materialiser, p pairs.Pair) *pairRun {
	r := &pairRun{T: t, Pair: p, db: srv.DB(), database: testkit.Database(t, srv)}
	envs, err := schema.ReadDBEnvs(t.Context(), r.db, []string{r.database})
	if err != nil {
		t.Fatal(err)
	}
	r.env = envs[r.database]
	r.exec(append(append(slices.Clone(p.Prelude), p.Before), p.Rows...)...)
	r.current = r.form()
	d := schema.Desired{Tier: "udb", Table: p.TableName(), Path: "schemas/udb/" + p.TableName() + ".sql", Blob: t.Name(), Text: p.After}
	if _, err := schema.ParseDesired(d.Path, p.After); err != nil {
		t.Fatal(err)
	}
	if r.desired, err = mat.Form(t.Context(), r.db, d, r.env); err != nil {
		t.Fatal(err)
	}
	// A normal form is the definition of a table of the same form.
	d.Text, d.Blob = r.desired.Text, d.Blob+" again"
	if again, err := mat.Form(t.Context(), r.db, d, r.env); err != nil || again.Hash != r.desired.Hash {
		t.Errorf("made from its normal form:\n%s\nis\n%s\n%v", r.desired.Text, again.Text, err)
	}
	r.change, r.err = schema.Diff(r.current, r.desired, r.env.Version)
	return r
}

// exec runs statements in the pair's database, over one connection.
func (r *pairRun) exec(statements ...string) {
	r.Helper()
	mode := schema.AlterSQLMode
	err := mysql.WithSession(r.Context(), r.db, mysql.Session{DB: r.database, SQLMode: &mode}, func(ctx context.Context, conn *sql.Conn) error {
		for _, s := range statements {
			if _, err := conn.ExecContext(ctx, s); err != nil {
				return errors.Join(errors.New(s), err)
			}
		}
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *pairRun) form() schema.Form {
	r.Helper()
	f, ok, err := schema.CurrentForm(r.Context(), r.db, r.database, r.TableName())
	if err != nil || !ok {
		r.Fatalf("no form of the table: %v", err)
	}
	return f
}

// found checks the diff and the findings, alone and with the rows.
func (r *pairRun) found() {
	if r.err != nil {
		if r.Way != pairs.None || !strings.Contains(r.err.Error(), r.Refused) {
			r.Fatalf("Diff: %v\n%s\n%s", r.err, r.current.Text, r.desired.Text)
		}
		return
	}
	if equal := r.current.Hash == r.desired.Hash; r.change.Empty != equal {
		r.Errorf("Empty is %v, equal hashes %v", r.change.Empty, equal)
	}
	var codes, real []string
	for _, f := range r.change.Findings {
		codes = append(codes, f.Code)
		is, err := f.Real(r.Context(), r.db, r.database, r.TableName())
		if err != nil {
			r.Errorf("%s: %v", f, err)
		}
		if is {
			real = append(real, f.Code)
		}
	}
	slices.Sort(codes)
	slices.Sort(real)
	if !slices.Equal(codes, r.Findings) {
		r.Errorf("findings %v, want %v: %v", codes, r.Findings, r.change.Findings)
	}
	if !slices.Equal(real, r.Real) {
		r.Errorf("real findings %v, want %v: %v", real, r.Real, r.change.Findings)
	}
	if (r.change.Copyable != nil) != r.NoCopy {
		r.Errorf("Copyable is %v, NoCopy %v", r.change.Copyable, r.NoCopy)
	}
	if r.Alter != "" && r.change.Clauses != r.Alter {
		r.Errorf("clauses %s, want %s", r.change.Clauses, r.Alter)
	}
	if strings.ContainsAny(r.change.Clauses, "\n\r\x00") {
		r.Errorf("clauses are not one line: %q", r.change.Clauses)
	}
}

// proven checks the proof, then runs the change over the rows.
func (r *pairRun) proven() {
	if r.err != nil {
		return
	}
	proof, err := schema.Prove(r.Context(), r.db, r.env, r.current, r.desired, r.change)
	if r.Way == pairs.None {
		if err == nil || !strings.Contains(err.Error(), r.Refused) {
			r.Errorf("Prove: %v, want %q", err, r.Refused)
		}
		return
	}
	if err != nil {
		r.Fatalf("Prove %s: %v", r.change.Clauses, err)
	}
	way := map[bool]pairs.Way{true: pairs.Copy, false: pairs.Inplace}[proof.Rebuilds]
	switch {
	case r.change.Empty:
		way = pairs.Nothing
	case proof.Instant:
		way = pairs.Instant
	case proof.Inplace && proof.Rebuilds:
		way = pairs.Rebuild
	}
	if way != r.Way || proof.BuildsIndex != r.BuildsIndex {
		r.Errorf("%s: way %s, builds an index %v; want %s, %v", r.change.Clauses, way, proof.BuildsIndex, r.Way, r.BuildsIndex)
	}
	if proof.Copy != nil && r.change.Copyable == nil {
		r.Errorf("copy %s: %v", r.change.CopyClauses("_t_gho"), proof.Copy)
	}
	if proof.Result.Hash != r.desired.Hash {
		r.Error("the proof ends elsewhere")
	}
	r.overRows()
}

// overRows runs the change as a plain ALTER. Where rows are in the way, strict SQL must refuse: never a silent loss.
func (r *pairRun) overRows() {
	blocked := slices.ContainsFunc(r.Real, func(code string) bool {
		return slices.Contains([]string{"narrow_column", "not_null", "unique", "check", "charset_loss", "repartition"}, code)
	})
	if blocked {
		return
	}
	r.exec(r.change.Statements(r.database, r.TableName(), "")...)
	if got := r.form(); got.Hash != r.desired.Hash {
		r.Errorf("%s gives\n%s\nwant\n%s", r.change.Clauses, got.Text, r.desired.Text)
	}
	r.exec("ALTER TABLE " + mysql.QuoteIdent(r.TableName()) + " FORCE")
	if got := r.form(); got.Hash != r.desired.Hash {
		r.Errorf("rebuilt as it is, it becomes\n%s\nwant\n%s", got.Text, r.desired.Text)
	}
}
