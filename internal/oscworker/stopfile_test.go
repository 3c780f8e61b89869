package oscworker

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aosc/aosc/internal/mysql"
)

func TestStopFileLines(t *testing.T) {
	d := &Daemon{cfg: Config{StopFile: filepath.Join(t.TempDir(), "stop")}}
	a := mysql.Addr{Host: "db7.example", Port: 3306}
	for text, stops := range map[string]bool{
		"db7.example:3306":                  true,
		" DB7.example:3306 \r\n":            true,
		"db1.example:3306\ndb7.example\n":   true,
		"*":                                 true,
		"":                                  false,
		"db7.example:3307\ndb7.example.org": false,
		"b7.example:3306":                   false,
	} {
		if err := os.WriteFile(d.cfg.StopFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if why := d.stopFile(a); (why != "") != stops {
			t.Errorf("%q: %q", text, why)
		}
	}
}
