package static

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/aosc/aosc/internal/fleet"
	"github.com/aosc/aosc/internal/mysql"
)

const (
	// Limits of the columns these names are stored in (aoscdb/migrations).
	maxName = 64
	maxHost = 255

	defaultPort = 3306
)

// Parse reads an inventory. It is strict: a key it does not know is more likely a misspelt one that matters than one
// that does not. Every error begins with the line it is about.
//
// It walks the parsed document itself instead of decoding into structs: the decoder can tell lines only of its own
// errors, not of ours.
func Parse(text []byte) ([]fleet.Tier, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the file is empty, want a mapping with the key tiers")
	} else if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one YAML document, found several")
	}
	p := parser{tiers: map[string]int{}, clusters: map[string]int{}, instances: map[mysql.Addr]int{}}
	return p.file(doc.Content[0])
}

// parser remembers on which line each name was first used. Names are compared without case, as the tables they end up
// in compare them.
type parser struct {
	tiers     map[string]int
	clusters  map[string]int
	instances map[mysql.Addr]int
}

func (p *parser) file(n *yaml.Node) ([]fleet.Tier, error) {
	top, err := fieldsOf(n, "the inventory", "tiers")
	if err != nil {
		return nil, err
	}
	node := top["tiers"]
	if node == nil {
		return nil, at(n, "the key tiers is missing")
	}
	entries, err := entriesOf(node, "tiers")
	if err != nil {
		return nil, err
	}
	tiers := make([]fleet.Tier, 0, len(entries))
	for _, e := range entries {
		t, err := p.tier(e)
		if err != nil {
			return nil, err
		}
		tiers = append(tiers, t)
	}
	return tiers, nil
}

func (p *parser) tier(e entry) (fleet.Tier, error) {
	t := fleet.Tier{Name: e.key.Value}
	// The name is also that of the directory schemas/<tier>.
	if err := checkName(e.key, "tier"); err != nil {
		return t, err
	}
	if line, taken := p.tiers[strings.ToLower(t.Name)]; taken {
		return t, at(e.key, "tier %s is already defined on line %d", t.Name, line)
	}
	p.tiers[strings.ToLower(t.Name)] = e.key.Line
	what := "tier " + t.Name
	fields, err := fieldsOf(e.value, what, "databases", "clusters")
	if err != nil {
		return t, err
	}
	if t.Databases, err = required(e.key, fields, what, "databases"); err != nil {
		return t, err
	}
	if fields["clusters"] == nil {
		return t, nil // a tier that is yet to get its first cluster
	}
	clusters, err := itemsOf(fields["clusters"], what+": clusters")
	if err != nil {
		return t, err
	}
	for _, n := range clusters {
		c, err := p.cluster(n, t.Name)
		if err != nil {
			return t, err
		}
		t.Clusters = append(t.Clusters, c)
	}
	return t, nil
}

func (p *parser) cluster(n *yaml.Node, tier string) (fleet.Cluster, error) {
	c := fleet.Cluster{Tier: tier}
	what := "a cluster of tier " + tier
	fields, err := fieldsOf(n, what, "name", "instances")
	if err != nil {
		return c, err
	}
	if c.Name, err = required(n, fields, what, "name"); err != nil {
		return c, err
	}
	if err := checkName(fields["name"], "cluster"); err != nil {
		return c, err
	}
	if line, taken := p.clusters[strings.ToLower(c.Name)]; taken {
		return c, at(n, "cluster %s is already defined on line %d", c.Name, line)
	}
	p.clusters[strings.ToLower(c.Name)] = n.Line
	what = "cluster " + c.Name
	if fields["instances"] == nil {
		return c, at(n, "%s has no instances", what)
	}
	instances, err := itemsOf(fields["instances"], what+": instances")
	if err != nil {
		return c, err
	}
	if len(instances) == 0 {
		return c, at(n, "%s has no instances", what)
	}
	for _, n := range instances {
		i, err := p.instance(n, c)
		if err != nil {
			return c, err
		}
		c.Instances = append(c.Instances, i)
	}
	return c, nil
}

func (p *parser) instance(n *yaml.Node, c fleet.Cluster) (fleet.Instance, error) {
	i := fleet.Instance{Tier: c.Tier, Cluster: c.Name, Port: defaultPort}
	what := "an instance of cluster " + c.Name
	fields, err := fieldsOf(n, what, "host", "port", "datacenter", "rack")
	if err != nil {
		return i, err
	}
	if i.Host, err = required(n, fields, what, "host"); err != nil {
		return i, err
	}
	if err := checkHost(fields["host"]); err != nil {
		return i, err
	}
	if node := fields["port"]; node != nil {
		if i.Port, err = strconv.Atoi(node.Value); err != nil || i.Port < 1 || i.Port > 65535 {
			return i, at(node, "%s: port %q is not a number from 1 to 65535", what, node.Value)
		}
	}
	if i.Datacenter, err = label(fields, what, "datacenter"); err != nil {
		return i, err
	}
	if i.Rack, err = label(fields, what, "rack"); err != nil {
		return i, err
	}
	key := mysql.Addr{Host: strings.ToLower(i.Host), Port: i.Port}
	if line, taken := p.instances[key]; taken {
		return i, at(n, "instance %s is already listed on line %d", i, line)
	}
	p.instances[key] = n.Line
	return i, nil
}

// label reads an optional short text.
func label(fields map[string]*yaml.Node, what, name string) (string, error) {
	node := fields[name]
	if node == nil {
		return "", nil
	}
	text, err := textOf(node, what+": "+name)
	if err == nil && utf8.RuneCountInString(text) > maxName {
		err = at(node, "%s: %s is longer than %d characters", what, name, maxName)
	}
	return text, err
}

// checkName accepts what can be a directory, a label of a metric and part of a view's name.
func checkName(n *yaml.Node, what string) error {
	name := n.Value
	ok := name != "" && len(name) <= maxName && name[0] != '.' && name[0] != '-'
	for _, r := range name {
		ok = ok && (r == '_' || r == '-' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}
	if !ok {
		return at(n, "%q is no name for a %s: want at most %d letters, digits, dots, dashes and underscores", name, what, maxName)
	}
	return nil
}

func checkHost(n *yaml.Node) error {
	ok := len(n.Value) <= maxHost
	for _, r := range n.Value {
		ok = ok && r > ' ' && r < 0x7f
	}
	if strings.Contains(n.Value, ":") {
		_, err := netip.ParseAddr(n.Value) // an IPv6 address; else somebody wrote host:port
		ok = ok && err == nil
	}
	if !ok || strings.ContainsAny(n.Value, "/@[]") {
		return at(n, "%q is not a host name or address", n.Value)
	}
	return nil
}
