//go:build linux

package netns

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// onOwnMachine runs f on a thread with a network and mounts of its own, which ends with it.
func onOwnMachine(t *testing.T, f func() error) {
	t.Helper()
	needRoot(t)
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for good
		err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = f()
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestForwardingThatCannotBeTurnedOnIsFound(t *testing.T) {
	onOwnMachine(t, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
			return err
		}
		if f := findForwarding(); !f.OK || !strings.Contains(f.Detail, "podsim turns it on") {
			t.Errorf("where it can be turned on: got %+v", f)
		}
		// As docker mounts it.
		err := errors.Join(unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""),
			unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
		if err != nil {
			return err
		}
		if f := findForwarding(); f.OK || !strings.Contains(f.Detail, "cannot turn it on") || !strings.Contains(f.Fix, "docker run --sysctl net.ipv4.ip_forward=1") {
			t.Errorf("where /proc/sys is read-only: got %+v", f)
		}
		return nil
	})
}

func TestBridgedPacketsThatAFilterDropsAreFound(t *testing.T) {
	onOwnMachine(t, func() error {
		const call = "/proc/sys/net/bridge/bridge-nf-call-iptables"
		if _, err := os.Stat(call); errors.Is(err, os.ErrNotExist) {
			t.Log("br_netfilter is not loaded: nothing can be planted")
			if f := findBridgeFilter(false); !f.OK {
				t.Errorf("without br_netfilter: got %+v", f)
			}
			return nil
		}
		for _, c := range []struct {
			value     string
			pass, ok  bool
			said, fix string
		}{
			{"0", false, true, "do not pass", ""},
			{"1", true, true, "let them through", ""},
			{"1", false, false, "pods do not reach each other", "sysctl -w net.bridge.bridge-nf-call-iptables=0"},
		} {
			if err := os.WriteFile(call, []byte(c.value), 0); err != nil {
				return err
			}
			if f := findBridgeFilter(c.pass); f.OK != c.ok || !strings.Contains(f.Detail, c.said) || f.Fix != c.fix {
				t.Errorf("%+v: got %+v", c, f)
			}
		}
		return nil
	})
}

func TestAFilterThatDropsByDefaultIsFoundWithTheRulesThatPassIt(t *testing.T) {
	onOwnMachine(t, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		drop := nftables.ChainPolicyDrop
		for family, name := range map[nftables.TableFamily]string{nftables.TableFamilyIPv4: dockerTable, nftables.TableFamilyINet: "firewall"} {
			table := conn.AddTable(&nftables.Table{Family: family, Name: name})
			conn.AddChain(&nftables.Chain{Table: table, Name: "FORWARD", Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop})
		}
		if err := conn.Flush(); err != nil {
			return err
		}
		f := findFilters()
		for _, chain := range []string{"ip " + dockerTable + " FORWARD", "inet firewall FORWARD"} {
			for _, want := range []string{"nft insert rule " + chain + ` iifname "podsim*" accept`, "nft insert rule " + chain + ` oifname "podsim*" accept`} {
				if f.OK || !strings.Contains(f.Detail, chain) || !strings.Contains(f.Fix, want) {
					t.Errorf("got %+v\nwant it bad with %q and the fix %q", f, chain, want)
				}
			}
		}
		// Docker's own is passed by podsim, where Docker has the chain for that.
		conn.AddChain(&nftables.Chain{Table: &nftables.Table{Family: nftables.TableFamilyIPv4, Name: dockerTable}, Name: dockerChain})
		if err := conn.Flush(); err != nil {
			return err
		}
		if f := findFilters(); f.OK || strings.Contains(f.Detail+f.Fix, dockerTable+" FORWARD") || !strings.Contains(f.Fix, "inet firewall FORWARD") {
			t.Errorf("beside Docker: got %+v, want inet firewall FORWARD alone", f)
		}
		return nil
	})
}
