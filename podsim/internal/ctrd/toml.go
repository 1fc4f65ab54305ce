//go:build linux

package ctrd

import (
	"fmt"
	"strings"
)

// unused are the plugins that podsim has no use for. Without them containerd boots quicker, listens nowhere else
// and writes nowhere outside its directories.
var unused = []string{
	"io.containerd.grpc.v1.cri",
	"io.containerd.cri.v1.images",
	"io.containerd.cri.v1.runtime",
	"io.containerd.podsandbox.controller.v1.podsandbox",
	"io.containerd.nri.v1.nri",
	"io.containerd.image-verifier.v1.bindir",
	"io.containerd.internal.v1.opt",
	"io.containerd.internal.v1.tracing",
	"io.containerd.tracing.processor.v1.otlp",
	"io.containerd.ttrpc.v1.otelttrpc",
	"io.containerd.monitor.task.v1.cgroups",
	"io.containerd.monitor.container.v1.restart",
	"io.containerd.metrics.v1.grpc-prometheus",
	"io.containerd.metrics.v1.grpc-otel",
	"io.containerd.server.v1.metrics",
	"io.containerd.server.v1.grpc-tcp",
	"io.containerd.server.v1.debug",
	"io.containerd.http.v1.pprof",
	"io.containerd.snapshotter.v1.blockfile",
	"io.containerd.snapshotter.v1.btrfs",
	"io.containerd.snapshotter.v1.devmapper",
	"io.containerd.snapshotter.v1.erofs",
	"io.containerd.snapshotter.v1.zfs",
	"io.containerd.differ.v1.erofs",
	"io.containerd.mount-handler.v1.erofs",
	"io.containerd.transfer.v1.local",
	"io.containerd.grpc.v1.transfer",
	"io.containerd.streaming.v1.manager",
	"io.containerd.grpc.v1.streaming",
}

// daemonTOML is the private containerd's configuration, as a function of ours.
//
// The metadata store does not sync: it is a cache of images that can be loaded again, and containers do not
// outlive the machine. A containerd that finds its database held gives up after a while instead of waiting for ever
// (see daemon.awaitChild). The collector runs soon after something was deleted, not only after a hundred changes.
func daemonTOML(c Config) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Written by podsim at each start of its own containerd; changes are lost.")
	p("version = 4")
	p("root = %s", quoteTOML(c.root()))
	p("state = %s", quoteTOML(c.runState()))
	p("imports = []")
	p("disabled_plugins = [")
	for _, id := range unused {
		p("  %s,", quoteTOML(id))
	}
	p("]")
	p("[timeouts]")
	p("'io.containerd.timeout.bolt.open' = '5s'")
	p("[plugins.'io.containerd.server.v1.grpc']")
	p("address = %s", quoteTOML(c.address()))
	p("[plugins.'io.containerd.server.v1.ttrpc']")
	p("address = %s", quoteTOML(c.address()+".ttrpc"))
	p("[plugins.'io.containerd.metadata.v1.bolt']")
	p("no_sync = true")
	p("[plugins.'io.containerd.shim.v1.manager']")
	p("socket_dir = %s", quoteTOML(c.shimSockets()))
	p("[plugins.'io.containerd.gc.v1.scheduler']")
	p("deletion_threshold = 1")
	p("schedule_delay = '1s'")
	return b.String()
}

// quoteTOML writes a basic string of TOML.
func quoteTOML(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}
