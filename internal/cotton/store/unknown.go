package store

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// unknown is a field of a stored value that this release does not have.
type unknown struct {
	path   string // names of fields, separated by dots
	value  json.RawMessage
	inList bool // below an element of a list or map: it has no lasting place
}

// unknownFields are those of a JSON document that a type has no place for, by path.
func unknownFields(data []byte, t reflect.Type) []unknown {
	var found []unknown
	findUnknown(data, t, "", false, &found)
	slices.SortFunc(found, func(a, b unknown) int { return strings.Compare(a.path, b.path) })
	return found
}

func findUnknown(data json.RawMessage, t reflect.Type, path string, inList bool, found *[]unknown) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if readsItself(t) {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			return
		}
		fields := fieldsOf(t)
		for name, value := range object {
			at := strings.TrimPrefix(path+"."+escape.Replace(name), ".")
			if field, ok := fields[strings.ToLower(name)]; ok {
				findUnknown(value, field, at, inList, found)
			} else {
				*found = append(*found, unknown{at, value, inList})
			}
		}
	case reflect.Slice, reflect.Array:
		var list []json.RawMessage
		if json.Unmarshal(data, &list) != nil {
			return
		}
		for _, value := range list {
			findUnknown(value, t.Elem(), path+"[]", true, found)
		}
	case reflect.Map:
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			return
		}
		for _, value := range object {
			findUnknown(value, t.Elem(), path+"{}", true, found)
		}
	}
}

// escape and unescape are for names that have the separator of a path in them.
var (
	escape   = strings.NewReplacer("~", "~0", ".", "~1")
	unescape = strings.NewReplacer("~1", ".", "~0", "~")
)

var (
	jsonReader = reflect.TypeFor[json.Unmarshaler]()
	textReader = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// readsItself tells whether a type has a JSON form of its own, such as time.Time.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonReader) || p.Implements(textReader)
}

// fieldsOf are the fields of a struct by their names in JSON, in lower case: json.Unmarshal does not tell cases apart.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "":
			for below, kind := range fieldsOf(f.Type) {
				if _, hidden := fields[below]; !hidden {
					fields[below] = kind
				}
			}
		case !f.IsExported():
		case name == "":
			fields[strings.ToLower(f.Name)] = f.Type
		default:
			fields[strings.ToLower(name)] = f.Type
		}
	}
	return fields
}

// addUnknown puts fields back to where they were found, unless what they were part of is gone.
func addUnknown(data []byte, unknown map[string]json.RawMessage) ([]byte, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	below := map[string]map[string]json.RawMessage{}
	for path, value := range unknown {
		name, rest, deeper := strings.Cut(path, ".")
		name = unescape.Replace(name)
		if !deeper {
			if _, known := object[name]; !known {
				object[name] = value
			}
			continue
		}
		if below[name] == nil {
			below[name] = map[string]json.RawMessage{}
		}
		below[name][rest] = value
	}
	for name, values := range below {
		part, ok := object[name]
		if !ok || len(part) == 0 || part[0] != '{' {
			continue
		}
		changed, err := addUnknown(part, values)
		if err != nil {
			return nil, err
		}
		object[name] = changed
	}
	return json.Marshal(object)
}
