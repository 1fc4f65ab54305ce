//go:build !linux

package request

import (
	"context"
	"fmt"
	"os"

	"github.com/podsim/podsim/netns"
)

var errLinuxOnly = fmt.Errorf("send request: %w", netns.ErrNotLinux)

// Do is an error outside Linux.
func Do(context.Context, Place, Request) (Response, error) { return Response{}, errLinuxOnly }

// Main is an error outside Linux.
func Main() int {
	fmt.Fprintln(os.Stderr, errLinuxOnly)
	return 1
}
