package resources

import (
	"fmt"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// Format is how resources are written into a message.
type Format int

// The formats a real master writes: for frameworks that can refine
// reservations (and for executors); for frameworks that cannot; and in its
// operator API, which holds both.
const (
	Refined Format = iota
	PreRefinement
	Operator
)

// FromProto reads the resources of a message, in any format, without their
// allocation. It refuses what a single machine does not have: resource
// providers, revocable and shared resources.
func FromProto(in []mesos.Resource) (List, error) {
	var out List
	for _, p := range in {
		r, err := resourceFromProto(p)
		if err != nil {
			return nil, err
		}
		out = out.add(r)
	}
	return out, nil
}

func resourceFromProto(p mesos.Resource) (Resource, error) {
	r := Resource{Name: p.Name}
	switch {
	case p.Type == nil:
		return r, fmt.Errorf("Invalid resource %s: no type", p.Name)
	case p.Revocable != nil || p.Shared != nil || p.ProviderID != nil:
		return r, fmt.Errorf("Invalid resource %s: revocable, shared and provided resources are not known here", p.Name)
	}
	switch *p.Type {
	case mesos.SCALAR:
		if p.Scalar == nil || p.Scalar.Value < 0 {
			return r, fmt.Errorf("Invalid resource %s: Invalid scalar resource: value < 0", p.Name)
		}
		r.Kind, r.Milli = Scalar, Milli(p.Scalar.Value)
	case mesos.RANGES:
		if p.Ranges == nil {
			return r, fmt.Errorf("Invalid resource %s: no ranges", p.Name)
		}
		r.Kind = Ranges
		for _, span := range p.Ranges.Range {
			r.Ranges = append(r.Ranges, Range{span.Begin, span.End})
		}
		r.Ranges = mergeRanges(r.Ranges)
	case mesos.SET:
		if p.Set == nil {
			return r, fmt.Errorf("Invalid resource %s: no set", p.Name)
		}
		r.Kind, r.Items = Set, append([]string(nil), p.Set.Item...)
	default:
		return r, fmt.Errorf("Invalid resource %s: type %s", p.Name, p.Type)
	}
	r.Reservations = reservationsFromProto(p)
	if p.Disk != nil && p.Disk.Persistence != nil {
		r.Volume = &Volume{ID: p.Disk.Persistence.ID, Principal: p.Disk.Persistence.Principal}
		if v := p.Disk.Volume; v != nil {
			r.Volume.ContainerPath = v.ContainerPath
			r.Volume.ReadOnly = v.GetMode() == mesos.RO
		}
	}
	return r, nil
}

func reservationsFromProto(p mesos.Resource) []Reservation {
	var out []Reservation
	for _, in := range p.Reservations {
		out = append(out, Reservation{
			Dynamic:   in.GetType() == mesos.Resource_ReservationInfo_DYNAMIC,
			Role:      in.GetRole(),
			Principal: in.Principal,
			Labels:    labelsFromProto(in.Labels),
		})
	}
	// The format without reservation refinement: one role, and a
	// reservation without a role when it is dynamic.
	if role := p.GetRole(); len(out) == 0 && p.Role != nil && role != "*" {
		r := Reservation{Role: role}
		if p.Reservation != nil {
			r.Dynamic, r.Principal, r.Labels = true, p.Reservation.Principal, labelsFromProto(p.Reservation.Labels)
		}
		out = append(out, r)
	}
	return out
}

func labelsFromProto(in *mesos.Labels) []Label {
	if in == nil {
		return nil
	}
	var out []Label
	for _, l := range in.Labels {
		out = append(out, Label{Key: l.Key, Value: l.Value})
	}
	return out
}

func labelsToProto(in []Label) *mesos.Labels {
	if len(in) == 0 {
		return nil
	}
	out := &mesos.Labels{}
	for _, l := range in {
		out.Labels = append(out.Labels, mesos.Label{Key: l.Key, Value: l.Value})
	}
	return out
}

// ToProto writes the resources into a message. role is whom they are
// allocated to, empty for nobody.
func (l List) ToProto(role string, format Format) []mesos.Resource {
	out := make([]mesos.Resource, 0, len(l))
	for _, r := range l {
		out = append(out, r.toProto(role, format))
	}
	return out
}

func (r Resource) toProto(role string, format Format) mesos.Resource {
	p := mesos.Resource{Name: r.Name}
	switch r.Kind {
	case Scalar:
		p.Type = mesos.SCALAR.Enum()
		p.Scalar = &mesos.Value_Scalar{Value: float64(r.Milli) / 1000}
	case Ranges:
		p.Type = mesos.RANGES.Enum()
		p.Ranges = &mesos.Value_Ranges{}
		for _, s := range r.Ranges {
			p.Ranges.Range = append(p.Ranges.Range, mesos.Value_Range{Begin: s.Begin, End: s.End})
		}
	case Set:
		p.Type = mesos.SET.Enum()
		p.Set = &mesos.Value_Set{Item: append([]string(nil), r.Items...)}
	}
	if r.Volume != nil {
		mode := mesos.RW
		if r.Volume.ReadOnly {
			mode = mesos.RO
		}
		p.Disk = &mesos.Resource_DiskInfo{
			Persistence: &mesos.Resource_DiskInfo_Persistence{ID: r.Volume.ID, Principal: r.Volume.Principal},
			Volume:      &mesos.Volume{Mode: &mode, ContainerPath: r.Volume.ContainerPath},
		}
	}
	if role != "" && format != PreRefinement {
		allocated := role
		p.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &allocated}
	}
	r.reservationsToProto(&p, format)
	return p
}

func (r Resource) reservationsToProto(p *mesos.Resource, format Format) {
	if format != Refined {
		role := r.Role()
		p.Role = &role
		if n := len(r.Reservations); n > 0 && r.Reservations[n-1].Dynamic {
			last := r.Reservations[n-1]
			p.Reservation = &mesos.Resource_ReservationInfo{Principal: last.Principal, Labels: labelsToProto(last.Labels)}
		}
	}
	if format == PreRefinement {
		return
	}
	for _, in := range r.Reservations {
		kind := mesos.Resource_ReservationInfo_STATIC
		if in.Dynamic {
			kind = mesos.Resource_ReservationInfo_DYNAMIC
		}
		role := in.Role
		p.Reservations = append(p.Reservations, mesos.Resource_ReservationInfo{
			Type: &kind, Role: &role, Principal: in.Principal, Labels: labelsToProto(in.Labels)})
	}
}

// ParsePorts reads ranges such as "31000-31999" or "80,8000-8100".
func ParsePorts(s string) ([]Range, error) {
	var out []Range
	for _, part := range strings.Split(s, ",") {
		first, last, is := strings.Cut(strings.TrimSpace(part), "-")
		if !is {
			last = first
		}
		begin, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
		end, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
		if err1 != nil || err2 != nil || end < begin {
			return nil, fmt.Errorf("%q is no range of ports such as 31000-31999", part)
		}
		out = append(out, Range{begin, end})
	}
	return mergeRanges(out), nil
}
