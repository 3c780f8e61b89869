package golden_test

import (
	"encoding/json"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/cotton/backup"
	"github.com/aosc/aosc/internal/cotton/golden"
	"github.com/aosc/aosc/internal/cotton/store"
)

// header are the fields of a stored value that every release writes anew.
var header = []string{"schema", "min_reader", "written_by"}

// TestGoldenRecord and the others: see the package.
func TestGoldenRecord(t *testing.T) {
	r := golden.Fill[cotton.Record]()
	golden.Check(t, golden.Form{
		Name: "record", Version: cotton.SchemaVersion, Ignore: header,
		Write: func(v any) ([]byte, error) { return store.EncodeCluster(v.(cotton.Record)) },
		Read:  func(data []byte) (any, error) { return store.DecodeCluster(r.Spec.Name, data) },
	}, r)
}

func TestGoldenFramework(t *testing.T) {
	golden.Check(t, golden.Form{
		Name: "framework", Version: cotton.SchemaVersion, Ignore: header,
		Write: func(v any) ([]byte, error) { return store.EncodeFramework(v.(store.Framework)) },
		Read:  func(data []byte) (any, error) { return store.DecodeFramework(data) },
	}, golden.Fill[store.Framework]())
}

func TestGoldenTask(t *testing.T) {
	task := golden.Fill[cotton.Task]()
	task.Schema = cotton.TaskSchema
	golden.Check(t, golden.Form{Name: "task", Version: cotton.TaskSchema, Read: func(data []byte) (any, error) { return cotton.ParseTask(data) }}, task)
}

func TestGoldenOrder(t *testing.T) {
	order := golden.Fill[cotton.Order]()
	order.Schema = cotton.OrderSchema
	golden.Check(t, golden.Form{Name: "order", Version: cotton.OrderSchema, Read: func(data []byte) (any, error) { return cotton.ParseOrder(data) }}, order)
}

// TestGoldenFacts: they have no schema: a scheduler makes do with what it is told.
func TestGoldenFacts(t *testing.T) {
	golden.Check(t, golden.Form{Name: "facts", Version: 1, Lenient: true}, golden.Fill[cotton.Facts]())
}

func TestGoldenManifest(t *testing.T) {
	m := golden.Fill[backup.Manifest]()
	m.Format = backup.Format
	golden.Check(t, golden.Form{Name: "manifest", Version: backup.Format, Ignore: []string{"tool"}}, m)
}

func TestGoldenLog(t *testing.T) {
	golden.Check(t, golden.Form{Name: "log", Version: backup.Format}, golden.Fill[backup.Log]())
}

// TestGoldenAPI: clients and schedulers of different releases meet, too. A scheduler refuses what it does not know of a request; a
// client passes over it in an answer.
func TestGoldenAPI(t *testing.T) {
	for name, example := range map[string]any{
		"create": golden.Fill[v1.Create](), "created": golden.Fill[v1.Created](), "deleted": golden.Fill[v1.Deleted](), "clusters": golden.Fill[v1.Clusters](),
		"endpoints": golden.Fill[v1.Endpoints](), "why": golden.Fill[v1.Why](), "health": golden.Fill[v1.Health](), "failure": golden.Fill[v1.Failure](),
		"switchover": golden.Fill[v1.Switchover](), "failover": golden.Fill[v1.Failover](), "replace": golden.Fill[v1.Replace](),
		"scale": golden.Fill[v1.Scale](), "restart": golden.Fill[v1.Restart](), "configure": golden.Fill[v1.Configure](), "upgrade": golden.Fill[v1.Upgrade](),
		"cancel": golden.Fill[v1.Cancel](), "drain": golden.Fill[v1.Drain](), "planned": golden.Fill[v1.Planned](), "history": golden.Fill[v1.History](),
		"agents": golden.Fill[v1.Agents](), "backups": golden.Fill[v1.Backups](), "backup_asked": golden.Fill[v1.BackupAsked](),
	} {
		t.Run(name, func(t *testing.T) {
			golden.Check(t, golden.Form{Name: name, Version: 1, Dir: "testdata/api", Lenient: true}, example)
		})
	}
}

// TestNewerTaskAndOrder: what a later scheduler sends is obeyed as long as it says that it can be.
func TestNewerTaskAndOrder(t *testing.T) {
	task, order := golden.Fill[cotton.Task](), golden.Fill[cotton.Order]()
	for _, tc := range []struct {
		name   string
		schema int
		ok     bool
	}{{"one more field", 1, true}, {"a newer schema", 2, false}} {
		task.Schema, order.Schema = cotton.TaskSchema-1+tc.schema, cotton.OrderSchema-1+tc.schema
		if _, err := cotton.ParseTask(more(t, task)); (err == nil) != tc.ok {
			t.Errorf("task with %s: %v", tc.name, err)
		}
		if _, err := cotton.ParseOrder(more(t, order)); (err == nil) != tc.ok {
			t.Errorf("order with %s: %v", tc.name, err)
		}
	}
}

func more(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return append(data[:len(data)-1], `,"colour":"red"}`...)
}
