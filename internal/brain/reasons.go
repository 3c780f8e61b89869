package brain

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/osc"
	"github.com/aosc/aosc/internal/schema"
)

const (
	// maxReason keeps a reason within current_alters.reason, which takes 2048 characters.
	maxReason = 2000
	// maxSites is how many places and maxObstacles how many obstacles a reason names before it only counts them.
	maxSites     = 3
	maxObstacles = 5
)

// finding is what planning one alter found on one cluster.
type finding struct {
	Cluster   string
	Obstacles []obstacle
	Err       error // why it could not be judged there, or the server's refusal of the text itself
	None      bool  // it has no database of the tier
	// With ordering rolling: some database has to be altered at the primary first, or at the replicas.
	PrimaryFirst, ReplicasFirst bool
}

// orders notes in which order the members of the cluster are to be altered one at a time.
func (f *finding) orders(plans []osc.Plan) {
	for _, p := range plans {
		f.PrimaryFirst = f.PrimaryFirst || p.PrimaryFirst()
		f.ReplicasFirst = f.ReplicasFirst || p.ReplicasFirst()
	}
}

// obstacle is something in one database that keeps the alter from running.
type obstacle struct {
	Loss   bool // it would lose data, which allow_unsafe permits
	Passes bool // it may pass by itself
	Text   string
	Site   string // "dbid17 on db7:3306"
}

// obstacles condenses the plans of one cluster: they hold whole table definitions, and there may be thousands. A loss is what the
// permission would let pass; where something else is in the way too, that is said instead, for the permission would not help.
func obstacles(plans []osc.Plan) []obstacle {
	var found []obstacle
	for _, p := range plans {
		site := p.Database + " on " + p.Addr.String()
		if p.NeedsPermission() {
			for _, f := range p.Findings {
				found = append(found, obstacle{Loss: true, Text: f.String(), Site: site})
			}
			continue
		}
		if p.Refused != "" {
			found = append(found, obstacle{Passes: !p.Final, Text: p.Refused, Site: site})
		}
	}
	return found
}

// fold makes one verdict of what all clusters said. A refusal anywhere is a refusal: half of a tier is no place to
// stop at. Else one cluster that cannot be judged leaves the whole alter waiting (I11).
func fold(k key, d schema.Desired, found []finding) verdict {
	var losses, others, refusals, silent []obstacle
	none := 0
	for _, f := range found {
		if f.None && f.Err == nil {
			none++
		}
		for _, o := range f.Obstacles {
			if o.Loss {
				losses = append(losses, o)
			} else {
				others = append(others, o)
			}
		}
		switch {
		case f.Err == nil:
		case refusal(f.Err) != nil:
			refusals = append(refusals, obstacle{Text: refusal(f.Err).Error(), Site: "cluster " + f.Cluster})
		default:
			silent = append(silent, obstacle{Text: f.Err.Error(), Site: "cluster " + f.Cluster})
		}
	}
	var reasons []string
	if len(refusals) > 0 {
		reasons = append(reasons, fmt.Sprintf("%s cannot be used: %s. Commit a corrected file.", d.Path, enumerate(refusals)))
	}
	asks := len(refusals) == 0 && !slices.ContainsFunc(others, func(o obstacle) bool { return !o.Passes })
	if len(losses) > 0 && asks {
		reasons = append(reasons, fmt.Sprintf("The change would lose data: %s. If that is meant, set allow_unsafe=1 for %s in allowed_alters; "+
			"if not, commit a schema that keeps it.", enumerate(losses), k))
	}
	if len(others) > 0 {
		reasons = append(reasons, fmt.Sprintf("The change cannot be made: %s. Commit a corrected schema, or remove what stands in its way: "+
			"it is looked at again from time to time.", enumerate(others)))
	}
	if len(losses) > 0 && !asks { // a permission alone would not help
		reasons = append(reasons, fmt.Sprintf("Elsewhere it would lose data: %s.", enumerate(losses)))
	}
	if none > 0 && none == len(found) {
		// On no database at all it would be finished at once. That is more often a mistake in the pattern.
		reasons = append(reasons, fmt.Sprintf("No cluster has a database of tier %q. Correct the pattern under \"databases\" in the inventory, "+
			"or create the databases: it is looked at again from time to time.", k.Group))
	}
	if len(reasons) > 0 {
		return verdict{Kind: refused, Reason: sentence(strings.Join(reasons, " "))}
	}
	if len(silent) > 0 {
		return verdict{Kind: waiting, Reason: sentence(fmt.Sprintf("Waiting for %s. What the change would do there is not known; it is looked at "+
			"again until they answer, or are taken out of the inventory.", enumerate(silent)))}
	}
	first := slices.ContainsFunc(found, func(f finding) bool { return f.PrimaryFirst })
	if first && slices.ContainsFunc(found, func(f finding) bool { return f.ReplicasFirst }) {
		return verdict{Kind: refused, Reason: sentence(fmt.Sprintf("The change cannot be made: ordering 'rolling' would have to begin with the primary in some databases of "+
			"tier %q and with the replicas in others, which have the table in different forms. Bring them to one form first.", k.Group))}
	}
	return verdict{Kind: fits, PrimaryFirst: first}
}

// refusal is the definite no about the text itself in an error, nil when it only tells of trouble with asking.
func refusal(err error) error {
	var ddl *schema.DDLError
	var proof *schema.ProofError
	var final *osc.RefusedError
	switch {
	case errors.As(err, &ddl):
		return ddl
	case errors.As(err, &proof):
		return proof
	case errors.As(err, &final):
		return errors.New(final.Reason)
	}
	return nil
}

// enumerate lists obstacles, the most frequent first, each with some of the places it was found at.
func enumerate(all []obstacle) string {
	sites := map[string][]string{}
	var texts []string
	for _, o := range all {
		if sites[o.Text] == nil {
			texts = append(texts, o.Text)
		}
		sites[o.Text] = append(sites[o.Text], o.Site)
	}
	slices.SortStableFunc(texts, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(sites[b]), len(sites[a])), cmp.Compare(a, b))
	})
	var parts []string
	for _, text := range texts[:min(len(texts), maxObstacles)] {
		at := sites[text]
		slices.Sort(at)
		where := strings.Join(at[:min(len(at), maxSites)], ", ")
		if more := len(at) - maxSites; more > 0 {
			where += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.TrimRight(text, ". "), where))
	}
	if more := len(texts) - maxObstacles; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d other things", more))
	}
	return strings.Join(parts, "; ")
}

// sentence brings a text to one line that fits into current_alters.reason, so that it reads back as it was written.
func sentence(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if runes := []rune(text); len(runes) > maxReason {
		text = string(runes[:maxReason-3]) + "..."
	}
	return text
}
