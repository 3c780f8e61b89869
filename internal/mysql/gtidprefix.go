package mysql

// Prefix holds every transaction up to the highest that s has of each source: what a server had executed at the least that
// had executed s, as far as s tells.
func (s GTIDSet) Prefix() GTIDSet {
	p := GTIDSet{sets: make(map[gtidSource][]interval, len(s.sets))}
	for source, list := range s.sets {
		p.sets[source] = []interval{{1, list[len(list)-1].last}}
	}
	return p
}

// Beyond holds the transactions of s that are newer than all that o has of the same source. Sources that o does not
// name are left out: of them o says nothing.
func (s GTIDSet) Beyond(o GTIDSet) GTIDSet {
	b := GTIDSet{sets: map[gtidSource][]interval{}}
	for source, list := range o.Prefix().sets {
		if rest := subtract(s.sets[source], list); len(rest) > 0 {
			b.sets[source] = rest
		}
	}
	return b
}
