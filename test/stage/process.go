package stage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rolecall/rolecall/test/child"
)

// grace is how long a program may take to end by itself before it is killed.
const grace = 10 * time.Second

// A process is one program that runs until stop is called. Its methods may be
// called from several goroutines.
type process struct {
	*child.Process
	name string
	log  string // path of the file with what it says
}

// start runs the program at path with nothing of our environment, since etcd
// takes every ETCD_* variable for a flag. Its output is appended to NAME.log in
// dir, which is also its working directory.
func start(path, dir string, args ...string) (*process, error) {
	name := filepath.Base(path)
	p := &process{name: name, log: filepath.Join(dir, name+".log")}
	var err error
	p.Process, err = child.Start(path, dir, args, nil, p.log)
	return p, err
}

// stop asks the process to end, kills it if it doesn't within [grace], and
// returns when it has gone. The error says that it was gone already, and why.
func (p *process) stop() error {
	if p.Ended() {
		return p.crashed()
	}
	// A stopped process gets no SIGTERM before it goes on. Both fail only if the
	// process has just ended, which done tells.
	_ = p.Signal(syscall.SIGTERM)
	_ = p.Signal(syscall.SIGCONT)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.Done():
	case <-timer.C:
		p.Kill()
	}
	return nil
}

// crashed describes a process that ended by itself.
func (p *process) crashed() error {
	how := "exit status 0"
	if err := p.Err(); err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%s ended by itself: %s\n%s", p.name, how, p.tail())
}

// tail is the end of the log, for error messages.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const lines, width = 12, 4096
	text = bytes.TrimSpace(text[max(0, len(text)-width):])
	parts := bytes.Split(text, []byte("\n"))
	return fmt.Sprintf("the end of its log:\n%s", bytes.Join(parts[max(0, len(parts)-lines):], []byte("\n")))
}

// until calls check every 50 ms until it returns nil. It fails when ctx ends or
// the process does.
func (p *process) until(ctx context.Context, check func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // what was wrong, not that the last try was cut off
			last = err
		}
		select {
		case <-p.Done():
			return p.crashed()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w\n%s", p.name, context.Cause(ctx), last, p.tail())
		case <-tick.C:
		}
	}
}
