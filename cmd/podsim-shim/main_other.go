//go:build !linux

package main

import "os"

func main() {
	println("podsim-shim: podsim runs pods on Linux only")
	os.Exit(2)
}
