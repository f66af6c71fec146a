// T7: a Go program publishes its files through every name that a descriptor has, many at once. A published file is whole,
// later writes land in it, and of several who want one name exactly one gets it.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const size = 64 * 1024

func linkat(from int, path string, to int, name string, flags uintptr) syscall.Errno {
	source, target := append([]byte(path), 0), append([]byte(name), 0)
	_, _, errno := syscall.Syscall6(syscall.SYS_LINKAT, uintptr(from), uintptr(unsafe.Pointer(&source[0])), uintptr(to),
		uintptr(unsafe.Pointer(&target[0])), flags, 0)
	return errno
}

type way struct {
	name    string
	publish func(fd int, target string) syscall.Errno
}

func through(format string, arguments ...any) func(fd int, target string) syscall.Errno {
	return func(fd int, target string) syscall.Errno {
		return linkat(atFdcwd, fmt.Sprintf(format, append(arguments, fd)...), atFdcwd, target, follow)
	}
}

var ways = []way{
	{"AT_EMPTY_PATH", func(fd int, target string) syscall.Errno { return linkat(fd, "", atFdcwd, target, emptyAt) }},
	{"/proc/self/fd", through("/proc/self/fd/%d")},
	{"/proc/thread-self/fd", through("/proc/thread-self/fd/%d")},
	{"/dev/fd", through("/dev/fd/%d")},
	{"/proc/PID/fd", through("/proc/%d/fd/%d", os.Getpid())},
}

func content(number int) []byte {
	return bytes.Repeat([]byte{byte(number), byte(number >> 8), 'x', '\n'}, size/4)
}

func create(directory string, number int) int {
	fd, err := syscall.Open(directory, syscall.O_RDWR|syscall.O_CLOEXEC|tmpfile, 0o640)
	check(err == nil, "%v", err)
	written, err := syscall.Write(fd, content(number))
	check(written == size && err == nil, "%d written, %v", written, err)
	return fd
}

func main() {
	runtime.GOMAXPROCS(8)
	directory := os.Args[1]
	syscall.Umask(0)
	together(4, func(number int) {
		for round := 0; round < 2*len(ways); round++ {
			way := ways[(number+round)%len(ways)]
			number := number*1000 + round
			target := filepath.Join(directory, fmt.Sprintf("target-%d", number))
			fd := create(directory, number)
			errno := way.publish(fd, target)
			check(errno == 0, "%s: %v", way.name, errno)
			again := way.publish(fd, target)
			check(again == syscall.EEXIST, "%s, again: %v", way.name, again)
			_, err := syscall.Pwrite(fd, []byte("later"), 8)
			check(err == nil && syscall.Close(fd) == nil, "%s: %v", way.name, err)
			expected := content(number)
			copy(expected[8:], "later")
			back, err := os.ReadFile(target)
			check(err == nil && bytes.Equal(back, expected), "%s: other content, %v", way.name, err)
			status, err := os.Stat(target)
			check(err == nil && status.Mode() == 0o640, "%s: mode %v, %v", way.name, status.Mode(), err)
			check(os.Remove(target) == nil, "%s: remove", way.name)
		}
	})

	name := filepath.Join(directory, "one")
	var winners atomic.Int32
	together(4, func(number int) {
		fd := create(directory, number)
		errno := ways[number%len(ways)].publish(fd, name)
		check(errno == 0 || errno == syscall.EEXIST, "%v", errno)
		if errno == 0 {
			winners.Add(1)
			back, err := os.ReadFile(name)
			check(err == nil && bytes.Equal(back, content(number)), "another's content, %v", err)
		}
		check(syscall.Close(fd) == nil, "close")
	})
	check(winners.Load() == 1 && os.Remove(name) == nil, "%d have got the name", winners.Load())

	// Made with O_EXCL, it cannot be linked.
	fd, err := syscall.Open(directory, syscall.O_RDWR|syscall.O_EXCL|tmpfile, 0o600)
	check(err == nil, "%v", err)
	for _, way := range ways {
		errno := way.publish(fd, name)
		check(errno == syscall.ENOENT, "%s, O_EXCL: %v", way.name, errno)
	}
}
