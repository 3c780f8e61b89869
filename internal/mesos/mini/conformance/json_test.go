package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// member is a member of a JSON object, which here keeps their order.
type member struct {
	name  string
	value any
}

type object []member

func (o object) get(name string) any {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// walk goes into objects by names and into lists by indexes.
func walk(v any, path ...any) any {
	for _, p := range path {
		switch k := p.(type) {
		case string:
			o, ok := v.(object)
			if !ok {
				return nil
			}
			v = o.get(k)
		case int:
			l, ok := v.([]any)
			if !ok || k >= len(l) {
				return nil
			}
			v = l[k]
		}
	}
	return v
}

func text(v any, path ...any) string {
	s, ok := walk(v, path...).(string)
	if !ok {
		return ""
	}
	return s
}

// parse reads JSON and keeps the order of members and the spelling of numbers.
func parse(data string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(data))
	dec.UseNumber()
	v, err := parseValue(dec)
	if err == nil && dec.More() {
		err = errors.New("more after the value")
	}
	return v, err
}

func parseValue(dec *json.Decoder) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		out := object{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			value, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			out = append(out, member{name.(string), value})
		}
		_, err := dec.Token()
		return out, err
	case json.Delim('['):
		out := []any{}
		for dec.More() {
			value, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			out = append(out, value)
		}
		_, err := dec.Token()
		return out, err
	}
	return t, nil
}

// compare holds ours against what was recorded: the same members in the same
// order, the same values, numbers in the same spelling. Resources and offers
// have no fixed order (rule 12).
func (b bindings) compare(recorded, ours any, path string) error {
	switch r := recorded.(type) {
	case object:
		o, ok := ours.(object)
		if !ok {
			return fmt.Errorf("%s: recorded an object, ours %v", path, ours)
		}
		if names(r) != names(o) {
			return fmt.Errorf("%s: recorded members %s, ours %s", path, names(r), names(o))
		}
		for i := range r {
			if err := b.compare(r[i].value, o[i].value, path+"."+r[i].name); err != nil {
				return err
			}
		}
		return nil
	case []any:
		o, ok := ours.([]any)
		// Offers of other agents may be in the same event.
		more := strings.HasSuffix(path, ".offers") && len(o) > len(r)
		if !ok || len(r) != len(o) && !more {
			return fmt.Errorf("%s: recorded %d entries, ours %v", path, len(r), ours)
		}
		if anyOrder(path) {
			return b.compareSet(r, o, path)
		}
		for i := range r {
			if err := b.compare(r[i], o[i], fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	case string:
		if err := b.match(r, plain(ours)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	if plain(recorded) != plain(ours) {
		return fmt.Errorf("%s: recorded %v, ours %v", path, recorded, ours)
	}
	return nil
}

func anyOrder(path string) bool {
	return strings.HasSuffix(path, "resources") || strings.HasSuffix(path, ".offers") || strings.HasSuffix(path, ".agents") || strings.HasSuffix(path, "completed_frameworks")
}

func (b bindings) compareSet(recorded, ours []any, path string) error {
	left := append([]any(nil), ours...)
	for _, r := range recorded {
		var last error
		found := false
		for i, o := range left {
			try := b.clone()
			if last = try.compare(r, o, path+"[]"); last == nil {
				for k, v := range try {
					b[k] = v
				}
				left = append(left[:i], left[i+1:]...)
				found = true
				break
			}
		}
		if !found {
			return fmt.Errorf("%s: nothing of ours is %s; the last difference: %w; ours: %s", path, spell(r), last, spell(any(ours)))
		}
	}
	return nil
}

func names(o object) string {
	out := make([]string, len(o))
	for i, m := range o {
		out[i] = m.name
	}
	return strings.Join(out, " ")
}

func plain(v any) string {
	switch t := v.(type) {
	case string:
		return t
	case json.Number:
		return t.String()
	}
	return fmt.Sprint(v)
}

// spell writes a parsed value back as JSON, for messages.
func spell(v any) string {
	var buf bytes.Buffer
	write(&buf, v)
	return buf.String()
}

func write(buf *bytes.Buffer, v any) {
	switch t := v.(type) {
	case object:
		buf.WriteByte('{')
		for i, m := range t {
			if i > 0 {
				buf.WriteByte(',')
			}
			fmt.Fprintf(buf, "%q:", m.name)
			write(buf, m.value)
		}
		buf.WriteByte('}')
	case []any:
		buf.WriteByte('[')
		for i, e := range t {
			if i > 0 {
				buf.WriteByte(',')
			}
			write(buf, e)
		}
		buf.WriteByte(']')
	case string:
		fmt.Fprintf(buf, "%q", t)
	default:
		fmt.Fprint(buf, t)
	}
}

// identity says which events are the same one, so that events of different
// tasks may come in another order than they did.
func identity(e any) string {
	kind := text(e, "type")
	switch kind {
	case "UPDATE":
		return kind + " " + text(e, "update", "status", "task_id", "value")
	case "UPDATE_OPERATION_STATUS":
		return kind + " " + text(e, "update_operation_status", "status", "operation_id", "value")
	case "FAILURE":
		return kind + " " + text(e, "failure", "executor_id", "value")
	}
	return kind
}
