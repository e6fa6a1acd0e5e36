package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is the package of the binary under test.
const program = "github.com/rolecall/rolecall/cmd/rolecall"

// Build compiles rolecall into a folder and returns the path of the binary. The
// flags are go build's. It takes seconds where Go has the dependencies in its
// cache, and minutes where it hasn't. The working directory must be in a
// checkout of rolecall.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, "rolecall"))
	if err != nil {
		return "", err
	}
	args := append([]string{"build", "-o", path}, flags...)
	if _, err := goTool(ctx, append(args, program)...); err != nil {
		return "", fmt.Errorf("build rolecall: %w", err)
	}
	return path, lookAtSources(ctx)
}

// lookAtSources lets go test know that a result depends on the binary's sources:
// it takes a result from its cache unless a file or folder has changed that the
// test has opened, and what the go command opens does not count.
func lookAtSources(ctx context.Context) error {
	out, err := goTool(ctx, "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", program)
	if err != nil {
		return fmt.Errorf("list the sources of rolecall: %w", err)
	}
	for dir := range strings.Lines(string(out)) {
		if _, err := os.ReadDir(strings.TrimSpace(dir)); err != nil {
			return err
		}
	}
	return nil
}

// repository is the root of the checkout that the working directory is in.
func repository(ctx context.Context) (string, error) {
	out, err := goTool(ctx, "list", "-m", "-f", "{{.Dir}}", "github.com/rolecall/rolecall")
	if err != nil {
		return "", fmt.Errorf("find the checkout of rolecall: %w", err)
	}
	return string(bytes.TrimSpace(out)), nil
}

func goTool(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, bytes.TrimSpace(exit.Stderr))
	}
	return out, err
}
