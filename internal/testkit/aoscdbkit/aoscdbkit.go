// Package aoscdbkit gives tests a central database.
package aoscdbkit

import (
	"testing"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/testkit"
)

// AOSCDB is a central database of this test alone, with all tables, on the server that the package's tests share.
func AOSCDB(t testing.TB) *aoscdb.Store {
	t.Helper()
	server := testkit.Server(t)
	store, err := aoscdb.Open(server.DSN(testkit.Database(t, server, "aoscdb")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := store.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}
