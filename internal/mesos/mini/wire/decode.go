package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// unmarshalJSON fills msg from a request body. Unknown fields and unknown
// names of enumerations are passed over, numbers may come as strings, and all
// missing required fields are named at once, as Mesos does it.
func unmarshalJSON(data []byte, msg any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var raw any
	if err := dec.Decode(&raw); err != nil {
		return syntaxError(data, err)
	}
	object, ok := raw.(map[string]any)
	if !ok {
		return errors.New("Failed to convert JSON into Call protobuf: Expecting a JSON object")
	}
	v := reflect.ValueOf(msg).Elem()
	if err := readMessage(v, object); err != nil {
		return fmt.Errorf("Failed to convert JSON into Call protobuf: %w", err)
	}
	if missing := missingFields(v, object, ""); len(missing) > 0 {
		return fmt.Errorf("Failed to convert JSON into Call protobuf: Missing required fields: %s", strings.Join(missing, ", "))
	}
	return nil
}

// syntaxError says where reading stopped: the line, and what is left of it.
func syntaxError(data []byte, err error) error {
	at := len(data)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) && syntax.Offset > 0 && int(syntax.Offset) < len(data) {
		at = int(syntax.Offset) - 1
	}
	line := 1 + bytes.Count(data[:at], []byte("\n"))
	rest, _, _ := bytes.Cut(data[at:], []byte("\n"))
	return fmt.Errorf("Failed to parse body into JSON: syntax error at line %d near: %s", line, rest)
}

func readMessage(v reflect.Value, object map[string]any) error {
	for _, f := range fieldsOf(v.Type()) {
		raw, ok := object[f.name]
		if !ok || raw == nil {
			continue
		}
		if err := readField(v.Field(f.index), raw, f.name); err != nil {
			return err
		}
	}
	return nil
}

func readField(v reflect.Value, raw any, name string) error {
	switch {
	case v.Kind() == reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if known, err := readScalarOrMessage(fresh.Elem(), raw, name); err != nil || !known {
			return err
		}
		v.Set(fresh)
		return nil
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		list, ok := raw.([]any)
		if !ok {
			return unexpected(raw, name)
		}
		for _, item := range list {
			fresh := reflect.New(v.Type().Elem()).Elem()
			if err := readField(fresh, item, name); err != nil {
				return err
			}
			v.Set(reflect.Append(v, fresh))
		}
		return nil
	case v.Kind() == reflect.Map:
		return readMap(v, raw, name)
	}
	_, err := readScalarOrMessage(v, raw, name)
	return err
}

func readMap(v reflect.Value, raw any, name string) error {
	object, ok := raw.(map[string]any)
	if !ok {
		return unexpected(raw, name)
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(object)))
	for k, item := range object {
		fresh := reflect.New(v.Type().Elem()).Elem()
		if err := readField(fresh, item, name); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(k), fresh)
	}
	return nil
}

// readScalarOrMessage sets v, which is no pointer and no list. known is false
// for the name of an enumeration's value that is not known: such a field
// stays unset.
func readScalarOrMessage(v reflect.Value, raw any, name string) (known bool, err error) {
	switch v.Kind() {
	case reflect.Struct:
		object, ok := raw.(map[string]any)
		if !ok {
			return false, unexpected(raw, name)
		}
		return true, readMessage(v, object)
	case reflect.Slice:
		s, ok := raw.(string)
		if !ok {
			return false, unexpected(raw, name)
		}
		data, err := decodeBase64(s)
		if err != nil {
			return false, fmt.Errorf("Failed to base64 decode bytes field '%s': %w", name, err)
		}
		v.SetBytes(data)
	case reflect.String:
		s, ok := raw.(string)
		if !ok {
			return false, unexpected(raw, name)
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := raw.(bool)
		if !ok {
			return false, unexpected(raw, name)
		}
		v.SetBool(b)
	case reflect.Int32:
		if _, enum := enumName(v); enum {
			return readEnum(v, raw, name)
		}
		return true, readNumber(v, raw, name)
	default:
		return true, readNumber(v, raw, name)
	}
	return true, nil
}

func readEnum(v reflect.Value, raw any, name string) (known bool, err error) {
	s, ok := raw.(string)
	if !ok {
		return false, unexpected(raw, name)
	}
	for n, newer := range newerEnums[v.Type()] {
		if newer == s {
			v.SetInt(n)
			return true, nil
		}
	}
	decoder, ok := reflect.New(v.Type()).Interface().(json.Unmarshaler)
	if !ok {
		return false, fmt.Errorf("cannot read field '%s'", name)
	}
	// The generated UnmarshalJSON refuses unknown names, which Mesos passes
	// over.
	quoted, err := json.Marshal(s)
	if err != nil || decoder.UnmarshalJSON(quoted) != nil {
		return false, nil
	}
	v.Set(reflect.ValueOf(decoder).Elem())
	return true, nil
}

func readNumber(v reflect.Value, raw any, name string) error {
	var text string
	switch n := raw.(type) {
	case json.Number:
		text = n.String()
	case string:
		text = n
	default:
		return unexpected(raw, name)
	}
	failed := fmt.Errorf("Failed to parse '%s' as a JSON number for field '%s'", text, name)
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return failed
		}
		v.SetFloat(f)
	case reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return failed
		}
		v.SetUint(n)
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return failed
		}
		v.SetInt(n)
	default:
		return fmt.Errorf("cannot read a %s from JSON for field '%s'", v.Type(), name)
	}
	return nil
}

func unexpected(raw any, name string) error {
	kind := "null"
	switch raw.(type) {
	case map[string]any:
		kind = "object"
	case []any:
		kind = "array"
	case string:
		kind = "string"
	case json.Number:
		kind = "number"
	case bool:
		kind = "boolean"
	}
	return fmt.Errorf("Not expecting a JSON %s for field '%s'", kind, name)
}

func decodeBase64(s string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(s)
	if err == nil {
		return data, nil
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	// Mesos passes over white space and names the first character that cannot
	// be; the library stops at white space too, so look for it here.
	for _, c := range s {
		if !strings.ContainsRune(alphabet, c) && !strings.ContainsRune(" \t\r\n", c) {
			return nil, fmt.Errorf("Invalid character '%c'", c)
		}
	}
	return nil, errors.New("Invalid length")
}

// missingFields walks the message beside the JSON it came from and names the
// required fields that were not there: a message's own before those of the
// messages in it.
func missingFields(v reflect.Value, object any, prefix string) []string {
	given, ok := object.(map[string]any)
	if !ok {
		return nil
	}
	var missing []string
	for _, f := range fieldsOf(v.Type()) {
		if raw, there := given[f.name]; f.required && (!there || raw == nil || unsetEnum(v.Field(f.index))) {
			missing = append(missing, prefix+f.name)
		}
	}
	for _, f := range fieldsOf(v.Type()) {
		raw, there := given[f.name]
		if !there || raw == nil {
			continue
		}
		missing = append(missing, missingInside(v.Field(f.index), raw, prefix+f.name)...)
	}
	return missing
}

func missingInside(v reflect.Value, raw any, path string) []string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return missingInside(v.Elem(), raw, path)
	case reflect.Struct:
		return missingFields(v, raw, path+".")
	case reflect.Slice:
		list, ok := raw.([]any)
		if !ok {
			return nil
		}
		var missing []string
		for i, item := range list {
			missing = append(missing, missingInside(v.Index(i), item, fmt.Sprintf("%s[%d]", path, i))...)
		}
		return missing
	}
	return nil
}

// unsetEnum holds of a required enumeration whose name was not known.
func unsetEnum(v reflect.Value) bool {
	return v.Kind() == reflect.Pointer && v.IsNil()
}
