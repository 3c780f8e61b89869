package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/aosc/aosc/internal/cotton"
	"github.com/aosc/aosc/internal/release"
)

// MaxRecord is how many bytes a stored value may have: what ZooKeeper takes in one request by default (1 MB), less the
// rest of that request.
const MaxRecord = 1<<20 - 32<<10

// header is what every stored value has, in whatever version of the schema.
type header struct {
	Schema int `json:"schema"`
	// MinReader is the least schema that a program must know to read this value and to write it again; absent = Schema.
	MinReader int    `json:"min_reader,omitempty"`
	WrittenBy string `json:"written_by,omitempty"` // release of cotton
}

// stored is the stored form of a record. Its fields hide those of the same name below.
type stored struct {
	Schema    int    `json:"schema"`
	MinReader int    `json:"min_reader,omitempty"`
	WrittenBy string `json:"written_by,omitempty"`
	cotton.Record
}

// framework is the stored form of Framework.
type framework struct {
	header
	Framework
}

// minReader is the least schema that a program must know to keep what a value says. It is 1 as long as only optional fields
// were added whose absence is safe. A field that an older program must not lose, or must not leave as it is while it changes
// others, raises SchemaVersion, and raises this for the records that use it: all others can be read still after a roll-back.
const minReader = 1

// EncodeCluster is the stored form of a record: JSON with the present schema version.
func EncodeCluster(r cotton.Record) ([]byte, error) {
	if err := CheckName(r.Spec.Name); err != nil {
		return nil, err
	}
	return encode("cluster "+r.Spec.Name, stored{cotton.SchemaVersion, minReader, release.Version(), r}, prefixed("spec.", r.Spec.Unknown))
}

// DecodeCluster reads what EncodeCluster made. name is what it is stored under: a record that says otherwise was put
// there by hand, and is refused.
func DecodeCluster(name string, data []byte) (cotton.Record, error) {
	var s stored
	unknown, err := decode("cluster "+name, data, &s)
	if err != nil {
		return cotton.Record{}, err
	}
	r := s.Record
	r.Schema = s.Schema
	if r.Spec.Name != name {
		return cotton.Record{}, fmt.Errorf("cluster %s: the stored record says that its name is %q: somebody put it there by hand; "+
			"%s", name, r.Spec.Name, wayOut)
	}
	for _, u := range unknown {
		if field, ok := strings.CutPrefix(u.path, "spec."); ok && !u.inList {
			if r.Spec.Unknown == nil {
				r.Spec.Unknown = map[string]json.RawMessage{}
			}
			r.Spec.Unknown[field] = u.value
			continue
		}
		r.Dropped = append(r.Dropped, u.path)
	}
	if len(r.Dropped) > 0 {
		slices.Sort(r.Dropped)
		r.Dropped = append(r.Dropped, "written by cotton "+cmp.Or(s.WrittenBy, "of an unknown release"))
	}
	return r, nil
}

// EncodeFramework is the stored form of a framework.
func EncodeFramework(f Framework) ([]byte, error) {
	return encode("framework", framework{header{cotton.SchemaVersion, minReader, release.Version()}, f}, f.Unknown)
}

// DecodeFramework reads what EncodeFramework made.
func DecodeFramework(data []byte) (Framework, error) {
	var f framework
	unknown, err := decode("framework", data, &f)
	for _, u := range unknown {
		if !u.inList {
			if f.Unknown == nil {
				f.Unknown = map[string]json.RawMessage{}
			}
			f.Unknown[u.path] = u.value
		}
	}
	return f.Framework, err
}

func prefixed(prefix string, m map[string]json.RawMessage) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for path, value := range m {
		out[prefix+path] = value
	}
	return out
}

// encode writes v, and what a later release had put beside it.
func encode(what string, v any, unknown map[string]json.RawMessage) ([]byte, error) {
	data, err := json.Marshal(v)
	if err == nil && len(unknown) > 0 {
		data, err = addUnknown(data, unknown)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(data) > MaxRecord:
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d; nothing was stored, so nothing of it will be done. The largest parts are %s; %s",
			what, ErrTooLarge, len(data), MaxRecord, largest(data), "a cluster whose record has outgrown the store is helped by fewer transactions' "+
				"ranges (gaps in gtid_executed), shorter settings and labels; create it anew from a backup where that cannot be had")
	}
	return data, nil
}

// largest names the largest fields of a JSON document, for people.
func largest(data []byte) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return "not known"
	}
	type part struct {
		name string
		size int
	}
	var parts []part
	for name, value := range fields {
		parts = append(parts, part{name, len(value)})
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.name, b.name)) })
	var text []string
	for _, p := range parts[:min(3, len(parts))] {
		text = append(text, fmt.Sprintf("%s (%d bytes)", p.name, p.size))
	}
	return strings.Join(text, ", ")
}

// wayOut is for values that are damaged, or were changed by hand.
const wayOut = "stop all schedulers, put a copy of the value from before in its place, and start them again; clusters go on to serve meanwhile"

// decode reads a value of this schema, of an older one, or of a newer one that says that it may be read. It returns the
// fields that this release does not know.
func decode(what string, data []byte, v any) ([]unknown, error) {
	var h header
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("%s cannot be read from the store: %w: %s", what, err, wayOut)
	}
	switch least := cmp.Or(h.MinReader, h.Schema); {
	case h.Schema < 1 || least < 1:
		return nil, fmt.Errorf("%s cannot be read from the store: it has no schema version: %s", what, wayOut)
	case least > cotton.SchemaVersion:
		return nil, fmt.Errorf("%s was written by cotton %s with schema %d and wants a reader of schema %d; this is cotton %s, which reads schema %d: %w",
			what, cmp.Or(h.WrittenBy, "of a later release"), h.Schema, least, release.Version(), cotton.SchemaVersion, ErrNewer)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return nil, fmt.Errorf("%s cannot be read from the store: %w (written by cotton %s): %s", what, err, cmp.Or(h.WrittenBy, "of an unknown release"), wayOut)
	}
	if _, err := d.Token(); err == nil {
		return nil, fmt.Errorf("%s cannot be read from the store: %w: %s", what, errors.New("the value goes on after its end"), wayOut)
	}
	return unknownFields(data, reflect.TypeOf(v)), nil
}

// CheckName refuses what is not one segment of a path. What names a user may choose is for cotton.Spec to say.
func CheckName(name string) error {
	if name == "" || name[0] == '.' || strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || r == '\\' || r <= ' ' || r >= 0x7f
	}) {
		return fmt.Errorf("%q cannot name a stored cluster", name)
	}
	return nil
}
