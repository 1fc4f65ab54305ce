//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "soak: podsim runs pods on Linux only")
	os.Exit(2)
}
