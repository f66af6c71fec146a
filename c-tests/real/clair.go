// Does with its temporary files what Clair 4.7.3 does: made in a directory, no name, write only; written from front to back;
// opened again read only through /proc/self/fd; read from several goroutines; both closed. os/user makes it a dynamic
// program where cgo is on, as the official Clair is.
//
// usage: clair DIRECTORY GOROUTINES FILES
//
// Each goroutine makes FILES of them. Says "ready" after the first few and "done" after the last, and waits for a line each
// time, so that somebody can count descriptors meanwhile. SIGURG flies all the time: from Go's own runtime, which has busy
// loops to interrupt, and from us, to every thread in turn.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	_ "os/user"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const tmpfile = 0o20000000 | syscall.O_DIRECTORY

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	os.Exit(1)
}

func check(what string, err error) {
	if err != nil {
		fail(what, err)
	}
}

func oneFile(directory string, text []byte) {
	file, err := os.OpenFile(directory, syscall.O_WRONLY|syscall.O_CLOEXEC|tmpfile, 0644)
	check("Error opening temporary file", err)
	for rest := text; len(rest) > 0; {
		length := 4096
		if length > len(rest) {
			length = len(rest)
		}
		_, err := file.Write(rest[:length])
		check("write", err)
		rest = rest[length:]
	}
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), os.O_RDONLY, 0644)
	check("re-open", err)
	var readers sync.WaitGroup
	for part := 0; part < 4; part++ {
		from, to := len(text)*part/4, len(text)*(part+1)/4
		readers.Add(1)
		go func() {
			defer readers.Done()
			seen := make([]byte, to-from)
			_, err := again.ReadAt(seen, int64(from))
			check("pread", err)
			if !bytes.Equal(seen, text[from:to]) {
				fail("pread", fmt.Errorf("bytes %d to %d are not what was written", from, to))
			}
		}()
	}
	readers.Wait()
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_GETFD, 0)
	if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
		fail("F_GETFD", fmt.Errorf("no FD_CLOEXEC in %d, %v", flags, errno))
	}
	check("close", again.Close())
	check("close", file.Close())
}

func allFiles(directory string, goroutines, files int) {
	var group sync.WaitGroup
	for number := 0; number < goroutines; number++ {
		number := number
		group.Add(1)
		go func() {
			defer group.Done()
			text := bytes.Repeat([]byte{byte('a' + number)}, 9000)
			for n := 0; n < files; n++ {
				text[n%len(text)]++
				oneFile(directory, text)
			}
		}()
	}
	group.Wait()
}

// Sends SIGURG to one thread after the other. More of it, and the program comes to nothing else.
func interrupt(stop *atomic.Bool) (sent int) {
	for !stop.Load() {
		threads, err := os.ReadDir("/proc/self/task")
		check("threads", err)
		for _, thread := range threads {
			id, _ := strconv.Atoi(thread.Name())
			if syscall.Tgkill(os.Getpid(), id, syscall.SIGURG) == nil {
				sent++
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	return sent
}

func main() {
	directory := os.Args[1]
	goroutines, err := strconv.Atoi(os.Args[2])
	check("GOROUTINES", err)
	files, err := strconv.Atoi(os.Args[3])
	check("FILES", err)
	answers := bufio.NewReader(os.Stdin)
	say := func(word string) {
		fmt.Println(word)
		_, err := answers.ReadString('\n')
		check("stdin", err)
	}

	allFiles(directory, goroutines, 5)
	say("ready")

	var stop atomic.Bool
	for n := 0; n < 2; n++ {
		go func() {
			for spin := 0; !stop.Load(); spin++ {
				if spin%(1<<20) == 0 {
					runtime.GC()
				}
			}
		}()
	}
	sent := make(chan int)
	go func() { sent <- interrupt(&stop) }()
	start := time.Now()
	allFiles(directory, goroutines, files)
	took := time.Since(start)
	stop.Store(true)
	fmt.Fprintf(os.Stderr, "%d files, %d signals, %.1f s\n", goroutines*files, <-sent, took.Seconds())
	say("done")
}
