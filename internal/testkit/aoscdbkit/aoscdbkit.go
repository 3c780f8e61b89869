// Package aoscdbkit gives tests a central database.
package aoscdbkit

import (
	"fmt"
	"sync"
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/testkit"
)

// templates are the names of central databases that Init made, by server: migrations take hundreds of statements.
var (
	mu        sync.Mutex
	templates = map[*mysqld.Server]string{}
)

// AOSCDB is a central database of this test alone, with all tables, on the server that the package's tests share.
func AOSCDB(t testing.TB) *aoscdb.Store {
	t.Helper()
	server := testkit.Server(t)
	database := testkit.Database(t, server, "aoscdb")
	testkit.CopyCentral(t, server.DB(), template(t, server), database)
	store, err := aoscdb.Open(server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// template makes what is copied, once for all tests of this process.
func template(t testing.TB, server *mysqld.Server) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if name := templates[server]; name != "" {
		return name
	}
	name := fmt.Sprintf("aosc_template%d", len(templates)+1)
	store, err := aoscdb.Open(server.DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	templates[server] = name
	return name
}
