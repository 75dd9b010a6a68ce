//go:build !linux

package capture

func born(string) (ns int64, ok bool) { return 0, false }
