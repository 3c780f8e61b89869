package framework

import (
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/mysql"
)

// TestStraysAreForgotten: what was read of a member's errant transactions is not taken for what the same GTIDs are after it was cloned.
func TestStraysAreForgotten(t *testing.T) {
	const uuid = "aaaaaaaa-0000-4000-8000-000000000001"
	set, err := mysql.ParseGTIDSet(uuid + ":1")
	if err != nil {
		t.Fatal(err)
	}
	known := &strays{Strays: cotton.Strays{Of: set, List: []mysql.LoggedTransaction{{GTID: set.String(), Kind: mysql.LoggedNothing}}}}
	d := &driver{memos: map[int]*memo{2: {strays: known}}}
	r := cotton.Record{Primary: 1, Members: []cotton.Member{{ID: 1}, {ID: 2}}}
	seen := []cotton.Seen{{Member: 1, Answered: true}, {Member: 2, Answered: true, Server: mysql.Server{GTIDExecuted: set.String()}}}
	d.inspect(t.Context(), r, seen)
	if seen[1].Strays == nil || len(seen[1].Strays.List) != 1 {
		t.Fatalf("what is known is not told: %+v", seen[1].Strays)
	}
	seen[1].Busy = "clone"
	d.inspect(t.Context(), r, seen)
	if seen[1].Strays != nil || d.memos[2].strays != nil {
		t.Errorf("while it is cloned: %+v, %+v", seen[1].Strays, d.memos[2].strays)
	}
}
