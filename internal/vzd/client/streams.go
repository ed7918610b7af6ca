package client

import (
	"io"
	"os"
	"sync"

	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// inflow moves what the guest prints from a socket to a writer of the host.
type inflow struct {
	file *os.File
	to   io.Writer // nil: it is dropped

	mu   sync.Mutex
	cond sync.Cond
	got  uint64 // bytes that the writer has had; guarded by mu
	over bool   // there will be no more; guarded by mu
}

func newInflow(fd int, to io.Writer) *inflow {
	f := &inflow{file: os.NewFile(uintptr(fd), "vzd stream"), to: to}
	f.cond.L = &f.mu
	return f
}

// run moves until the end.
func (f *inflow) run() {
	defer f.end()
	buf := make([]byte, 32<<10)
	for {
		n, err := f.file.Read(buf)
		if n > 0 && f.to != nil {
			_, _ = f.to.Write(buf[:n]) // the host's own affair
		}
		f.mu.Lock()
		f.got += uint64(n)
		f.cond.Broadcast()
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (f *inflow) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.cond.Broadcast()
}

// wait waits until the writer has had that many bytes, or all that come.
func (f *inflow) wait(bytes uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.got < bytes && !f.over {
		f.cond.Wait()
	}
}

// outflow moves what the host types to the console's socket.
type outflow struct {
	from  *vm.Pipe
	to    *os.File
	typed chan struct{} // one token: there may be something
	stop  chan struct{} // closed: no more
}

func newOutflow(from *vm.Pipe, to *os.File) *outflow {
	return &outflow{from: from, to: to, typed: make(chan struct{}, 1), stop: make(chan struct{})}
}

// run moves until the end. It waits while the guest does not read, as the socket
// and the daemon's pipe are then full, and in the end the host's pipe too.
func (o *outflow) run() {
	o.from.SetNotify(func() {
		select {
		case o.typed <- struct{}{}:
		default:
		}
	})
	defer o.from.SetNotify(nil)
	raw, err := o.to.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 4<<10)
	for {
		select {
		case <-o.typed:
		case <-o.stop:
			return
		}
		for n := o.from.TryRead(buf); n > 0; n = o.from.TryRead(buf) {
			if wire.Send(raw, buf[:n], nil) != nil {
				return
			}
		}
	}
}

// newStreams makes the sockets: ours, and the daemon's ends.
func newStreams(host vm.Host) (ours [wire.Streams]*inflow, ends wire.Files, err error) {
	writers := [wire.Streams]io.Writer{wire.StreamConsole: host.Console, wire.StreamSerial: host.Serial}
	for i := range ours {
		own, theirs, err := sockpair.New()
		if err != nil {
			ends.Close()
			for _, f := range ours[:i] {
				_ = f.file.Close()
			}
			return ours, nil, err
		}
		ours[i] = newInflow(own, writers[i])
		ends = append(ends, theirs)
	}
	return ours, ends, nil
}
