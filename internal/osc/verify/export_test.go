package verify

import "time"

// Hurry shortens the waits for changes that tests without a copying process know not to come.
func Hurry() { pace.lookEvery, pace.linger = 2*time.Millisecond, 10*time.Millisecond }
