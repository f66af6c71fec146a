// A static Go program: its opens never pass through libc, and Go interrupts them with SIGURG.
package main

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

const tmpfile = 0o20000000 | syscall.O_DIRECTORY

func main() {
	var group sync.WaitGroup
	failed := false
	for worker := 0; worker < 8; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for round := 0; round < 25; round++ {
				file, err := os.OpenFile(os.Args[1], tmpfile|os.O_RDWR, 0o600)
				if err != nil {
					println(err.Error())
					failed = true
					return
				}
				if _, err := file.WriteString("abc"); err != nil {
					println(err.Error())
					failed = true
				}
				file.Close()
				runtime.Gosched()
			}
		}()
	}
	group.Wait()
	if failed {
		os.Exit(1)
	}
}
