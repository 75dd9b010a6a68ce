package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Pending is a temporary file that is written and not yet synced, and the
// path that it is to have.
type Pending struct {
	File *os.File
	Path string
}

// FinishAll does for many files what Finish does for one, and waits for the
// disk only a few times: file systems put syncs that are asked for at once
// into one write. No file gets its name before all are synced. After an error
// the temporary files are gone, and any of them may have its name.
func FinishAll(list []Pending) error {
	err := atOnce(len(list), func(i int) error { return list[i].File.Sync() })
	for _, p := range list {
		err = errors.Join(err, p.File.Close())
	}
	var dirs []string
	for _, p := range list {
		if err == nil {
			err = os.Rename(p.File.Name(), p.Path)
			dirs = append(dirs, filepath.Dir(p.Path))
		}
		if err != nil {
			_ = os.Remove(p.File.Name()) // is not there when it was renamed
		}
	}
	if err == nil {
		slices.Sort(dirs)
		dirs = slices.Compact(dirs)
		err = atOnce(len(dirs), func(i int) error { return SyncDir(dirs[i]) })
	}
	if err != nil {
		return fmt.Errorf("writing %d files: %w", len(list), err)
	}
	return nil
}

// MkdirAll makes a directory and those above it that are missing, and makes
// their names durable.
func MkdirAll(dir string, perm os.FileMode) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// atOnce calls f for 0 to n-1, up to sixteen at a time, and joins the errors.
func atOnce(n int, f func(int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(n, 16) {
		wg.Go(func() {
			for i := range next {
				errs[i] = f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}
