package ghost

import (
	"math"
	"testing"
)

func TestCounterOf(t *testing.T) {
	for _, c := range []struct {
		next     uint64
		dataType string
		unsigned bool
		want     uint64
	}{
		{10, "bigint", false, 1010}, {10, "int", true, 1010}, {10, "tinyint", false, 10}, {10, "tinyint", true, 10}, {127, "tinyint", false, 127},
		{1, "smallint", false, 33}, {math.MaxInt32, "int", false, math.MaxInt32}, {math.MaxInt32, "int", true, math.MaxInt32 + 1000},
		{math.MaxUint64, "bigint", true, math.MaxUint64}, {math.MaxUint64 - 5, "bigint", true, math.MaxUint64 - 5}, {10, "double", false, 10},
	} {
		if got := counterOf(c.next, c.dataType, c.unsigned); got != c.want {
			t.Errorf("%s unsigned %v at %d: %d, want %d", c.dataType, c.unsigned, c.next, got, c.want)
		}
	}
}
