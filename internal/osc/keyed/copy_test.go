package keyed

import "testing"

const table = "CREATE TABLE t (id bigint NOT NULL, v varchar(50) NOT NULL, n int NOT NULL, PRIMARY KEY (id), KEY (v))"

// TestCopy copies a table that several sessions write to all the time: nothing acknowledged is lost (I1).
func TestCopy(t *testing.T) {
	k := newKit(t)
	k.exec(table)
	model := k.fill(20_000)
	l := k.startLoad(4, model)
	err := k.copy(k.request("MODIFY v text NOT NULL, DROP KEY v, ADD m int NOT NULL DEFAULT 7"))
	model = l.end()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d transactions", l.count)
	k.check(model)
}
