//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "leaks: podsim runs pods on Linux only, so there is nothing to look for here")
	os.Exit(2)
}
