//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// cgroupRoot is where cgroup v2 is mounted.
const cgroupRoot = "/sys/fs/cgroup"

// process is a program that the host has started.
type process struct {
	pid   int
	group *group // nil: there are no control groups
	tty   *os.File
	begin time.Time
	done  chan struct{}   // closed when reply is valid
	reply *wire.WaitReply // written before done is closed

	mu       sync.Mutex
	ended    bool // the pid is no longer its; guarded by mu
	timedOut bool // guarded by mu
}

// launch is what becomes of a request on the way to a process.
type launch struct {
	q     *wire.StartRequest
	path  string
	args  []string
	env   []string
	attr  syscall.ProcAttr
	sys   syscall.SysProcAttr
	user  user
	group *group
	tty   *os.File   // the agent's end of the terminal
	close []*os.File // the program's ends, closed when it has them
	pumps []func()   // carry its streams
}

// exec starts a program.
func (a *Agent) exec(q *wire.StartRequest) (id uint64, pid int, err error) {
	if a.procs.full() {
		return 0, 0, syscall.EMFILE
	}
	l := &launch{q: q}
	if err := l.resolve(); err != nil {
		return 0, 0, err
	}
	conns, err := a.streams(q.Stdin, q.Stdout, q.Stderr)
	if err != nil {
		return 0, 0, fmt.Errorf("streams to the host: %w", err)
	}
	if err := a.wire(l, conns); err != nil {
		l.closeEnds()
		closeAll(conns)
		return 0, 0, err
	}
	p := &process{done: make(chan struct{}), tty: l.tty, begin: time.Now()}
	id, err = a.procs.put(p)
	if err == nil {
		if err = a.launch(l, p, id); err != nil {
			_, _ = a.procs.take(id)
		}
	}
	l.closeEnds()
	if err != nil {
		if l.tty != nil {
			l.tty.Close()
		}
		closeAll(conns)
		return 0, 0, err
	}
	for _, pump := range l.pumps {
		safe.Go("stream", nil, pump)
	}
	return id, p.pid, nil
}

// launch makes the process and what waits for its end.
func (a *Agent) launch(l *launch, p *process, id uint64) error {
	if a.cgroups == nil && (l.q.Memory > 0 || l.q.Pids > 0) || a.cgroups != nil && !a.cgroups.limits && l.q.Memory+l.q.Pids > 0 {
		return fmt.Errorf("this guest has no control groups that limit memory: %w", syscall.EOPNOTSUPP)
	}
	if a.cgroups != nil {
		g, err := a.cgroups.make(id, l.q.Memory, l.q.Pids)
		if err != nil {
			return fmt.Errorf("control group: %w", err)
		}
		l.group, p.group = g, g
		l.sys.UseCgroupFD, l.sys.CgroupFD = true, g.fd
	}
	l.attr.Sys = &l.sys
	pid, ended, err := a.reaper.start(l.fork)
	if err != nil {
		if l.group != nil {
			l.group.close()
		}
		return fmt.Errorf("%s: %w", l.path, err)
	}
	p.pid = pid
	var timer *time.Timer
	if l.q.TimeoutNs > 0 {
		timer = time.AfterFunc(time.Duration(l.q.TimeoutNs), p.timeout)
	}
	safe.Go("process", nil, func() {
		e := <-ended
		p.finish(e, timer)
	})
	return nil
}

// fork makes the process. Resource limits are set while it is stopped, before its first
// instruction: fork(2) in Go has no place for them.
func (l *launch) fork() (int, error) {
	if len(l.q.Rlimits) == 0 {
		return syscall.ForkExec(l.path, l.args, &l.attr)
	}
	runtime.LockOSThread() // ptrace(2) is a matter of threads
	defer runtime.UnlockOSThread()
	l.sys.Ptrace = true
	pid, err := syscall.ForkExec(l.path, l.args, &l.attr)
	if err != nil {
		return 0, err
	}
	var status syscall.WaitStatus
	_, err = syscall.Wait4(pid, &status, syscall.WALL, nil)
	if err == nil && !status.Stopped() {
		err = fmt.Errorf("it ended at once")
	}
	for _, r := range l.q.Rlimits {
		if err == nil {
			err = unix.Prlimit(pid, int(r.Resource), &unix.Rlimit{Cur: r.Soft, Max: r.Hard}, nil)
		}
	}
	if err == nil {
		err = unix.PtraceDetach(pid)
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = syscall.Wait4(pid, &status, syscall.WALL, nil)
		return 0, fmt.Errorf("resource limits: %w", err)
	}
	return pid, nil
}

func (l *launch) closeEnds() {
	for _, f := range l.close {
		f.Close()
	}
	l.close = nil
}

// finish takes down how it ended.
func (p *process) finish(e exit, timer *time.Timer) {
	if timer != nil {
		timer.Stop()
	}
	p.mu.Lock()
	p.ended = true
	timedOut := p.timedOut
	p.mu.Unlock()
	r := &wire.WaitReply{
		Code: int32(e.status.ExitStatus()), TimedOut: timedOut,
		UserNs: e.usage.Utime.Nano(), SystemNs: e.usage.Stime.Nano(), MaxRss: uint64(e.usage.Maxrss) << 10,
		RealNs: time.Since(p.begin).Nanoseconds(),
	}
	if e.status.Signaled() {
		r.Signal = int32(e.status.Signal())
		r.Code = 128 + r.Signal
	}
	if p.group != nil {
		r.Oom = p.group.oom()
		if timedOut { // who was forked while the others were killed
			_ = p.group.kill()
		}
		p.group.close()
	}
	p.reply = r
	close(p.done)
}

func (p *process) timeout() {
	p.mu.Lock()
	p.timedOut = !p.ended
	p.mu.Unlock()
	_ = p.signal(unix.SIGKILL, true)
}

// signal sends a signal to its process group, or kills everything that came from it.
// ESRCH: it has ended.
func (p *process) signal(s syscall.Signal, all bool) error {
	p.mu.Lock()
	defer p.mu.Unlock() // while it is not collected the pid is its own
	if all && s == unix.SIGKILL && p.group != nil {
		if err := p.group.kill(); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	if p.ended {
		return syscall.ESRCH
	}
	return unix.Kill(-p.pid, s)
}

// resize tells it the size of its terminal.
func (p *process) resize(cols, rows uint32) error {
	if p.tty == nil {
		return fmt.Errorf("the program has no terminal: %w", syscall.ENOTTY)
	}
	return setSize(p.tty, cols, rows)
}

// setSize sets a terminal's size. An end that is closed has no size any more, which is
// no mistake.
func setSize(tty *os.File, cols, rows uint32) error {
	raw, err := tty.SyscallConn()
	if err != nil {
		return nil
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(min(cols, 0xffff)), Row: uint16(min(rows, 0xffff))})
	})
	if err != nil {
		return nil
	}
	return set
}

// wire connects a program's descriptors with the streams.
func (a *Agent) wire(l *launch, conns []Conn) error {
	switch {
	case l.q.Console:
		return l.onConsole(a.cfg.Console)
	case l.q.Tty:
		return l.onTerminal(conns[0])
	}
	files := make([]*os.File, 3)
	for i := range files {
		var err error
		switch {
		case conns[i] == nil:
			files[i], err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		case i == 0:
			files[i], err = l.input(conns[i])
		default:
			files[i], err = l.output(conns[i])
		}
		if err != nil {
			return err
		}
		l.close = append(l.close, files[i])
	}
	l.sys.Setsid = true
	l.descriptors(files...)
	return nil
}

// descriptors sets the program's. Fd makes a file blocking, as programs expect it.
func (l *launch) descriptors(files ...*os.File) {
	l.attr.Files = nil
	for _, f := range files {
		l.attr.Files = append(l.attr.Files, f.Fd())
	}
}

// input is the program's end of a pipe that has what the host sends.
func (l *launch) input(conn Conn) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if err := l.own(r); err != nil {
		r.Close()
		w.Close()
		return nil, err
	}
	l.pumps = append(l.pumps, func() {
		copyStream(w, conn)
		w.Close()
		conn.Close() // the host sees that nobody reads
	})
	return r, nil
}

// output is the program's end of a pipe that takes what the host gets.
func (l *launch) output(conn Conn) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if err := l.own(w); err != nil {
		r.Close()
		w.Close()
		return nil, err
	}
	l.pumps = append(l.pumps, func() {
		copyStream(conn, r)
		r.Close()
		_ = conn.CloseWrite()
		conn.Close()
	})
	return w, nil
}

// own gives a pipe to the program's user, who may open it again (/dev/stdout).
func (l *launch) own(f *os.File) error {
	if l.user.uid == os.Getuid() {
		return nil
	}
	return f.Chown(l.user.uid, l.user.gid)
}

// buffers are for copyStream: as much as a pipe holds.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// copyStream copies until either side ends.
func copyStream(w io.Writer, r io.Reader) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	_, _ = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, *b)
}
