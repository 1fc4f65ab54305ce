package host

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/podsim/pod"
)

// CrashVariable is for podsim's own tests: "before:7" has podsim kill itself before it performs action 7, "after:7"
// right after it has.
const CrashVariable = "PODSIM_TEST_CRASH"

const (
	before = "before"
	after  = "after"
)

// A crash is where this process is to kill itself; its zero value is nowhere.
type crash struct {
	when string
	id   int
}

func readCrash() crash {
	when, id, _ := strings.Cut(os.Getenv(CrashVariable), ":")
	n, err := strconv.Atoi(id)
	if err != nil {
		return crash{}
	}
	return crash{when: when, id: n}
}

// at kills this process, as kill -9 would, if this is the place.
func (c crash) at(a pod.Action, when string) {
	if c.id != 0 && c.id == a.ID && c.when == when {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
}
