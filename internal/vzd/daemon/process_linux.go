package daemon

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// unneeded are resources that a machine has none of: a core file would have the
// guest's memory in it, and nobody needs message queues or a higher priority.
var unneeded = []int{unix.RLIMIT_CORE, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_NICE, unix.RLIMIT_RTPRIO}

// watchParent calls gone, once, on a goroutine of its own, when the process that
// started this one has ended. stop ends the watch and joins it.
func watchParent(parent int, gone func()) (stop func(), err error) {
	fd, err := unix.PidfdOpen(parent, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, errors.New("the process that started this one has ended already")
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // to wait without a thread
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "parent")
	if os.Getppid() != parent { // it ended before, and its number may be another's now
		_ = f.Close()
		return nil, fmt.Errorf("the parent is process %d, and not %d: the one that started this one has ended", os.Getppid(), parent)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Add(1)
	safe.Go("parent watch", nil, func() {
		defer wg.Done()
		if raw.Read(ended) == nil {
			gone()
		}
	})
	return func() {
		_ = f.Close()
		wg.Wait()
	}, nil
}

// ended says whether the process of a pidfd has ended: it is readable then.
func ended(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// endNow ends the process. tgkill(2) is the one signal that a confined process sends.
func endNow() { _ = unix.Tgkill(os.Getpid(), os.Getpid(), unix.SIGKILL) }

// peerUID is the user who made the other end of a socket.
func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, os.NewSyscallError("getsockopt", err)
	}
	return int(cred.Uid), nil
}

// unblockSignals executes the program once more if signals are blocked, with none
// blocked: the mask is inherited from the thread that started this process, the Go
// runtime gives it to all its threads, and virtual processors are interrupted by a
// signal.
func unblockSignals() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none, old unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, nil, &old); err != nil {
		return os.NewSyscallError("sigprocmask", err)
	}
	if old == none {
		return nil
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil); err != nil {
		return os.NewSyscallError("sigprocmask", err)
	}
	return os.NewSyscallError("execve", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}
