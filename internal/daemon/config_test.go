package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"gopkg.in/yaml.v3"
)

// spec is a daemon with a key of each type.
func spec(run func(context.Context, *Env) error) Spec {
	return Spec{
		Name: "demo", Short: "a daemon for tests",
		Keys: []Key{
			{Name: "aoscdb-dsn", Default: "", Help: "where", Mask: func(s string) string { return "MASKED" }},
			{Name: "token", Default: "", Help: "a secret", Secret: true},
			{Name: "instance", Default: []string{}, Help: "which"},
			{Name: "demo.interval", Default: time.Minute, Help: "how often", Check: AtLeast("demo.interval", time.Second)},
			{Name: "demo.timeout", Default: 5 * time.Second, Help: "how long", Check: AtLeast("demo.timeout", time.Millisecond)},
			{Name: "demo.fanout", Default: 64, Unit: "connections", Help: "how many", Check: AtLeast("demo.fanout", 1)},
			{Name: "demo.rows", Default: uint64(5000), Unit: "rows", Help: "how many"},
			{Name: "demo.load", Default: 0.5, Help: "how much"},
			{Name: "demo.dry", Default: false, Help: "whether"},
		},
		Checks: []func(*viper.Viper) error{func(v *viper.Viper) error {
			if v.GetDuration("demo.timeout") > v.GetDuration("demo.interval") {
				return errors.New("demo.timeout must not be longer than demo.interval")
			}
			return nil
		}},
		Run: run,
	}
}

func execute(t *testing.T, s Spec, args ...string) (stdout string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = Execute(ctx, s, append(args, "--listen=off"), &out, &log)
	return out.String(), err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "aosc.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "instance: [a:1, b:2]\ndemo:\n  interval: 10s\n  timeout: 1s\n  fanout: 8\n  dry: true\n")
	t.Setenv("AOSC_DEMO_TIMEOUT", "2s")
	t.Setenv("AOSC_DEMO_FANOUT", "9")
	t.Setenv("AOSC_TOKEN", "") // set but empty is not set
	var got *viper.Viper
	_, err := execute(t, spec(func(_ context.Context, env *Env) error { got = env.Config; return nil }),
		"--config", file, "--demo-fanout=10", "--demo-load", "0.25")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"demo.interval": 10 * time.Second, // file over default
		"demo.timeout":  2 * time.Second,  // environment over file
		"demo.fanout":   10,               // flag over environment
		"demo.load":     0.25,
		"demo.dry":      true,
		"demo.rows":     uint64(5000),
		"token":         "",
	} {
		if v := got.Get(key); v != want {
			t.Errorf("%s = %v (%T), want %v (%T)", key, v, v, want, want)
		}
	}
	if list := got.GetStringSlice("instance"); !slices.Equal(list, []string{"a:1", "b:2"}) {
		t.Errorf("instance = %q", list)
	}
}

func TestLists(t *testing.T) {
	want := []string{"a:1", "b:2", "c:3"}
	t.Setenv("AOSC_INSTANCE", "a:1, b:2,c:3")
	for _, args := range [][]string{nil, {"--instance", "a:1", "--instance", "b:2,c:3"}, {"--config", writeFile(t, "instance: a:1,b:2,c:3")}} {
		var got []string
		_, err := execute(t, spec(func(_ context.Context, env *Env) error { got = env.Config.GetStringSlice("instance"); return nil }), args...)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", args, got, err, want)
		}
	}
}

func TestConfigFileByEnvironment(t *testing.T) {
	t.Setenv("AOSC_CONFIG", writeFile(t, "demo: {rows: 7}"))
	rows := uint64(0)
	_, err := execute(t, spec(func(_ context.Context, env *Env) error { rows = env.Config.GetUint64("demo.rows"); return nil }))
	if err != nil || rows != 7 {
		t.Errorf("demo.rows = %d, %v; want 7", rows, err)
	}
}

// What is wrong must be said by name, source and value, and nothing may run.
func TestBadConfiguration(t *testing.T) {
	cases := map[string]struct {
		file string
		env  string // of AOSC_DEMO_INTERVAL
		args []string
		want []string
	}{
		"duration without unit in the file": {file: "demo: {interval: 90}",
			want: []string{"demo.interval (from file", `"90" is not a duration`, `"90s"`}},
		"duration misspelt in the environment": {env: "1 hour",
			want: []string{"demo.interval (from environment AOSC_DEMO_INTERVAL)", `"1 hour" is not a duration`}},
		"number misspelt in a flag": {args: []string{"--demo-fanout=many"}, want: []string{"--demo-fanout", `"many" is not a whole number`}},
		"fraction where whole":      {file: "demo: {fanout: 1.5}", want: []string{"demo.fanout", `"1.5" is not a whole number`}},
		"negative rows":             {file: "demo: {rows: -1}", want: []string{"demo.rows", "0 or more"}},
		"list where one":            {file: "token: [a, b]", want: []string{"token", "not a list"}},
		"section where one":         {file: "demo: {dry: {very: true}}", want: []string{"demo.dry"}},
		"neither true nor false":    {file: "demo: {dry: perhaps}", want: []string{"demo.dry", `"perhaps" is neither true nor false`}},
		"not a number":              {file: "demo: {load: NaN}", want: []string{"demo.load", "not a number"}},
		"below the least":           {args: []string{"--demo-interval=1ms"}, want: []string{"demo.interval (from flag --demo-interval)", "1ms is less than 1s"}},
		"one key against another":   {args: []string{"--demo-interval=2s"}, want: []string{"demo.timeout must not be longer than demo.interval"}},
		"misspelt key":              {file: "demo: {intervall: 10s}", want: []string{"there is no key demo.intervall", "section demo has dry, fanout, interval"}},
		"all at once":               {file: "demo: {fanout: x, load: y}", want: []string{"demo.fanout", "demo.load"}},
		"unknown level":             {args: []string{"--log-level=loud"}, want: []string{"log-level", `"loud" is none of debug, info, warn, error`}},
		"unknown flag":              {args: []string{"--frobnicate"}, want: []string{"unknown flag: --frobnicate"}},
		"an argument":               {args: []string{"now"}, want: []string{"now"}},
		"no such file":              {args: []string{"--config=/nonexistent/aosc.yaml"}, want: []string{"/nonexistent/aosc.yaml"}},
		"not YAML":                  {file: "demo: [", want: []string{"configuration file"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if c.file != "" {
				args = append(args, "--config", writeFile(t, c.file))
			}
			if c.env != "" {
				t.Setenv("AOSC_DEMO_INTERVAL", c.env)
			}
			_, err := execute(t, spec(func(context.Context, *Env) error { t.Error("it ran all the same"); return nil }), args...)
			for _, want := range c.want {
				if !contains(err, want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
		})
	}
}

// Daemons share one file: a key of another daemon is no error.
func TestKeysOfOthers(t *testing.T) {
	ran := false
	_, err := execute(t, spec(func(context.Context, *Env) error { ran = true; return nil }),
		"--config", writeFile(t, "scheduler: {interval: 3s}\nhost: db1"))
	if err != nil || !ran {
		t.Errorf("ran %v, %v", ran, err)
	}
}

func TestPrintConfig(t *testing.T) {
	file := writeFile(t, "aoscdb-dsn: 'aosc:hunter2@tcp(db:3306)/aoscdb'\ntoken: hunter2\ndemo: {interval: 24h}\n")
	t.Setenv("AOSC_DEMO_ROWS", "12")
	s := spec(func(context.Context, *Env) error { t.Error("--print-config ran the daemon"); return nil })
	out, err := execute(t, s, "--config", file, "--print-config", "--demo-dry", "--instance=a:1,b:2")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out, "hunter2") {
		t.Errorf("a secret was printed:\n%s", out)
	}
	for _, want := range []string{"aoscdb-dsn: MASKED # file ", "demo:\n", "  interval: 24h # file ",
		"  rows: 12 # environment AOSC_DEMO_ROWS", "  dry: true # flag --demo-dry", "  load: 0.5 # default"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing from\n%s", want, out)
		}
	}
	var back map[string]any
	if err := yaml.Unmarshal([]byte(out), &back); err != nil || back["token"] != "***" {
		t.Errorf("not usable as YAML: %v, token %v\n%s", err, back["token"], out)
	}
	// With something wrong it still shows what is in force, and fails.
	out, err = execute(t, s, "--print-config", "--demo-interval=2s")
	if !strings.Contains(out, "interval: 2s # flag") || !contains(err, "demo.timeout must not be longer") {
		t.Errorf("got %v and\n%s", err, out)
	}
}

func TestCleanStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out, log bytes.Buffer
	s := spec(func(ctx context.Context, env *Env) error { cancel(); <-ctx.Done(); return ctx.Err() })
	if err := Execute(ctx, s, []string{"--log-format=json"}, &out, &log); err != nil {
		t.Error("a clean stop is no error:", err)
	}
	for _, want := range []string{`"msg":"started"`, `"msg":"stopped"`, `"daemon":"demo"`, `"listen":"127.0.0.1:`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is missing from the log\n%s", want, &log)
		}
	}
}

func TestFailureAndListen(t *testing.T) {
	broken := errors.New("no schema repository")
	if _, err := execute(t, spec(func(context.Context, *Env) error { return broken })); !errors.Is(err, broken) {
		t.Errorf("got %v, want what Run returned", err)
	}
	_, err := execute(t, spec(func(context.Context, *Env) error { return nil }))
	if err != nil {
		t.Error(err)
	}
	var out, log bytes.Buffer
	err = Execute(t.Context(), spec(func(context.Context, *Env) error { return nil }), []string{"--listen=203.0.113.7:1"}, &out, &log)
	if !contains(err, "203.0.113.7:1") || !contains(err, "--listen") {
		t.Errorf("got %v, want the address that cannot be listened on and the way out", err)
	}
}

func TestSubCommand(t *testing.T) {
	s := spec(func(context.Context, *Env) error { t.Error("the daemon ran"); return nil })
	ran := false
	s.Commands = []*cobra.Command{{Use: "ghost-child", RunE: func(*cobra.Command, []string) error { ran = true; return nil }}}
	var out, log bytes.Buffer
	if err := Execute(t.Context(), s, []string{"ghost-child"}, &out, &log); err != nil || !ran {
		t.Errorf("ran %v, %v", ran, err)
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine(errors.Join(errors.New("a"), errors.New("b"))); got != "a; b" {
		t.Errorf("got %q", got)
	}
}
