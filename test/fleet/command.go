package fleet

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
)

// A Result is what a command of rolecall answered.
type Result struct {
	Stdout, Stderr string
	Code           int // exit status
}

// Env is the environment of a person at a terminal of this fleet's: the
// administrator's kubeconfig and AWS, but no IMDS.
func (f *Fleet) Env() []string {
	return slices.Concat([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + f.options.Dir, "KUBECONFIG=" + f.Kubeconfig(),
		"POD_NAMESPACE=" + f.Namespace, "ROLECALL_AWS_AUTH_NAMESPACE=" + f.AWSAuthNamespace,
		"AWS_EC2_METADATA_DISABLED=true",
	}, f.AWS.Env())
}

// Run runs one of rolecall's commands as that person, and waits for it. An exit
// status other than 0 is no error.
func (f *Fleet) Run(ctx context.Context, args ...string) (Result, error) {
	return f.RunBinary(ctx, f.options.Binary, args...)
}

// RunBinary is [Fleet.Run] of another binary than [Options.Binary], such as that of
// another version.
func (f *Fleet) RunBinary(ctx context.Context, binary string, args ...string) (Result, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir = f.Env(), f.options.Dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, err
}
