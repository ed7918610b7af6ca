//go:build linux

package block

import (
	"errors"

	"golang.org/x/sys/unix"
)

// QEMU's scheme of image locks (block/file-posix.c): each byte of the file stands
// for a permission. A user holds a read lock at permBase + p for each permission p
// it uses, and at sharedBase + p for each that it does not allow to others; before
// it goes on, it looks whether somebody uses what it forbids or forbids what it uses.
// Locks are of the open file description, so two opens in one process meet too.
const (
	permBase   = 100 // RAW_LOCK_PERM_BASE
	sharedBase = 200 // RAW_LOCK_SHARED_BASE

	permConsistentRead = 0 // BLK_PERM_CONSISTENT_READ is 1 << 0
	permWrite          = 1
	permResize         = 3
)

// errInUse says that another process, or another disk of this one, has the image.
var errInUse = errors.New("it is in use by another machine")

// lock claims the file for reading or writing, and against writers, until Close.
func (f *file) lock(write bool) error {
	uses := []int64{permConsistentRead}
	if write {
		uses = append(uses, permWrite, permResize)
	}
	forbids := []int64{permWrite, permResize}
	for _, p := range uses {
		if err := f.setLock(permBase + p); err != nil {
			return err
		}
	}
	for _, p := range forbids {
		if err := f.setLock(sharedBase + p); err != nil {
			return err
		}
	}
	for _, p := range uses {
		if err := f.probe(sharedBase + p); err != nil {
			return err
		}
	}
	for _, p := range forbids {
		if err := f.probe(permBase + p); err != nil {
			return err
		}
	}
	return nil
}

// unlock gives up every lock of the file.
func (f *file) unlock() error {
	l := unix.Flock_t{Type: unix.F_UNLCK, Whence: 0, Start: permBase, Len: 2 * (sharedBase - permBase)}
	return f.lockCall(unix.F_OFD_SETLK, &l)
}

// lockCall is fcntl, which a signal may interrupt on network file systems.
func (f *file) lockCall(cmd int, l *unix.Flock_t) error {
	return retry("fcntl", func() error { return unix.FcntlFlock(uintptr(f.fd), cmd, l) })
}

// setLock takes a shared lock on one byte.
func (f *file) setLock(at int64) error {
	l := unix.Flock_t{Type: unix.F_RDLCK, Whence: 0, Start: at, Len: 1}
	err := f.lockCall(unix.F_OFD_SETLK, &l)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errInUse // somebody probes with a lock of his own
	}
	return err
}

// probe fails when another description holds a lock on the byte.
func (f *file) probe(at int64) error {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: at, Len: 1}
	if err := f.lockCall(unix.F_OFD_GETLK, &l); err != nil {
		return err
	}
	if l.Type != unix.F_UNLCK {
		return errInUse
	}
	return nil
}
