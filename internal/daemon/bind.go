package daemon

import (
	"slices"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Bound gives a command line that is no daemon the same keys, with the same names, sources and strength.
type Bound struct {
	c    *configuration
	read bool
}

// Bind adds a flag for every key. An empty prefix is AOSC.
func Bind(flags *pflag.FlagSet, prefix string, keys []Key) *Bound {
	return &Bound{c: newConfiguration(prefix, keys, flags)}
}

// Load reads file (or what <prefix>_CONFIG names), environment and flags, and checks the needed keys only: a command that
// asks aoscdb a question must not insist on an inventory. No key named means all.
func (b *Bound) Load(file string, needed ...string) (*viper.Viper, error) {
	if !b.read {
		if err := b.c.read(file); err != nil {
			return nil, err
		}
		b.read = true
	}
	return b.c.viper, b.c.check(func(k Key) bool { return len(needed) == 0 || slices.Contains(needed, k.Name) })
}
