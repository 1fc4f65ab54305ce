package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ipv6Conf is where each link has a directory of IPv6 settings, beside those of "all" and "default". Like all of
// /proc/sys/net it is that of the calling thread's network namespace.
const ipv6Conf = "/proc/sys/net/ipv6/conf"

// forwardName is the sysctl that makes the machine forward the family's packets.
func (f family) forwardName() string {
	if f == ip6 {
		return "net.ipv6.conf.all.forwarding"
	}
	return "net.ipv4.ip_forward"
}

func (f family) forwardFile() string {
	if f == ip6 {
		return filepath.Join(ipv6Conf, "all", "forwarding")
	}
	return "/proc/sys/net/ipv4/ip_forward"
}

// readForwarding reports whether the machine forwards the family's packets.
func (f family) readForwarding() (bool, error) {
	value, err := readSysctl(f.forwardFile())
	if err != nil {
		return false, fmt.Errorf("read whether the machine forwards: %w", err)
	}
	return value != "0", nil
}

func (f family) setForwarding(on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	if err := os.WriteFile(f.forwardFile(), []byte(value), 0); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("set %s to %s (run podsim as root, with /proc/sys writable): %w", f.forwardName(), value, err)
		}
		return fmt.Errorf("set %s to %s: %w", f.forwardName(), value, err)
	}
	return nil
}

// A setting is one of a link's IPv6 settings that turning forwarding on would change, or would have to: the kernel sets
// every link's forwarding with that of all, and a link that forwards takes no router's advertisement any more unless
// its accept_ra is 2; the routes that it has from one are gone at once.
type setting struct {
	link, name string
	was        string
}

// String is how the setting is written down in a rule's comment. No link's name has a space.
func (s setting) String() string { return s.link + " " + s.name + " " + s.was }

func parseSetting(text string) (s setting, ok bool) {
	words := strings.Fields(text)
	if len(words) != 3 || strings.ContainsRune(words[0]+words[1], '/') {
		return s, false
	}
	return setting{link: words[0], name: words[1], was: words[2]}, true
}

func (s setting) write(value string) error {
	err := os.WriteFile(filepath.Join(ipv6Conf, s.link, s.name), []byte(value), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // the link may be gone
		return fmt.Errorf("set %s of %s to %s: %w", s.name, s.link, value, err)
	}
	return nil
}

const (
	acceptRA      = "accept_ra"
	keepAccepting = "2" // advertisements, although forwarding
)

// disturbed lists the settings that turning the family's forwarding on disturbs, while it is off. IPv4 has none.
func (f family) disturbed() ([]setting, error) {
	if f != ip6 {
		return nil, nil
	}
	advertised, err := advertisedLinks()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(ipv6Conf)
	if err != nil {
		return nil, fmt.Errorf("list the links' IPv6 settings: %w", err)
	}
	var out []setting
	for _, e := range entries {
		link := e.Name()
		if link == "all" {
			continue
		}
		if v, err := readSysctl(filepath.Join(ipv6Conf, link, "forwarding")); err == nil && v != "0" {
			out = append(out, setting{link, "forwarding", v})
		}
		if !advertised[link] {
			continue
		}
		if v, err := readSysctl(filepath.Join(ipv6Conf, link, acceptRA)); err == nil && v == "1" {
			out = append(out, setting{link, acceptRA, v})
		}
	}
	return out, nil
}

// advertisedLinks are the links by which the machine has routes from a router's advertisements.
func advertisedLinks() (map[string]bool, error) {
	routes, err := redump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: unix.RTPROT_RA}, netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return nil, fmt.Errorf("list the machine's routes: %w", err)
	}
	links := make(map[string]bool)
	for _, r := range routes {
		links[linkName(r.LinkIndex)] = true
	}
	return links, nil
}

// startForwarding turns the family's forwarding on, with advertisements still accepted where they are now.
func (f family) startForwarding(disturbed []setting) error {
	for _, s := range disturbed {
		if s.name == acceptRA {
			if err := s.write(keepAccepting); err != nil {
				return err
			}
		}
	}
	return f.setForwarding(true)
}

// endForwarding turns the family's forwarding off and gives the disturbed settings their values back.
func (f family) endForwarding(disturbed []setting) error {
	errs := []error{f.setForwarding(false)}
	for _, s := range disturbed {
		errs = append(errs, s.write(s.was))
	}
	return errors.Join(errs...)
}

// A lack says why pods on the machine's own network have no IPv6, and what mends it. The zero lack is none.
type lack struct{ why, fix string }

func (l lack) any() bool { return l.why != "" }

// findLackOfIPv6 looks whether the machine can give pods IPv6.
func findLackOfIPv6() (lack, error) {
	for _, scope := range []string{"all", "default"} {
		value, err := readSysctl(filepath.Join(ipv6Conf, scope, "disable_ipv6"))
		switch {
		case errors.Is(err, os.ErrNotExist):
			return lack{"this kernel has no IPv6", "boot without ipv6.disable=1"}, nil
		case err != nil:
			return lack{}, fmt.Errorf("read whether the machine has IPv6: %w", err)
		case value != "0":
			return lack{"net.ipv6.conf." + scope + ".disable_ipv6 is " + value, "sysctl -w net.ipv6.conf." + scope + ".disable_ipv6=0"}, nil
		}
	}
	on, err := ip6.readForwarding()
	if err != nil {
		return lack{}, err
	}
	if writable := unix.Access(ip6.forwardFile(), unix.W_OK) == nil; !on && !writable {
		return lack{ip6.forwardName() + " is off and podsim cannot turn it on", "sysctl -w " + ip6.forwardName() + "=1"}, nil
	}
	return lack{}, nil
}

// readSysctl reads a sysctl's file.
func readSysctl(file string) (string, error) {
	data, err := os.ReadFile(file)
	return strings.TrimSpace(string(data)), err
}
