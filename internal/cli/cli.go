// Package cli is the command line of rolecall: a file for each command, and the
// wiring of the agent. It is the only package that knows all others.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rolecall/rolecall/internal/visible"
)

// Exit codes. Those of plan are kubectl diff's.
const (
	exitOK      = 0
	exitDiffers = 1 // plan: there is something to write
	exitError   = 1 // every other command
	exitPlan    = 2 // plan: it could not be made
)

// exitCode is an error that says with which code to exit. Its text, if any,
// has not been printed.
type exitCode struct {
	code int
	err  error
}

func (e *exitCode) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitCode) Unwrap() error { return e.err }

// Run is the program: it reads no globals and never exits, but returns the exit
// status. The first of args is the name under which it was started.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	// The first signal cancels; from then on a second one kills.
	defer context.AfterFunc(ctx, stop)()
	defer stop()

	root := newRoot()
	if isPlugin(args[0]) {
		asPlugin(root)
	}
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitError
	if e := (*exitCode)(nil); errors.As(err, &e) {
		code = e.code
	}
	if text := unknownCommand(root, err).Error(); text != "" {
		if more := advice(err); more != "" {
			text += "\n" + more
		}
		if isPlugin(args[0]) {
			text = pluginSpelling(root)(text)
		}
		complain(stderr, "rolecall", text)
	}
	return code
}

// complain prints an error or a warning for a person. Lines after the first are
// indented: what others wrote must not look like another of ours.
func complain(w io.Writer, kind, text string) {
	indent := kind + ": "
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(w, "%s%s\n", indent, visible.Text(line))
		indent = "  "
	}
}
