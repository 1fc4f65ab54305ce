package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/podsim/podsim/podsim/pod"
	"github.com/podsim/podsim/podsim/timeline"
	"github.com/podsim/podsim/scenarios"
	"github.com/podsim/podsim/scenarios/report"
)

func newCheck() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "check SCENARIO.yaml TIMELINE.jsonl",
		Short: "Judge a stored run again; no root, no containerd",
		Args:  usage(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return check(cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], args[1], name)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "of several scenarios in the file, the one of this name")
	return cmd
}

func check(out, errOut io.Writer, scenarioFile, timelineFile, name string) error {
	s, err := oneScenario(errOut, scenarioFile, name)
	if err != nil {
		return err
	}
	f, err := os.Open(timelineFile)
	if err != nil {
		return &exit{exitUsage, err}
	}
	defer f.Close()
	h, v, torn, err := timeline.Read(f)
	if err != nil {
		return &exit{exitUsage, fmt.Errorf("%s: %w", timelineFile, err)}
	}
	if torn {
		fmt.Fprintf(errOut, "podsim: %s: the last record is torn, as a run leaves it that was killed; judging what is whole\n", timelineFile)
	}
	var style report.Style
	_, style.Color = terminal(out)
	result := scenarios.Judge(s, h, v)
	switch end := lastRecord(v); {
	case end.Note != pod.NoteEnded:
		result.CutOff()
	case end.Detail != "":
		result.Broke(errors.New(end.Detail))
	}
	results := []scenarios.Result{result}
	return conclude(results, errors.Join(report.Verdict(out, style, result), report.Summary(out, style, results)))
}

func lastRecord(v timeline.View) timeline.Record {
	if v.Len() == 0 {
		return timeline.Record{}
	}
	return v.At(v.Len())
}

// oneScenario loads the scenario that is meant.
func oneScenario(errOut io.Writer, file, name string) (*scenarios.Scenario, error) {
	all, found := scenarios.Load(file)
	if err := amiss(errOut, found); err != nil {
		return nil, err
	}
	var fit []*scenarios.Scenario
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
		if name == "" || s.Name == name {
			fit = append(fit, s)
		}
	}
	if len(fit) != 1 {
		return nil, &exit{exitUsage, fmt.Errorf("%s has %d scenarios that fit; choose one with --name, of %v", file, len(fit), names)}
	}
	return fit[0], nil
}
