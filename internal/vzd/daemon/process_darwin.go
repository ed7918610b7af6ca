package daemon

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// unneeded are resources that a machine has none of: a core file would have the
// guest's memory in it.
var unneeded = []int{unix.RLIMIT_CORE}

// watchParent calls gone, once, on a goroutine of its own, when the process that
// started this one has ended. stop ends the watch and joins it.
func watchParent(parent int, gone func()) (stop func(), err error) {
	queue, err := unix.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(queue)
	var exit, quit unix.Kevent_t
	unix.SetKevent(&exit, parent, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	exit.Fflags = unix.NOTE_EXIT
	unix.SetKevent(&quit, 0, unix.EVFILT_USER, unix.EV_ADD)
	_, err = unix.Kevent(queue, []unix.Kevent_t{exit, quit}, nil, nil)
	if err == nil && os.Getppid() != parent { // it ended before, and its number may be another's now
		err = unix.ESRCH
	}
	if err != nil {
		_ = unix.Close(queue)
		if errors.Is(err, unix.ESRCH) {
			return nil, fmt.Errorf("the process %d that started this one has ended already", parent)
		}
		return nil, os.NewSyscallError("kevent", err)
	}
	var wg sync.WaitGroup
	wg.Add(1)
	safe.Go("parent watch", nil, func() {
		defer wg.Done()
		got := make([]unix.Kevent_t, 1)
		for {
			n, err := unix.Kevent(queue, nil, got, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil && n == 1 && got[0].Filter == unix.EVFILT_PROC {
				gone()
			}
			return
		}
	})
	return func() {
		quit.Fflags, quit.Flags = unix.NOTE_TRIGGER, 0
		_, _ = unix.Kevent(queue, []unix.Kevent_t{quit}, nil, nil)
		wg.Wait()
		_ = unix.Close(queue)
	}, nil
}

// endNow ends the process.
func endNow() { _ = unix.Kill(os.Getpid(), unix.SIGKILL) }

// peerUID is the user who made the other end of a socket.
func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return -1, os.NewSyscallError("getsockopt", err)
	}
	return int(cred.Uid), nil
}

// unblockSignals has nothing to do: no backend here needs signals.
func unblockSignals() error { return nil }
