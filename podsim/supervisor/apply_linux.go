package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Apply asks for a pod: one that is not there is started under a supervisor of its own, which program is run as, and
// Apply returns when it has accepted the pod; one that is there is changed in place, as far as a running pod can be.
// What cannot is a *ForbiddenError, a pod whose supervisor has died a *LostError.
func Apply(ctx context.Context, program string, r Request) (Outcome, Found, error) {
	r.Host.Site = r.Host.Site.Resolved()
	for attempt := 1; ; attempt++ {
		f, err := Get(ctx, r.Host.Site, r.Pod.Namespace, r.Pod.Name)
		if _, missing := errors.AsType[*NotFoundError](err); missing {
			err := start(ctx, program, r)
			if errors.Is(err, errExists) && attempt < applyAttempts { // somebody else was quicker, or is just going
				continue
			}
			if err != nil {
				return "", f, err
			}
			f, err = Get(ctx, r.Host.Site, r.Pod.Namespace, r.Pod.Name)
			return Created, f, err
		}
		if err != nil {
			return "", f, err
		}
		if f.Lost {
			return "", f, &LostError{f.Pod.Namespace, f.Pod.Name}
		}
		var done applied
		err = f.call(ctx, http.MethodPost, "/apply", r, &done)
		if (errors.Is(err, errGone) || unreachable(err)) && f.isGone() {
			continue
		}
		if err == nil {
			f.Pod = done.Pod
		}
		return done.Outcome, f, err
	}
}

// applyAttempts is how often a pod may come or go while it is being asked for.
const applyAttempts = 50

// errExists says that another run has just become the pod.
var errExists = errors.New("the pod exists")

// start starts a supervisor and waits for its word. Once it has given it, it goes on by itself.
func start(ctx context.Context, program string, r Request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the pod: %w", err)
	}
	log, err := openLog(filepath.Join(r.Host.Site.StateDir, "supervisors.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, program, Command)
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(text)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the pod's supervisor: %w", err)
	}
	var word reply
	if err := json.NewDecoder(out).Decode(&word); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(fmt.Errorf("start the pod's supervisor: it ended without a word: its log is %s", log.Name()), cmd.Wait(), context.Cause(ctx))
	}
	if word.Failure != nil {
		_ = cmd.Wait() // it has said why
		if word.Failure.Kind == kindExists {
			return errExists
		}
		return word.Failure.err()
	}
	return cmd.Process.Release()
}

// maxLog bounds what supervisors have written in case of trouble, in bytes.
const maxLog = 1 << 20

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("open the supervisors' log: %w", err)
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the supervisors' log: %w", err)
	}
	return f, nil
}
