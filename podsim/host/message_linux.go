package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/internal/rundir"
)

// The kubelet's bounds on a termination message (MS-01, MS-02).
const (
	maxMessage      = 4096 // bytes of the file
	maxFallback     = 2048 // bytes of the log
	maxFallbackRows = 80
)

func (p *podHost) terminationLog(c *corev1.Container, instance int) string {
	return filepath.Join(p.host.cfg.Site.files(p.id), fmt.Sprintf("message-%s-%d", c.Name, instance))
}

// makeTerminationLog makes the file of an instance's termination message, which anybody in the container may write
// to (MS-01); none for a container without a path.
func (p *podHost) makeTerminationLog(c *corev1.Container, instance int) (string, error) {
	if c.TerminationMessagePath == "" {
		return "", nil
	}
	path := p.terminationLog(c, instance)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err == nil {
		err = errors.Join(f.Chmod(0o666), f.Close())
	}
	if err != nil {
		return "", fmt.Errorf("make the termination log of container %s: %w", c.Name, err)
	}
	return path, nil
}

// terminationMessage reads what an instance left to be said of its end: its file, or, by its policy, the end of its log
// if it ended badly and said nothing.
func (c *container) terminationMessage(code int) (string, error) {
	if c.spec().TerminationMessagePath == "" {
		return "", nil
	}
	instance := c.newest()
	f, err := os.Open(c.pod.terminationLog(c.spec(), instance))
	if err != nil {
		return "", fmt.Errorf("read the termination log of container %s: %w", c.spec().Name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMessage))
	if err != nil {
		return "", fmt.Errorf("read the termination log of container %s: %w", c.spec().Name, err)
	}
	if len(text) > 0 || code == 0 || c.spec().TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		return string(text), nil
	}
	lines, err := rundir.ReadLog(c.logPath(instance), maxFallbackRows)
	if err != nil {
		return "", fmt.Errorf("read the log of container %s: %w", c.spec().Name, err)
	}
	end := textOf(lines)
	return end[max(0, len(end)-maxFallback):], nil
}

// textOf is what a container printed, as it did: a line in pieces is whole, and the last one may have no newline.
func textOf(lines []rundir.Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text)
		if !l.Partial {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func (c *container) logPath(instance int) string {
	return c.pod.host.dir.LogPath(c.pod.spec().Name, c.spec().Name, instance)
}
