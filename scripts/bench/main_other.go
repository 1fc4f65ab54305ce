//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: podsim runs pods on Linux only; try it in the machine of the Vagrantfile")
	os.Exit(2)
}
