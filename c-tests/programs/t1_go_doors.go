// T1, S3: O_TMPFILE works through every door that Go has, from many goroutines at once, while the runtime interrupts its own
// system calls all the time. No open fails or hangs, and no descriptor is lost.
package main

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"
)

const (
	flags  = syscall.O_RDWR | syscall.O_CLOEXEC | tmpfile
	rounds = 40
)

type door struct {
	name string
	open func(directory string) (int, error)
}

func result(fd uintptr, _ uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

var doors = []door{
	{"os.OpenFile", func(directory string) (int, error) {
		file, err := os.OpenFile(directory, os.O_RDWR|tmpfile, 0o640)
		if err != nil {
			return -1, err
		}
		defer file.Close()
		return syscall.Dup(int(file.Fd()))
	}},
	{"syscall.Open", func(directory string) (int, error) {
		return syscall.Open(directory, flags, 0o640)
	}},
	{"syscall.Openat", func(directory string) (int, error) {
		at, err := syscall.Open(filepath.Dir(directory), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		check(err == nil, "%v", err)
		defer syscall.Close(at)
		return syscall.Openat(at, filepath.Base(directory), flags, 0o640)
	}},
	{"openat", func(directory string) (int, error) {
		path := append([]byte(directory), 0)
		at := atFdcwd
		return result(syscall.Syscall6(syscall.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&path[0])), flags, 0o640, 0, 0))
	}},
	{"openat, raw", func(directory string) (int, error) {
		path := append([]byte(directory), 0)
		at := atFdcwd
		return result(syscall.RawSyscall6(syscall.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&path[0])), flags, 0o640, 0, 0))
	}},
	{"openat2", func(directory string) (int, error) {
		path := append([]byte(directory), 0)
		how := [3]uint64{flags, 0o640, 0}
		at := atFdcwd
		return result(syscall.RawSyscall6(openat2, uintptr(at), uintptr(unsafe.Pointer(&path[0])),
			uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0))
	}},
}

func isOurFile(name string, fd int, err error) {
	check(err == nil, "%s: %v", name, err)
	var status syscall.Stat_t
	check(syscall.Fstat(fd, &status) == nil && status.Mode&syscall.S_IFMT == syscall.S_IFREG, "%s: mode %o", name, status.Mode)
	// A file that keeps a hidden name has its owner's permissions only (T4).
	check(status.Mode&0o7777 == 0o640 || status.Mode&0o7777 == 0o600, "%s: mode %o", name, status.Mode)
	back := make([]byte, 4)
	written, err := syscall.Write(fd, []byte("abc"))
	check(written == 3 && err == nil, "%s: %v", name, err)
	read, err := syscall.Pread(fd, back, 0)
	check(read == 3 && err == nil && string(back[:3]) == "abc", "%s: %v", name, err)
	check(syscall.Close(fd) == nil, "%s: close", name)
}

func main() {
	runtime.GOMAXPROCS(8)
	directory := os.Args[1]
	syscall.Umask(0)
	for _, door := range doors {
		fd, err := door.open(directory)
		isOurFile(door.name, fd, err)
	}
	before := openDescriptors()
	together(4, func(number int) {
		for round := 0; round < rounds; round++ {
			door := doors[(number+round)%len(doors)]
			fd, err := door.open(directory)
			isOurFile(door.name, fd, err)
		}
	})
	eventually("no descriptor more than before", func() bool { return openDescriptors() <= before })
}
