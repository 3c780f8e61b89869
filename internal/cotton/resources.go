package cotton

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Names of the resources that every agent has, as Mesos calls them.
const (
	CPUs = "cpus"
	Mem  = "mem"  // MB
	Disk = "disk" // MB, without volumes
)

// grain is Mesos' own: scalars are fixed-point numbers of three decimals.
const grain = 0.001

// Amounts are scalar resources by name. What is not there is 0.
type Amounts map[string]float64

// Add changes a by b.
func (a Amounts) Add(b Amounts) {
	for name, v := range b {
		a[name] = fixed(a[name] + v)
	}
}

// Minus is what of a remains without b; nothing falls below 0, and what is 0 is left out.
func (a Amounts) Minus(b Amounts) Amounts {
	rest := Amounts{}
	for name, v := range a {
		if left := fixed(v - b[name]); left >= grain {
			rest[name] = left
		}
	}
	return rest
}

// Empty tells whether nothing is there.
func (a Amounts) Empty() bool {
	for _, v := range a {
		if v >= grain {
			return false
		}
	}
	return true
}

// String is for people: "cpus 1, disk 2048, mem 512".
func (a Amounts) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		parts = append(parts, fmt.Sprintf("%s %g", name, a[name]))
	}
	return strings.Join(parts, ", ")
}

func fixed(v float64) float64 { return math.Round(v/grain) * grain }

// PortRange is a range of ports, both ends in it.
type PortRange struct{ Begin, End int }

// Ports are ranges that do not overlap.
type Ports []PortRange

// Count is how many ports there are.
func (p Ports) Count() int {
	n := 0
	for _, r := range p {
		n += r.End - r.Begin + 1
	}
	return n
}

// Has tells whether a port is among them.
func (p Ports) Has(port int) bool {
	return slices.ContainsFunc(p, func(r PortRange) bool { return r.Begin <= port && port <= r.End })
}

// Nth is the nth port, from 0, in the order of the ranges.
func (p Ports) Nth(n int) int {
	for _, r := range p {
		if size := r.End - r.Begin + 1; n >= size {
			n -= size
			continue
		}
		return r.Begin + n
	}
	return 0
}

// Without leaves one port out.
func (p Ports) Without(port int) Ports {
	var rest Ports
	for _, r := range p {
		if port < r.Begin || port > r.End {
			rest = append(rest, r)
			continue
		}
		if r.Begin < port {
			rest = append(rest, PortRange{r.Begin, port - 1})
		}
		if port < r.End {
			rest = append(rest, PortRange{port + 1, r.End})
		}
	}
	return rest
}
