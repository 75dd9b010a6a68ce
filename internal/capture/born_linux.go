package capture

import "golang.org/x/sys/unix"

// born gives when the file was made, in nanoseconds since the Unix epoch; ok
// is false where the file system does not keep it.
func born(path string) (ns int64, ok bool) {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st) != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0, false
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec), true
}
