package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Environment variables of [Main].
const (
	wantedVariable  = "ROLECALL_E2E"         // 1: run, 0 or none: skip
	requireVariable = "ROLECALL_REQUIRE_E2E" // 1: that this machine can't is a failure
	insideVariable  = "ROLECALL_E2E_INSIDE"  // the folder of the archives; set by Main alone
)

// Main runs the tests of a binary in namespaces of their own, with the images
// built, and returns the exit code, for TestMain. They run where ROLECALL_E2E=1 is
// in the environment. Where this machine can't run nodes it says why and skips
// them, or fails with ROLECALL_REQUIRE_E2E=1.
func Main(m *testing.M, image string) int {
	flag.Parse()
	if os.Getenv(insideVariable) != "" {
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, "set up the namespaces:", err)
			return 1
		}
		return m.Run()
	}
	if os.Getenv(wantedVariable) != "1" || testing.Short() {
		return m.Run() // every test skips
	}
	if missing := Missing(); len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "REAL NODES ARE NOT TESTED, for this machine can't run them:\n  %s\n", strings.Join(missing, "\n  "))
		if os.Getenv(requireVariable) == "1" {
			return 1
		}
		return 0
	}
	code, err := inside(image)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// inside builds the images, while the machine's network is there, and starts this
// binary again in namespaces of its own.
func inside(image string) (code int, err error) {
	root, err := repository()
	if err != nil {
		return 0, err
	}
	images := Images{Root: root, Dir: filepath.Join(root, ".cache", "images")}
	if err := os.MkdirAll(images.Dir, 0o755); err != nil {
		return 0, err
	}
	log, err := os.Create(filepath.Join(images.Dir, "build.log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	images.Log = log
	begin := time.Now()
	stop := progress("building the images", begin)
	err = images.Build(context.Background(), image)
	stop()
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(os.Stderr, "built the images in %s\n", time.Since(begin).Round(time.Second))

	restore, err := raiseInotify()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, restore()) }()
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"="+images.Dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// Its end is the end of all processes in its namespace.
		Cloneflags:   unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Unshareflags: unix.CLONE_NEWNS, // and makes all mounts private
		Pdeathsig:    syscall.SIGKILL,
	}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code, err = max(1, exit.ExitCode()), nil
	}
	return code, errors.Join(err, removeGroups())
}

// raiseInotify lets root have as many inotify instances as several kubelets and
// containerds need: the kernel's 128 are for one or two. What it returns puts the
// limit back.
func raiseInotify() (restore func() error, err error) {
	const file, enough = "/proc/sys/fs/inotify/max_user_instances", 1024
	was, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(was)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if limit >= enough {
		return func() error { return nil }, nil
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(enough)), 0); err != nil {
		return nil, err
	}
	return func() error { return os.WriteFile(file, was, 0) }, nil
}

// progress says every ten seconds what takes its time, until it is stopped.
func progress(what string, begin time.Time) (stop func()) {
	ended, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case now := <-tick.C:
				fmt.Fprintf(os.Stderr, "%s (minutes the first time): %s\n", what, now.Sub(begin).Round(time.Second))
			}
		}
	}()
	return func() { close(ended); <-told }
}

// settle gives the new namespaces what they need: /proc of their own processes, a
// /run in which nothing else is found, and a loopback interface.
func settle() error {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/lib/cni", "/var/log/pods", "/var/log/containers"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := useHosts(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("rolecall-e2e")); err != nil {
		return err
	}
	return ip("link", "set", "lo", "up")
}

// useHosts has STS found at our stand-in under its own name. The kubelet gives pods
// on the host's network the same file.
func useHosts() error {
	const file = "/run/hosts"
	text := fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", gateway, stsHost)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("put /etc/hosts in place: %w", err)
	}
	return nil
}

// ip runs one command of iproute2.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// repository walks up from the working directory to the folder with the Dockerfile.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "Dockerfile")); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is in no checkout of rolecall")
		}
		dir = parent
	}
}
