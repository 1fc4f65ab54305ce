package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/host"
)

func newDoctor(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine has and lacks, each finding with the command that mends it",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			broken := 0
			for _, f := range host.Doctor(g.config()) {
				fmt.Fprintf(out, "%s\t%s\t%s\n", f.Level, f.Name, f.Detail)
				switch {
				case f.Level != host.OK && f.Fix != "":
					fmt.Fprintf(out, "\t\tmend it with: %s\n", f.Fix)
				case f.Level != host.OK:
					fmt.Fprintln(out, "\t\tno command mends it")
				}
				if f.Level == host.Broken {
					broken++
				}
			}
			if err := out.Flush(); err != nil {
				return err
			}
			if broken > 0 {
				return &exit{exitHost, fmt.Errorf("podsim cannot run here: %d of the findings above are broken", broken)}
			}
			return nil
		},
	}
}
