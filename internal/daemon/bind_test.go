package daemon

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// A command line has the daemons' keys, and insists only on those that its command needs.
func TestBind(t *testing.T) {
	t.Setenv("AOSC_DEMO_FANOUT", "7")
	flags := pflag.NewFlagSet("aosc", pflag.ContinueOnError)
	b := Bind(flags, "", spec(nil).Keys)
	if err := flags.Parse([]string{"--demo-interval=1ms"}); err != nil {
		t.Fatal(err)
	}
	v, err := b.Load("", "demo.fanout")
	if err != nil || v.GetInt("demo.fanout") != 7 || v.GetDuration("demo.timeout") != 5*time.Second {
		t.Errorf("fanout %d, %v", v.GetInt("demo.fanout"), err)
	}
	if _, err := b.Load("", "demo.interval"); !contains(err, "demo.interval (from flag --demo-interval)") {
		t.Errorf("got %v, want what is wrong with the key that is needed now", err)
	}
	if _, err := b.Load(""); !contains(err, "demo.interval") {
		t.Errorf("got %v, want every key checked", err)
	}
}
