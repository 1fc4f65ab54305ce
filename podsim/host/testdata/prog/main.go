// Prog does to a container what the tests of package host need done, and nobody else should want.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	switch os.Args[1] {
	case "listen": // until TERM, from the moment it says so
		ends := make(chan os.Signal, 1)
		signal.Notify(ends, syscall.SIGTERM)
		fmt.Println("listening")
		<-ends
	case "deaf": // to TERM, from the moment it says so
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("listening")
		time.Sleep(time.Hour)
	case "eat": // memory, until it is killed for that
		var eaten [][]byte
		for {
			block := make([]byte, 1<<20)
			for i := range block {
				block[i] = 1
			}
			eaten = append(eaten, block)
		}
	case "echo": // says what it reads, a line each, and ends with 5
		lines := bufio.NewScanner(os.Stdin)
		for fmt.Println("reading"); lines.Scan(); {
			fmt.Println("got", lines.Text())
		}
		os.Exit(5)
	case "orphan": // FILE: leaves a process behind that ends by itself soon after, and runs on
		if err := exec.Command(os.Args[0], "leave", "nap", os.Args[2]).Run(); err != nil {
			fail(err)
		}
		time.Sleep(time.Hour)
	case "leave": // WHAT FILE: starts a process, writes its PID to a file, and ends before it
		child := exec.Command(os.Args[0], os.Args[2])
		if err := child.Start(); err != nil {
			fail(err)
		}
		if err := os.WriteFile(os.Args[3]+".new", []byte(strconv.Itoa(child.Process.Pid)), 0o644); err != nil {
			fail(err)
		}
		if err := os.Rename(os.Args[3]+".new", os.Args[3]); err != nil {
			fail(err)
		}
	case "gone": // FILE: waits until there is the file and no process, not even a dead one, of the PID in it
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			pid, err := os.ReadFile(os.Args[2])
			if err != nil {
				continue
			}
			if _, err := os.Stat("/proc/" + string(pid)); errors.Is(err, fs.ErrNotExist) {
				return
			}
		}
		fail(errors.New("it is still there"))
	case "nap":
		time.Sleep(100 * time.Millisecond)
	case "sleep":
		time.Sleep(time.Hour)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
