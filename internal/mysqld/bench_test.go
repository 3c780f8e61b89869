package mysqld_test

import (
	"testing"

	"github.com/aosc/aosc/internal/mysqld"
)

// BenchmarkStart is the time from nothing to a server that answers, the copy of the template included.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := mysqld.Start(b.Context(), mysqld.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Remove(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
