package host

import (
	"io"
	"syscall"
)

// An Instance is one instance of a container of some run.
type Instance struct {
	Run       string // the run's ID
	Pod       string // the pod's ID in the runtime
	Container string
	Number    int // the container's restart count
}

// Streams are what somebody is connected to a process by. Signals and Sizes may be nil; they need not be closed.
type Streams struct {
	// Stdin is the process's input: its end is the process's end of input. It is closed when the process has ended, and a
	// Read that is under way must then return. Nil: none.
	Stdin io.ReadCloser
	// Stdout and Stderr get the output. With a TTY all of it comes on Stdout.
	Stdout, Stderr io.Writer
	// TTY gives the process a terminal of a size, which is then what Sizes gave last.
	TTY  bool
	Size Size
	// Signals are passed on to the process.
	Signals <-chan syscall.Signal
	Sizes   <-chan Size
}

// A Size is that of a terminal, in characters.
type Size = struct{ Columns, Rows uint16 }

// A CommandError says that the runtime could not start a command.
type CommandError struct {
	Message string // the runtime's
	Code    int    // what a shell would exit with: 127 where there is no such program, 126 otherwise
}

func (e *CommandError) Error() string { return e.Message }
