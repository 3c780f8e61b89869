package mysql

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
)

// Wire is the set as COM_BINLOG_DUMP_GTID carries it. A set without tags has the form that every server reads; one with tags, that of 8.3
// and later: the first eight bytes are the format (1), the number of sources, and the format once more, and each source's tag follows its
// uuid.
func (s GTIDSet) Wire() []byte {
	sources := slices.SortedFunc(maps.Keys(s.sets), func(a, b gtidSource) int {
		return cmp.Or(cmp.Compare(a.uuid, b.uuid), cmp.Compare(a.tag, b.tag))
	})
	tagged := slices.ContainsFunc(sources, func(source gtidSource) bool { return source.tag != "" })
	head := uint64(len(sources))
	if tagged {
		head = 1<<56 | head<<8 | 1
	}
	data := binary.LittleEndian.AppendUint64(nil, head)
	for _, source := range sources {
		data = append(data, source.uuid...)
		if tagged {
			// The length is a number of variable length: of one byte, its lowest bit 0, for all that a tag may have.
			data = append(append(data, byte(len(source.tag)<<1)), source.tag...)
		}
		list := s.sets[source]
		data = binary.LittleEndian.AppendUint64(data, uint64(len(list)))
		for _, iv := range list {
			data = binary.LittleEndian.AppendUint64(data, uint64(iv.first))
			data = binary.LittleEndian.AppendUint64(data, uint64(iv.last+1))
		}
	}
	return data
}
