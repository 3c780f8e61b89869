package osc

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/osc/copy"
	"github.com/aosc/aosc/internal/osc/copy/ghost"
	"github.com/aosc/aosc/internal/osc/copy/keyed"
)

// copiers are the engines that copy. This is the one place that knows which there are.
var copiers = []copy.Engine{keyed.Engine{}, ghost.Engine{}}

// copier is the engine of a name, nil when there is none.
func copier(e Engine) copy.Engine {
	for _, c := range copiers {
		if c.Name() == string(e) {
			return c
		}
	}
	return nil
}

// CopyEngines are the values of copy_engine.
func CopyEngines() []string {
	names := make([]string, len(copiers))
	for i, c := range copiers {
		names[i] = c.Name()
	}
	return names
}

// copies tells whether the engine makes a copy of the table. One that nobody knows is taken for such: it is refused by its name.
func (e Engine) copies() bool { return !slices.Contains(direct, e) }

// direct are the engines that do not copy.
var direct = []Engine{EngineNone, EngineCreate, EngineInstant, EngineInplace, EngineDirect}

// unknownEngine says that no engine has this name.
func unknownEngine(e Engine) string {
	return fmt.Sprintf("copy_engine '%s' is not known: set the tier's copy_engine to one of '%s'", e, strings.Join(CopyEngines(), "', '"))
}

// placeholder tells from its comment whether a table that stands where an old one goes is none of a user's.
func placeholder(comment string) bool {
	return slices.ContainsFunc(copiers, func(c copy.Engine) bool { p := c.Trace().Placeholder; return p != "" && p == comment })
}

// markers are in the statements of copies.
func markers() []string {
	var all []string
	for _, c := range copiers {
		all = append(all, c.Trace().Marker)
	}
	return all
}

// beats tells whether a copy with these names is alive, whose process is not this one.
func beats(ctx context.Context, db *sql.DB, database string, names copy.Names) (bool, error) {
	for _, c := range copiers {
		if alive := c.Trace().Beats; alive != nil {
			if yes, err := alive(ctx, db, database, names); yes || err != nil {
				return yes, err
			}
		}
	}
	return false, nil
}

// ChildCommand is the sub-command by which a program that runs copies is called by itself, for an engine that needs a process of its own.
const ChildCommand = ghost.SubCommand

// ChildMain is the body of ChildCommand. It returns the exit code of its process.
func ChildMain(ctx context.Context, in io.Reader, out io.Writer) int { return ghost.Main(ctx, in, out) }
