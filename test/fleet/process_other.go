//go:build !linux

package fleet

import "syscall"

// childAttributes leaves a child in its parent's process group, so that the
// terminal's Ctrl-C ends both. A child of a parent that was killed lives on.
func childAttributes() *syscall.SysProcAttr { return nil }
