//go:build linux

package netns

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/nftables/expr"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needRoot skips a test that changes the machine where it can't; where the real host is demanded it fails.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("PODSIM_REQUIRE_HOST") == "1" {
		t.Fatal("PODSIM_REQUIRE_HOST=1, but the tests do not run as root")
	}
	t.Skip("needs root")
}

// newNetns pins a fresh network namespace for the time of the test.
func newNetns(t testing.TB) string {
	t.Helper()
	needRoot(t)
	p := Pins{Net: filepath.Join(t.TempDir(), "net")}
	if err := p.Create(PinOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	})
	return p.Net
}

// inside runs f in the namespace and reports its error as the test's.
func inside(t testing.TB, path string, f func() error) {
	t.Helper()
	if err := Do(path, f); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until something is so, and fails the test if it is not within ten seconds.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Errorf("after ten seconds it is still not so: %s", what)
			return
		}
	}
}

// closeFD and jump keep the tests short.
func closeFD(fd int) { unix.Close(fd) }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}
