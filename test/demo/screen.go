package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aymanbagabas/go-udiff"
	"golang.org/x/term"
)

// A screen is where the story is told. Colours are for terminals alone, and for
// those who want them (https://no-color.org).
type screen struct {
	w        io.Writer
	terminal bool

	red, green, dim, bold, reset string
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok {
		s.terminal = term.IsTerminal(int(f.Fd()))
	}
	if s.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		s.red, s.green, s.dim, s.bold, s.reset = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
	}
	return s
}

func (s *screen) print(text string) { fmt.Fprint(s.w, text) }

// title begins a chapter.
func (s *screen) title(number int, text string) {
	fmt.Fprintf(s.w, "\n%s%2d. %s%s\n", s.bold, number, text, s.reset)
}

// text is what a chapter shows.
func (s *screen) text(text string) {
	fmt.Fprint(s.w, s.dim+indent(strings.TrimSuffix(text, "\n")+"\n")+s.reset)
}

// held ends a chapter whose check held.
func (s *screen) held(what string, took time.Duration) {
	fmt.Fprintf(s.w, "    %s✓%s %s %s(%s)%s\n", s.green, s.reset, what, s.dim, seconds(took), s.reset)
}

func (s *screen) failed(err error) {
	fmt.Fprintf(s.w, "    %s✗%s %v\n", s.red, s.reset, err)
}

// summary is the last line.
func (s *screen) summary(held, all int) {
	tint := s.green
	if held < all {
		tint = s.red
	}
	fmt.Fprintf(s.w, "\n%s%d of %d checks held%s\n", tint, held, all, s.reset)
}

// diff shows what changed in aws-auth, key by key.
func (s *screen) diff(before, after map[string]string) {
	keys := map[string]bool{}
	for k := range before {
		keys[k] = true
	}
	for k := range after {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if before[k] == after[k] {
			continue
		}
		fmt.Fprintf(s.w, "    %saws-auth %s%s\n", s.dim, k, s.reset)
		text := udiff.Unified("", "", before[k], after[k])
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case line == "--- ", line == "+++ ", strings.HasPrefix(line, `\ `):
				continue
			case strings.HasPrefix(line, "+"):
				line = s.green + line + s.reset
			case strings.HasPrefix(line, "-"):
				line = s.red + line + s.reset
			default:
				line = s.dim + line + s.reset
			}
			fmt.Fprintf(s.w, "    %s\n", line)
		}
	}
}

// progress tells until ctx ends what takes so long: on a terminal in one line
// that goes again, else in a line every 10 s.
func (s *screen) progress(ctx context.Context, what string) {
	const every = time.Second
	begin := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		switch {
		case s.terminal:
			fmt.Fprintf(s.w, "\r%s (minutes the first time): %s ", what, time.Since(begin).Round(time.Second))
		case turn%10 == 0:
			fmt.Fprintf(s.w, "%s (minutes the first time): %s\n", what, time.Since(begin).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			if s.terminal {
				fmt.Fprint(s.w, "\r\x1b[K")
			}
			return
		case <-tick.C:
		}
	}
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
