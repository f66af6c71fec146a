// A Go program that was built with cgo, for go.sh: dynamic, so that a preload is loaded into it, which sees none of its
// system calls.
package main

// #include <unistd.h>
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

const oTmpfile = 020000000 | syscall.O_DIRECTORY

func main() {
	what := "tell"
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	switch what {
	case "tmpfile":
		must(tmpfile(os.Args[2]))
		fmt.Println("fine")
	case "exit":
		status, err := strconv.Atoi(os.Args[2])
		must(err)
		os.Exit(status)
	case "wait":
		fmt.Println("waiting")
		select {}
	default:
		tell()
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// What Clair does with its file: writes, and re-opens through /proc.
func tmpfile(directory string) error {
	file, err := os.OpenFile(directory, oTmpfile|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WriteString("text"); err != nil {
		return err
	}
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return err
	}
	defer again.Close()
	text := make([]byte, 8)
	n, err := again.ReadAt(text, 0)
	if string(text[:n]) != "text" {
		return fmt.Errorf("read %q, %v", text[:n], err)
	}
	return nil
}

// Everything that an exec in front of it might have changed.
func tell() {
	directory, err := os.Getwd()
	must(err)
	fmt.Printf("pid %d %d\n", os.Getpid(), int(C.getpid()))
	fmt.Printf("directory %q\n", directory)
	for _, argument := range os.Args {
		fmt.Printf("argument %q\n", argument)
	}
	for _, variable := range os.Environ() {
		fmt.Printf("variable %q\n", variable)
	}
	fmt.Printf("HUP ignored %v, TERM ignored %v\n", signal.Ignored(syscall.SIGHUP), signal.Ignored(syscall.SIGTERM))
	if executable, err := os.Readlink("/proc/self/exe"); err == nil {
		fmt.Printf("executable %q\n", executable)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "Umask:") || strings.HasPrefix(line, "SigBlk:") {
			fmt.Println(line)
		}
	}
}
