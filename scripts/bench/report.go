package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A Report is everything that was measured.
type Report struct {
	Sizes []Size `json:"sizes"`
}

// A Size is what was measured for one size of pod.
type Size struct {
	Sidecars int `json:"sidecars"`
	Rounds   int `json:"rounds"`

	Floor  *Times `json:"floor"`
	Podsim *Times `json:"podsim,omitempty"`
	Podman *Times `json:"podman,omitempty"`
	// First is podsim's one cold start, which boots containerd; those of Podsim are warm: containerd lingers.
	First Milliseconds `json:"firstStart,omitempty"`
	// NoPodman is why podman was not measured.
	NoPodman string `json:"noPodman,omitempty"`
	// Memory is that of podsim's processes while the pod runs, by program.
	Memory []Memory `json:"memory,omitempty"`
}

// Times are the medians of one tool.
type Times struct {
	Start Milliseconds `json:"start"`
	Stop  Milliseconds `json:"stop"`
}

// A Memory is what the processes of one program take. PSS shares common pages out among their users, so it adds up.
type Memory struct {
	Program   string `json:"program"`
	Processes int    `json:"processes"`
	RSSKiB    int    `json:"rssKiB"`
	PSSKiB    int    `json:"pssKiB"`
}

// Milliseconds is a duration for people and for JSON.
type Milliseconds float64

func milliseconds(d time.Duration) Milliseconds {
	return Milliseconds(d.Round(100*time.Microsecond).Seconds() * 1000)
}

func (m Milliseconds) String() string { return fmt.Sprintf("%.0f ms", float64(m)) }

// median of times that must not be empty.
func median(times []time.Duration) Milliseconds {
	times = slices.Sorted(slices.Values(times))
	return milliseconds((times[(len(times)-1)/2] + times[len(times)/2]) / 2)
}

// print writes the report as a table.
func (r Report) print(w io.Writer) {
	for i, s := range r.Sizes {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "1 app + %d sidecars, medians of %d:\n\n", s.Sidecars, s.Rounds)
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, "  \tstart\tratio\tstop\tratio")
		row := func(name string, times *Times) {
			if times != nil {
				fmt.Fprintf(t, "  %s\t%v\t%.2f\t%v\t%.2f\n", name, times.Start, float64(times.Start/s.Floor.Start),
					times.Stop, float64(times.Stop/s.Floor.Stop))
			}
		}
		row("runc, the floor", s.Floor)
		if s.Podsim != nil {
			fmt.Fprintf(t, "  podsim run, cold (once)\t%v\t%.2f\t\t\n", s.First, float64(s.First/s.Floor.Start))
		}
		row("podsim run, warm", s.Podsim)
		switch {
		case s.Podman != nil:
			row("podman kube play", s.Podman)
		case s.Podsim != nil:
			fmt.Fprintln(t, "  podman kube play\t"+s.NoPodman+"\t\t\t")
		}
		t.Flush()
		if len(s.Memory) == 0 {
			continue
		}
		fmt.Fprintln(w)
		t = tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, "  memory of\tprocesses\tPSS\tRSS")
		for _, m := range s.Memory {
			fmt.Fprintf(t, "  %s\t%d\t%.1f MiB\t%.1f MiB\n", m.Program, m.Processes, float64(m.PSSKiB)/1024, float64(m.RSSKiB)/1024)
		}
		t.Flush()
	}
}
