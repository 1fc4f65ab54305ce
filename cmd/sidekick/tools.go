package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tools are the modes that do one thing and end: what a test would otherwise need a shell image for.
var tools = []*mode{
	tool("true", "", "Ends with 0", 0, -1, func(*process, []string) error { return nil }),
	tool("false", "", "Ends with 1", 0, -1, func(*process, []string) error { return exit(1) }),
	tool("exit", "CODE", "Ends with CODE", 1, 1, exitWith),
	tool("echo", "TEXT...", "Prints its arguments", 0, -1, func(p *process, args []string) error {
		_, err := fmt.Fprintln(p.out, strings.Join(args, " "))
		return err
	}),
	sleepMode,
	tool("cat", "FILE...", "Prints files; stdin if there are none", 0, -1, cat),
	tool("write", "FILE TEXT", "Writes TEXT and a newline to FILE", 2, 2, func(_ *process, args []string) error {
		return os.WriteFile(args[0], []byte(args[1]+"\n"), 0o644)
	}),
	tool("touch", "FILE...", "Makes files that are not there", 1, -1, touch),
	tool("mkdir", "FOLDER...", "Makes folders, their parents included", 1, -1, func(_ *process, args []string) error {
		return each(args, func(path string) error { return os.MkdirAll(path, 0o755) })
	}),
	tool("rm", "PATH...", "Removes files, and folders with all they hold; what is not there is no error", 1, -1, func(_ *process, args []string) error {
		return each(args, os.RemoveAll)
	}),
	tool("ls", "FOLDER", "Prints a folder's entries", 1, 1, ls),
	tool("stat", "PATH...", "Prints each path's mode, owner, size and, for a link, its target", 1, -1, stat),
	tool("exists", "PATH...", "Ends with 0 if all paths are there, with 1 if not", 1, -1, func(_ *process, args []string) error {
		return each(args, func(path string) error {
			if _, err := os.Stat(path); err != nil {
				return exit(1)
			}
			return nil
		})
	}),
	tool("contains", "FILE TEXT", "Ends with 0 if FILE has TEXT in it, with 1 if not", 2, 2, func(_ *process, args []string) error {
		text, err := os.ReadFile(args[0])
		if err == nil && !strings.Contains(string(text), args[1]) {
			err = exit(1)
		}
		return err
	}),
	tool("env", "[NAME]", "Prints the environment, or one variable of it (ends with 1 if there is none)", 0, 1, env),
	tool("id", "", "Prints process, user, groups and host", 0, 0, func(p *process, _ []string) error {
		_, err := fmt.Fprintln(p.out, identity())
		return err
	}),
	tool("kill", "[-SIGNAL] PID...", "Sends a signal, TERM if none is named", 1, -1, kill),
	getMode,
	tcpMode,
	quitMode,
}

// tool is a mode without flags.
func tool(name, args, summary string, least, most int, do func(*process, []string) error) *mode {
	return &mode{name: name, args: args, summary: summary, least: least, most: most, setup: func(*flag.FlagSet) action {
		return func(_ context.Context, p *process, args []string) error { return do(p, args) }
	}}
}

// each applies do to every argument and joins what goes wrong.
func each(args []string, do func(string) error) error {
	var errs []error
	for _, a := range args {
		errs = append(errs, do(a))
	}
	return errors.Join(errs...)
}

func exitWith(_ *process, args []string) error {
	code, err := strconv.Atoi(args[0])
	if err != nil || code < 0 || code > 255 {
		return fmt.Errorf("exit wants a code from 0 to 255, not %q", args[0])
	}
	return exit(code)
}

var sleepMode = &mode{
	name: "sleep", args: "SECONDS|DURATION", least: 1, most: 1,
	summary: "Sleeps; TERM ends it at once with 143, as it would end a program that is not PID 1",
	setup: func(*flag.FlagSet) action {
		return func(ctx context.Context, p *process, args []string) error {
			d, err := time.ParseDuration(args[0])
			if err != nil {
				seconds, serr := strconv.ParseFloat(args[0], 64)
				if serr != nil {
					return fmt.Errorf("sleep wants seconds or a duration such as 1m30s, not %q", args[0])
				}
				d = time.Duration(seconds * float64(time.Second))
			}
			select {
			case <-time.After(d):
				return nil
			case <-p.signals():
				return exit(128 + int(syscall.SIGTERM))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	},
}

func cat(p *process, args []string) error {
	if len(args) == 0 {
		_, err := io.Copy(p.out, p.in)
		return err
	}
	return each(args, func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(p.out, f)
		return err
	})
}

func touch(_ *process, args []string) error {
	return each(args, func(path string) error {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	})
}

func ls(p *process, args []string) error {
	entries, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Fprintln(p.out, e.Name())
	}
	return nil
}

// stat prints a line such as "/data drwxrwxrwx 2777 0:1337 4096".
func stat(p *process, args []string) error {
	return each(args, func(path string) error {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		s := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s %v %04o %d:%d %d", path, info.Mode(), s.Mode&0o7777, s.Uid, s.Gid, s.Size)
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		_, err = fmt.Fprintln(p.out, line)
		return err
	})
}

func env(p *process, args []string) error {
	if len(args) == 0 {
		_, err := fmt.Fprintln(p.out, strings.Join(slices.Sorted(slices.Values(p.environ)), "\n"))
		return err
	}
	for _, e := range p.environ {
		if name, value, _ := strings.Cut(e, "="); name == args[0] {
			_, err := fmt.Fprintln(p.out, value)
			return err
		}
	}
	return exit(1)
}

// identity is a line such as "pid=1 uid=1337 gid=1337 groups=1337,2000 host=web".
func identity() string {
	groups, _ := os.Getgroups()
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = strconv.Itoa(g)
	}
	host, _ := os.Hostname()
	return fmt.Sprintf("pid=%d uid=%d gid=%d groups=%s host=%s", os.Getpid(), os.Getuid(), os.Getgid(), strings.Join(names, ","), host)
}

func kill(_ *process, args []string) error {
	signal := syscall.SIGTERM
	if name, ok := strings.CutPrefix(args[0], "-"); ok {
		number, err := strconv.Atoi(name)
		if err != nil {
			number = int(unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")))
			if number == 0 {
				return fmt.Errorf("no signal %q", name)
			}
		}
		signal, args = syscall.Signal(number), args[1:]
	}
	return each(args, func(text string) error {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("kill wants a process ID, not %q", text)
		}
		if err := syscall.Kill(pid, signal); err != nil {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
		return nil
	})
}

var getMode = &mode{
	name: "get", args: "URL", least: 1, most: 1,
	summary: "Makes an HTTP request and prints the body; ends with 0 for a status below 400",
	setup: func(fs *flag.FlagSet) action {
		var headers list
		method := fs.String("method", http.MethodGet, "request `METHOD`")
		body := fs.String("body", "", "request body `TEXT`")
		fs.Var(&headers, "header", "`NAME=VALUE` to send; may be repeated")
		timeout := fs.Duration("timeout", 5*time.Second, "give up after `D`")
		verbose := fs.Bool("verbose", false, "print the status, the headers and the connection's ends first")
		return func(ctx context.Context, p *process, args []string) error {
			ctx, cancel := context.WithTimeout(ctx, *timeout)
			defer cancel()
			f := &fetching{url: args[0], method: *method, body: strings.NewReader(*body), header: http.Header{}}
			for _, h := range headers.values {
				name, value, _ := strings.Cut(h, "=")
				if strings.EqualFold(name, "Host") {
					f.host = value
				}
				f.header.Add(name, value)
			}
			got, err := fetch(ctx, f)
			if err != nil {
				return fmt.Errorf("%s: %w", classify(err), err)
			}
			if *verbose {
				fmt.Fprintf(p.out, "%d, from %s to %s\n", got.status, got.local, got.remote)
				if err := got.header.Write(p.out); err != nil {
					return err
				}
				fmt.Fprintln(p.out)
			}
			if _, err := p.out.Write(got.body); err != nil {
				return err
			}
			if got.status >= 400 {
				fmt.Fprintf(p.err, "sidekick: status %d\n", got.status)
				return exit(1)
			}
			return nil
		}
	},
}

var tcpMode = &mode{
	name: "tcp", args: "HOST:PORT", least: 1, most: 1,
	summary: "Makes a TCP connection, sends, and prints what comes; ends with 0 if it was made",
	setup: func(fs *flag.FlagSet) action {
		send := fs.String("send", "", "`TEXT` to send, with a newline")
		expect := fs.Int("expect", 0, "read until `N` bytes have come; fewer end it with 1")
		timeout := fs.Duration("timeout", 5*time.Second, "give up after `D`")
		return func(ctx context.Context, p *process, args []string) error {
			ctx, cancel := context.WithTimeout(ctx, *timeout)
			defer cancel()
			return converse(ctx, p.out, args[0], *send, *expect)
		}
	},
}

var quitMode = &mode{
	name:    "quit",
	summary: "Asks a proxy to end, as a preStop hook or an app that has finished does",
	setup: func(fs *flag.FlagSet) action {
		url := fs.String("url", "http://127.0.0.1:15021/quitquitquit", "`URL` to POST to")
		timeout := fs.Duration("timeout", 5*time.Second, "give up after `D`")
		return func(ctx context.Context, _ *process, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, *timeout)
			defer cancel()
			got, err := fetch(ctx, &fetching{url: *url, method: http.MethodPost, body: http.NoBody})
			if err != nil {
				return fmt.Errorf("%s: %w", classify(err), err)
			}
			if got.status >= 400 {
				return fmt.Errorf("%s answered %d", *url, got.status)
			}
			return nil
		}
	},
}
