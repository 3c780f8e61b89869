package permit

import (
	"fmt"
	"time"

	"github.com/aosc/aosc/aoscdb"
)

// Gate says why a copy that is verified and caught up must not be swapped in now, "" when it may. word is aosc_osc_ww.cut_over of the
// instance, which goes before what the permission and the tier say.
func Gate(now time.Time, word string, allowed *aoscdb.AllowedAlter, tier aoscdb.Tier) string {
	switch {
	case word == aoscdb.CutOverGo:
		return ""
	case word == aoscdb.CutOverWait:
		return fmt.Sprintf("cut_over is WAIT in its row of aosc_osc_ww: %s, or GO there, lets it be swapped in", command(tier.Group, allowed))
	case allowed != nil && allowed.CutOver == aoscdb.CutOverManual:
		return fmt.Sprintf("cut_over of its permission is manual: %s lets it be swapped in", command(tier.Group, allowed))
	}
	w, err := ParseWindow(tier.CutOverWindow)
	switch {
	case err != nil:
		return fmt.Sprintf("cut_over_window of tier %s cannot be understood (%v): aosc tier set %s --cut-over-window sets it", tier.Group, err,
			tier.Group)
	case !w.Open(now):
		return fmt.Sprintf("the window of tier %s (%s) is closed: it is swapped in when it opens, or by %s", tier.Group, w, command(tier.Group,
			allowed))
	}
	return ""
}

func command(group string, allowed *aoscdb.AllowedAlter) string {
	if allowed == nil {
		return "`aosc cutover`"
	}
	return fmt.Sprintf("`aosc cutover %s %s`", group, allowed.Table)
}
