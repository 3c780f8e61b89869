// Package daemon is the chassis every daemon of this project shares: configuration (file, environment, flags),
// logging, metrics, health pages, leases, the loop of passes and a clean stop on SIGTERM.
//
// A daemon describes itself by a Spec and gives the rest of its main to Main. What it does lives in its own
// package as passes, run by Loop; a daemon of which only one may act wraps Loop in Lead.
package daemon

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"
)

// Key is one thing that can be configured. Its name serves in the file ("checksum.interval" is `interval` in section
// `checksum`), as flag (--checksum-interval) and in the environment (AOSC_CHECKSUM_INTERVAL).
type Key struct {
	// Name is lower case, words joined by "-", at most one "." after the section.
	Name string
	// Default also fixes the type: string, bool, int, uint64, float64, time.Duration or []string.
	Default any
	// Unit is shown in the help, e.g. "rows". Durations are always written with a unit ("90s", "24h") and need none.
	Unit string
	Help string
	// Secret values are printed as *** by --print-config.
	Secret bool
	// Mask, where only part of a value is secret (the password in a DSN), returns what may be shown.
	Mask func(string) string
	// Check says what is wrong with the value; it may look at other keys. It runs after every key was parsed.
	Check func(v *viper.Viper) error
}

// Spec describes one daemon to Main.
type Spec struct {
	Name, Short string
	// EnvPrefix of the environment variables, "AOSC" when empty.
	EnvPrefix string
	Keys      []Key
	// Checks relate several keys to each other. They run after the checks of the keys.
	Checks []func(*viper.Viper) error
	// Run does the work until ctx ends. An error it returns (other than the end of ctx) is the exit reason.
	Run func(context.Context, *Env) error
	// OwnListen is the default of the key "listen" of a daemon that serves Env.Handler itself, beside pages of its own;
	// empty = Main serves it.
	OwnListen string
	// Commands are sub-commands with flags of their own; they see none of the configuration.
	Commands []*cobra.Command
}

// Env is what the chassis hands to Spec.Run. The zero value of its unexported part is ready for use, so tests may
// fill the exported fields by hand; NewEnv does it for them.
type Env struct {
	Name string
	// Config holds every key of the Spec, parsed to the type of its default.
	Config  *viper.Viper
	Log     *slog.Logger
	Metrics *prometheus.Registry
	// Once asks for one pass and then the end, with an error when it failed.
	Once bool
	// Holder names this process among all others, as host:pid:random. Leases and rows are owned by it.
	Holder string

	state   readiness
	metrics metrics
}

// NewEnv returns an Env with a new registry and a holder of its own. A nil v is an empty configuration, a nil log
// discards.
func NewEnv(name string, v *viper.Viper, log *slog.Logger) *Env {
	if v == nil {
		v = viper.New()
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Env{Name: name, Config: v, Log: log, Metrics: prometheus.NewRegistry(), Holder: newHolder()}
}

// Ready is what /readyz answers: why the daemon does not do its work, or nil and a note for people.
func (e *Env) Ready() (note string, err error) { return e.state.get() }

// SetReady says whether this daemon does its work: nil makes /readyz answer 200, an error makes it answer 503 with
// the error as reason. Loop calls it after every pass.
func (e *Env) SetReady(err error) { e.state.set(err, "") }
