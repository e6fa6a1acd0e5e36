package election

import (
	"bytes"
	"log/slog"
	"testing"
)

// TestDemoted holds that errors come out at debug level, and what client-go
// logs below it, bodies among it, not at all.
func TestDemoted(t *testing.T) {
	tests := []struct {
		handler, record slog.Level
		want            bool
	}{
		{slog.LevelDebug, slog.LevelError, true},
		{slog.LevelDebug, slog.LevelDebug, true},
		{slog.LevelDebug, slog.LevelDebug - 4, false},
		{slog.LevelInfo, slog.LevelError, false},
	}
	for _, test := range tests {
		var out bytes.Buffer
		handler := demoted{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: test.handler})}
		if got := handler.Enabled(t.Context(), test.record); got != test.want {
			t.Errorf("%v enabled in a %v log: %v", test.record, test.handler, got)
		}
		if err := handler.Handle(t.Context(), slog.Record{Level: test.record}); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(out.Bytes(), []byte("level=DEBUG")); got != test.want {
			t.Errorf("%v in a %v log came out as %q", test.record, test.handler, out.String())
		}
	}
}
