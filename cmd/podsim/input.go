package main

import (
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
)

// readPod reads the pod that is meant, and what is in its file beside it. What is amiss in the file is said on errOut;
// the error, if there is one, has only the exit code.
func readPod(errOut io.Writer, file string, sel manifest.Select, o manifest.Options) (*manifest.Manifest, *corev1.Pod, error) {
	m, found := manifest.Load(file)
	unread := len(found.Errors()) > 0
	p, more := m.Pod(sel, o)
	for _, d := range more {
		// What could not be read may be just what seems to be missing.
		if !unread || d.Line > 0 {
			found = append(found, d)
		}
	}
	return m, p, amiss(errOut, found)
}

// amiss says what is amiss in what the user wrote, each finding with its source, as compilers do. The error is nil if
// that is warnings only; it has only the exit code.
func amiss(errOut io.Writer, found diag.List) error {
	_, _ = fmt.Fprint(errOut, found.Detail())
	if found.Err() != nil {
		return &exit{exitUsage, nil}
	}
	return nil
}
