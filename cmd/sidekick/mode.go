package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A mode is one thing that sidekick can be.
type mode struct {
	name    string
	args    string // what follows the flags, for the usage line
	summary string
	details string // more, for the mode's own help; may be empty
	least   int    // fewest arguments
	most    int    // most arguments; -1: any number
	// setup declares the mode's flags and returns what to do once they have been read.
	setup func(fs *flag.FlagSet) action
}

// An action does a mode's work.
type action func(ctx context.Context, p *process, args []string) error

// modes lists every mode, in the order of the help.
func modes() []*mode {
	return append([]*mode{appMode, proxyMode, shipperMode, initMode, listenMode, runMode}, tools...)
}

func lookup(name string) *mode {
	for _, m := range modes() {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (m *mode) perform(ctx context.Context, p *process, args []string) error {
	fs := flag.NewFlagSet(m.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	do := m.setup(fs)
	var err error
	if hasFlags(fs) || len(args) == 1 && (args[0] == "-h" || args[0] == "--help") {
		err = fs.Parse(args)
		args = fs.Args()
	} // else nothing is a flag: echo -n, kill -9
	switch {
	case errors.Is(err, flag.ErrHelp):
		m.help(p.out)
		return err
	case err != nil:
		fmt.Fprintf(p.err, "sidekick %s: %v; run `sidekick help %s`\n", m.name, err, m.name)
		return errUsage
	case len(args) < m.least || m.most >= 0 && len(args) > m.most:
		fmt.Fprintf(p.err, "usage: %s\n", m.usage())
		return errUsage
	}
	return do(ctx, p, args)
}

func hasFlags(fs *flag.FlagSet) bool {
	any := false
	fs.VisitAll(func(*flag.Flag) { any = true })
	return any
}

func (m *mode) usage() string {
	fs := flag.NewFlagSet(m.name, flag.ContinueOnError)
	m.setup(fs)
	usage := "sidekick " + m.name
	if hasFlags(fs) {
		usage += " [FLAGS]"
	}
	if m.args != "" {
		usage += " " + m.args
	}
	return usage
}

func (m *mode) help(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n%s.\n", m.usage(), m.summary)
	if m.details != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(m.details))
	}
	fs := flag.NewFlagSet(m.name, flag.ContinueOnError)
	m.setup(fs)
	if !hasFlags(fs) {
		return
	}
	fmt.Fprintln(w, "\nFlags:")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		name, usage := flag.UnquoteUsage(f)
		if name == "value" {
			name = strings.ToUpper(f.Name)
		}
		if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "false" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(table, "  --%s\t%s\n", strings.TrimSpace(f.Name+" "+name), usage)
	})
	table.Flush()
}

func overview(w io.Writer) {
	fmt.Fprintf(w, "sidekick MODE [FLAGS] [ARGS]\n\nThe small program that podsim's example images are made of.\n\nModes:\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range modes() {
		fmt.Fprintf(table, "  %s\t%s\n", m.name, m.summary)
	}
	table.Flush()
	fmt.Fprintf(w, "\nRun `sidekick help MODE` for a mode's flags. A link to sidekick that bears a mode's name is that mode.\n")
}

// A list is a flag that may be given several times. Its first use replaces the default.
type list struct {
	values []string
	given  bool
}

func (l *list) String() string { return strings.Join(l.values, ",") }

func (l *list) Set(v string) error {
	if !l.given {
		l.given, l.values = true, nil
	}
	l.values = append(l.values, v)
	return nil
}
