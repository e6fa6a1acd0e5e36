package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
	"k8s.io/klog/v2"

	"github.com/rolecall/rolecall/internal/visible"
)

// maxLogged is the longest value of a log record, in bytes: much of what is
// logged others wrote.
const maxLogged = 4096

// newLogger returns a logger in the format auto, text or json; auto is text on
// a terminal and JSON otherwise. Whatever is logged, a record is one line, and
// holds nothing that does not print.
func newLogger(w io.Writer, format string, level slog.Level) (*slog.Logger, error) {
	terminal := isTerminal(w)
	switch format {
	case "auto":
		format = "json"
		if terminal {
			format = "text"
		}
	case "text", "json":
	default:
		return nil, fmt.Errorf("--log-format %q: write auto, text or json", format)
	}
	if format == "json" {
		return slog.New(newJSONHandler(w, level)), nil
	}
	return slog.New(newTextHandler(w, level, colour(w))), nil
}

func newJSONHandler(w io.Writer, level slog.Level) slog.Handler {
	return slog.NewJSONHandler(visible.JSONWriter(w), &slog.HandlerOptions{Level: level, ReplaceAttr: bounded})
}

func newTextHandler(w io.Writer, level slog.Level, colour bool) slog.Handler {
	return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !colour, ReplaceAttr: plain})
}

// bounded shortens what is too long for a line of a log.
func bounded(_ []string, a slog.Attr) slog.Attr {
	switch {
	case a.Value.Kind() == slog.KindString:
		a.Value = slog.StringValue(visible.Cut(a.Value.String(), maxLogged))
	case a.Value.Kind() == slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(visible.Cut(v.Error(), maxLogged))
		default:
			if text := fmt.Sprintf("%+v", v); len(text) > maxLogged {
				a.Value = slog.StringValue(visible.Cut(text, maxLogged))
			}
		}
	}
	return a
}

// plain is bounded for tint, which prints the message, and on a terminal escape
// sequences within a value, as they are.
func plain(groups []string, a slog.Attr) slog.Attr {
	a = bounded(groups, a)
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(unescaped(v.String()))
	case slog.KindAny:
		if _, level := v.Any().(slog.Level); !level {
			a.Value = slog.StringValue(unescaped(fmt.Sprintf("%+v", v.Any())))
		}
	}
	return a
}

// unescaped is visible.Text in the one form from which tint does not make an
// escape character again (v1.2.1 handler.go:602).
func unescaped(s string) string {
	return strings.ReplaceAll(visible.Text(s), `\x1b`, `\u001b`)
}

// bridgeKlog sends what client-go logs through klog to our logger. klog is a
// global, so this is for a process's start alone.
func bridgeKlog(log *slog.Logger) {
	klog.SetSlogLogger(slog.New(calmer{log.Handler()}).With("logger", "client-go"))
}

// calmer lowers what client-go says of requests that we have ended ourselves, and
// of Events of a term's last moment: at level error it would ask for somebody to
// act.
type calmer struct{ slog.Handler }

// What client-go says of an Event that comes when the term's broadcaster has ended
// (tools/record/event.go:325, :473).
const (
	afterTheTerm = "Unable to write event (broadcaster is shut down)"
	atItsEnd     = "Unable to record event (will not retry!)"
)

func (h calmer) Handle(ctx context.Context, r slog.Record) error {
	ended := r.Message == afterTheTerm || r.Message == atItsEnd
	r.Attrs(func(a slog.Attr) bool {
		err, isError := a.Value.Any().(error)
		ended = ended || isError && errors.Is(err, context.Canceled)
		return !ended
	})
	if ended && r.Level > slog.LevelDebug {
		r.Level = slog.LevelDebug
		if !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h calmer) WithAttrs(attrs []slog.Attr) slog.Handler { return calmer{h.Handler.WithAttrs(attrs)} }

func (h calmer) WithGroup(name string) slog.Handler { return calmer{h.Handler.WithGroup(name)} }

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether w may be coloured: a terminal, and NO_COLOR is not set
// (https://no-color.org).
func colour(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
