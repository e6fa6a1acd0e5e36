package fleet

import "syscall"

// childAttributes lets the kernel kill a child when its parent has ended, and
// keeps it out of the terminal's Ctrl-C, which is the parent's to answer.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
