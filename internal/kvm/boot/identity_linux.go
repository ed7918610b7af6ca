package boot

import (
	"os"
	"syscall"
	"time"
)

// fileID is what changes when a file's contents do.
type fileID struct {
	dev, inode, size uint64
	mtime, ctime     syscall.Timespec
}

// identify tells a file's identity and when its contents or attributes last changed.
func identify(f *os.File) (id fileID, changed time.Time, ok bool) {
	info, err := f.Stat()
	if err != nil {
		return fileID{}, time.Time{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, time.Time{}, false
	}
	id = fileID{dev: st.Dev, inode: st.Ino, size: uint64(st.Size), mtime: st.Mtim, ctime: st.Ctim}
	return id, time.Unix(st.Ctim.Unix()), true
}
