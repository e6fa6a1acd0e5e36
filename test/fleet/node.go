package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/child"
)

// A Node is a node of a [Fleet] with its agent.
type Node struct {
	Name  string
	IMDS  *awsfake.IMDS
	Mount *Mount // of the ConfigMap

	ReportOnly bool // its agent never leads

	fleet      *Fleet
	dir        string
	kubeconfig string

	mu      sync.Mutex
	env     []string // see Setenv
	binary  string   // see SetBinary
	runs    int
	process *child.Process // the present run or the last one; nil before the first
}

// Start starts the agent, with flags after the fleet's own. A node whose agent
// has ended may be started again, as the kubelet would; the log begins anew.
func (n *Node) Start(flags ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil && !n.process.Ended() {
		return fmt.Errorf("%s is running", n.Name)
	}
	args := slices.Concat([]string{
		"agent", "--config=" + n.Mount.Dir(), "--kubeconfig=" + n.kubeconfig,
		"--aws-auth-namespace=" + n.fleet.AWSAuthNamespace, "--http-address=127.0.0.1:0",
	}, n.fleet.options.Flags, flags)
	if n.ReportOnly {
		args = append(args, "--report-only")
	}
	env := slices.Concat(
		[]string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir, "NODE_NAME=" + n.Name, "POD_NAMESPACE=" + n.fleet.Namespace},
		n.fleet.AWS.Env(), n.IMDS.Env(), n.env,
	)
	n.runs++
	p, err := child.Start(cmp.Or(n.binary, n.fleet.options.Binary), n.dir, args, env, n.logPath())
	if err == nil {
		n.process = p
	}
	return err
}

// SetToken exchanges the token of the agent's ServiceAccount, as the kubelet does
// before it expires.
func (n *Node) SetToken(token string) error {
	path := filepath.Join(n.dir, "token")
	if err := os.WriteFile(path+"_tmp", []byte(token), 0o600); err != nil {
		return err
	}
	return os.Rename(path+"_tmp", path)
}

// Setenv gives the agent's next run variables, as NAME=value, in place of or
// besides those that every agent has.
func (n *Node) Setenv(variables ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.env = variables
}

// SetBinary gives the agent's next run another binary than [Options.Binary], such as
// that of another version.
func (n *Node) SetBinary(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.binary = path
}

// LogPath is the file with what the agent has said in its present or last run.
func (n *Node) LogPath() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.logPath()
}

func (n *Node) logPath() string { return n.logOf(n.runs) }

func (n *Node) logOf(run int) string { return filepath.Join(n.dir, fmt.Sprintf("agent.%d.log", run)) }

// logPaths are the files of all runs, the first one's first.
func (n *Node) logPaths() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var paths []string
	for run := 1; run <= n.runs; run++ {
		paths = append(paths, n.logOf(run))
	}
	return paths
}

// Running reports whether the agent's process lives.
func (n *Node) Running() bool {
	p := n.current()
	return p != nil && !p.Ended()
}

func (n *Node) current() *child.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// PID is the id of the agent's present or last process, 0 before the first.
func (n *Node) PID() int {
	if p := n.current(); p != nil {
		return p.Pid
	}
	return 0
}

// Kill ends the agent with SIGKILL, paused or not, and waits until it has gone.
// It does nothing where none runs.
func (n *Node) Kill() {
	if p := n.current(); p != nil {
		p.Kill()
	}
}

// Terminate asks the agent to end with SIGTERM, as the kubelet does, and waits
// for it until ctx ends. The error says if it did not end with exit status 0.
func (n *Node) Terminate(ctx context.Context) error {
	p := n.current()
	if p == nil {
		return fmt.Errorf("%s was never started", n.Name)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.Done():
		return p.Err()
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", n.Name, context.Cause(ctx))
	}
}

// Pause stops the agent's process in its tracks: it neither works nor renews,
// and does not know it.
func (n *Node) Pause() error {
	return n.started(func(p *child.Process) error { return p.Pause() })
}

// Resume ends a [Node.Pause].
func (n *Node) Resume() error {
	return n.started(func(p *child.Process) error { return p.Signal(syscall.SIGCONT) })
}

// started does something with the agent's process.
func (n *Node) started(do func(*child.Process) error) error {
	p := n.current()
	if p == nil {
		return fmt.Errorf("%s was never started", n.Name)
	}
	return do(p)
}

// errEnded says that the agent's process has gone.
var errEnded = errors.New("the agent has ended")

// Address waits until the agent serves its metrics and health, and returns
// where: host:port.
func (n *Node) Address(ctx context.Context) (string, error) {
	return n.served(ctx, "serving metrics and health")
}

// PageAddress is Address of the page for people, which the agent serves with
// --status-page.
func (n *Node) PageAddress(ctx context.Context) (string, error) {
	return n.served(ctx, "serving the status page")
}

// served waits until the agent says that it serves something, and returns where.
func (n *Node) served(ctx context.Context, message string) (string, error) {
	p := n.current()
	if p == nil {
		return "", fmt.Errorf("%s was never started", n.Name)
	}
	var address string
	_, err := Until(ctx, func(context.Context) error {
		if p.Ended() {
			return nil
		}
		records, err := n.Logged(message)
		if err != nil {
			return err
		}
		for _, r := range records {
			if a, ok := r.Attrs["address"].(string); ok {
				address = a
				return nil
			}
		}
		return errors.New("it serves nothing yet")
	})
	if err == nil && address == "" {
		err = errEnded
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", n.Name, err, n.Tail(5))
	}
	return address, nil
}
