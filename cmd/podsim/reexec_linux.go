package main

import (
	"github.com/podsim/podsim/netns/request"
	"github.com/podsim/podsim/podsim/host"
	"github.com/podsim/podsim/podsim/supervisor"
)

// reexec does the work of one of podsim's own helpers and tells its exit code, if that is what this process was started
// for. It is asked before anything else, so that a helper is small and quick.
func reexec(args []string) (code int, helped bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case request.Command:
		return request.Main(), true
	case supervisor.Command:
		return supervisor.Main(), true
	case host.KeeperCommand:
		return host.KeeperMain(args[1:]), true
	}
	return 0, false
}
