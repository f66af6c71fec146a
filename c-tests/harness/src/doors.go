// Links a C program into Go: its doors to the kernel are Go's own, and the runtime works beside it.
package main

// static inline int run(void *program, int argc, char **argv)
// {
//     return ((int (*)(int, char **))program)(argc, argv);
// }
import "C"

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Keeps the runtime busy: each collection stops the world, and for that sends SIGURG to every thread that runs Go, one
// that waits in a raw system call included.
func disturb() {
	for {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

// The first timer makes the runtime open descriptors: high up, where no program counts on their numbers.
func settle() {
	var taken []int
	for len(taken) < 300 {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		taken = append(taken, fd)
	}
	time.Sleep(time.Nanosecond)
	for _, fd := range taken {
		syscall.Close(fd)
	}
}

func spin() {
	for {
	}
}

//export go_main
func go_main(program unsafe.Pointer, argc C.int, argv **C.char) C.int {
	// One more than are busy: who comes from C must not wait for a turn.
	runtime.GOMAXPROCS(4)
	settle()
	go spin()
	go disturb()
	return C.run(program, argc, argv)
}

var calls uint32

// By turns as os does it, where another goroutine takes over meanwhile, and as the runtime does, where none can.
//
//export go_syscall
func go_syscall(number, a, b, c, d, e uintptr) uintptr {
	call := syscall.RawSyscall6
	if atomic.AddUint32(&calls, 1)%2 == 0 {
		call = syscall.Syscall6
	}
	result, _, errno := call(number, a, b, c, d, e, 0)
	if errno != 0 {
		return -uintptr(errno)
	}
	return result
}

func main() {}
