package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// process is a daemon's process.
type process struct {
	path string
	proc *os.Process
	pid  int  // of proc, which forgets it
	log  tail // of its standard error
	wg   sync.WaitGroup

	unhook func() // ends the sockets to it: other processes may hold their other ends

	logSocket *os.File
	gone      chan struct{} // closed when it has ended and is reaped
	status    string        // how it ended, in words; valid once gone is closed
	killed    bool          // by a signal that may be the kernel's for want of memory; likewise
}

// launch starts the program with the arguments and the control socket's other end.
// The process gets four descriptors, a group of its own, so that Ctrl-C at a terminal
// is the caller's to handle, and nothing of the environment but a directory for
// temporary files, if it needs one. It is told who started it, to end when that ends.
// When it has ended, unhook is called.
func launch(path string, args []string, temp string, control int, unhook func()) (*process, error) {
	ownLog, theirLog, err := sockpair.New()
	if err != nil {
		return nil, err
	}
	p := &process{path: path, unhook: unhook, gone: make(chan struct{}), logSocket: os.NewFile(uintptr(ownLog), "vzd log")}
	err = p.start(args, temp, control, theirLog)
	_ = unix.Close(theirLog)
	if err != nil {
		_ = p.logSocket.Close()
		return nil, err
	}
	p.wg.Add(1)
	safe.Go("vzd log", nil, func() {
		defer p.wg.Done()
		buf := make([]byte, 4096)
		for {
			n, err := p.logSocket.Read(buf)
			_, _ = p.log.Write(buf[:n]) // cannot fail
			if err != nil {
				return
			}
		}
	})
	safe.Go("vzd process", nil, p.wait)
	return p, nil
}

// start starts the process with copies of the two sockets as descriptors 3 and 2.
func (p *process) start(args []string, temp string, control, log int) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []*os.File{null, null}
	for _, fd := range []int{log, control} {
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		f := os.NewFile(uintptr(copied), "vzd end")
		defer f.Close()
		files = append(files, f)
	}
	argv := append([]string{filepath.Base(p.path)}, args...)
	argv = append(argv, fmt.Sprintf("--parent=%d", os.Getpid()))
	env := []string{} // not nil, which would be ours
	if temp != "" {
		env = append(env, "TMPDIR="+temp)
	}
	p.proc, err = os.StartProcess(p.path, argv, &os.ProcAttr{
		Files: files, Env: env, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err == nil {
		p.pid = p.proc.Pid
	}
	return err
}

// wait waits for the process to end, and then ends what connects to it.
func (p *process) wait() {
	state, err := p.proc.Wait()
	if err != nil {
		_ = p.proc.Release() // which Wait does only when it succeeds
	}
	switch {
	case err == nil:
		p.status = state.String()
		if status, ok := state.Sys().(syscall.WaitStatus); ok {
			p.killed = status.Signaled() && status.Signal() == syscall.SIGKILL
		}
	case errors.Is(err, syscall.ECHILD): // somebody else reaped it, or SIGCHLD is ignored
		p.status = "how is not known, as another part of the program took its exit status"
	default:
		p.status = err.Error()
	}
	p.unhook()
	shutdown(p.logSocket)
	p.wg.Wait()
	_ = p.logSocket.Close()
	close(p.gone)
}

// kill ends the process now, if it has not ended.
func (p *process) kill() { _ = p.proc.Kill() }

// died is the error of a process that ended and should not have. Preconditions:
// gone is closed.
func (p *process) died(op string) *vm.Error {
	text := fmt.Sprintf("the process that runs the machine (%s, pid %d) ended: %s", p.path, p.pid, p.status)
	if words := p.log.summary(); words != "" {
		text += "; its last words: " + words
	}
	e := vm.Errorf(vm.KindVMMDied, op, "%s", text).WithComponent(component)
	if p.killed {
		e.Hint = "the host kills processes like that when it runs out of memory"
	}
	return e
}

// shutdown ends both directions of a socket: reads return what has arrived, and then
// the end, whoever else holds it.
func shutdown(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}
