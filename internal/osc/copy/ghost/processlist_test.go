package ghost

import (
	"testing"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// TestProcesslistBreaks holds the probe against the server's own word.
func TestProcesslistBreaks(t *testing.T) {
	srv := testkit.Server(t)
	breaks, err := processlistBreaks(t.Context(), srv.DB())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("on MySQL %s: %v", srv.Version(), breaks)
	conn, err := srv.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asleep := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(t.Context(), "DO SLEEP(1) /* \U0001F600 */")
		asleep <- err
	}()
	testkit.Eventually(t, testkit.Patience, "the statement is under way", func() bool {
		return testkit.Ask(t, srv, "SELECT COUNT(*) FROM performance_schema.processlist WHERE info LIKE 'DO SLEEP(1)%'") == "1"
	})
	var n int
	err = srv.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist").Scan(&n)
	if breaks != mysql.IsNumber(err, mysql.ErrCannotConvert) {
		t.Errorf("the probe says %v, the server %v", breaks, err)
	}
	if err := <-asleep; err != nil {
		t.Error(err)
	}
}
