package keyed

import "time"

const (
	chunkTime  = 100 * time.Millisecond
	chunkFirst = 1000
	chunkMin   = 1
)

// nextSize is how many rows the next chunk should have, after one of size rows took a time: nearer to chunkTime, by a factor of 2 at most
// upwards and of 4 downwards. A chunk that was cut short by the end of the table says little.
func nextSize(size int, took time.Duration, most int) int {
	took = max(took, time.Millisecond)
	next := int(float64(size) * float64(chunkTime) / float64(took))
	return min(max(next, size/4, chunkMin), size*2, most)
}
