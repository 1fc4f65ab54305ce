package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// memoryOf sums up the memory of every program whose command line names one of the directories: podsim itself, its
// keeper, containerd and the shims, but not the containers.
func memoryOf(dirs ...string) ([]Memory, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	by := map[string]*Memory{}
	for _, p := range processes {
		command, err := os.ReadFile(p + "/cmdline")
		if err != nil || !slices.ContainsFunc(dirs, func(d string) bool { return bytes.Contains(command, []byte(d)) }) {
			continue // another's, or gone
		}
		rss, pss, err := rollup(p)
		if err != nil {
			continue // gone meanwhile
		}
		args := strings.Split(string(command), "\x00")
		name := filepath.Base(args[0])
		if len(args) > 1 && strings.HasPrefix(args[1], "__") {
			name += " " + args[1]
		}
		if by[name] == nil {
			by[name] = &Memory{Program: name}
		}
		m := by[name]
		m.Processes++
		m.RSSKiB += rss
		m.PSSKiB += pss
	}
	var out []Memory
	for _, m := range by {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Memory) int { return strings.Compare(a.Program, b.Program) })
	return out, nil
}

// rollup reads a process's resident and proportional set sizes, in KiB.
func rollup(process string) (rss, pss int, err error) {
	text, err := os.ReadFile(process + "/smaps_rollup")
	if err != nil {
		return 0, 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		if len(field) < 2 {
			continue
		}
		switch field[0] {
		case "Rss:":
			rss, err = strconv.Atoi(field[1])
		case "Pss:":
			pss, err = strconv.Atoi(field[1])
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read %s/smaps_rollup: %w", process, err)
		}
	}
	return rss, pss, lines.Err()
}
