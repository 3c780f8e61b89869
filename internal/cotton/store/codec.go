package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aosc/aosc/internal/cotton"
)

// MaxRecord is how many bytes a stored value may have: what ZooKeeper takes in one request by default (1 MB), less the
// rest of that request.
const MaxRecord = 1<<20 - 32<<10

// header is what every stored value begins with, in whatever version of the schema.
type header struct {
	Schema int `json:"schema"`
}

// framework is the stored form of Framework.
type framework struct {
	header
	Framework
}

// EncodeCluster is the stored form of a record: JSON with the present schema version.
func EncodeCluster(r cotton.Record) ([]byte, error) {
	if err := CheckName(r.Spec.Name); err != nil {
		return nil, err
	}
	r.Schema = cotton.SchemaVersion
	return encode("cluster "+r.Spec.Name, r)
}

// DecodeCluster reads what EncodeCluster made. name is what it is stored under: a record that says otherwise was put
// there by hand, and is refused.
func DecodeCluster(name string, data []byte) (cotton.Record, error) {
	var r cotton.Record
	if err := decode("cluster "+name, data, &r); err != nil {
		return cotton.Record{}, err
	}
	if r.Spec.Name != name {
		return cotton.Record{}, fmt.Errorf("cluster %s: the stored record says that its name is %q", name, r.Spec.Name)
	}
	return r, nil
}

// EncodeFramework is the stored form of a framework.
func EncodeFramework(f Framework) ([]byte, error) {
	return encode("framework", framework{header{cotton.SchemaVersion}, f})
}

// DecodeFramework reads what EncodeFramework made.
func DecodeFramework(data []byte) (Framework, error) {
	var f framework
	err := decode("framework", data, &f)
	return f.Framework, err
}

func encode(what string, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(data) > MaxRecord:
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", what, ErrTooLarge, len(data), MaxRecord)
	}
	return data, nil
}

// decode refuses what it does not know: writing such a value back would lose a part of it.
func decode(what string, data []byte, v any) error {
	var h header
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("%s cannot be read from the store: %w", what, err)
	}
	switch {
	case h.Schema > cotton.SchemaVersion:
		return fmt.Errorf("%s has schema %d, this is %d: %w", what, h.Schema, cotton.SchemaVersion, ErrNewer)
	case h.Schema < 1:
		return fmt.Errorf("%s cannot be read from the store: it has no schema version", what)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s cannot be read from the store: %w", what, err)
	}
	return nil
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
