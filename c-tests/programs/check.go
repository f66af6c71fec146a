// What every Go program of the tests shares. `program DIR [argument…]`: DIR is an empty directory on the filesystem under
// test. A program that passes is silent and exits 0.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	tmpfile  = 0o20000000 | syscall.O_DIRECTORY
	openat2  = 437
	atFdcwd  = -100
	follow   = 0x400
	emptyAt  = 0x1000
	deadline = 10 * time.Second
)

// Ends the program with what went wrong, unless all is well.
func check(holds bool, format string, arguments ...any) {
	if !holds {
		_, file, line, _ := runtime.Caller(1)
		fmt.Fprintf(os.Stderr, "%s:%d: %s\n", file[strings.LastIndexByte(file, '/')+1:], line, fmt.Sprintf(format, arguments...))
		os.Exit(1)
	}
}

// Each collection sends SIGURG to every thread that runs Go, also to one that waits in a raw system call.
func disturb() {
	for {
		runtime.GC()
		time.Sleep(200 * time.Microsecond)
	}
}

// Runs the body so many times at once.
func together(count int, body func(number int)) {
	go disturb()
	var group sync.WaitGroup
	for number := 0; number < count; number++ {
		number := number
		group.Add(1)
		go func() {
			defer group.Done()
			body(number)
		}()
	}
	group.Wait()
}

// Waits until it holds: others need their time, too. Where nobody is above, there is nobody to wait for.
func eventually(what string, holds func() bool) {
	end := time.Now()
	if os.Getenv("TESTED_ENGINE") != "none" {
		end = end.Add(deadline)
	}
	for ; !holds(); time.Sleep(time.Millisecond) {
		check(time.Now().Before(end), "never: %s", what)
	}
}

func fdPath(fd int) string {
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func openDescriptors() int {
	names, err := os.ReadDir("/proc/self/fd")
	check(err == nil, "%v", err)
	return len(names)
}
