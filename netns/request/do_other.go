//go:build !linux

package request

import (
	"context"
	"errors"
	"fmt"
	"os"
)

var errLinuxOnly = errors.New("send request: only Linux can (run podsim in a Linux machine)")

// Do is an error outside Linux.
func Do(context.Context, Place, Request) (Response, error) { return Response{}, errLinuxOnly }

// Main is an error outside Linux.
func Main() int {
	fmt.Fprintln(os.Stderr, errLinuxOnly)
	return 1
}
