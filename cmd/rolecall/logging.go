package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
	"k8s.io/klog/v2"
)

// newLogger returns a logger in the format auto, text or json; auto is text on
// a terminal and JSON otherwise.
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
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !colour(w)})), nil
}

// bridgeKlog sends what client-go logs through klog to our logger. klog is a
// global, so this is for a process's start alone.
func bridgeKlog(log *slog.Logger) {
	klog.SetSlogLogger(log.With("logger", "client-go"))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether w may be coloured: a terminal, and NO_COLOR is not set
// (https://no-color.org).
func colour(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
