package intercept

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"github.com/podsim/podsim/netns"
)

// Apply writes the ruleset into the network namespace pinned at path, in one transaction: a packet sees all of it or
// none. Tables of the same name are replaced; no other is touched. It returns the ruleset as written, with a note
// where the namespace has no IPv6 and that half was left out. It takes about 4 milliseconds where
// there is nothing to replace, and some ten where there is.
func Apply(ctx context.Context, path string, s Ruleset) (Ruleset, error) {
	if err := ctx.Err(); err != nil {
		return Ruleset{}, fmt.Errorf("apply interception rules: %w", err)
	}
	err := netns.Do(path, func() error {
		if _, err := os.Stat("/proc/thread-self/net/if_inet6"); errors.Is(err, os.ErrNotExist) {
			s = s.withoutIPv6()
		}
		return s.replace(s.Tables)
	})
	if err != nil {
		return Ruleset{}, fmt.Errorf("apply interception rules in %s: %w", path, err)
	}
	return s, nil
}

// Withdraw takes the ruleset's tables out of the namespace. It is idempotent.
func Withdraw(ctx context.Context, path string, s Ruleset) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("withdraw interception rules: %w", err)
	}
	err := netns.Do(path, func() error { return s.replace(nil) })
	if err != nil {
		return fmt.Errorf("withdraw interception rules from %s: %w", path, err)
	}
	return nil
}

// replace puts tables in the place of those of the ruleset that are installed, in one transaction, in the calling
// thread's namespace.
func (s Ruleset) replace(tables []Table) error {
	conn, err := open()
	if err != nil {
		return err
	}
	there, err := s.installed(conn)
	if err != nil {
		return err
	}
	for _, t := range there {
		conn.DelTable(t)
	}
	for _, t := range tables {
		t.write(conn)
	}
	return conn.Flush()
}

// installed lists the tables in the kernel that have the names of the ruleset's.
func (s Ruleset) installed(conn *nftables.Conn) ([]*nftables.Table, error) {
	there, err := conn.ListTables()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(there, func(k *nftables.Table) bool {
		return !slices.ContainsFunc(s.Tables, func(t Table) bool { return k.Name == t.Name && k.Family == t.Family.kernel() })
	}), nil
}

// open reaches nftables from the calling thread's namespace. The kernel echoes every rule of a transaction before
// any can be read, so the buffers are made for long lists of ports and ranges.
func open() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(conn *netlink.Conn) error {
		const size = 8 << 20
		return errors.Join(conn.SetReadBuffer(size), conn.SetWriteBuffer(size))
	}))
}

// withoutIPv6 leaves the IPv6 tables out, with a note.
func (s Ruleset) withoutIPv6() Ruleset {
	kept := slices.DeleteFunc(slices.Clone(s.Tables), func(t Table) bool { return t.Family == IP6 })
	if len(kept) == len(s.Tables) {
		return s
	}
	return Ruleset{Tables: kept, Notes: append(slices.Clone(s.Notes), "this kernel has no IPv6: its half of the rules is left out")}
}

func (f Family) kernel() nftables.TableFamily {
	if f == IP6 {
		return nftables.TableFamilyIPv6
	}
	return nftables.TableFamilyIPv4
}

func (h Hook) kernel() *nftables.ChainHook {
	if h == Output {
		return nftables.ChainHookOutput
	}
	return nftables.ChainHookPrerouting
}

// write puts a table into the transaction.
func (t Table) write(conn *nftables.Conn) {
	table := &nftables.Table{Family: t.Family.kernel(), Name: t.Name}
	conn.AddTable(table)
	chains := make([]*nftables.Chain, len(t.Chains))
	for i, c := range t.Chains { // all before the first rule: rules jump
		chains[i] = &nftables.Chain{Table: table, Name: c.Name}
		if c.Hook != NoHook {
			chains[i].Type = nftables.ChainTypeNAT
			chains[i].Hooknum, chains[i].Priority = c.Hook.kernel(), nftables.ChainPriorityNATDest
		}
		conn.AddChain(chains[i])
	}
	for i, c := range t.Chains {
		for _, r := range c.Rules {
			rule := &nftables.Rule{Table: table, Chain: chains[i], Exprs: r.encode(t.Family)}
			if r.Why != "" {
				rule.UserData = userdata.AppendString(nil, userdata.TypeComment, r.Why)
			}
			conn.AddRule(rule)
		}
	}
}
