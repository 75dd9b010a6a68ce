package capture

import (
	"time"

	"golang.org/x/sys/unix"
)

// identity tells one state of a file from another without reading it.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds since the Unix epoch
	dir, regular bool
}

// identify looks at the file that path leads to, also over a link.
func identify(path string) (identity, bool) {
	var st unix.Stat_t
	for {
		err := unix.Stat(path, &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return identity{}, false
		}
		return identityOf(&st), true
	}
}

func identityOf(st *unix.Stat_t) identity {
	return identity{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
		dir: st.Mode&unix.S_IFMT == unix.S_IFDIR, regular: st.Mode&unix.S_IFMT == unix.S_IFREG}
}

// same tells whether the content is the same as far as can be told without
// reading: a change of mode or of links moves ctime only.
func (i identity) same(o identity) bool {
	return i.dev == o.dev && i.ino == o.ino && i.size == o.size && i.mtime == o.mtime
}

// changedSince tells whether anything of the file changed at or after t, as
// far as the clock of the file system can tell.
func (i identity) changedSince(t time.Time) bool {
	return max(i.ctime, i.mtime) >= t.Add(-tick).UnixNano()
}
