package cotton

import (
	"fmt"
	"time"
)

// Claim is what the store says of a resource id.
type Claim struct {
	Cluster  string
	Member   int
	VolumeID string
	TaskID   string
	AgentID  string // as it was called when the task was launched
	Live     bool   // its task lives, or is not known to be dead: what is offered under its id is too much
	Unheard  bool   // Mesos does not say that it lives: its agent is unreachable, or nobody answers for it
	Removing bool   // it is being deleted: all goes
}

// Owned is all that the store knows, completely read: an incomplete one would make orphans of what is needed.
type Owned struct {
	FrameworkID string
	Claims      map[string]Claim // by resource id
	// Spare tells of each cluster whether it has data elsewhere, so that an orphan of it is not its last copy. A cluster
	// that is not there is unknown.
	Spare map[string]bool
	// Quarantine is how long something nobody claims is left alone; FirstSeen is since when it has been seen.
	Quarantine time.Duration
	FirstSeen  map[string]time.Time // by resource id
}

// Orphan is something reserved for us that no record claims, and that stays.
type Orphan struct {
	AgentID    string
	Hostname   string
	ResourceID string
	Cluster    string
	MB         float64 // of its volumes
	Why        string
}

// Reclaim finds what is reserved for us and not needed: of members being removed, twice for members that run, and
// orphans. It is pure. What has no label of ours is somebody else's and never touched (R19); an orphan stays for the
// quarantine, and for good when it may be the last copy of a cluster. wanted are resource ids that Place deals with.
func Reclaim(offers []Offer, owned Owned, wanted map[string]bool, now time.Time) ([]Release, []Orphan) {
	var releases []Release
	var orphans []Orphan
	for _, o := range offers {
		for _, h := range o.Held {
			if h.FrameworkID != owned.FrameworkID || wanted[h.ResourceID] {
				continue
			}
			all := Release{
				OfferIDs: o.IDs, AgentID: o.AgentID, Hostname: o.Hostname, ResourceID: h.ResourceID,
				Cluster: h.Cluster, Member: h.Member, Volumes: h.Volumes, Amounts: h.Amounts, Ports: h.Ports,
			}
			c, claimed := owned.Claims[h.ResourceID]
			switch {
			case claimed && c.Removing && !c.Live:
				all.Why = "its member is being removed"
				releases = append(releases, all)
			case claimed && c.Live:
				// Its volume in an offer means that the task is gone, and that we do not know it yet: all is left alone. See Forgotten.
				if _, idle := h.volume(c.VolumeID); !idle {
					all.Why = "reserved twice"
					releases = append(releases, all)
				}
			case claimed: // it waits for its back-off, and will be launched on it
			default:
				if why := owned.keep(h, now); why != "" {
					orphans = append(orphans, Orphan{o.AgentID, o.Hostname, h.ResourceID, h.Cluster, h.volumesMB(), why})
					continue
				}
				all.Why = "no record claims it"
				releases = append(releases, all)
			}
		}
	}
	return releases, orphans
}

// Forgotten are claims whose task is over although nobody says so: their volume is offered, so no task uses it, and by an agent
// that has come back without its memory, under another id. It has ended all that it did not know; Mesos tells of such tasks only
// if it had not given the agent up before. From an agent under its old id word of each task is on its way. It is pure.
func Forgotten(offers []Offer, owned Owned) []Claim {
	var over []Claim
	for _, o := range offers {
		for _, h := range o.Held {
			c, claimed := owned.Claims[h.ResourceID]
			if _, idle := h.volume(c.VolumeID); claimed && idle && h.FrameworkID == owned.FrameworkID && c.Live && c.Unheard && c.AgentID != o.AgentID {
				over = append(over, c)
			}
		}
	}
	return over
}

// keep says why an orphan must not go yet, empty when it may.
func (w Owned) keep(h Held, now time.Time) string {
	since, seen := w.FirstSeen[h.ResourceID]
	if !seen || now.Sub(since) < w.Quarantine {
		return "in quarantine: nothing claims it"
	}
	if len(h.Volumes) == 0 {
		return ""
	}
	spare, known := w.Spare[h.Cluster]
	switch {
	case !known:
		return fmt.Sprintf("no cluster %q is stored: its volume may be the last copy; destroy it by hand if it is not", h.Cluster)
	case !spare:
		return fmt.Sprintf("no other member of cluster %q has data: its volume may be the last copy", h.Cluster)
	}
	return ""
}

func (h Held) volumesMB() float64 {
	var mb float64
	for _, v := range h.Volumes {
		mb += v.MB
	}
	return mb
}
