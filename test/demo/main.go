// Command demo shows rolecall at work: a control plane of its own, three agents
// as processes of their own, an outage, and what comes of it, told as a story in
// which every step checks itself. Run it with "make demo".
//
// KEEP=1 in the environment leaves all of it running at the end, until Ctrl-C.
// The exit status is 0 if every check held.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

func main() {
	os.Exit(run(context.Background(), os.Stdout, os.Getenv("KEEP") == "1"))
}

// Exit codes.
const (
	exitHeld        = 0
	exitFailed      = 1
	exitInterrupted = 130 // as a shell says of a program that SIGINT ended
)

func run(ctx context.Context, stdout io.Writer, keep bool) int {
	// Whatever would end it lets it clear up first. A pipe that was closed tells
	// so at every write; of the others a second one kills.
	ctx, unpipe := signal.NotifyContext(ctx, syscall.SIGPIPE)
	defer unpipe()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer context.AfterFunc(ctx, stop)()
	defer stop()

	out := newScreen(stdout)
	dir, err := os.MkdirTemp("", "rolecall-demo-")
	if err != nil {
		fmt.Fprintln(stdout, err)
		return exitFailed
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	s := &story{screen: out, dir: dir}
	defer s.end()

	out.print(introduction)
	if s.binary, err = build(ctx, out, dir); err == nil {
		err = s.tell(ctx)
	}
	switch {
	case ctx.Err() != nil:
		out.print("\ninterrupted\n")
		return exitInterrupted
	case err != nil:
		out.failed(err)
		s.logs()
		out.summary(s.checks, len(s.chapters()))
		return exitFailed
	}
	out.summary(s.checks, len(s.chapters()))
	if keep {
		s.keep(ctx)
	}
	return exitHeld
}

const introduction = `rolecall keeps kube-system/aws-auth right. Here it runs for real: etcd, a
kube-apiserver with RBAC, and one agent process for each of three nodes. Only AWS
is a stand-in: an IMDSv2 for each node, and IAM.

Leases are shorter than in a cluster, so that a crash is over sooner:
4s / 3s / 500ms instead of 15s / 10s / 2s. IAM is asked every 10s.
`

// build compiles rolecall and says so while it takes its time.
func build(ctx context.Context, out *screen, dir string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told := make(chan struct{})
	go func() {
		defer close(told)
		out.progress(ctx, "building rolecall")
	}()
	begin := time.Now()
	binary, err := fleet.Build(ctx, dir)
	cancel()
	<-told
	if err == nil {
		out.print(fmt.Sprintf("built rolecall in %s\n", seconds(time.Since(begin))))
	}
	return binary, err
}

// end leaves nothing behind but the folder.
func (s *story) end() {
	if s.fleet != nil {
		if err := s.fleet.Close(); err != nil {
			s.print(fmt.Sprintf("end the agents: %v\n", err))
		}
	}
	if s.stage != nil {
		if err := s.stage.Stop(); err != nil {
			s.print(fmt.Sprintf("end the control plane: %v\n", err))
		}
	}
}

// logs prints the end of every agent's log.
func (s *story) logs() {
	if s.fleet == nil {
		return
	}
	for _, n := range s.fleet.Nodes() {
		s.print(fmt.Sprintf("\nthe end of the log of %s:\n%s", n.Name, indent(n.Tail(12))))
	}
}

// keep leaves all running until ctx ends, and says how to look at it.
func (s *story) keep(ctx context.Context) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nAll of it runs until Ctrl-C:\n\n  export KUBECONFIG=%s\n  %s -n kube-system get configmap aws-auth -o yaml\n\n", s.fleet.Kubeconfig(), kubectl())
	for _, n := range s.fleet.Nodes() {
		address, err := n.Address(ctx)
		if err != nil {
			fmt.Fprintf(&b, "  %v\n", err)
			continue
		}
		fmt.Fprintf(&b, "  %s  http://%s/metrics\n%*sconfig %s\n%*slog    %s\n", n.Name, address,
			len(n.Name)+4, "", filepath.Join(n.Mount.Dir(), "config.yaml"), len(n.Name)+4, "", n.LogPath())
	}
	s.print(b.String())
	<-ctx.Done()
	s.print(fmt.Sprintf("\nended; the files stay in %s\n", s.dir))
}

// kubectl is the one on the PATH, else the one that is built with the control
// plane.
func kubectl() string {
	if _, err := exec.LookPath("kubectl"); err == nil {
		return "kubectl"
	}
	assets, err := stage.Assets()
	if err != nil {
		return "kubectl"
	}
	return filepath.Join(assets, "kubectl")
}
