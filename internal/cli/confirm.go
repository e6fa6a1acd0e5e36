package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// confirm asks a person, and nobody else: an error says that the answer was not
// yes, or that there is nobody to ask.
func confirm(ctx context.Context, in io.Reader, out io.Writer, question string) error {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return errors.New("there is no terminal to ask on: give --yes if what is shown is right; nothing is written")
	}
	fmt.Fprintf(out, "%s [y/N] ", question)
	answered := make(chan string, 1)
	// Nothing ends a read from a terminal. If ctx is done the process ends soon,
	// and this with it.
	go func() {
		line, _ := bufio.NewReader(f).ReadString('\n') // the end of the input is a no
		answered <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(out)
		return errors.New("interrupted: nothing is written")
	case line := <-answered:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return errors.New("nothing is written")
	}
}
