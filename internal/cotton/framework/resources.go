package framework

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/aosc/aosc/internal/cotton"
)

// Labels of our reservations (R17).
const (
	labelResource  = "resource_id"
	labelFramework = "framework_id"
	labelCluster   = "cluster"
	labelMember    = "member"
)

// The executor's part of an instance, as in the original; an instance that has less is shared half and half.
const (
	executorCPUs  = 0.01
	executorMemMB = 32
)

// maker makes resources in the form that Mesos wants them back.
type maker struct{ role, principal, frameworkID string }

// reservation is the label set of one placement.
func (k maker) reservation(resourceID, cluster string, member int) mesos.Resource_ReservationInfo {
	dynamic := mesos.Resource_ReservationInfo_DYNAMIC
	labels := mesos.Labels{}
	for _, l := range [][2]string{
		{labelResource, resourceID}, {labelFramework, k.frameworkID}, {labelCluster, cluster}, {labelMember, strconv.Itoa(member)},
	} {
		labels.Labels = append(labels.Labels, mesos.Label{Key: l[0], Value: ptr(l[1])})
	}
	return mesos.Resource_ReservationInfo{Type: &dynamic, Role: ptr(k.role), Principal: ptr(k.principal), Labels: &labels}
}

func (k maker) base(name string, kind mesos.Value_Type, r mesos.Resource_ReservationInfo) mesos.Resource {
	return mesos.Resource{
		Name: name, Type: kind.Enum(), AllocationInfo: &mesos.Resource_AllocationInfo{Role: ptr(k.role)},
		Reservations: []mesos.Resource_ReservationInfo{r},
	}
}

func (k maker) amounts(a cotton.Amounts, r mesos.Resource_ReservationInfo) []mesos.Resource {
	var out []mesos.Resource
	for _, name := range slices.Sorted(maps.Keys(a)) {
		res := k.base(name, mesos.SCALAR, r)
		res.Scalar = &mesos.Value_Scalar{Value: a[name]}
		out = append(out, res)
	}
	return out
}

func (k maker) ports(p cotton.Ports, r mesos.Resource_ReservationInfo) []mesos.Resource {
	if len(p) == 0 {
		return nil
	}
	res := k.base("ports", mesos.RANGES, r)
	res.Ranges = &mesos.Value_Ranges{}
	for _, one := range p {
		res.Ranges.Range = append(res.Ranges.Range, mesos.Value_Range{Begin: uint64(one.Begin), End: uint64(one.End)})
	}
	return []mesos.Resource{res}
}

func (k maker) volume(id string, mb float64, r mesos.Resource_ReservationInfo) mesos.Resource {
	res := k.base(cotton.Disk, mesos.SCALAR, r)
	res.Scalar = &mesos.Value_Scalar{Value: mb}
	res.Disk = &mesos.Resource_DiskInfo{
		Persistence: &mesos.Resource_DiskInfo_Persistence{ID: id, Principal: ptr(k.principal)},
		Volume:      &mesos.Volume{Mode: mesos.RW.Enum(), ContainerPath: cotton.VolumePath},
	}
	return res
}

// current is the reservation that counts, the last one; false when the resource is free.
func current(r mesos.Resource) (mesos.Resource_ReservationInfo, bool) {
	if n := len(r.Reservations); n > 0 {
		return r.Reservations[n-1], true
	}
	return mesos.Resource_ReservationInfo{}, false
}

func label(r mesos.Resource_ReservationInfo, key string) string {
	if r.Labels == nil {
		return ""
	}
	for _, l := range r.Labels.Labels {
		if l.Key == key {
			return l.GetValue()
		}
	}
	return ""
}

// read adds the resources of an offer, or of an agent, to o. Reservations without our labels are somebody else's, static
// ones among them, and are passed over (R19).
func (k maker) read(o *cotton.Offer, all []mesos.Resource) {
	held := map[string]*cotton.Held{}
	for _, h := range o.Held {
		held[h.ResourceID] = &h
	}
	for _, r := range all {
		info, reserved := current(r)
		if !reserved {
			if plain(r) {
				addTo(o.Free, &o.FreePorts, r)
			}
			continue
		}
		id := label(info, labelResource)
		if id == "" || info.GetRole() != k.role {
			continue
		}
		h := held[id]
		if h == nil {
			member, _ := strconv.Atoi(label(info, labelMember)) // for people only
			h = &cotton.Held{
				ResourceID: id, FrameworkID: label(info, labelFramework), Cluster: label(info, labelCluster), Member: member,
				Amounts: cotton.Amounts{},
			}
			held[id] = h
		}
		if p := r.GetDisk().GetPersistence(); p != nil {
			h.Volumes = append(h.Volumes, cotton.HeldVolume{ID: p.ID, MB: r.GetScalar().GetValue()})
			continue
		}
		addTo(h.Amounts, &h.Ports, r)
	}
	o.Held = nil
	for _, id := range slices.Sorted(maps.Keys(held)) {
		o.Held = append(o.Held, *held[id])
	}
}

// plain tells whether a resource is the agent's own and stays ours until we give it back: not a disk of its own (a mount, a
// path, a block device, or one of a resource provider, all of which a volume would have to name), not what is lent from
// others' idle share.
func plain(r mesos.Resource) bool {
	return r.Disk == nil && r.ProviderID == nil && r.Revocable == nil
}

func addTo(a cotton.Amounts, p *cotton.Ports, r mesos.Resource) {
	switch r.GetType() {
	case mesos.SCALAR:
		a.Add(cotton.Amounts{r.Name: r.GetScalar().GetValue()})
	case mesos.RANGES:
		if r.Name != "ports" {
			return
		}
		for _, one := range r.GetRanges().GetRange() {
			*p = append(*p, cotton.PortRange{Begin: int(one.Begin), End: int(one.End)})
		}
	}
}

// attribute is its value as it was given to the agent. Agents guess the type: rack:a is a text, rack:12 a number and
// rack:[1-3] a range.
func attribute(a mesos.Attribute) string {
	switch {
	case a.Scalar != nil:
		return strconv.FormatFloat(a.Scalar.Value, 'f', -1, 64)
	case a.Ranges != nil:
		var parts []string
		for _, r := range a.Ranges.Range {
			parts = append(parts, fmt.Sprintf("%d-%d", r.Begin, r.End))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case a.Set != nil:
		return "{" + strings.Join(a.Set.Item, ",") + "}"
	}
	return a.GetText().GetValue()
}

// offer is Mesos' offer in the words of placement.
func (k maker) offer(m mesos.Offer) cotton.Offer {
	o := cotton.Offer{
		IDs: []string{m.ID.Value}, AgentID: m.AgentID.Value, Hostname: m.Hostname,
		Attributes: map[string]string{}, Free: cotton.Amounts{}, Draining: m.Unavailability != nil,
	}
	for _, a := range m.Attributes {
		o.Attributes[a.Name] = attribute(a)
	}
	k.read(&o, m.Resources)
	return o
}

// release are the operations that give something back: volumes destroyed, then all unreserved.
func (k maker) release(r cotton.Release) []mesos.Offer_Operation {
	info := k.reservation(r.ResourceID, r.Cluster, r.Member)
	plain := maps.Clone(r.Amounts)
	if plain == nil {
		plain = cotton.Amounts{}
	}
	var ops []mesos.Offer_Operation
	for _, v := range r.Volumes {
		ops = append(ops, mesos.Offer_Operation{
			Type:    mesos.Offer_Operation_DESTROY,
			Destroy: &mesos.Offer_Operation_Destroy{Volumes: []mesos.Resource{k.volume(v.ID, v.MB, info)}},
		})
		plain.Add(cotton.Amounts{cotton.Disk: v.MB})
	}
	if back := append(k.amounts(plain, info), k.ports(r.Ports, info)...); len(back) > 0 {
		ops = append(ops, mesos.Offer_Operation{
			Type: mesos.Offer_Operation_UNRESERVE, Unreserve: &mesos.Offer_Operation_Unreserve{Resources: back},
		})
	}
	return ops
}

// prepare are the operations before a launch: what is missing is reserved, the volume made.
func (k maker) prepare(a cotton.Assignment) []mesos.Offer_Operation {
	info := k.reservation(a.ResourceID, a.Cluster, a.Member)
	var ops []mesos.Offer_Operation
	missing := k.amounts(a.Reserve, info)
	if a.ReservePort {
		missing = append(missing, k.ports(cotton.Ports{{Begin: a.Port, End: a.Port}}, info)...)
	}
	if len(missing) > 0 {
		ops = append(ops, mesos.Offer_Operation{
			Type: mesos.Offer_Operation_RESERVE, Reserve: &mesos.Offer_Operation_Reserve{Resources: missing},
		})
	}
	if a.CreateVolume {
		ops = append(ops, mesos.Offer_Operation{
			Type:   mesos.Offer_Operation_CREATE,
			Create: &mesos.Offer_Operation_Create{Volumes: []mesos.Resource{k.volume(a.VolumeID, a.VolumeMB, info)}},
		})
	}
	return ops
}

// shares splits an instance's resources between the executor and the task.
func (k maker) shares(a cotton.Assignment) (executor, task []mesos.Resource) {
	info := k.reservation(a.ResourceID, a.Cluster, a.Member)
	own := cotton.Amounts{}
	own.Add(cotton.Amounts{ // rounded as Mesos does, or both parts together would be more than what is reserved
		cotton.CPUs: min(executorCPUs, a.Use[cotton.CPUs]/2), cotton.Mem: min(executorMemMB, a.Use[cotton.Mem]/2),
	})
	task = k.amounts(a.Use.Minus(own), info)
	task = append(task, k.ports(cotton.Ports{{Begin: a.Port, End: a.Port}}, info)...)
	return k.amounts(own, info), append(task, k.volume(a.VolumeID, a.VolumeMB, info))
}
