package daemon

import (
	"context"
	"io"
	"net"
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

// A daemon that serves its pages itself has its own default for the same key, and the chassis opens no port.
func TestOwnListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := Spec{Name: "own", OwnListen: taken.Addr().String(), Run: func(_ context.Context, env *Env) error {
		if got := env.Config.GetString("listen"); got != taken.Addr().String() {
			t.Errorf("listen is %s", got)
		}
		return nil
	}}
	if err := Execute(t.Context(), s, nil, io.Discard, io.Discard); err != nil {
		t.Error("the chassis listened where the daemon does:", err)
	}
	s.OwnListen = ""
	if err := Execute(t.Context(), s, []string{"--listen=" + taken.Addr().String()}, io.Discard, io.Discard); err == nil {
		t.Error("the chassis did not listen")
	}
}
