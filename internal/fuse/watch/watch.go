//go:build linux

package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// Op is what happened, one bit each.
type Op uint32

// What happened to a name in a watched directory, or to the directory.
const (
	Created   Op = 1 << iota // the name is new
	Removed                  // the name is gone
	MovedAway                // the name went elsewhere; Cookie pairs it with MovedHere
	MovedHere                // the name came from elsewhere
	Written                  // the file's data changed
	Changed                  // the file's attributes changed
	Gone                     // the directory itself was removed and closed, or unmounted; it is not watched any more
	Overflow                 // events were lost: anything may have changed in any directory
)

// Event is one change.
type Event struct {
	Key    uint64 // of Add; 0 with Overflow
	Op     Op
	Name   string // in the directory; arbitrary bytes without "/" and NUL
	Dir    bool   // the name is a directory
	Cookie uint32 // pairs MovedAway and MovedHere
}

var (
	// ErrClosed: the watcher was closed.
	ErrClosed = errors.New("watch: closed")
	// ErrLimit: as many directories are watched as may be.
	ErrLimit = errors.New("watch: too many directories")
)

// bufferSize holds many events: one has 16 bytes and up to 256 of a name.
const bufferSize = 64 << 10

// mask is what the kernel is asked for. IN_EXCL_UNLINK: files that were
// removed and are still written concern nobody in the directory.
const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MODIFY | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// Watcher watches directories.
type Watcher struct {
	file    *os.File // inotify
	limit   int
	deliver func([]Event)
	done    chan struct{}

	mu     sync.Mutex
	closed bool             // guarded by mu
	wds    map[uint64]int32 // guarded by mu; by key
	keys   map[int32]uint64 // guarded by mu; by watch descriptor
}

// New makes a watcher of at most limit directories. deliver gets events in
// order, on one goroutine, with no lock held; the slice is its own. Errors:
// EMFILE when the user has too many inotify instances
// (/proc/sys/fs/inotify/max_user_instances).
func New(limit int, deliver func([]Event)) (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	w := &Watcher{
		file: os.NewFile(uintptr(fd), "inotify"), limit: limit, deliver: deliver, done: make(chan struct{}),
		wds: map[uint64]int32{}, keys: map[int32]uint64{},
	}
	safe.Go("watch", nil, w.run)
	return w, nil
}

// Add watches the directory that fd is a descriptor of, O_PATH or not. It stays
// the caller's. Events have the key, which is not 0. A directory that is
// watched under another key gets this one. Errors: ErrLimit, ErrClosed, ENOSPC
// when the user has too many watches (max_user_watches), ENOTDIR.
func (w *Watcher) Add(key uint64, fd int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	if _, ok := w.wds[key]; !ok && len(w.wds) >= w.limit {
		return ErrLimit
	}
	// The link in /proc leads to the directory itself, whatever its name is.
	n, err := unix.InotifyAddWatch(int(w.file.Fd()), fmt.Sprintf("/proc/self/fd/%d", fd), mask)
	if err != nil {
		return os.NewSyscallError("inotify_add_watch", err)
	}
	wd := int32(n)
	if old, ok := w.keys[wd]; ok {
		delete(w.wds, old)
	}
	if old, ok := w.wds[key]; ok && old != wd {
		w.remove(key, old)
	}
	w.keys[wd], w.wds[key] = key, wd
	return nil
}

// Remove ends the watch of a key. Events that were under way may still come.
func (w *Watcher) Remove(key uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if wd, ok := w.wds[key]; ok && !w.closed {
		w.remove(key, wd)
	}
}

// remove ends a watch. Preconditions: mu is held.
func (w *Watcher) remove(key uint64, wd int32) {
	delete(w.wds, key)
	delete(w.keys, wd)
	// EINVAL: the directory has gone by itself.
	_, _ = unix.InotifyRmWatch(int(w.file.Fd()), uint32(wd))
}

// Len is the number of directories that are watched.
func (w *Watcher) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wds)
}

// Close ends all watches. No event is delivered after it returned; do not call
// it from deliver. Idempotent.
func (w *Watcher) Close() {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	w.mu.Unlock()
	if !closed {
		_ = w.file.Close() // ends the Read
	}
	<-w.done
}

// run is the watcher's goroutine.
func (w *Watcher) run() {
	defer close(w.done)
	buf := make([]byte, bufferSize)
	for {
		n, err := w.file.Read(buf)
		if err != nil || n <= 0 {
			return
		}
		if events := w.parse(buf[:n]); len(events) > 0 {
			w.deliver(events)
		}
	}
}

// parse turns struct inotify_event (inotify(7)) into events.
func (w *Watcher) parse(b []byte) []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	ne := binary.NativeEndian
	var events []Event
	for len(b) >= unix.SizeofInotifyEvent {
		wd, bits, cookie := int32(ne.Uint32(b)), ne.Uint32(b[4:]), ne.Uint32(b[8:])
		size := uint64(unix.SizeofInotifyEvent) + uint64(ne.Uint32(b[12:]))
		if size > uint64(len(b)) {
			break
		}
		name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:size], []byte{0})
		b = b[size:]
		if bits&unix.IN_Q_OVERFLOW != 0 {
			events = append(events, Event{Op: Overflow})
			continue
		}
		key, ok := w.keys[wd]
		if !ok {
			continue // of a watch that was removed
		}
		if bits&unix.IN_IGNORED != 0 {
			delete(w.keys, wd)
			delete(w.wds, key)
			events = append(events, Event{Key: key, Op: Gone})
			continue
		}
		if op := opOf(bits); op != 0 && len(name) > 0 {
			events = append(events, Event{Key: key, Op: op, Name: string(name), Dir: bits&unix.IN_ISDIR != 0, Cookie: cookie})
		}
	}
	return events
}

func opOf(bits uint32) Op {
	switch {
	case bits&unix.IN_CREATE != 0:
		return Created
	case bits&unix.IN_DELETE != 0:
		return Removed
	case bits&unix.IN_MOVED_FROM != 0:
		return MovedAway
	case bits&unix.IN_MOVED_TO != 0:
		return MovedHere
	case bits&unix.IN_MODIFY != 0:
		return Written
	case bits&unix.IN_ATTRIB != 0:
		return Changed
	}
	return 0
}
