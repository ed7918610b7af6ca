//go:build linux

package agent

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// exit is how a child ended.
type exit struct {
	status syscall.WaitStatus
	usage  syscall.Rusage
}

// Reaper collects every child of this process, those that it started and the orphans
// that fall to process 1. Nothing else in the process may wait for children.
type Reaper struct {
	mu      sync.Mutex
	waiting map[int]chan exit // guarded by mu
	orphan  []func()          // called after orphans have ended; guarded by mu
	idle    chan struct{}     // closed when there is no child, or nil; guarded by mu
}

// NewReaper starts collecting, also orphans of its children.
func NewReaper() *Reaper {
	r := &Reaper{waiting: map[int]chan exit{}}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // process 1 is it anyway
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	safe.Go("reaper", nil, func() {
		for range signals {
			r.collect()
		}
	})
	return r
}

// start starts a child; its end comes from the channel. The child cannot be collected
// before it is known.
func (r *Reaper) start(fork func() (pid int, err error)) (int, <-chan exit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := fork()
	if err != nil {
		return 0, nil, err
	}
	c := make(chan exit, 1)
	r.waiting[pid] = c
	return pid, c, nil
}

// collect collects all that have ended.
func (r *Reaper) collect() {
	r.mu.Lock()
	var orphans []func()
	for {
		var e exit
		pid, err := syscall.Wait4(-1, &e.status, syscall.WNOHANG, &e.usage)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.ECHILD && r.idle != nil {
			close(r.idle)
			r.idle = nil
		}
		if err != nil || pid <= 0 {
			break
		}
		if c, ours := r.waiting[pid]; ours {
			delete(r.waiting, pid)
			c <- e
		} else {
			orphans = r.orphan
		}
	}
	r.mu.Unlock()
	for _, fn := range orphans {
		fn()
	}
}

// onOrphans has fn called after orphans have ended.
func (r *Reaper) onOrphans(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.orphan = append(r.orphan, fn)
}

// Childless is closed when there is no child any more.
func (r *Reaper) Childless() <-chan struct{} {
	r.mu.Lock()
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	c := r.idle
	r.mu.Unlock()
	r.collect()
	return c
}
