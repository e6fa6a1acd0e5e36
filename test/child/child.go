// Package child runs programs that end with the one that started them: on Linux
// the kernel sees to it, however that one ends; elsewhere a parent that is killed
// leaves them behind.
package child

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// A Process is one run of a program. Its methods may be called from several
// goroutines.
type Process struct {
	Pid int

	os   *os.Process
	done chan struct{}
	err  error // how it ended; valid after done
}

// Start runs a program in a folder with the given environment alone; nil is an
// empty one. Both its outputs are appended to the file at log.
func Start(path, dir string, args, env []string, log string) (*Process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = dir, append([]string{}, env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = attributes()

	p := &Process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel's "parent" of attributes is the thread that started the child:
		// it has to live as long. https://go.dev/issue/27505
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer output.Close()
		err := cmd.Start()
		if err == nil {
			p.os, p.Pid = cmd.Process, cmd.Process.Pid
		}
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

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Err is how the process ended: nil for exit status 0. It waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Signal fails where the process has ended.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.os.Signal(s); err != nil {
		return fmt.Errorf("send %v to process %d: %w", s, p.Pid, err)
	}
	return nil
}

// Pause stops the process in its tracks, and returns when it does nothing more:
// a signal is sent before it is delivered, and to one thread after the other.
// Elsewhere than on Linux it returns when it is sent.
func (p *Process) Pause() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	again, late := time.NewTicker(time.Millisecond), time.NewTimer(10*time.Second)
	defer again.Stop()
	defer late.Stop()
	for !paused(p.Pid) {
		select {
		case <-again.C:
		case <-p.done:
			return fmt.Errorf("process %d has ended", p.Pid)
		case <-late.C:
			return fmt.Errorf("process %d does not stop", p.Pid)
		}
	}
	return nil
}

// Kill ends the process at once and waits until it has gone.
func (p *Process) Kill() {
	_ = p.os.Kill() // fails only where it has ended already
	<-p.done
}
