package main

import (
	"os"

	"github.com/podsim/podsim/netns/request"
	"github.com/podsim/podsim/podsim/host"
)

// reexec is true if this process is one of podsim's own helpers, which then has done its work. It is asked before
// anything else, so that a helper is small and quick.
func reexec() bool {
	if len(os.Args) < 2 {
		return false
	}
	switch os.Args[1] {
	case request.Command:
		os.Exit(request.Main())
	case host.KeeperCommand:
		os.Exit(host.KeeperMain(os.Args[2:]))
	}
	return false
}
