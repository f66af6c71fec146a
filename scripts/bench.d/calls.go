// calls: for every line "WHAT COUNT THREADS DIRECTORY" on standard input, does COUNT things in that many threads, each in a
// directory of its own below that one, and answers with the nanoseconds that took, or with the error.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const tmpfile = 0x410000 // O_TMPFILE, with O_DIRECTORY

func one(what, directory string) error {
	var fd int
	var err error
	switch what {
	case "getppid":
		syscall.Getppid()
		return nil
	case "open":
		fd, err = syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	case "tmpfile":
		fd, err = syscall.Open(directory, syscall.O_RDWR|syscall.O_CLOEXEC|tmpfile, 0600)
	case "by-hand":
		path := directory + "/by-hand"
		fd, err = syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_CREAT|syscall.O_EXCL, 0600)
		if err == nil {
			err = syscall.Unlink(path)
		}
	default:
		err = syscall.EINVAL
	}
	if err != nil {
		return err
	}
	return syscall.Close(fd)
}

// run answers once all threads are there, have begun together and are done.
func run(what string, count, threads int, directory string) (time.Duration, error) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	failed := make(chan error, threads)
	for thread := 0; thread < threads; thread++ {
		ready.Add(1)
		done.Add(1)
		go func(directory string) {
			defer done.Done()
			runtime.LockOSThread()
			ready.Done()
			<-begin
			for left := count / threads; left > 0; left-- {
				if err := one(what, directory); err != nil {
					failed <- err
					return
				}
			}
		}(fmt.Sprintf("%s/%d", directory, thread))
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	done.Wait()
	spent := time.Since(start)
	select {
	case err := <-failed:
		return 0, err
	default:
		return spent, nil
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what, directory string
		var count, threads int
		if _, err := fmt.Sscan(lines.Text(), &what, &count, &threads, &directory); err != nil {
			fmt.Println(err)
			continue
		}
		spent, err := run(what, count, threads, directory)
		if err != nil {
			fmt.Println(err)
		} else {
			fmt.Println(spent.Nanoseconds())
		}
	}
}
