package logs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/podsim/podsim/podsim/internal/rundir"
)

// A Log names the log of one container instance.
type Log struct {
	Dir       string // of the run
	Pod       string
	Container string
	Instance  int
}

// Options are those of `kubectl logs`. The zero value prints all there is.
type Options struct {
	// Tail is how many lines are printed at most, from the end, before those of which Since says that they are too old are
	// left out. Nil: all.
	Tail *int
	// Since is the time of the first line.
	Since time.Time
	// Timestamps puts its time before each line, in UTC, to the nanosecond.
	Timestamps bool
	// LimitBytes is how much is printed at most, without the prefixes. 0: all.
	LimitBytes int64
	// Prefix stands before each line.
	Prefix string
	// Until makes Print follow the log until the channel is closed. Nil: it does not.
	Until <-chan struct{}
}

// timestampForm is the kubelet's: RFC 3339, with all nine digits.
const timestampForm = "2006-01-02T15:04:05.000000000Z07:00"

// printAtOnce is about how much of a log is written at once, in bytes.
const printAtOnce = 32 << 10

// Print writes what a container instance printed, both its streams, to w: whole lines, unless the output ended without
// one, or one is very long. A log that is not there is an *UnavailableError.
func Print(ctx context.Context, l Log, o Options, w io.Writer) (err error) {
	p := printer{options: o, out: w}
	in, err := rundir.OpenLog(rundir.LogPath(l.Dir, l.Pod, l.Container, l.Instance), rundir.LogOptions{Tail: o.Tail, Until: o.Until, Idle: p.flush})
	if errors.Is(err, fs.ErrNotExist) {
		return unavailable("the log of container %q in pod %q, instance %d, is not there any more", l.Container, l.Pod, l.Instance)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for {
		line, err := in.Next(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(err, p.flush())
		}
		if err != nil || p.line(line) {
			return p.flush()
		}
		if len(p.text) >= printAtOnce {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
}

// A printer writes lines as they are to be seen.
type printer struct {
	options Options
	out     io.Writer
	text    []byte // not yet written
	printed int64  // bytes, without prefixes
	within  [2]bool
}

// line takes a line, and reports whether it was the last that may be printed.
func (p *printer) line(l rundir.Line) (full bool) {
	if l.Time.Before(p.options.Since) {
		return false
	}
	within := &p.within[0]
	if l.Stream == rundir.Stderr {
		within = &p.within[1]
	}
	if !*within {
		p.text = append(p.text, p.options.Prefix...)
	}
	begin := len(p.text)
	if p.options.Timestamps && !*within {
		p.text = l.Time.UTC().AppendFormat(p.text, timestampForm+" ")
	}
	p.text = append(p.text, l.Text...)
	if *within = l.Partial; !l.Partial {
		p.text = append(p.text, '\n')
	}
	left := p.options.LimitBytes - p.printed
	n := int64(len(p.text) - begin)
	p.printed += n
	if p.options.LimitBytes == 0 || n < left {
		return false
	}
	p.text = p.text[:begin+int(left)]
	return true
}

func (p *printer) flush() error {
	if len(p.text) == 0 {
		return nil
	}
	_, err := p.out.Write(p.text)
	p.text = p.text[:0]
	return err
}
