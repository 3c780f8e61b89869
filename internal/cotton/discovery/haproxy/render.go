// Package haproxy writes a configuration for HAProxy: for every cluster a port for writes, which leads to the primary, and
// one for reads, spread over the replicas.
//
// The file is also this package's memory: a comment per cluster keeps its ports and instances, so that a restart neither
// moves a port nor forgets a cluster that has not been published again yet.
package haproxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aosc/aosc/internal/cotton/discovery"
)

// Cluster is what is known of one.
type Cluster struct {
	WritePort int                  `json:"write_port"`
	ReadPort  int                  `json:"read_port"`
	Primary   *discovery.Endpoint  `json:"primary"`
	Replicas  []discovery.Endpoint `json:"replicas"`
}

const (
	fileHeader    = "# Written by cotton. What is changed here by hand is lost with the next change of a cluster.\n"
	hashPrefix    = "# sha256 "
	clusterPrefix = "# cluster "
)

const defaults = `
defaults
    mode tcp
    timeout connect 2s
    timeout client 8h
    timeout server 8h
    timeout check 2s
`

// Render is the configuration: the same for the same clusters, whatever order they became known in. bind is the address
// that HAProxy listens on.
func Render(bind string, clusters map[string]Cluster) []byte {
	var b bytes.Buffer
	b.WriteString(defaults)
	for _, name := range slices.Sorted(maps.Keys(clusters)) {
		renderCluster(&b, bind, name, clusters[name])
	}
	return slices.Concat([]byte(fileHeader), fmt.Appendf(nil, "%s%x\n", hashPrefix, sha256.Sum256(b.Bytes())), b.Bytes())
}

func renderCluster(b *bytes.Buffer, bind, name string, c Cluster) {
	memory, err := json.Marshal(remembered{name, c})
	if err != nil { // a struct of numbers and strings
		panic(err)
	}
	fmt.Fprintf(b, "\n%s%s\n", clusterPrefix, memory)
	// A session that goes on with an instance that is no longer the primary would only meet errors.
	fmt.Fprintf(b, "listen %s-write\n    bind %s\n", escape(name), address(bind, c.WritePort))
	if c.Primary != nil {
		fmt.Fprintf(b, "    %s inter 1s fall 2 rise 1 on-marked-down shutdown-sessions\n", server(*c.Primary))
	}
	fmt.Fprintf(b, "\nlisten %s-read\n    bind %s\n    balance leastconn\n", escape(name), address(bind, c.ReadPort))
	for _, r := range sorted(c.Replicas) {
		fmt.Fprintf(b, "    %s inter 2s fall 2 rise 1\n", server(r))
	}
	if c.Primary != nil { // reads go on when no replica is there
		fmt.Fprintf(b, "    %s inter 2s fall 2 rise 1 backup\n", server(*c.Primary))
	}
}

func server(e discovery.Endpoint) string {
	return fmt.Sprintf("server member-%d %s check", e.ID, address(e.Host, e.Port))
}

// address is host:port in HAProxy's spelling, which takes the last colon for the port's and wants no brackets.
func address(host string, port int) string {
	return strings.Trim(host, "[]") + ":" + strconv.Itoa(port)
}

func sorted(endpoints []discovery.Endpoint) []discovery.Endpoint {
	return slices.SortedFunc(slices.Values(endpoints), func(a, b discovery.Endpoint) int { return a.ID - b.ID })
}

// escape makes a name that HAProxy accepts (letters, digits, - _ . :) of any name, and two of two: what a cluster's name
// may not have becomes :xx, and a colon is no part of a name.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, ":%02x", c)
		}
	}
	return b.String()
}

// remembered is the comment of a cluster.
type remembered struct {
	Name string `json:"name"`
	Cluster
}

// parse reads the clusters out of a configuration that Render made. One that was changed by hand in other places serves
// as well; one whose comments cannot be read does not.
func parse(config []byte) (map[string]Cluster, error) {
	clusters := map[string]Cluster{}
	for line := range bytes.Lines(config) {
		memory, ok := bytes.CutPrefix(line, []byte(clusterPrefix))
		if !ok {
			continue
		}
		var r remembered
		if err := json.Unmarshal(memory, &r); err != nil || r.Name == "" {
			return nil, fmt.Errorf("the line %.100q is not what cotton wrote (%v)", line, err)
		}
		clusters[r.Name] = r.Cluster
	}
	return clusters, nil
}

// validEndpoint refuses what would end up as another directive.
func validEndpoint(e discovery.Endpoint) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_:[]", r))
	}
	if e.Host == "" || strings.ContainsFunc(e.Host, bad) || e.Port <= 0 || e.Port > 65535 {
		return fmt.Errorf("instance %d has no usable address: %q port %d", e.ID, e.Host, e.Port)
	}
	return nil
}
