package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
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
	return path, nil
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
