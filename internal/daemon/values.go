package daemon

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parse brings a value, from wherever it came, to the type of the key's default. What viper would quietly turn into
// a zero (a misspelt number) or into something else (90 as duration is 90 ns) is an error here.
func parse(def, raw any) (any, error) {
	switch def.(type) {
	case string:
		return scalar(raw)
	case []string:
		return parseList(raw)
	case bool:
		text, err := scalar(raw)
		if err != nil {
			return nil, err
		}
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return b, nil
	case time.Duration:
		return parseDuration(raw)
	case int, uint64, float64:
		return parseNumber(def, raw)
	}
	return nil, fmt.Errorf("a default of type %T is not supported", def)
}

func scalar(raw any) (string, error) {
	switch v := raw.(type) {
	case nil:
		return "", nil
	case []any, []string, map[string]any, map[any]any:
		return "", errors.New("one value is expected, not a list or a section")
	case string:
		return v, nil
	default:
		return fmt.Sprint(v), nil
	}
}

func parseDuration(raw any) (any, error) {
	if d, ok := raw.(time.Duration); ok {
		return d, nil
	}
	text, err := scalar(raw)
	if err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf(`%q is not a duration; write a number with a unit, such as "90s", "5m" or "24h"`, text)
	}
	return d, nil
}

func parseNumber(def, raw any) (any, error) {
	text, err := scalar(raw)
	if err != nil {
		return nil, err
	}
	text = strings.TrimSpace(text)
	switch def.(type) {
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	case uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number of 0 or more", text)
		}
		return n, nil
	default:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return f, nil
	}
}

// parseList takes a YAML list or text with commas between the items.
func parseList(raw any) (any, error) {
	list := []string{}
	add := func(text string) {
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
	}
	switch v := raw.(type) {
	case []string:
		for _, item := range v {
			add(item)
		}
	case []any:
		for _, item := range v {
			text, err := scalar(item)
			if err != nil {
				return nil, err
			}
			add(text)
		}
	default:
		text, err := scalar(raw)
		if err != nil {
			return nil, err
		}
		add(text)
	}
	return list, nil
}

// flagValue is a pflag.Value that accepts exactly what the file and the environment accept for the same key.
type flagValue struct {
	key   Key
	value any
	given bool
}

func (f *flagValue) Set(text string) error {
	v, err := parse(f.key.Default, text)
	if err != nil {
		return err
	}
	if list, ok := v.([]string); ok && f.given { // --instance a --instance b
		v = append(f.value.([]string), list...)
	}
	f.value, f.given = v, true
	return nil
}

func (f *flagValue) String() string {
	if f == nil || f.value == nil {
		return ""
	}
	return show(f.value)
}

// Type is the word that the usage text shows after the flag. None of them is a type name that viper interprets.
func (f *flagValue) Type() string {
	if f.key.Unit != "" {
		return f.key.Unit
	}
	switch f.key.Default.(type) {
	case []string:
		return "list"
	case time.Duration:
		return "duration"
	case int, uint64, float64:
		return "number"
	case bool:
		return "true|false"
	}
	return "text"
}

// show is the text of a value as a person would write it.
func show(v any) string {
	switch v := v.(type) {
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		return shortDuration(v)
	default:
		return fmt.Sprint(v)
	}
}

// shortDuration prints 24h, not 24h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
