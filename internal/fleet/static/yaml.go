package static

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// entry is one key of a mapping and its value.
type entry struct{ key, value *yaml.Node }

// at makes an error about a place in the file.
func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...))
}

// resolve follows an alias (*name) to what it stands for. The parser refuses aliases that contain themselves only when
// it decodes; ours ends because no alias leads to an alias, and every level of the file is read by name.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// entriesOf reads a mapping in the order of the file and refuses a key given twice.
func entriesOf(n *yaml.Node, what string) ([]entry, error) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return nil, at(n, "%s: want a mapping (key: value)", what)
	}
	var entries []entry
	lines := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), resolve(n.Content[i+1])
		if key.Kind != yaml.ScalarNode {
			return nil, at(key, "%s: a key must be a plain text", what)
		}
		if line, twice := lines[key.Value]; twice {
			return nil, at(n.Content[i], "%s: %s is already given on line %d", what, key.Value, line)
		}
		lines[key.Value] = key.Line
		entries = append(entries, entry{key, value})
	}
	return entries, nil
}

// fieldsOf reads a mapping whose keys are known. A key with an empty value counts as not given.
func fieldsOf(n *yaml.Node, what string, known ...string) (map[string]*yaml.Node, error) {
	entries, err := entriesOf(n, what)
	if err != nil {
		return nil, err
	}
	fields := map[string]*yaml.Node{}
	for _, e := range entries {
		if !slices.Contains(known, e.key.Value) {
			return nil, at(e.key, "%s: unknown key %q, known are %s", what, e.key.Value, strings.Join(known, ", "))
		}
		if e.value.Tag != "!!null" {
			fields[e.key.Value] = e.value
		}
	}
	return fields, nil
}

func itemsOf(n *yaml.Node, what string) ([]*yaml.Node, error) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		return nil, at(n, "%s: want a list", what)
	}
	items := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		items[i] = resolve(item)
	}
	return items, nil
}

// textOf reads a plain value; a number or a date is taken as it is written.
func textOf(n *yaml.Node, what string) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", at(n, "%s: want a text", what)
	}
	return n.Value, nil
}

// required reads a plain value that must be given; parent is where it is missing.
func required(parent *yaml.Node, fields map[string]*yaml.Node, what, name string) (string, error) {
	node := fields[name]
	if node == nil {
		return "", at(parent, "%s: %s is missing", what, name)
	}
	text, err := textOf(node, what+": "+name)
	if err == nil && text == "" {
		err = at(node, "%s: %s is empty", what, name)
	}
	return text, err
}
