// T3: what Clair does with its file: write-only, sequential writes, re-opened through /proc/self/fd/N, read from several
// goroutines at once. And it is handed over to another program, as os/exec does it.
package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

const size = 256 * 1024

func data(number int) []byte {
	text := make([]byte, size)
	for i := range text {
		text[i] = byte((uint32(i) + uint32(number)) * 2654435761 >> 13)
	}
	return text
}

func useLikeClair(directory string, number int) {
	file, err := os.OpenFile(directory, os.O_WRONLY|tmpfile, 0o644)
	check(err == nil, "%v", err)
	expected := data(number)
	for at := 0; at < size; at += 4096 {
		_, err := file.Write(expected[at : at+4096])
		check(err == nil, "%v", err)
	}
	again, err := os.Open(fdPath(int(file.Fd())))
	check(err == nil, "%v", err)
	done := make(chan bool)
	for reader := 0; reader < 4; reader++ {
		go func() {
			back := make([]byte, size)
			read, err := again.ReadAt(back, 0)
			check(read == size && (err == nil || err == io.EOF) && bytes.Equal(back, expected), "%d bytes, %v", read, err)
			done <- true
		}()
	}
	for reader := 0; reader < 4; reader++ {
		<-done
	}
	check(again.Close() == nil && file.Close() == nil, "close")
}

func handOver(directory string) {
	file, err := os.OpenFile(directory, os.O_RDWR|tmpfile, 0o600)
	check(err == nil, "%v", err)
	_, err = file.WriteString("given ")
	check(err == nil, "%v", err)
	child := exec.Command("/proc/self/exe", directory, "heir")
	child.ExtraFiles = []*os.File{file}
	output, err := child.CombinedOutput()
	check(err == nil, "%v: %s", err, output)
	back := make([]byte, 32)
	read, err := file.ReadAt(back, 0)
	check(err == io.EOF && string(back[:read]) == "given and taken", "%q, %v", back[:read], err)
	check(file.Close() == nil, "close")
}

// The program that gets the file as its descriptor 3, and makes one of its own.
func inherit(directory string) {
	file := os.NewFile(3, "inherited")
	_, err := file.WriteString("and taken")
	check(err == nil, "%v", err)
	own, err := syscall.Open(directory, syscall.O_RDWR|tmpfile, 0o600)
	check(err == nil && own > 3, "%d, %v", own, err)
}

func main() {
	if len(os.Args) > 2 {
		inherit(os.Args[1])
		return
	}
	runtime.GOMAXPROCS(8)
	together(4, func(number int) {
		for round := 0; round < 4; round++ {
			useLikeClair(os.Args[1], number+4*round)
		}
		handOver(os.Args[1])
	})
}
