package child

import "syscall"

// attributes lets the kernel kill a child when its parent has ended, and
// keeps it out of the terminal's Ctrl-C, which is the parent's to answer.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
