package flows

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/podsim/podsim/netns"
)

// settle bounds how long a Snapshot waits for the events that the counters announce.
const settle = 2 * time.Second

// A Recorder keeps the ledger of one network namespace. Its methods may be called at once.
type Recorder struct {
	config Config
	stream *stream
	tagger *tagger

	mu     sync.Mutex
	names  []string // the tracked containers, by label index
	table  table
	losses losses
	closed bool
}

// Load starts a ledger in a namespace: it joins conntrack's events, lists what conntrack knows already, and writes
// the tagger's table in one transaction. Call it with or right after the mesh's rules, and Track every container
// before its first process runs. A second ledger in a namespace is an error.
//
// The caller closes the recorder. The rules stay in the namespace and go with it.
func Load(c Config) (*Recorder, error) {
	r, err := load(c)
	if err != nil {
		return nil, fmt.Errorf("load flow ledger in %s: %w", c.Netns, err)
	}
	return r, nil
}

func load(c Config) (*Recorder, error) {
	if err := c.Policy.validate(); err != nil {
		return nil, err
	}
	if err := exactTimes(c.Netns); err != nil {
		return nil, err
	}
	stream, err := newStream(c.Netns)
	if err != nil {
		return nil, fmt.Errorf("join conntrack events: %w", err)
	}
	r := &Recorder{config: c, stream: stream}
	before, err := existing(c.Netns)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("list conntrack entries: %w", err), stream.close())
	}
	for _, m := range before {
		r.table.existing(m)
	}
	if r.tagger, err = newTagger(c.Netns, c.Policy); err != nil {
		return nil, errors.Join(err, stream.close())
	}
	return r, nil
}

// exactTimes asks the kernel to stamp conntrack's events. Kernels before 6.14, and a read-only /proc/sys, do
// without: then the time of reading stands in.
func exactTimes(path string) error {
	return netns.Do(path, func() error {
		err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_timestamp", []byte("1"), 0)
		if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
			return nil
		}
		return fmt.Errorf("switch on conntrack's time stamps: %w", err)
	})
}

// Track says that the sockets made in a cgroup are the named container's. dir is a directory of the cgroup v2
// hierarchy (see CgroupMount) and must exist; sockets made before the call belong to nobody. A container's next
// instance has a new cgroup: call it again with the same name. There may be 58 names.
func (r *Recorder) Track(name, dir string) error {
	if err := r.track(name, dir); err != nil {
		return fmt.Errorf("track container %s in flow ledger: %w", name, err)
	}
	return nil
}

func (r *Recorder) track(name, dir string) error {
	if name == "" || name == World {
		return fmt.Errorf("%q cannot name a container", name)
	}
	g, err := openCgroup(dir)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	index, first := len(r.names), true
	for i, known := range r.names {
		if known == name {
			index, first = i, false
		}
	}
	if index == maxContainers {
		return fmt.Errorf("the ledger has room for %d containers", maxContainers)
	}
	if err := r.tagger.track(index, first, g); err != nil {
		return err
	}
	if first {
		r.names = append(r.names, name)
	}
	return nil
}

// Snapshot returns the ledger so far. It waits, at most two seconds, until what was read agrees with the kernel's
// counters; a ledger that does not agree is returned with Complete false and is no error. It is an error
// after Close, and once the namespace is unpinned: take the last one before the pod's network is taken down.
func (r *Recorder) Snapshot(ctx context.Context) (Ledger, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return Ledger{}, errors.New("read flow ledger: it is closed")
	}
	ledger, err := r.snapshot(ctx)
	if err != nil {
		return Ledger{}, fmt.Errorf("read flow ledger of %s: %w", r.config.Netns, err)
	}
	return ledger, nil
}

func (r *Recorder) snapshot(ctx context.Context) (Ledger, error) {
	addresses, err := addressesIn(r.config.Netns)
	if err != nil {
		return Ledger{}, err
	}
	why, before, err := r.agree(ctx)
	if err != nil {
		return Ledger{}, err
	}
	j := judge{policy: r.config.Policy, containers: r.names, addresses: addresses, name: r.config.Name, now: time.Now()}
	return Ledger{
		Flows:    j.flows(r.table.entries),
		Complete: why == "",
		Why:      why,
		Blocked:  r.blocked(before),
	}, nil
}

// agree reads events until they match the counters, or the time is up; then it says why they do not. It returns
// the counters of which every event has been read.
func (r *Recorder) agree(ctx context.Context) (why string, before counts, err error) {
	deadline := time.NewTimer(settle)
	defer deadline.Stop()
	if before, err = r.tagger.counters(); err != nil {
		return "", nil, err
	}
	for {
		if err := r.drain(); err != nil {
			return "", nil, err
		}
		openings, takers := r.table.lacks(before)
		if openings <= r.losses.openings && takers <= r.losses.takers {
			after, err := r.tagger.counters()
			if err != nil {
				return "", nil, err
			}
			return r.table.doubts(r.losses, before, after), before, nil
		}
		if r.losses.overruns > 0 {
			return r.table.doubts(r.losses, before, before), before, nil
		}
		select {
		case <-r.stream.grew:
		case <-r.stream.done:
			return r.table.doubts(r.losses, before, before), before, nil
		case <-deadline.C:
			r.losses.openings, r.losses.takers = openings, takers
			return r.table.doubts(r.losses, before, before), before, nil
		case <-ctx.Done():
			return "", nil, context.Cause(ctx)
		}
	}
}

// drain folds what has been read.
func (r *Recorder) drain() error {
	raws, overruns, err := r.stream.take()
	r.losses.overruns = overruns
	for _, raw := range raws {
		m, err := parse(raw.data, raw.at)
		if err != nil {
			r.losses.faults = append(r.losses.faults, err.Error())
			continue
		}
		r.table.apply(m)
	}
	return err
}

// blocked compares what openers sent with what became an entry.
func (r *Recorder) blocked(sent counts) map[string]uint64 {
	became := make(counts)
	for _, e := range r.table.entries {
		switch i := e.labels.container(byOpener); {
		case e.before || !e.labels.local(byOpener):
		case i >= 0:
			became[counterOpened+strconv.Itoa(i)]++
		default:
			became[counterOther]++
		}
	}
	out := make(map[string]uint64)
	for i, name := range append([]string{""}, r.names...) {
		counter := counterOther
		if i > 0 {
			counter = counterOpened + strconv.Itoa(i-1)
		}
		if sent[counter] > became[counter] {
			out[name] = sent[counter] - became[counter]
		}
	}
	return out
}

// Close ends the reading. The rules stay. It is idempotent.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	if err := errors.Join(r.tagger.close(), r.stream.close()); err != nil {
		return fmt.Errorf("close flow ledger of %s: %w", r.config.Netns, err)
	}
	return nil
}

// addressesIn lists the addresses in the namespace at path.
func addressesIn(path string) ([]netip.Addr, error) {
	var out []netip.Addr
	err := netns.Do(path, func() error {
		addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		for _, a := range addrs {
			if addr, ok := netip.AddrFromSlice(a.IP); ok {
				out = append(out, addr.Unmap())
			}
		}
		return nil
	})
	return out, err
}
