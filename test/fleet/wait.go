package fleet

import (
	"context"
	"fmt"
	"time"
)

// Until calls check again and again, with pauses of 20 ms, until it returns nil,
// and returns how long that took. When ctx ends first, the error says what check
// found last.
func Until(ctx context.Context, check func(context.Context) error) (time.Duration, error) {
	begin := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return time.Since(begin), nil
		}
		if last == nil || ctx.Err() == nil { // what was wrong, not that the last try was cut off
			last = err
		}
		select {
		case <-ctx.Done():
			return time.Since(begin), fmt.Errorf("%w after %s; last: %w", context.Cause(ctx), time.Since(begin).Round(time.Millisecond), last)
		case <-tick.C:
		}
	}
}
