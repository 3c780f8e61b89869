package golden_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/cotton/store"
)

// seeds are the golden values of a type, and some that are none.
func seeds(f *testing.F, name string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "records", "v*", name+".*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden values of %s: %v", name, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{"", "null", "[]", "{}", `{"schema":1}`, `{"schema":-1}`, `{"schema":1,"min_reader":-1}`, `{"schema":1,"spec":{"name":"a-name","x":{"y":1}}}`,
		`{"schema":1,"spec":{"name":"a-name","backup":{"x":1}},"members":[{"x":1}]}`, `{"schema":1e400}`, `{"schema":1,"spec":null}`,
		`{"schema":1,"task":"t","kind":"lease","lease_ns":-1}`, `{"schema":1,"Schema":2,"spec":{"NAME":"a-name"}}`,
		`{"schema":1,"spec":{"name":"a-name","a.b":1}}`} {
		f.Add([]byte(text))
	}
}

// FuzzRecord: what is read from the store is written, and read again, as the same.
func FuzzRecord(f *testing.F) {
	seeds(f, "record")
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := store.DecodeCluster("a-name", data)
		if err != nil {
			return
		}
		again, err := store.EncodeCluster(r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := store.DecodeCluster("a-name", again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, again)
		}
		if r.Schema, r.Dropped = back.Schema, nil; form(t, r) != form(t, back) || len(back.Dropped) > 0 {
			t.Fatalf("%+v\nwas\n%+v\n%s", back, r, again)
		}
		if len(r.Spec.Unknown) != len(back.Spec.Unknown) {
			t.Fatalf("of the fields %v these are kept: %v", r.Spec.Unknown, back.Spec.Unknown)
		}
	})
}

// form is a value in JSON: lists that are empty and those that are not there are the same.
func form(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// FuzzFramework is FuzzRecord of the framework's own record.
func FuzzFramework(f *testing.F) {
	seeds(f, "framework")
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := store.DecodeFramework(data)
		if err != nil {
			return
		}
		again, err := store.EncodeFramework(r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := store.DecodeFramework(again)
		if err != nil || form(t, r) != form(t, back) || len(r.Unknown) != len(back.Unknown) {
			t.Fatalf("%v\n%+v\nwas\n%+v\n%s", err, back, r, again)
		}
	})
}

// FuzzMessage: what executors are sent, and say, is read or refused; never half of it.
func FuzzMessage(f *testing.F) {
	seeds(f, "task")
	seeds(f, "order")
	seeds(f, "facts")
	f.Fuzz(func(t *testing.T, data []byte) {
		if task, err := cotton.ParseTask(data); err != nil && !reflect.DeepEqual(task, cotton.Task{}) {
			t.Fatalf("a task that is refused is %+v", task)
		} else if err == nil && (task.Schema > cotton.TaskSchema || task.Cluster == "" || task.Port == 0) {
			t.Fatalf("%+v", task)
		}
		if order, err := cotton.ParseOrder(data); err != nil && !reflect.DeepEqual(order, cotton.Order{}) {
			t.Fatalf("an order that is refused is %+v", order)
		} else if err == nil && (order.Schema > cotton.OrderSchema || order.Task == "" || order.Kind == "") {
			t.Fatalf("%+v", order)
		}
		var facts cotton.Facts
		_ = json.Unmarshal(data, &facts)
	})
}
