package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if os.Getpid() != 1 {
		println("podsim-init: it is the first process of a PID namespace, and nothing else; podsim runs it")
		os.Exit(2)
	}
	// Two channels: a burst of ended children must not crowd out the one signal that ends us.
	children, ends := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	for {
		select {
		case <-children:
			reap()
		case <-ends:
			return
		}
	}
}

// reap takes the exit of every child that has ended: one signal may stand for several.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err != syscall.EINTR && pid <= 0 {
			return
		}
	}
}
