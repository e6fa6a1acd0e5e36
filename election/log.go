package election

import (
	"context"
	"log/slog"
)

// demoted logs at debug level what is above it. Client-go's elector says
// "error" for each request that failed; what of it matters is said by us, once.
// What is below debug stays there: client-go would log the requests' bodies.
type demoted struct{ slog.Handler }

func (h demoted) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, min(level, slog.LevelDebug))
}

// Handle asks again, since logr does not for errors.
func (h demoted) Handle(ctx context.Context, r slog.Record) error {
	if !h.Enabled(ctx, r.Level) {
		return nil
	}
	r.Level = min(r.Level, slog.LevelDebug)
	return h.Handler.Handle(ctx, r)
}

func (h demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return demoted{h.Handler.WithAttrs(attrs)}
}

func (h demoted) WithGroup(name string) slog.Handler { return demoted{h.Handler.WithGroup(name)} }
