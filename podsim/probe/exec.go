package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest/reference"
)

// execute runs the command; exit code 0 is success, any other and a time-out are failures (PB-06). A command that
// cannot be run at all is an error, and so says nothing (PB-20).
func execute(ctx context.Context, action *corev1.ExecAction, t Target, timeout time.Duration) Outcome {
	if t.Exec == nil {
		return unknown(errNoExec)
	}
	command := action.Command
	if t.Container != nil {
		command = Expand(command, t.Container.Env)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	code, output, err := t.Exec(ctx, command)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return failure(fmt.Sprintf("command timed out: %q timed out after %v", strings.Join(command, " "), timeout))
	}
	if err != nil {
		return unknown(fmt.Errorf("run %q in the container: %w", strings.Join(command, " "), err))
	}
	text := string(output[:min(len(output), maxOutput)])
	if code != 0 {
		return failure(text)
	}
	return success(text)
}

// Expand replaces each $(NAME) in a probe's command by the plain value that env gives NAME (PB-07). A later entry
// of the same name wins; an entry with a valueFrom counts as empty, as in a kubelet; a NAME that env does not have stays as
// it is written, and $$ stands for $.
func Expand(command []string, env []corev1.EnvVar) []string {
	values := make(map[string]string, len(env))
	for _, e := range env {
		values[e.Name] = e.Value
	}
	known := func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
	out := make([]string, len(command))
	for i, word := range command {
		out[i] = reference.Expand(word, known)
	}
	return out
}
