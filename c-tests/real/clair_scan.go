// A stand-in for Clair in an image of its own: one scan, which makes its temporary file as Clair 4.7.3 does, writes a layer
// into it, opens it again through /proc/self/fd and reads it from several goroutines. Says "scanned", or what Clair says.
package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"syscall"
)

const tmpfile = 0o20000000 | syscall.O_DIRECTORY

func scan() error {
	directory := os.TempDir()
	file, err := os.OpenFile(directory, syscall.O_WRONLY|syscall.O_CLOEXEC|tmpfile, 0644)
	if err != nil {
		return fmt.Errorf("Error opening temporary file in %s: %w", directory, err.(*os.PathError).Err)
	}
	defer file.Close()
	layer := bytes.Repeat([]byte("layer"), 20000)
	if _, err := file.Write(layer); err != nil {
		return err
	}
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return err
	}
	defer again.Close()
	var readers sync.WaitGroup
	errors := make([]error, 4)
	for part := range errors {
		readers.Add(1)
		go func(part int) {
			defer readers.Done()
			from, to := len(layer)*part/4, len(layer)*(part+1)/4
			seen := make([]byte, to-from)
			if _, err := again.ReadAt(seen, int64(from)); err != nil {
				errors[part] = err
			} else if !bytes.Equal(seen, layer[from:to]) {
				errors[part] = fmt.Errorf("bytes %d to %d are not what was written", from, to)
			}
		}(part)
	}
	readers.Wait()
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := scan(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("scanned")
}
