package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/host"
)

func newImage(g *globals) *cobra.Command {
	image := &cobra.Command{
		Use:   "image",
		Short: "Work with the images in podsim's containerd",
		Args:  usage(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	image.AddCommand(newImageLoad(g), newImageMake(g), newImageLs(g), newImageRm(g), newImagePrune(g))
	return image
}

func newImageLoad(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "load FILE...",
		Short: "Load images from archives, as docker save and OCI tools write them",
		Args:  usage(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			store, err := host.OpenImages(cmd.Context(), g.config())
			if err != nil {
				return hostError(err)
			}
			defer store.Close() // its error is nobody's: what it was opened for is done
			for _, file := range files {
				refs, err := store.Load(cmd.Context(), file)
				if err != nil {
					return inputError(err)
				}
				for _, ref := range refs {
					fmt.Fprintf(cmd.OutOrStdout(), "loaded %s\n", ref)
				}
			}
			return nil
		},
	}
}

func newImageMake(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "make IMAGE PROGRAM",
		Short: "Make an image of one layer from a static program",
		Args:  usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := host.OpenImages(cmd.Context(), g.config())
			if err != nil {
				return hostError(err)
			}
			defer store.Close() // its error is nobody's: what it was opened for is done
			ref, err := store.Make(cmd.Context(), args[0], args[1])
			if err != nil {
				return inputError(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "made %s\n", ref)
			return nil
		},
	}
}

func newImageLs(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the images",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := host.OpenImages(cmd.Context(), g.config())
			if err != nil {
				return hostError(err)
			}
			defer store.Close() // its error is nobody's: what it was opened for is done
			images, err := store.List(cmd.Context())
			if err != nil {
				return hostError(err)
			}
			out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(out, "IMAGE\tID\tSIZE\tAGE")
			for _, i := range images {
				fmt.Fprintf(out, "%s\t%.19s\t%.1f MB\t%s\n", i.Ref, i.ID, float64(i.Size)/1e6, time.Since(i.Created).Round(time.Second))
			}
			return out.Flush()
		},
	}
}

func newImageRm(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove images, and what only they need on the disk",
		Args:  usage(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			store, err := host.OpenImages(cmd.Context(), g.config())
			if err != nil {
				return hostError(err)
			}
			defer store.Close() // its error is nobody's: what it was opened for is done
			removed, err := store.Remove(cmd.Context(), names...)
			for _, ref := range removed {
				fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", ref)
			}
			if err != nil {
				return inputError(err)
			}
			return nil
		},
	}
}

func newImagePrune(g *globals) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove the images made here that no living run needs",
		Long: `Remove the images that were made here (podsim.local/...) and that no living run needs; with --all also those that were
pulled or loaded. What only they need on the disk goes with them.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := host.OpenImages(cmd.Context(), g.config())
			if err != nil {
				return hostError(err)
			}
			defer store.Close() // its error is nobody's: what it was opened for is done
			removed, err := store.Prune(cmd.Context(), all)
			if err != nil {
				return hostError(err)
			}
			for _, ref := range removed {
				fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", ref)
			}
			if len(removed) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing to remove")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every image that no living run needs")
	return cmd
}
