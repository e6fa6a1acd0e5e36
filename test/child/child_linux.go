package child

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// attributes lets the kernel kill a child when its parent has ended, and
// keeps it out of the terminal's Ctrl-C, which is the parent's to answer.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// paused reports whether all threads of a process are stopped (proc_pid_stat(5):
// the state is what follows the name in parentheses).
func paused(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue // it has ended
		}
		i := bytes.LastIndexByte(stat, ')')
		if err != nil || i < 0 || !bytes.HasPrefix(stat[i+1:], []byte(" T")) {
			return false
		}
	}
	return true
}
