package aoscdb

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestGoIsForOneRun: an operator's GO is said of the copy at the gate; the next copy waits again. WAIT stays until it is taken back.
func TestGoIsForOneRun(t *testing.T) {
	both(t, func(t *testing.T, s *StatusStore) {
		ctx := t.Context()
		set := func(word string) bool { return must(s.SetCutOver(ctx, "h", 3306, nastyTier, nastyTable, word))(t) }
		row := queued(t, s)
		if row.CutOver != CutOverAsAllowed {
			t.Errorf("a new row has cut_over %q", row.CutOver)
		}
		for _, c := range []struct {
			name, said, want string
			end              func() error
		}{
			{"killed", CutOverGo, CutOverGo, func() error { return nil }},
			{"stopped", CutOverGo, CutOverAsAllowed, func() error { return s.PutBack(ctx, row, "me", "") }},
			{"failed", CutOverGo, CutOverAsAllowed, func() error { return s.Finish(ctx, row, "me", End{Status: OSCFailed}) }},
			{"failed, told to wait", CutOverWait, CutOverWait, func() error { return s.Finish(ctx, row, "me", End{Status: OSCFailed}) }},
			{"done", CutOverGo, CutOverAsAllowed, func() error { return s.Finish(ctx, row, "me", End{Status: OSCDone}) }},
		} {
			ok(t, s.PutWaiting(ctx, row))
			must(s.Take(ctx, reread(t, s), "me"))(t)
			set(CutOverAsAllowed)
			if !set(c.said) || set(c.said) {
				t.Errorf("%s: SetCutOver does not tell whether it changed something", c.name)
			}
			ok(t, c.end())
			if got := reread(t, s).CutOver; got != c.want {
				t.Errorf("%s: cut_over is %q, want %q", c.name, got, c.want)
			}
		}
		if set(CutOverGo) {
			t.Error("GO was set on a row that is DONE")
		}
	})
}

// TestTablesOfAnEarlierRelease: a table without cut_over is read as AUTO, and gets the column with the first write.
func TestTablesOfAnEarlierRelease(t *testing.T) {
	s := newInstance(t)
	row := queued(t, s)
	ok(t, s.unlogged(t.Context(), func(ctx context.Context, q querier) error {
		_, err := exec(ctx, q, "ALTER TABLE aosc.aosc_osc_ww DROP COLUMN cut_over")
		return err
	}))
	if got := reread(t, s); got.CutOver != CutOverAsAllowed || got.Try != row.Try {
		t.Errorf("read as %+v", got)
	}
	if changed := must(s.SetCutOver(t.Context(), "h", 3306, nastyTier, nastyTable, CutOverWait))(t); !changed {
		t.Error("the first write changed nothing")
	}
	if got := reread(t, s); got.CutOver != CutOverWait || got.CommitSHA != row.CommitSHA {
		t.Errorf("after the first write: %+v", got)
	}
	hidden := ask[string](t, s.db, "SELECT extra FROM information_schema.columns WHERE table_schema = 'aosc' AND column_name = 'cut_over'")
	if !strings.Contains(hidden, "INVISIBLE") {
		t.Errorf("cut_over is %q", hidden)
	}
}

// TestCutOverOfAPermission: the INSERT of the original allows at once; a person's change is in the history.
func TestCutOverOfAPermission(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	tell(t, s.db, "INSERT INTO allowed_alters VALUES ('udb','tabla1','istvan',NULL,10,'default')")
	if got := must(s.AllowedOne(ctx, "udb", "tabla1"))(t); got.CutOver != CutOverAuto {
		t.Errorf("cut_over %q", got.CutOver)
	}
	ok(t, s.AllowBy(ctx, AllowedAlter{Group: "udb", Table: "tabla2", AllowedBy: "istvan", CutOver: CutOverManual}))
	for i, want := range []bool{true, false} {
		if changed := must(s.SetAllowedCutOver(ctx, "udb", "tabla2", CutOverAuto, "istvan"))(t); changed != want {
			t.Errorf("call %d changed: %v", i, changed)
		}
	}
	if got := must(s.AllowedOne(ctx, "udb", "tabla2"))(t); got.CutOver != CutOverAuto {
		t.Errorf("cut_over %q", got.CutOver)
	}
	if _, err := s.SetAllowedCutOver(ctx, "udb", "nothing", CutOverAuto, "istvan"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no permission: %v", err)
	}
	if n := ask[int](t, s.db, "SELECT COUNT(*) FROM events WHERE what = ? AND detail LIKE '%cut_over=auto'", EventCutOver); n != 1 {
		t.Errorf("%d events", n)
	}
}
