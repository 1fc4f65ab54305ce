package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/host"
)

func newPs(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "ps",
		Short: "List the runs: those that live, and what dead ones left behind",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := host.Preflight(g.config()); err != nil {
				return hostError(err)
			}
			runs, err := host.List(cmd.Context(), g.config())
			out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(out, "RUN\tSTATE\tAGE\tPODS\tHAS")
			for _, r := range runs {
				state, age := "dead", "?"
				if r.Alive {
					state = "alive"
				}
				if !r.Created.IsZero() {
					age = time.Since(r.Created).Round(time.Second).String()
				}
				fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d pieces\n", r.ID, state, age, strings.Join(r.Pods, " "), len(r.Pieces))
			}
			if err := out.Flush(); err != nil {
				return err
			}
			return hostError(err)
		},
	}
}
