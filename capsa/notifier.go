package capsa

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// maxNotified bounds the level-triggered descriptors of one machine; each costs
// the process three.
const maxNotified = 256

// notifier tells callers of something through descriptors that they own: ends of
// unix stream socket pairs. The end of it all is announced with shutdown, which
// reaches copies in forked children too. It may be used from any goroutine; the
// zero value is ready.
//
// A level descriptor is readable while the thing is there. That takes back the
// byte that said so, through a duplicate of the caller's end: the caller need not
// read. The duplicate keeps the pair alive until finish, hence maxNotified.
type notifier struct {
	mu     sync.Mutex
	ends   []end // guarded by mu
	raised bool  // guarded by mu
	over   bool  // guarded by mu
}

// end is the library's side of one descriptor.
type end struct {
	own  int // the other end of the pair
	peer int // a duplicate of the caller's end, or -1 when not level
}

// add makes a new descriptor for the caller. raised is the level it begins with.
func (n *notifier) add(op string, level, raised bool) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.prune()
	if level && !n.over && len(n.ends) >= maxNotified {
		return -1, vm.Errorf(vm.KindLimit, op, "%d descriptors of this machine exist already", maxNotified).
			WithHint("keep one for the life of the machine")
	}
	own, theirs, err := sockpair.New()
	if err != nil {
		return -1, descriptorError(op, err)
	}
	e := end{own: own, peer: -1}
	switch {
	case n.over:
		e.shut()
		return theirs, nil
	case level:
		e.peer, err = unix.FcntlInt(uintptr(theirs), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			_ = unix.Close(theirs)
			e.shut()
			return -1, descriptorError(op, os.NewSyscallError("fcntl", err))
		}
		n.raised = raised
		if raised {
			e.raise()
		}
	}
	n.ends = append(n.ends, e)
	return theirs, nil
}

func descriptorError(op string, err error) error {
	e := &vm.Error{Op: op, Kind: vm.KindOf(err), Err: err}
	if e.Kind == vm.KindLimit {
		e.Hint = "raise the limit of open files (ulimit -n)"
	}
	return e
}

// prune lets go of descriptors that their callers have closed, as far as that can
// be seen. Preconditions: mu is held.
func (n *notifier) prune() {
	kept := n.ends[:0]
	for _, e := range n.ends {
		var b [1]byte
		got, _, err := unix.Recvfrom(e.own, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		gone := got == 0 && err == nil || err == unix.ECONNRESET
		if e.peer < 0 && gone {
			e.shut()
			continue
		}
		kept = append(kept, e)
	}
	n.ends = kept
}

// raise makes level descriptors readable.
func (n *notifier) raise() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.raised || n.over {
		return
	}
	n.raised = true
	for _, e := range n.ends {
		e.raise()
	}
}

// lower makes them unreadable.
func (n *notifier) lower() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.raised || n.over {
		return
	}
	n.raised = false
	for _, e := range n.ends {
		e.lower()
	}
}

// finish announces the end, on the descriptors that exist and those to come.
func (n *notifier) finish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = true
	for _, e := range n.ends {
		e.shut()
	}
	n.ends = nil
}

// raise puts a byte where the caller's end finds it. When the buffer is full, which
// one byte cannot do, or the caller has shut the socket down, there is nobody to
// tell.
func (e end) raise() {
	if e.peer >= 0 {
		_ = unix.Sendto(e.own, []byte{1}, sockpair.SendFlags, nil)
	}
}

// lower takes it back, unless the caller has read it.
func (e end) lower() {
	if e.peer >= 0 {
		var b [8]byte
		_, _, _ = unix.Recvfrom(e.peer, b[:], unix.MSG_DONTWAIT)
	}
}

// shut ends the descriptor and frees what the library holds of it.
func (e end) shut() {
	_ = unix.Shutdown(e.own, unix.SHUT_RDWR)
	_ = unix.Close(e.own)
	if e.peer >= 0 {
		_ = unix.Close(e.peer)
	}
}
