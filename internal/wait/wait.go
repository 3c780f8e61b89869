// Package wait waits.
package wait

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends; then it returns why that has ended.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
