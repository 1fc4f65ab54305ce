// Prog does to a container what the tests of package host need done, and nobody else should want.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
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
	case "orphan": // leaves a process behind that ends by itself soon after, and runs on
		child := exec.Command(os.Args[0], "parent")
		child.Stdout = os.Stdout
		if err := child.Run(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		select {}
	case "parent": // ends before its own child
		child := exec.Command(os.Args[0], "nap")
		if err := child.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("orphan", child.Process.Pid)
	case "stay": // leaves a process behind that does not end, and ends
		child := exec.Command(os.Args[0], "orphanage")
		if err := child.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("stays", child.Process.Pid)
	case "nap":
		time.Sleep(100 * time.Millisecond)
	case "orphanage":
		time.Sleep(time.Hour)
	}
}
