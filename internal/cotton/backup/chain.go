package backup

import (
	"cmp"
	"slices"

	"github.com/aosc/aosc/internal/mysql"
)

// Chain is how far archived logs lead from a copy.
type Chain struct {
	Logs []Log // those to apply, in order
	// Covered is what a server has after them.
	Covered mysql.GTIDSet
	// befores is what a server has before each of Logs.
	befores []mysql.GTIDSet
}

// ChainFrom finds the logs that continue a history of which from was executed. A log continues it when it began with
// nothing that is not there yet, adds something, and lacks nothing of what is there: after a failover there may be logs of
// a server that had transactions which nobody else got, and they must not be mixed with those that came instead. Logs of
// other origins are passed over.
func ChainFrom(origin string, from mysql.GTIDSet, logs []Log) (Chain, error) {
	logs = slices.DeleteFunc(slices.Clone(logs), func(l Log) bool { return l.Origin != origin })
	slices.SortStableFunc(logs, func(a, b Log) int {
		return cmp.Or(a.FirstAt.Compare(b.FirstAt), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Name, b.Name))
	})
	c := Chain{Covered: from}
	for progress := true; progress; {
		progress = false
		rest := logs[:0:0]
		for _, l := range logs {
			previous, gtids, err := l.sets()
			if err != nil {
				return Chain{}, err
			}
			switch all := previous.Union(gtids); {
			case c.Covered.Contains(gtids): // adds nothing, now or later
			case c.Covered.Contains(previous) && all.Contains(c.Covered):
				c.Logs, c.befores = append(c.Logs, l), append(c.befores, c.Covered)
				c.Covered, progress = c.Covered.Union(gtids), true
			default:
				rest = append(rest, l)
			}
		}
		logs = rest
	}
	return c, nil
}

// Archived are the transactions in all logs of an origin.
func Archived(origin string, logs []Log) (mysql.GTIDSet, error) {
	var all mysql.GTIDSet
	for _, l := range logs {
		if l.Origin != origin {
			continue
		}
		_, gtids, err := l.sets()
		if err != nil {
			return all, err
		}
		all = all.Union(gtids)
	}
	return all, nil
}

// chain is that of a copy, from what it has for certain.
func (m Manifest) chain(logs []Log) (Chain, error) {
	from, err := mysql.ParseGTIDSet(m.GTIDsFrom)
	if err != nil {
		return Chain{}, err
	}
	return ChainFrom(m.Origin, from, logs)
}
