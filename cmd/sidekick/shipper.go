package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

var shipperMode = &mode{
	name:    "shipper",
	summary: "A log shipper: prints the lines of a file as they come",
	details: `
The file need not exist yet, may be truncated, and may be replaced. At TERM what is left in it is shipped first.`,
	setup: func(fs *flag.FlagSet) action {
		s := &shipper{}
		s.conduct.flags(fs)
		fs.StringVar(&s.follow, "follow", "", "`FILE` to follow (required)")
		fs.StringVar(&s.prefix, "prefix", "shipped: ", "`TEXT` before each line")
		fs.DurationVar(&s.poll, "poll", 50*time.Millisecond, "look for more every `D`")
		return s.run
	},
}

// A shipper follows one file.
type shipper struct {
	conduct
	follow, prefix string
	poll           time.Duration

	out    io.Writer
	file   *os.File
	offset int64
	rest   []byte // of a line that has not ended yet
}

func (s *shipper) run(ctx context.Context, p *process, _ []string) error {
	if s.follow == "" {
		return errors.New("shipper needs --follow FILE")
	}
	s.out = p.out
	return s.conduct.run(ctx, p, s.work)
}

func (s *shipper) work(ctx context.Context) error {
	defer s.close()
	for {
		if !s.hang {
			if err := s.ship(); err != nil {
				return err
			}
		}
		if wait(ctx, s.poll) {
			continue
		}
		if s.hang || !errors.Is(context.Cause(ctx), errTerm) {
			return nil
		}
		err := s.ship()
		if len(s.rest) > 0 {
			fmt.Fprintf(s.out, "%s%s\n", s.prefix, s.rest)
		}
		return err
	}
}

// ship prints what has come since the last time.
func (s *shipper) ship() error {
	if err := s.reopen(); err != nil || s.file == nil {
		return err
	}
	for {
		chunk := make([]byte, 64<<10)
		n, err := s.file.ReadAt(chunk, s.offset)
		s.offset += int64(n)
		s.print(chunk[:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("ship: %w", err)
		}
	}
}

// reopen opens the file if it has appeared or been replaced, and begins again if it was cut.
func (s *shipper) reopen() error {
	now, err := os.Stat(s.follow)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ship: %w", err)
	}
	if s.file != nil {
		was, err := s.file.Stat()
		if err != nil {
			return fmt.Errorf("ship: %w", err)
		}
		if os.SameFile(was, now) {
			if now.Size() < s.offset {
				s.offset, s.rest = 0, nil
			}
			return nil
		}
		s.close()
	}
	if s.file, err = os.Open(s.follow); err != nil {
		return fmt.Errorf("ship: %w", err)
	}
	s.offset, s.rest = 0, nil
	return nil
}

func (s *shipper) print(chunk []byte) {
	s.rest = append(s.rest, chunk...)
	for {
		line, rest, whole := bytes.Cut(s.rest, []byte("\n"))
		if !whole {
			return
		}
		fmt.Fprintf(s.out, "%s%s\n", s.prefix, line)
		s.rest = rest
	}
}

func (s *shipper) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}
