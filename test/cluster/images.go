package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Images that every node has, so that no registry is asked.
const pauseImage = "localhost/pause:1"

// goImage stands in for golang:VERSION of the Dockerfile. It looks for modules, and
// for what was compiled of them, in folders that are mounted: this machine's own,
// so that nothing is fetched and little is compiled twice.
var (
	goImage = "localhost/golang:" + runtime.Version() + "-mounted"
	goEnv   = []string{
		"PATH=/usr/local/go/bin:/bin", "HOME=/root", "GOTOOLCHAIN=local",
		"GOMODCACHE=/modules", "GOPROXY=off", "GOCACHE=/compiled",
	}
)

// Images builds images and keeps them as archives.
type Images struct {
	// Root is the repository: its Dockerfile is built.
	Root string
	// Dir is where archives and layers are kept.
	Dir string
	// Log gets what the builder says.
	Log io.Writer
}

// archives are the files that Build makes.
func (b Images) archives() []string {
	return []string{filepath.Join(b.Dir, "pause.tar"), filepath.Join(b.Dir, "rolecall.tar")}
}

// Build builds rolecall's image from its Dockerfile under the name that the
// manifests have, and the image of a pod's sandbox. The Dockerfile's own base
// images can't be had without a registry: in their place stand this machine's Go
// in an image, and scratch.
func (b Images) Build(ctx context.Context, name string) error {
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(b.Dir, "work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := b.buildPause(ctx, work); err != nil {
		return fmt.Errorf("build the sandbox image: %w", err)
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	folders := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err := b.buildGo(ctx, work, folders[0]); err != nil {
		return fmt.Errorf("build an image with Go: %w", err)
	}
	if err := b.run(ctx, "go", "mod", "download"); err != nil {
		return err
	}
	err = b.buildah(ctx, "bud", "--isolation=chroot", "--pull-never", "--network=host",
		"--build-arg=BUILD_IMAGE="+goImage, "--build-arg=RUNTIME_IMAGE=scratch",
		"--build-arg=TARGETOS=linux", "--build-arg=TARGETARCH="+runtime.GOARCH,
		"--volume="+folders[1]+":/modules", "--volume="+folders[2]+":/compiled",
		"--tag="+name, ".")
	if err != nil {
		return fmt.Errorf("build the Dockerfile: %w", err)
	}
	if err := b.export(ctx, name, "rolecall.tar"); err != nil {
		return err
	}
	return b.buildah(ctx, "rmi", "--prune") // the image of before, whose name the new one has
}

// buildPause makes the image that holds a pod's namespaces.
func (b Images) buildPause(ctx context.Context, work string) error {
	binary := filepath.Join(work, "pause")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./test/cluster/pause")
	build.Dir, build.Env = b.Root, append(os.Environ(), "CGO_ENABLED=0")
	if err := b.exec(build); err != nil {
		return err
	}
	if err := b.assemble(ctx, pauseImage, []string{"--entrypoint", `["/pause"]`}, [2]string{binary, "/pause"}); err != nil {
		return err
	}
	return b.export(ctx, pauseImage, "pause.tar")
}

// buildGo makes an image of this machine's Go, a shell and the certificates that
// the Dockerfile copies.
func (b Images) buildGo(ctx context.Context, work, goroot string) error {
	if b.buildah(ctx, "inspect", "--type=image", goImage) == nil {
		return nil
	}
	shell, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	empty := filepath.Join(work, "tmp")
	if err := os.Mkdir(empty, 0o700); err != nil {
		return err
	}
	certificates := "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(certificates); err != nil { // the image needs none here: AWS is a stand-in
		certificates = filepath.Join(work, "ca-certificates.crt")
		if err := os.WriteFile(certificates, nil, 0o600); err != nil {
			return err
		}
	}
	var config []string
	for _, variable := range goEnv {
		config = append(config, "--env="+variable)
	}
	return b.assemble(ctx, goImage, config,
		[2]string{goroot, "/usr/local/go"}, [2]string{shell, "/bin/sh"}, [2]string{empty, "/tmp"},
		[2]string{certificates, "/etc/ssl/certs/ca-certificates.crt"})
}

// assemble makes an image of files, given as their path here and there.
func (b Images) assemble(ctx context.Context, image string, config []string, files ...[2]string) error {
	out, err := b.command(ctx, "from", "scratch").Output()
	if err != nil {
		return fmt.Errorf("buildah from scratch: %w", err)
	}
	container := strings.TrimSpace(string(out))
	for _, f := range files {
		if err := b.buildah(ctx, "copy", "--quiet", container, f[0], f[1]); err != nil {
			return err
		}
	}
	if err := b.buildah(ctx, append(append([]string{"config"}, config...), container)...); err != nil {
		return err
	}
	return b.buildah(ctx, "commit", "--quiet", "--rm", container, image)
}

// export writes an image as the archive that containerd imports.
func (b Images) export(ctx context.Context, image, file string) error {
	path := filepath.Join(b.Dir, file)
	if err := os.RemoveAll(path); err != nil { // buildah appends
		return err
	}
	return b.buildah(ctx, "push", "--quiet", image, "docker-archive:"+path+":"+image)
}

// command is one of buildah's, on storage of our own that needs nothing of the
// kernel: the driver copies each layer.
func (b Images) command(ctx context.Context, args ...string) *exec.Cmd {
	storage := filepath.Join(b.Dir, "storage")
	cmd := exec.CommandContext(ctx, "buildah", append([]string{
		"--storage-driver=vfs", "--root=" + storage, "--runroot=" + filepath.Join(storage, "run"),
	}, args...)...)
	cmd.Dir = b.Root
	return cmd
}

func (b Images) buildah(ctx context.Context, args ...string) error {
	return b.exec(b.command(ctx, args...))
}

func (b Images) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = b.Root
	return b.exec(cmd)
}

// exec runs a command whose output goes to the log, and its end into the error.
func (b Images) exec(cmd *exec.Cmd) error {
	var said bytes.Buffer
	out := io.MultiWriter(&said, b.Log)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(said.String())
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path)+" "+strings.Join(cmd.Args[1:], " "), err, text[max(0, len(text)-2000):])
	}
	return nil
}
