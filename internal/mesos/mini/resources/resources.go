// Package resources is the arithmetic of Mesos resources: scalars, ranges and
// sets, unreserved or under a stack of reservations, with or without a
// persistent volume. Everything here is pure. Whom a resource is allocated to
// is no part of it: allocation is added when a resource is written into a
// message, and dropped when one is read.
package resources

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
)

// Kind is how a resource counts.
type Kind int

// The kinds of Mesos resources.
const (
	Scalar Kind = iota + 1
	Ranges
	Set
)

// Range is an inclusive range of integers, such as ports.
type Range struct{ Begin, End uint64 }

// Label is a key with a value that may be absent.
type Label struct {
	Key   string
	Value *string
}

// Reservation is one entry in a resource's stack of reservations.
type Reservation struct {
	Dynamic   bool
	Role      string
	Principal *string
	Labels    []Label
}

// Volume is a persistent volume on a disk resource.
type Volume struct {
	ID            string
	Principal     *string
	ContainerPath string
	ReadOnly      bool
}

// Resource is an amount of one thing. Milli counts thousandths of a scalar,
// which is the precision Mesos keeps.
type Resource struct {
	Name         string
	Kind         Kind
	Milli        int64
	Ranges       []Range
	Items        []string
	Reservations []Reservation
	Volume       *Volume
}

// List is resources in which no two entries could be one, see key. The zero
// List is empty and ready for use.
type List []Resource

// Milli turns a scalar into thousandths.
func Milli(v float64) int64 { return int64(math.Round(v * 1000)) }

// NewScalar is an unreserved scalar.
func NewScalar(name string, v float64) Resource {
	return Resource{Name: name, Kind: Scalar, Milli: Milli(v)}
}

// NewRanges is an unreserved resource of ranges.
func NewRanges(name string, rr ...Range) Resource {
	return Resource{Name: name, Kind: Ranges, Ranges: mergeRanges(rr)}
}

// Role is whom the resource is reserved for, "*" when for nobody.
func (r Resource) Role() string {
	if n := len(r.Reservations); n > 0 {
		return r.Reservations[n-1].Role
	}
	return "*"
}

// Reserved reports whether there is a reservation on the resource.
func (r Resource) Reserved() bool { return len(r.Reservations) > 0 }

// Empty reports whether nothing is left of the resource.
func (r Resource) Empty() bool {
	switch r.Kind {
	case Scalar:
		return r.Milli <= 0
	case Ranges:
		return len(r.Ranges) == 0
	}
	return len(r.Items) == 0
}

// key is equal for resources that differ in amount only.
func (r Resource) key() string {
	return fmt.Sprintf("%s/%d/%s/%s", r.Name, r.Kind, reservationsText(r.Reservations), volumeKey(r.Volume))
}

func volumeKey(v *Volume) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%q %q %q %t", v.ID, deref(v.Principal), v.ContainerPath, v.ReadOnly)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Clone copies l so deeply that arithmetic on one leaves the other alone.
func (l List) Clone() List {
	out := make(List, len(l))
	for i, r := range l {
		r.Ranges = append([]Range(nil), r.Ranges...)
		r.Items = append([]string(nil), r.Items...)
		out[i] = r
	}
	return out
}

// Plus is l and the others together; neither is changed.
func (l List) Plus(others ...Resource) List {
	out := l.Clone()
	for _, r := range others {
		out = out.add(r)
	}
	return out
}

// add puts r to its like, or at the end. Volumes are never put together: each
// is a thing of its own.
func (l List) add(r Resource) List {
	if r.Empty() {
		return l
	}
	if r.Volume != nil { // never one with another
		return append(l, List{r}.Clone()[0])
	}
	key := r.key()
	for i := range l {
		if l[i].Name != r.Name || l[i].Kind != r.Kind || l[i].key() != key { // texts are dear: the cheap part first
			continue
		}
		switch r.Kind {
		case Scalar:
			l[i].Milli += r.Milli
		case Ranges:
			l[i].Ranges = mergeRanges(append(append([]Range(nil), l[i].Ranges...), r.Ranges...))
		case Set:
			l[i].Items = mergeItems(l[i].Items, r.Items)
		}
		return l
	}
	return append(l, List{r}.Clone()[0])
}

// Minus is l without the others. ok is false when l does not hold them all;
// the result is then meaningless.
func (l List) Minus(others ...Resource) (rest List, ok bool) {
	rest = l.Clone()
	for _, r := range others {
		if rest, ok = rest.subtract(r); !ok {
			return rest, false
		}
	}
	return rest, true
}

func (l List) subtract(r Resource) (List, bool) {
	if r.Empty() {
		return l, true
	}
	for i := range l {
		if l[i].key() != r.key() || !l[i].holds(r) {
			continue
		}
		switch r.Kind {
		case Scalar:
			l[i].Milli -= r.Milli
		case Ranges:
			l[i].Ranges = cutRanges(l[i].Ranges, r.Ranges)
		case Set:
			l[i].Items = cutItems(l[i].Items, r.Items)
		}
		if l[i].Empty() {
			l = append(l[:i], l[i+1:]...)
		}
		return l, true
	}
	return l, false
}

// holds reports whether r, alike but for the amount, is within s. A volume is
// not divisible.
func (s Resource) holds(r Resource) bool {
	switch {
	case s.Volume != nil:
		return s.Milli == r.Milli
	case s.Kind == Scalar:
		return s.Milli >= r.Milli
	case s.Kind == Ranges:
		for _, want := range mergeRanges(r.Ranges) {
			if !within(s.Ranges, want) {
				return false
			}
		}
		return true
	}
	for _, item := range r.Items {
		if !contains(s.Items, item) {
			return false
		}
	}
	return true
}

// Contains reports whether l holds all of others at once.
func (l List) Contains(others ...Resource) bool {
	_, ok := l.Minus(others...)
	return ok
}

// Common is what is in both lists.
func (l List) Common(other List) List {
	var out List
	for _, a := range l {
		for _, b := range other {
			if a.key() != b.key() || a.Volume != nil && a.Milli != b.Milli {
				continue
			}
			r := a
			r.Milli = min(a.Milli, b.Milli)
			r.Ranges = cutRanges(a.Ranges, cutRanges(a.Ranges, b.Ranges))
			r.Items = cutItems(a.Items, cutItems(a.Items, b.Items))
			if !r.Empty() {
				out = out.add(r)
			}
			break
		}
	}
	return out
}

// Filter is the entries for which keep holds.
func (l List) Filter(keep func(Resource) bool) List {
	var out List
	for _, r := range l {
		if keep(r) {
			out = append(out, r)
		}
	}
	return out.Clone()
}

// ScalarOf sums the scalars of one name, whatever their reservations.
func (l List) ScalarOf(name string) float64 {
	var milli int64
	for _, r := range l {
		if r.Name == name && r.Kind == Scalar {
			milli += r.Milli
		}
	}
	return float64(milli) / 1000
}

// WithoutVolume is the plain reserved disk that a volume was made on.
func (r Resource) WithoutVolume() Resource {
	r.Volume = nil
	return r
}

// WithoutLastReservation is the resource as it was before it was reserved.
func (r Resource) WithoutLastReservation() Resource {
	n := len(r.Reservations)
	r.Reservations = append([]Reservation(nil), r.Reservations[:n-1]...)
	if n == 1 {
		r.Reservations = nil
	}
	return r
}

func within(have []Range, want Range) bool {
	for _, h := range have {
		if h.Begin <= want.Begin && want.End <= h.End {
			return true
		}
	}
	return false
}

// mergeRanges sorts and joins ranges that overlap or touch.
func mergeRanges(rr []Range) []Range {
	sorted := append([]Range(nil), rr...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Begin < sorted[j].Begin })
	var out []Range
	for _, r := range sorted {
		if r.End < r.Begin {
			continue
		}
		if n := len(out); n > 0 && (r.Begin <= out[n-1].End || r.Begin == out[n-1].End+1) {
			out[n-1].End = max(out[n-1].End, r.End)
			continue
		}
		out = append(out, r)
	}
	return out
}

func cutRanges(have, cut []Range) []Range {
	for _, c := range mergeRanges(cut) {
		var out []Range
		for _, h := range have {
			if c.End < h.Begin || h.End < c.Begin {
				out = append(out, h)
				continue
			}
			if h.Begin < c.Begin {
				out = append(out, Range{h.Begin, c.Begin - 1})
			}
			if c.End < h.End {
				out = append(out, Range{c.End + 1, h.End})
			}
		}
		have = out
	}
	return have
}

func mergeItems(a, b []string) []string {
	out := append([]string(nil), a...)
	for _, item := range b {
		if !contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

func cutItems(have, cut []string) []string {
	var out []string
	for _, item := range have {
		if !contains(cut, item) {
			out = append(out, item)
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// Text writes the list as Mesos does in its messages; role is whom it is
// allocated to, empty for nobody.
func (l List) Text(role string) string {
	parts := make([]string, len(l))
	for i, r := range l {
		parts[i] = r.Text(role)
	}
	return strings.Join(parts, "; ")
}

// Text writes one resource as Mesos does in its messages.
func (r Resource) Text(role string) string {
	var b strings.Builder
	b.WriteString(r.Name)
	if role != "" {
		fmt.Fprintf(&b, "(allocated: %s)", role)
	}
	if len(r.Reservations) > 0 {
		fmt.Fprintf(&b, "(reservations: [%s])", reservationsText(r.Reservations))
	}
	if r.Volume != nil {
		fmt.Fprintf(&b, "[%s:%s]", r.Volume.ID, r.Volume.ContainerPath)
	}
	b.WriteByte(':')
	switch r.Kind {
	case Scalar:
		b.WriteString(strconv.FormatFloat(float64(r.Milli)/1000, 'f', -1, 64))
	case Ranges:
		spans := make([]string, len(r.Ranges))
		for i, s := range r.Ranges {
			spans[i] = fmt.Sprintf("%d-%d", s.Begin, s.End)
		}
		fmt.Fprintf(&b, "[%s]", strings.Join(spans, ", "))
	case Set:
		fmt.Fprintf(&b, "{%s}", strings.Join(r.Items, ", "))
	}
	return b.String()
}

func reservationsText(rr []Reservation) string {
	parts := make([]string, len(rr))
	for i, r := range rr {
		parts[i] = "(" + strings.Join(r.words(), ",") + ")"
	}
	return strings.Join(parts, ",")
}

func (r Reservation) words() []string {
	words := []string{"STATIC", r.Role}
	if r.Dynamic {
		words[0] = "DYNAMIC"
	}
	if r.Principal != nil {
		words = append(words, *r.Principal)
	}
	if len(r.Labels) > 0 {
		labels := make([]string, len(r.Labels))
		for i, l := range r.Labels {
			labels[i] = l.Key
			if l.Value != nil {
				labels[i] += ": " + *l.Value
			}
		}
		words = append(words, "{"+strings.Join(labels, ", ")+"}")
	}
	return words
}
