//go:build !linux

package main

// unmapFile does nothing: agents run on Linux.
func unmapFile() error { return nil }
