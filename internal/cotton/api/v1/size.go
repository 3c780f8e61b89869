package v1

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is how a request says what an instance gets: by a name that the scheduler knows, or by amounts.
type Size struct {
	Name      string
	Resources // when Name is empty
}

// errSize is the original's text for a size that is not what it should be.
var errSize = errors.New("'size' should be a JSON dictionary with keys 'cpus', 'mem' and 'disk'")

// UnmarshalJSON reads "small" or {"cpus":1,"mem":"512mb","disk":"2gb"}. All three amounts are needed. CPUs may be text, as
// the original's clients send them; so may bytes without a unit.
func (s *Size) UnmarshalJSON(text []byte) error {
	*s = Size{}
	if json.Unmarshal(text, &s.Name) == nil && s.Name != "" {
		return nil
	}
	var amounts map[string]any
	if json.Unmarshal(text, &amounts) != nil || len(amounts) != 3 {
		return errSize
	}
	amount := func(key string) string {
		switch v := amounts[key].(type) {
		case string:
			return v
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return ""
	}
	got, err := ParseResources(amount("cpus"), amount("mem"), amount("disk"))
	if err != nil {
		return fmt.Errorf("%w: %w", errSize, err)
	}
	s.Resources = got
	return nil
}

// MarshalJSON is what UnmarshalJSON reads.
func (s Size) MarshalJSON() ([]byte, error) {
	if s.Name != "" {
		return json.Marshal(s.Name)
	}
	return json.Marshal(map[string]any{"cpus": s.CPUs, "mem": fmt.Sprintf("%dmb", s.MemMB), "disk": fmt.Sprintf("%dmb", s.DiskMB)})
}

// ParseSize reads a size as a form field or a flag has it: a name, the JSON of UnmarshalJSON, or cpus/mem/disk as in
// 1/512mb/2gb.
func ParseSize(text string) (Size, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		var s Size
		return s, s.UnmarshalJSON([]byte(text))
	}
	if parts := strings.Split(text, "/"); len(parts) == 3 {
		r, err := ParseResources(parts[0], parts[1], parts[2])
		return Size{Resources: r}, err
	}
	if text == "" || strings.ContainsAny(text, "/{}[]\"'") {
		return Size{}, errSize
	}
	return Size{Name: text}, nil
}

// ParseResources reads amounts with units. Parts of a megabyte are rounded up.
func ParseResources(cpus, mem, disk string) (Resources, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(cpus), 64)
	if err != nil || math.IsNaN(n) || n <= 0 || n > 1<<20 {
		return Resources{}, fmt.Errorf("cpus %q is not a positive number", cpus)
	}
	r := Resources{CPUs: n}
	if r.MemMB, err = parseMB(mem); err != nil {
		return Resources{}, fmt.Errorf("mem %w", err)
	}
	if r.DiskMB, err = parseMB(disk); err != nil {
		return Resources{}, fmt.Errorf("disk %w", err)
	}
	return r, nil
}

// units as in the original: 1024-based, in any case; no unit is bytes.
var units = []struct {
	suffix string
	bytes  int64
}{{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"tb", 1 << 40}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, {"", 1}}

// parseMB reads an amount such as 512mb and returns whole megabytes.
func parseMB(text string) (int64, error) {
	const mb = 1 << 20
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, u := range units {
		digits, found := strings.CutSuffix(lower, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64/2/u.bytes {
			break
		}
		return (n*u.bytes + mb - 1) / mb, nil
	}
	return 0, fmt.Errorf("%q is not a positive whole number with a unit of kb, mb, gb or tb (none = bytes)", text)
}
