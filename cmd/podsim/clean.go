package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/host"
)

func newClean(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "clean [ID...]",
		Short: "Take away what dead runs left behind: all of them, or those named",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := host.Preflight(g.config()); err != nil {
				return hostError(err)
			}
			cleaned, err := host.Clean(cmd.Context(), g.config(), ids...)
			for _, id := range cleaned {
				fmt.Fprintf(cmd.OutOrStdout(), "cleaned run %s\n", id)
			}
			switch {
			case errors.Is(err, host.ErrNoRun):
				return &exit{exitUsage, err}
			case err != nil:
				return &exit{exitLeft, err}
			case len(cleaned) == 0:
				fmt.Fprintln(cmd.OutOrStdout(), "nothing to clean")
			}
			return nil
		},
	}
}
