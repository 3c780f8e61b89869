package mysql_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

// TestCloning: a CLONE goes on when whoever began it is gone, and the server says that it is under way. Meanwhile it has executed nothing,
// by its own word.
func TestCloning(t *testing.T) {
	donor, recipient := testkit.FreshServer(t, nil), testkit.FreshServer(t, nil)
	for _, statement := range []string{"SET SESSION sql_log_bin = 0", "CREATE USER c IDENTIFIED BY 'c'", "GRANT ALL ON *.* TO c"} {
		testkit.Exec(t, donor, statement)
	}
	cloning := func() bool {
		t.Helper()
		is, err := mysql.Cloning(t.Context(), recipient.DB())
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	testkit.Exec(t, donor, "SET GLOBAL clone_max_data_bandwidth = 1",
		"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)",
		"INSERT INTO d.t (v) VALUES (REPEAT('x', 10000000)), (REPEAT('x', 10000000)), (REPEAT('x', 10000000))")
	testkit.Exec(t, recipient, "CREATE DATABASE before_it", "SET GLOBAL clone_max_data_bandwidth = 1",
		fmt.Sprintf("SET GLOBAL clone_valid_donor_list = '%s'", donor.Addr()))
	if cloning() {
		t.Error("a clone is under way before it begins")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := recipient.DB().ExecContext(ctx, fmt.Sprintf("CLONE INSTANCE FROM c@'%s':%d IDENTIFIED BY 'c'", donor.Addr().Host,
			donor.Addr().Port))
		ended <- err
	}()
	testkit.Eventually(t, testkit.Patience, "the clone is under way", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the clone ended at once: %v", err)
		default:
		}
		return cloning()
	})
	testkit.Eventually(t, testkit.Patience, "its data are gone", func() bool {
		return testkit.Ask(t, recipient,
			"SELECT @@GLOBAL.gtid_executed") == ""
	})
	cancel()
	<-ended
	if !cloning() {
		t.Error("it ends with the connection of who began it")
	}
}
