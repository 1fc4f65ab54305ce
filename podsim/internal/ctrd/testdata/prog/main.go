// Command prog is what the containers of the tests run: a static program with one behaviour for each first argument.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		block()
	}
	switch args[0] {
	case "block": // until TERM, then exit 7
		block()
	case "stubborn": // ignores TERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		forever()
	case "say": // prints its arguments, one a line, odd ones on stderr, and ends
		for i, line := range args[1:] {
			if i%2 == 0 {
				fmt.Println(line)
			} else {
				fmt.Fprintln(os.Stderr, line)
			}
		}
	case "count": // prints so many lines and ends
		for i := range number(args[1]) {
			fmt.Println("line", i)
		}
	case "long": // prints one line of so many bytes, without a newline
		fmt.Print(strings.Repeat("x", number(args[1])))
	case "exit":
		os.Exit(number(args[1]))
	case "id":
		groups, err := os.Getgroups()
		check(err)
		wd, err := os.Getwd()
		check(err)
		fmt.Println(os.Getuid(), os.Getgid(), groups, wd, os.Getenv("GREETING"))
	case "hog": // takes memory until it is killed
		var hold [][]byte
		for {
			block := make([]byte, 1<<20)
			for i := range block {
				block[i] = 1
			}
			hold = append(hold, block)
		}
	case "cat":
		for _, name := range args[1:] {
			data, err := os.ReadFile(name)
			check(err)
			_, err = os.Stdout.Write(data)
			check(err)
		}
	case "spawn": // leaves a child behind that holds its output open
		cmd := exec.Command("/proc/self/exe", "stubborn")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		check(cmd.Start())
		fmt.Println("spawned")
	case "echo": // says what it reads, a line each, and at the end that it is over
		lines := bufio.NewScanner(os.Stdin)
		fmt.Println("reading")
		for lines.Scan() {
			fmt.Println("got", lines.Text())
		}
		check(lines.Err())
		fmt.Fprintln(os.Stderr, "over")
		os.Exit(5)
	case "terminal": // says the size of its terminal, at first and whenever it has changed, until INT
		sizes, ends := make(chan os.Signal, 1), make(chan os.Signal, 1)
		signal.Notify(sizes, syscall.SIGWINCH)
		signal.Notify(ends, syscall.SIGINT, syscall.SIGHUP)
		for {
			size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
			check(err)
			fmt.Println("size", size.Col, size.Row, os.Getenv("TERM"))
			select {
			case <-sizes:
			case s := <-ends:
				if s == syscall.SIGHUP {
					os.Exit(8)
				}
				os.Exit(9)
			}
		}
	default:
		check(fmt.Errorf("no such behaviour: %s", args[0]))
	}
}

func block() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Println("ready")
	<-term
	fmt.Println("bye")
	os.Exit(7)
}

// forever waits for a signal that nobody sends; a plain select would be seen to be a deadlock.
func forever() {
	never := make(chan os.Signal, 1)
	signal.Notify(never, syscall.SIGWINCH)
	<-never
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}
