package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"gopkg.in/yaml.v3"
)

// chassisKeys are the keys every daemon has; ownListen as in Spec.
func chassisKeys(ownListen string) []Key {
	// A free port by default: five daemons, or two of a kind, share a host without a word of configuration.
	listen := Key{Name: "listen", Default: "127.0.0.1:0", Unit: "host:port",
		Help: "address of /healthz, /readyz and /metrics; port 0 takes a free one and logs it, empty or \"off\" serves none"}
	if ownListen != "" {
		listen.Default, listen.Help = ownListen, "address of all pages; port 0 takes a free one and logs it"
	}
	return []Key{
		{Name: "log-format", Default: "text", Help: "text or json", Check: OneOf("log-format", "text", "json")},
		{Name: "log-level", Default: "info", Help: "debug, info, warn or error",
			Check: OneOf("log-level", "debug", "info", "warn", "error")},
		listen,
	}
}

// OneOf returns a Key.Check that accepts only the given texts.
func OneOf(name string, allowed ...string) func(*viper.Viper) error {
	return func(v *viper.Viper) error {
		if got := v.GetString(name); !slices.Contains(allowed, got) {
			return fmt.Errorf("%q is none of %s", got, strings.Join(allowed, ", "))
		}
		return nil
	}
}

// AtLeast returns a Key.Check for a duration or number that must not be below least.
func AtLeast[N int | uint64 | float64 | ~int64](name string, least N) func(*viper.Viper) error {
	return func(v *viper.Viper) error {
		if got, ok := v.Get(name).(N); !ok || got < least {
			return fmt.Errorf("%v is less than %v, the least that makes sense", v.Get(name), least)
		}
		return nil
	}
}

// configuration is the keys of one daemon with their values and where each came from.
type configuration struct {
	prefix string
	keys   []Key
	checks []func(*viper.Viper) error
	viper  *viper.Viper
	flags  *pflag.FlagSet
	source map[string]string
	file   string
	// unknown are keys of the file that no key of this daemon has, outside its sections.
	unknown []string
}

func newConfiguration(prefix string, keys []Key, flags *pflag.FlagSet) *configuration {
	if prefix == "" {
		prefix = "AOSC"
	}
	c := &configuration{prefix: prefix, keys: keys, viper: viper.New(), flags: flags, source: map[string]string{}}
	for _, k := range c.keys {
		flag := flags.VarPF(&flagValue{key: k, value: k.Default}, flagName(k.Name), "", k.Help+" [$"+c.envName(k.Name)+"]")
		if _, isBool := k.Default.(bool); isBool {
			flag.NoOptDefVal = "true"
		}
		c.viper.SetDefault(k.Name, k.Default)
		// Both only fail without a name or a flag.
		_ = c.viper.BindEnv(k.Name, c.envName(k.Name))
		_ = c.viper.BindPFlag(k.Name, flag)
	}
	return c
}

func flagName(key string) string { return strings.ReplaceAll(key, ".", "-") }

func (c *configuration) envName(key string) string {
	return c.prefix + "_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// load reads and checks everything. All that is wrong is reported at once.
func (c *configuration) load(file string) error {
	if err := c.read(file); err != nil {
		return err
	}
	return c.check(func(Key) bool { return true })
}

// read takes the file (when one is named), the environment and the flags, in that order from weak to strong, and
// brings every value to its type.
func (c *configuration) read(file string) error {
	if file == "" {
		file = os.Getenv(c.prefix + "_CONFIG")
	}
	if file != "" {
		c.file = file
		c.viper.SetConfigFile(file)
		if err := c.viper.ReadInConfig(); err != nil {
			return fmt.Errorf("configuration file %s: %w", file, err)
		}
	}
	var wrong []error
	for _, k := range c.keys {
		c.source[k.Name] = c.sourceOf(k.Name)
		value, err := parse(k.Default, c.raw(k))
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s (from %s): %w", k.Name, c.source[k.Name], err))
			continue
		}
		c.viper.Set(k.Name, value)
	}
	return errors.Join(append(wrong, c.unknownKeys()...)...)
}

// check runs the checks of the needed keys, and those of one key against another.
func (c *configuration) check(needed func(Key) bool) error {
	var wrong []error
	for _, k := range c.keys {
		if k.Check != nil && needed(k) {
			if err := k.Check(c.viper); err != nil {
				wrong = append(wrong, fmt.Errorf("%s (from %s): %w", k.Name, c.source[k.Name], err))
			}
		}
	}
	// Keys that are wrong by themselves would only confuse the checks of one against another.
	if len(wrong) == 0 {
		for _, check := range c.checks {
			wrong = append(wrong, check(c.viper))
		}
	}
	return errors.Join(wrong...)
}

func (c *configuration) raw(k Key) any {
	if f := c.flags.Lookup(flagName(k.Name)); f.Changed {
		return f.Value.(*flagValue).value
	}
	return c.viper.Get(k.Name)
}

func (c *configuration) sourceOf(key string) string {
	if c.flags.Changed(flagName(key)) {
		return "flag --" + flagName(key)
	}
	if os.Getenv(c.envName(key)) != "" {
		return "environment " + c.envName(key)
	}
	if c.file != "" && c.viper.InConfig(key) {
		return "file " + c.file
	}
	return "default"
}

// unknownKeys finds misspelt keys in the file. Daemons share one file, so a key outside this daemon's own sections may
// be another's: that is only mentioned in the log.
func (c *configuration) unknownKeys() []error {
	known := map[string]bool{}
	sections := map[string]bool{}
	for _, k := range c.keys {
		known[k.Name] = true
		if section, _, dotted := strings.Cut(k.Name, "."); dotted {
			sections[section] = true
		}
	}
	var wrong []error
	for _, key := range slices.Sorted(slices.Values(c.viper.AllKeys())) {
		if known[key] {
			continue
		}
		section, _, dotted := strings.Cut(key, ".")
		if dotted && sections[section] {
			wrong = append(wrong, fmt.Errorf("file %s: there is no key %s; section %s has %s", c.file, key, section,
				strings.Join(inSection(known, section), ", ")))
			continue
		}
		c.unknown = append(c.unknown, key)
	}
	return wrong
}

func inSection(known map[string]bool, section string) []string {
	var in []string
	for _, key := range slices.Sorted(maps.Keys(known)) {
		if rest, ok := strings.CutPrefix(key, section+"."); ok {
			in = append(in, rest)
		}
	}
	return in
}

// print writes the configuration in force as YAML that could be used as file, with secrets masked and each value's
// source beside it.
func (c *configuration) print(w io.Writer) error {
	section := ""
	for _, k := range slices.SortedStableFunc(slices.Values(c.keys), func(a, b Key) int {
		return strings.Compare(sectionOf(a.Name), sectionOf(b.Name))
	}) {
		name, indent := k.Name, ""
		if s := sectionOf(k.Name); s != "" {
			if s != section {
				section = s
				if _, err := fmt.Fprintf(w, "%s:\n", s); err != nil {
					return err
				}
			}
			name, indent = strings.TrimPrefix(k.Name, s+"."), "  "
		}
		value, err := yaml.Marshal(c.shown(k))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s%s: %s # %s\n", indent, name, strings.TrimSpace(string(value)), c.source[k.Name]); err != nil {
			return err
		}
	}
	return nil
}

func sectionOf(key string) string {
	if section, _, dotted := strings.Cut(key, "."); dotted {
		return section
	}
	return ""
}

// shown is the value of a key as it may be shown to anybody.
func (c *configuration) shown(k Key) any {
	value := c.viper.Get(k.Name)
	text := show(value)
	switch {
	case text == "":
		return value
	case k.Secret:
		return "***"
	case k.Mask != nil:
		return k.Mask(text)
	}
	switch value.(type) {
	case bool, int, uint64, float64:
		return value
	}
	return text
}

// logger writes to w in the configured format and level.
func (c *configuration) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	// Checked by OneOf: these four names are what slog calls its levels.
	_ = level.UnmarshalText([]byte(c.viper.GetString("log-level")))
	o := &slog.HandlerOptions{Level: level}
	if c.viper.GetString("log-format") == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
