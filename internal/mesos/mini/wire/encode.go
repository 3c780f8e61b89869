package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"
)

// field is what is needed to know of one field of a generated message.
type field struct {
	index    int
	name     string
	required bool
	repeated bool
	// always holds of the lists that Mesos writes even when empty.
	always bool
}

// writtenWhenEmpty are the lists that a real master's operator API writes as
// [] when there is nothing in them. All others are left out.
var writtenWhenEmpty = map[reflect.Type][]string{
	reflect.TypeOf(master.Response_GetAgents{}):     {"agents", "recovered_agents"},
	reflect.TypeOf(master.Response_GetFrameworks{}): {"frameworks", "completed_frameworks"},
	reflect.TypeOf(master.Response_GetExecutors{}):  {"executors"},
	reflect.TypeOf(master.Response_GetTasks{}):      {"tasks", "unreachable_tasks", "completed_tasks"},
	reflect.TypeOf(master.Response_GetRoles{}):      {"roles"},
}

// QuotaV2 is the capability of a current master that the generated types are
// too old to know.
const QuotaV2 mesos.MasterInfo_Capability_Type = 3

var newerEnums = map[reflect.Type]map[int64]string{
	reflect.TypeOf(QuotaV2): {int64(QuotaV2): "QUOTA_V2"},
}

var fieldCache sync.Map // reflect.Type -> []field

// fieldsOf lists the fields of a message in the order of the .proto file,
// which is the order Mesos writes them in.
func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var fields []field
	for i := 0; i < t.NumField(); i++ {
		tag := t.Field(i).Tag.Get("protobuf")
		if tag == "" {
			continue
		}
		f := field{index: i}
		for _, part := range strings.Split(tag, ",") {
			switch {
			case part == "req":
				f.required = true
			case part == "rep":
				f.repeated = true
			case strings.HasPrefix(part, "name="):
				f.name = part[len("name="):]
			}
		}
		for _, name := range writtenWhenEmpty[t] {
			f.always = f.always || name == f.name
		}
		fields = append(fields, f)
	}
	fieldCache.Store(t, fields)
	return fields
}

func marshalJSON(msg any) ([]byte, error) {
	var b bytes.Buffer
	v := reflect.ValueOf(msg)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if err := writeMessage(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func writeMessage(b *bytes.Buffer, v reflect.Value) error {
	b.WriteByte('{')
	first := true
	for _, f := range fieldsOf(v.Type()) {
		value := v.Field(f.index)
		if !f.present(value) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(strconv.Quote(f.name))
		b.WriteByte(':')
		if err := writeValue(b, value); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	b.WriteByte('}')
	return nil
}

// present decides whether a field counts as set. Optional fields that the
// generated types keep by value cannot tell unset from zero; zero is taken as
// unset, which is what Mesos' own messages hold there.
func (f field) present(v reflect.Value) bool {
	switch {
	case f.repeated:
		return v.Len() > 0 || f.always
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		return !v.IsNil()
	case f.required:
		return true
	}
	return !v.IsZero()
}

func writeValue(b *bytes.Buffer, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		return writeValue(b, v.Elem())
	case reflect.Struct:
		return writeMessage(b, v)
	case reflect.Map:
		return writeMap(b, v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b.WriteString(strconv.Quote(base64.StdEncoding.EncodeToString(v.Bytes())))
			return nil
		}
		b.WriteByte('[')
		for i := 0; i < v.Len(); i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeValue(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case reflect.String:
		return writeString(b, v.String())
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Float32, reflect.Float64:
		return writeFloat(b, v.Float())
	case reflect.Uint32, reflect.Uint64:
		b.WriteString(strconv.FormatUint(v.Uint(), 10))
	case reflect.Int32, reflect.Int64:
		if name, ok := enumName(v); ok {
			b.WriteString(strconv.Quote(name))
			return nil
		}
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	default:
		return fmt.Errorf("cannot write a %s as JSON", v.Type())
	}
	return nil
}

func writeMap(b *bytes.Buffer, v reflect.Value) error {
	keys := v.MapKeys()
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeString(b, k.String()); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := writeValue(b, v.MapIndex(k)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// enumName gives the name of an enumeration's value; ok is false for a plain
// integer.
func enumName(v reflect.Value) (string, bool) {
	if v.Type().Kind() != reflect.Int32 || v.Type().Name() == "int32" {
		return "", false
	}
	if name, ok := newerEnums[v.Type()][v.Int()]; ok {
		return name, true
	}
	s, ok := v.Interface().(fmt.Stringer)
	if !ok {
		return "", false
	}
	return s.String(), true
}

func writeString(b *bytes.Buffer, s string) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the newline that Encode adds
	return nil
}

// writeFloat writes a double as Mesos does: the shortest digits that give it
// back, and always with a point or an exponent.
func writeFloat(b *bytes.Buffer, f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%v is no JSON number", f)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a >= 1e21 || a < 1e-6) {
		format = 'e'
	}
	s := strconv.FormatFloat(f, format, -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	b.WriteString(s)
	return nil
}
