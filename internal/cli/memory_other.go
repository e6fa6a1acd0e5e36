//go:build !linux

package cli

// unmapFile does nothing: agents run on Linux.
func unmapFile() error { return nil }
