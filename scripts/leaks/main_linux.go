package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
)

func main() {
	var p places
	flag.StringVar(&p.state, "state", "/var/lib/podsim", "podsim's state directory")
	flag.StringVar(&p.run, "run", "/run/podsim", "podsim's run directory")
	flag.Parse()
	lines, err := p.all()
	for _, l := range lines {
		fmt.Println(l)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "leaks: %v\n", err)
		os.Exit(1)
	}
}

// places are the directories in which podsim keeps things.
type places struct {
	state, run string
}

// all collects every kind of line; one that cannot be read does not hide the others.
func (p places) all() ([]string, error) {
	var lines []string
	var errs []error
	for _, look := range []func() ([]string, error){p.mounts, links, rules, forwarding, cgroups, p.processes, p.files} {
		found, err := look()
		lines, errs = append(lines, found...), append(errs, err)
	}
	slices.Sort(lines)
	return lines, errors.Join(errs...)
}
