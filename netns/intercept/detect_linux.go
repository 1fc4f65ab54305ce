package intercept

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/podsim/podsim/netns"
)

// Detect reports which redirects there are in the namespace pinned at path, whoever installed them: a pod's own init
// container, a CNI plugin, or Apply. A namespace with no rules at all has none.
func Detect(ctx context.Context, path string) (Found, error) {
	if err := ctx.Err(); err != nil {
		return Found{}, fmt.Errorf("look for interception rules: %w", err)
	}
	var found Found
	err := netns.Do(path, func() (err error) {
		if found.Redirects, err = nftRedirects(); err != nil {
			return err
		}
		found.Legacy, err = legacyTables()
		return err
	})
	if err != nil {
		return Found{}, fmt.Errorf("look for interception rules in %s: %w", path, err)
	}
	return found, nil
}

// nftRedirects lists the rules that change a packet's destination, in every table.
func nftRedirects() ([]Redirect, error) {
	conn, err := open()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, err
	}
	var out []Redirect
	for _, c := range chains {
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			if to, port, ok := changesDestination(r); ok {
				out = append(out, Redirect{Table: familyName(c.Table.Family) + " " + c.Table.Name, Chain: c.Name, Kind: to, Port: port})
			}
		}
	}
	return out, nil
}

// changesDestination reports whether a rule redirects, and to which port if it says one. iptables-nft writes its
// redirects as a target of iptables' own.
func changesDestination(r *nftables.Rule) (kind string, port uint16, ok bool) {
	var immediate []byte
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Immediate:
			immediate = e.Data
		case *expr.Redir:
			return "redirect", portOf(immediate, e.RegisterProtoMin != 0), true
		case *expr.NAT:
			if e.Type == expr.NATTypeDestNAT {
				return "dnat", portOf(immediate, e.RegProtoMin != 0), true
			}
		case *expr.TProxy:
			return "tproxy", portOf(immediate, e.RegPort != 0), true
		case *expr.Target:
			switch e.Name {
			case "REDIRECT", "DNAT", "TPROXY":
				return strings.ToLower(e.Name), 0, true
			}
		}
	}
	return "", 0, false
}

// portOf is the port in the register that was loaded last: nft loads it behind an address.
func portOf(immediate []byte, used bool) uint16 {
	if !used || len(immediate) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(immediate)
}

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyINet:
		return "inet"
	}
	return fmt.Sprintf("family %d", f)
}

// legacyTables lists the tables of iptables' old form that could redirect. Their rules cannot be read over netlink.
func legacyTables() ([]string, error) {
	var out []string
	for _, file := range []string{"ip_tables_names", "ip6_tables_names"} {
		data, err := os.ReadFile("/proc/thread-self/net/" + file)
		if errors.Is(err, os.ErrNotExist) {
			continue // the module is not loaded
		}
		if err != nil {
			return nil, err
		}
		for _, name := range strings.Fields(string(data)) {
			if name == "nat" || name == "mangle" {
				out = append(out, strings.TrimSuffix(file, "_tables_names")+" "+name)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
