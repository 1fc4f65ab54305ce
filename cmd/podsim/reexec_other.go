//go:build !linux

package main

// reexec is for the helpers that there are on Linux only.
func reexec() bool { return false }
