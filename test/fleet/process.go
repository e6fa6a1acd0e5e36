package fleet

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// A process is one run of an agent.
type process struct {
	os   *os.Process
	done chan struct{} // closed when it has ended
	err  error         // how it ended; valid after done
}

// start runs a program with the given environment alone. Both its outputs are
// appended to the file at log.
func start(path string, args, env []string, log string) (*process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = filepath.Dir(log), env
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = childAttributes()

	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel's "parent" of childAttributes is the thread that started the
		// child: it has to live as long. https://go.dev/issue/27505
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer output.Close()
		err := cmd.Start()
		p.os = cmd.Process
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	return p, nil
}

// signal fails where the process has ended.
func (p *process) signal(s syscall.Signal) error {
	if err := p.os.Signal(s); err != nil {
		return fmt.Errorf("send %v to process %d: %w", s, p.os.Pid, err)
	}
	return nil
}

// kill ends the process at once and waits until it has gone.
func (p *process) kill() {
	_ = p.os.Kill() // fails only where it has ended already
	<-p.done
}

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
