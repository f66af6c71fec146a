// D1, D2, D5: directories that a Go program makes by os.MkdirTemp, which no library sees, go when their maker has ended,
// however that is. Others stay, and so do those of whoever lives. TMPSHIM_TRACK names them: made-*.
package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
)

const many = 8

// Makes some, by many goroutines at once; tells it, and ends when asked to.
func play(directory, end string) {
	runtime.GOMAXPROCS(8)
	together(many, func(number int) {
		made, err := os.MkdirTemp(directory, "made-")
		check(err == nil && os.WriteFile(filepath.Join(made, "content"), []byte("x"), 0o600) == nil, "%v", err)
		check(os.MkdirAll(filepath.Join(made, "a/b/c"), 0o700) == nil, "%s", made)
		if number == 0 {
			check(os.Remove(filepath.Join(made, "content")) == nil && os.RemoveAll(made) == nil, "%s", made)
		}
	})
	os.Stdout.WriteString("x")
	os.Stdin.Read(make([]byte, 1))
	switch end {
	case "panic":
		os.Stderr.Close()
		panic("at the end")
	case "SIGTERM":
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		select {}
	case "SIGKILL":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "exit 3":
		os.Exit(3)
	}
}

func count(directory string) int {
	names, err := filepath.Glob(filepath.Join(directory, "made-*"))
	check(err == nil, "%v", err)
	return len(names)
}

func watch(directory, end, expected string) {
	child := exec.Command("/proc/self/exe", directory, end)
	input, _ := child.StdinPipe()
	output, _ := child.StdoutPipe()
	child.Stderr = os.Stderr
	check(child.Start() == nil, "%s: start", end)
	read, err := output.Read(make([]byte, 1))
	check(read == 1, "%s: %v", end, err)
	// The first one is the observer's own.
	check(count(directory) == many, "%s: %d while it lives", end, count(directory))
	input.Close()
	child.Wait()
	check(child.ProcessState.String() == expected, "%s: %s", end, child.ProcessState)
	eventually(end+": only the observer's is left", func() bool { return count(directory) == 1 })
}

func main() {
	directory := os.Args[1]
	if len(os.Args) > 2 {
		play(directory, os.Args[2])
		return
	}
	own, err := os.MkdirTemp(directory, "made-")
	check(err == nil, "%v", err)
	check(os.Mkdir(filepath.Join(directory, "other"), 0o700) == nil, "other")

	watch(directory, "return", "exit status 0")
	watch(directory, "exit 3", "exit status 3")
	watch(directory, "panic", "exit status 2")
	watch(directory, "SIGTERM", "signal: terminated")
	watch(directory, "SIGKILL", "signal: killed")

	// Several at once, of which none is to take another's.
	var group sync.WaitGroup
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			child := exec.Command("/proc/self/exe", directory, "return")
			_, err := child.Output()
			check(err == nil, "%v", err)
		}()
	}
	group.Wait()
	eventually("only the observer's is left of five", func() bool { return count(directory) == 1 })
	check(exists(own) && exists(filepath.Join(directory, "other")), "too much is gone")
	check(os.Remove(filepath.Join(directory, "other")) == nil, "other")
}
