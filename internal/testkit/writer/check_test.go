package writer

import "testing"

// TestDoubt: of an operation whose answer never came either outcome is right, and nothing else is (I1).
func TestDoubt(t *testing.T) {
	const absent = -1
	for _, tc := range []struct {
		name    string
		allowed []state
		version int // found in the table, or absent
		differs bool
	}{
		{"insert came", []state{0, 1}, 1, false},
		{"insert did not come", []state{0, 1}, absent, false},
		{"insert came twice over", []state{0, 1}, 2, true},
		{"update came", []state{3, 4}, 4, false},
		{"update did not come", []state{3, 4}, 3, false},
		{"update lost more than itself", []state{3, 4}, 2, true},
		{"row gone by an update", []state{3, 4}, absent, true},
		{"delete came", []state{3, 4 | deleted}, absent, false},
		{"delete did not come", []state{3, 4 | deleted}, 3, false},
		{"delete made a new version", []state{3, 4 | deleted}, 4, true},
		{"acknowledged delete came", []state{4 | deleted}, absent, false},
		{"acknowledged delete undone", []state{4 | deleted}, 3, true},
		{"acknowledged row there", []state{2}, 2, false},
		{"acknowledged row gone", []state{2}, absent, true},
		{"acknowledged update lost", []state{2}, 1, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r Report
			if tc.version == absent {
				r.absent(7, tc.allowed)
			} else {
				r.compare(7, tc.allowed, uint64(tc.version), true)
			}
			if got := r.Difference() != 0; got != tc.differs {
				t.Errorf("difference seen: %v, want %v: %s", got, tc.differs, r)
			}
			if r.Acknowledged != tc.allowed[0].operations() {
				t.Errorf("counts %d acknowledged operations, want %d", r.Acknowledged, tc.allowed[0].operations())
			}
		})
	}
}
