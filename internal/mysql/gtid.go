package mysql

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// GTIDSet is a set of global transaction identifiers, with the tags of 8.3 and later: the manual's
// "uuid[:tag]:interval[:interval]..., ...". The zero value is the empty set. Sets are values: no method changes one.
type GTIDSet struct {
	sets map[gtidSource][]interval // no entry is empty
}

// gtidSource is what numbers transactions: a server_uuid, and the tag if there is one.
type gtidSource struct {
	uuid string // 16 bytes, so that sources sort as the server sorts them
	tag  string // lower case
}

// interval is first..last, both included. A source's intervals are sorted and do not touch.
type interval struct{ first, last int64 }

const (
	maxGTIDNumber = math.MaxInt64 - 1 // the server's limit
	maxGTIDTag    = 32
)

// ParseGTIDSet reads a set as the server prints it or a person writes it: white space anywhere between the parts,
// upper or lower case, parts out of order or overlapping. As on the server, "uuid:5-3" holds nothing. Unlike the server,
// it refuses a uuid or tag without numbers: a text that was cut off must not be taken for a smaller set (I1).
func ParseGTIDSet(text string) (GTIDSet, error) {
	s := GTIDSet{sets: map[gtidSource][]interval{}}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if err := s.parseSource(part); err != nil {
			return GTIDSet{}, fmt.Errorf("GTID set: %w in %q", err, part)
		}
	}
	for source, list := range s.sets {
		s.sets[source] = normalise(list)
	}
	return s, nil
}

// parseSource reads "uuid:[tag:]interval[:interval]...[:tag:interval...]".
func (s GTIDSet) parseSource(part string) error {
	fields := strings.Split(part, ":")
	uuid, err := parseUUID(strings.TrimSpace(fields[0]))
	if err != nil {
		return err
	}
	source := gtidSource{uuid: uuid}
	tagged := true // a tag must be followed by an interval, as the uuid must
	if len(fields) == 1 {
		return fmt.Errorf("no transaction numbers")
	}
	for i, field := range fields[1:] {
		field = strings.TrimSpace(field)
		if field == "" {
			return fmt.Errorf("empty interval")
		}
		if isTagStart(field[0]) {
			if i > 0 && tagged {
				return fmt.Errorf("tag %q without transaction numbers", source.tag)
			}
			if source.tag, err = parseTag(field); err != nil {
				return err
			}
			tagged = true
			continue
		}
		iv, err := parseInterval(field)
		if err != nil {
			return err
		}
		if iv.first <= iv.last {
			s.sets[source] = append(s.sets[source], iv)
		}
		tagged = false
	}
	if tagged {
		return fmt.Errorf("tag %q without transaction numbers", source.tag)
	}
	return nil
}

// parseUUID takes what the server takes: with or without dashes, with or without braces.
func parseUUID(text string) (string, error) {
	s := text
	if len(s) == 38 && s[0] == '{' && s[37] == '}' {
		s = s[1:37]
	}
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		s = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return "", fmt.Errorf("%q is not a server_uuid", text)
	}
	return string(b), nil
}

func isTagStart(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func parseTag(text string) (string, error) {
	for i := range len(text) {
		if c := text[i]; !isTagStart(c) && (c < '0' || c > '9') {
			return "", fmt.Errorf("%q is not a tag: want letters, digits and underscores", text)
		}
	}
	if len(text) > maxGTIDTag {
		return "", fmt.Errorf("%q is not a tag: longer than %d characters", text, maxGTIDTag)
	}
	return strings.ToLower(text), nil
}

func parseInterval(text string) (interval, error) {
	firstText, lastText, isRange := strings.Cut(text, "-")
	first, err := parseNumber(firstText)
	if err != nil {
		return interval{}, err
	}
	last := first
	if isRange {
		if last, err = parseNumber(lastText); err != nil {
			return interval{}, err
		}
	}
	return interval{first, last}, nil
}

func parseNumber(text string) (int64, error) {
	text = strings.TrimSpace(text)
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n < 1 || n > maxGTIDNumber {
		return 0, fmt.Errorf("%q is not a transaction number (1 to %d)", text, int64(maxGTIDNumber))
	}
	return int64(n), nil
}

// normalise sorts intervals and joins those that overlap or touch. It may reuse list.
func normalise(list []interval) []interval {
	slices.SortFunc(list, func(a, b interval) int { return cmp.Compare(a.first, b.first) })
	joined := list[:0]
	for _, iv := range list {
		if n := len(joined); n > 0 && iv.first <= joined[n-1].last+1 {
			joined[n-1].last = max(joined[n-1].last, iv.last)
			continue
		}
		joined = append(joined, iv)
	}
	return joined
}

// Empty tells whether the set holds nothing.
func (s GTIDSet) Empty() bool { return len(s.sets) == 0 }

// Equal tells whether both hold the same transactions.
func (s GTIDSet) Equal(o GTIDSet) bool { return maps.EqualFunc(s.sets, o.sets, slices.Equal) }

// Contains tells whether every transaction of o is in s (the server's GTID_SUBSET(o, s)).
func (s GTIDSet) Contains(o GTIDSet) bool { return o.Subtract(s).Empty() }

// Union holds what is in either.
func (s GTIDSet) Union(o GTIDSet) GTIDSet {
	u := GTIDSet{sets: make(map[gtidSource][]interval, len(s.sets))}
	maps.Copy(u.sets, s.sets)
	for source, list := range o.sets {
		u.sets[source] = normalise(slices.Concat(s.sets[source], list))
	}
	return u
}

// Subtract holds what is in s and not in o (the server's GTID_SUBTRACT(s, o)).
func (s GTIDSet) Subtract(o GTIDSet) GTIDSet {
	d := GTIDSet{sets: map[gtidSource][]interval{}}
	for source, list := range s.sets {
		if rest := subtract(list, o.sets[source]); len(rest) > 0 {
			d.sets[source] = rest
		}
	}
	return d
}

// subtract walks both sorted lists once.
func subtract(from, holes []interval) []interval {
	var rest []interval
	for _, iv := range from {
		for len(holes) > 0 && holes[0].last < iv.first {
			holes = holes[1:]
		}
		for _, h := range holes {
			if h.first > iv.last {
				break
			}
			if iv.first < h.first {
				rest = append(rest, interval{iv.first, h.first - 1})
			}
			iv.first = h.last + 1
		}
		if iv.first <= iv.last {
			rest = append(rest, iv)
		}
	}
	return rest
}

// Without leaves out the transactions that a server numbered itself, whatever their tag. A replica may for a moment
// report a transaction that its primary, asked a little earlier, did not: subtracting the primary's set and then the
// primary's own server_uuid leaves what is truly errant. A text that is no server_uuid changes nothing.
func (s GTIDSet) Without(serverUUID string) GTIDSet {
	uuid, err := parseUUID(serverUUID)
	if err != nil {
		return s
	}
	rest := GTIDSet{sets: maps.Clone(s.sets)}
	maps.DeleteFunc(rest.sets, func(source gtidSource, _ []interval) bool { return source.uuid == uuid })
	return rest
}

// String is the set as the server prints it, on one line.
func (s GTIDSet) String() string {
	sources := slices.SortedFunc(maps.Keys(s.sets), func(a, b gtidSource) int {
		return cmp.Or(cmp.Compare(a.uuid, b.uuid), cmp.Compare(a.tag, b.tag))
	})
	var text strings.Builder
	previous := ""
	for _, source := range sources {
		if source.uuid != previous {
			if previous != "" {
				text.WriteByte(',')
			}
			text.WriteString(formatUUID(source.uuid))
			previous = source.uuid
		}
		if source.tag != "" {
			text.WriteString(":" + source.tag)
		}
		for _, iv := range s.sets[source] {
			text.WriteString(":" + strconv.FormatInt(iv.first, 10))
			if iv.last > iv.first {
				text.WriteString("-" + strconv.FormatInt(iv.last, 10))
			}
		}
	}
	return text.String()
}

func formatUUID(uuid string) string {
	h := hex.EncodeToString([]byte(uuid))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Count is how many transactions the set has.
func (s GTIDSet) Count() int64 {
	var n int64
	for _, list := range s.sets {
		for _, i := range list {
			n += i.last - i.first + 1
		}
	}
	return n
}
