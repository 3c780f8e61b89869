package mini

import (
	"crypto/rand"
	"fmt"
	"time"
)

// newUUID is a random (version 4) UUID in its 16 bytes.
func newUUID() []byte {
	b := make([]byte, 16)
	rand.Read(b) // never fails since Go 1.24
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return b
}

func uuidText(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// seconds is a moment as Mesos stamps it: seconds since 1970 to the
// microsecond.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func ptr[T any](v T) *T { return &v }
