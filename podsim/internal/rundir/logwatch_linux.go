package rundir

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A logWatch tells when files of a directory are written, begun or removed.
type logWatch struct {
	file    *os.File
	changed chan struct{} // has something after a change; closed when no more are told
	err     error         // why, once it is closed
	joined  chan struct{}
}

func watchLog(dir string) (*logWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		return nil, fmt.Errorf("follow: %w (the user's inotify instances may be used up: sysctl -w fs.inotify.max_user_instances=1024)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("follow: %w", err)
	}
	w := &logWatch{file: os.NewFile(uintptr(fd), "inotify"), changed: make(chan struct{}, 1), joined: make(chan struct{})}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_DELETE_SELF); err != nil {
		err = &os.PathError{Op: "follow", Path: dir, Err: err}
		return nil, errors.Join(err, w.file.Close())
	}
	go w.run()
	return w, nil
}

// run looks at no event: whoever is told looks at the files.
func (w *logWatch) run() {
	defer close(w.joined)
	defer close(w.changed)
	events := make([]byte, 64<<10)
	for {
		if _, err := w.file.Read(events); err != nil {
			w.err = fmt.Errorf("follow: %w", err)
			return
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *logWatch) close() error {
	err := w.file.Close()
	<-w.joined
	return err
}
