//go:build !linux

package main

// reexec is for the helpers that there are on Linux only.
func reexec([]string) (code int, helped bool) { return 0, false }
