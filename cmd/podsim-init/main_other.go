//go:build !linux

package main

import "os"

func main() {
	println("podsim-init: PID namespaces are Linux's")
	os.Exit(2)
}
