// Package golden keeps the forms of what is stored, or sent between programs of different releases: a test that calls
// Check fails when such a form changes without a decision on what other releases make of it.
//
// Per type and schema version testdata/records/vN has
//
//	NAME.fields     every field with its type
//	NAME.001.json   a value with every field set, as that release wrote it; .002.json is of after the next change, and so on
//
// The JSON files are never written again: each of them stays readable, and what is read from it is written as it was.
package golden

import (
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files of what was added")

// Form is one type whose form is kept.
type Form struct {
	Name    string // of the files
	Version int    // of its schema
	// Dir has the files of all versions; testdata/records when empty.
	Dir string
	// Write and Read are its codec; nil = encoding/json. Read gets what Write made.
	Write func(v any) ([]byte, error)
	Read  func(data []byte) (any, error)
	// Ignore are the top-level fields of the written form that every release writes anew.
	Ignore []string
	// Lenient: it is only read by programs that pass over what they do not know and need nothing, so that new fields need not be
	// optional.
	Lenient bool
}

// advice is what to do about a field that was added.
const advice = `%[1]s has the new field %[2]q.
Programs of the release before read and write such values too, in a rolling upgrade and after a roll-back. Decide, and say it in the
comment of the field:
  1. Its absence is safe: give it omitempty (or omitzero), let its zero value mean "not known" or "as before", and run
         go test ./%[3]s -run Golden -update
     In a state (all but the spec of a cluster) an older scheduler drops it with its next write.
  2. An older program must not touch a value that uses it: raise the schema version, and let the writer say so in min_reader (orders and tasks:
     in schema) for the values that use it, and for no others.
docs/decisions/026-records-of-other-releases.md has the whole rule.`

// Check compares a type's form with the golden files.
func Check(t *testing.T, f Form, example any) {
	t.Helper()
	if f.Write == nil {
		f.Write = json.Marshal
	}
	typ := reflect.TypeOf(example)
	if f.Read == nil {
		f.Read = func(data []byte) (any, error) {
			v := reflect.New(typ)
			err := json.Unmarshal(data, v.Interface())
			return v.Elem().Interface(), err
		}
	}
	dir := f.Dir
	if dir == "" {
		dir = filepath.Join("testdata", "records")
	}
	f.fields(t, filepath.Join(dir, fmt.Sprintf("v%d", f.Version)), typ)
	if t.Failed() {
		return
	}
	f.values(t, dir, example)
}

// fields compares the list of fields.
func (f Form) fields(t *testing.T, dir string, typ reflect.Type) {
	t.Helper()
	path := filepath.Join(dir, f.Name+".fields")
	now := map[string]field{}
	listFields(typ, "", now)
	known, err := readFields(path)
	if err != nil && !*update {
		t.Fatalf("%s has no golden file of version %d: go test ./%s -run Golden -update", f.Name, f.Version, pkg(t))
	}
	for name, kind := range known {
		switch is, there := now[name]; {
		case !there:
			t.Errorf("%s has no field %q any more. Values of this version have it, and older programs write it: keep it, and say in its comment that nothing "+
				"reads it; or raise the schema version and convert what is read of the old one", f.Name, name)
		case is.kind != kind:
			t.Errorf("the field %q of %s is a %s, and was a %s: that is another form, which needs a name of its own, or another schema version", name, f.Name,
				is.kind, kind)
		}
	}
	added := 0
	for name, is := range now {
		if _, there := known[name]; there {
			continue
		}
		added++
		if known != nil && !is.optional && !f.Lenient {
			t.Errorf("the new field %q of %s is not omitempty, so that every value has it", name, f.Name)
		}
		if !*update {
			t.Errorf(advice, f.Name, name, pkg(t))
		}
	}
	if added > 0 && *update && !t.Failed() {
		writeFields(t, path, now)
	}
}

func pkg(t *testing.T) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if _, below, ok := strings.Cut(filepath.ToSlash(at), "/internal/"); ok {
		return "internal/" + below
	}
	return "..."
}

// values reads the values of all versions that there are, and writes one of the present form where it has changed.
func (f Form) values(t *testing.T, dir string, example any) {
	t.Helper()
	data, err := f.Write(example)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "v*", f.Name+".[0-9][0-9][0-9].json"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	here, same := 0, false
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := f.Read(text)
		if err != nil {
			t.Errorf("%s can be read no more: %v", path, err)
			continue
		}
		again, err := f.Write(v)
		if err != nil {
			t.Errorf("%s cannot be written: %v", path, err)
			continue
		}
		current := filepath.Base(filepath.Dir(path)) == fmt.Sprintf("v%d", f.Version)
		if want, got := f.normal(t, text), f.normal(t, again); current && want != got {
			t.Errorf("%s is not written as it was read:\n%s\nwas\n%s", path, got, want)
		}
		if current {
			here++
			same = f.normal(t, text) == f.normal(t, data)
		}
	}
	switch {
	case same:
	case *update:
		path := filepath.Join(dir, fmt.Sprintf("v%d", f.Version), fmt.Sprintf("%s.%03d.json", f.Name, here+1))
		if err := os.WriteFile(path, []byte(indented(t, data)), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("a %s is written in another form than the last golden value has: if that was meant, go test ./%s -run Golden -update", f.Name, pkg(t))
	}
}

// normal is a JSON document without what every release writes anew.
func (f Form) normal(t *testing.T, data []byte) string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	for _, name := range f.Ignore {
		delete(object, name)
	}
	text, err := json.MarshalIndent(object, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func indented(t *testing.T, data []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// field is one of a form.
type field struct {
	kind     string
	optional bool
}

// leaf tells whether a type has a JSON form of its own.
func leaf(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// listFields adds the fields of a type by their paths.
func listFields(t reflect.Type, path string, into map[string]field) {
	switch {
	case t.Kind() == reflect.Pointer:
		listFields(t.Elem(), path, into)
	case leaf(t):
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		listFields(t.Elem(), path+"[]", into)
	case t.Kind() == reflect.Map:
		listFields(t.Elem(), path+"{}", into)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-":
				continue
			case f.Anonymous && name == "":
				listFields(f.Type, path, into)
				continue
			case !f.IsExported():
				continue
			case name == "":
				name = f.Name
			}
			at := strings.TrimPrefix(path+"."+name, ".")
			into[at] = field{kind(f.Type), strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")}
			listFields(f.Type, at, into)
		}
	}
}

// kind is what a field is in JSON, and what it may hold.
func kind(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return kind(t.Elem())
	case leaf(t):
		return t.String()
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		return "[]" + kind(t.Elem())
	case t.Kind() == reflect.Map:
		return "{}" + kind(t.Elem())
	case t == reflect.TypeFor[time.Duration]():
		return "nanoseconds"
	case t.Kind() == reflect.Struct:
		return "object"
	}
	return t.Kind().String()
}

func readFields(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, kind, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			fields[name] = kind
		}
	}
	return fields, nil
}

func writeFields(t *testing.T, path string, fields map[string]field) {
	t.Helper()
	var lines []string
	for name, f := range fields {
		lines = append(lines, name+" "+f.kind+"\n")
	}
	slices.Sort(lines)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Fill sets every field of a value that has a form, to something that is not its zero value, always the same.
func Fill[T any]() T {
	var v T
	fill(reflect.ValueOf(&v).Elem(), "")
	return v
}

func fill(v reflect.Value, path string) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2026, 11, 22, 4, 43, 3, 123456789, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "-" && f.IsExported() {
				fill(v.Field(i), name)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), path)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, path)
		fill(value, path)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("a-" + path)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint64, reflect.Uint32:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	}
}
