package client

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

const (
	// helloTime is how long a daemon that was started may take to say so. It takes
	// milliseconds; a host that is out of memory or processors takes seconds.
	helloTime = 10 * time.Second

	// leaveTime is how long a daemon that has closed its connection may take to end:
	// time to say why.
	leaveTime = 2 * time.Second
)

// daemon is a daemon that was started, and the connection to it.
type daemon struct {
	*process
	*link
	leaving atomic.Bool   // we have closed the connection
	reason  error         // why the connection ended, if the daemon broke the rules; valid once gone is closed
	buried  func()        // called when the process is gone, before calls fail; may be nil
	ended   chan struct{} // closed when nothing is left
}

// open starts a daemon. Nothing is received before greet. When the process is gone,
// unhook is called. temp is its directory for temporary files, or "".
func open(path string, args []string, temp string, unhook func()) (*daemon, error) {
	own, theirs, err := sockpair.New()
	if err != nil {
		return nil, startError(path, err)
	}
	conn, err := wire.NewConn(own)
	if err != nil {
		_ = unix.Close(theirs)
		return nil, startError(path, err)
	}
	p, err := launch(path, args, temp, theirs, func() {
		conn.Shutdown()
		unhook()
	})
	_ = unix.Close(theirs)
	if err != nil {
		_ = conn.Close()
		return nil, startError(path, err)
	}
	d := &daemon{process: p, link: newLink(conn), ended: make(chan struct{})}
	d.failure = d.cutShort
	return d, nil
}

// startError is the error of a daemon that was not started.
func startError(path string, err error) error {
	e := vm.Errorf(vm.KindOf(err), "start daemon", "%w", err).WithComponent(component).WithPath(path)
	switch e.Kind {
	case vm.KindLimit, vm.KindNoMemory:
		return e
	case vm.KindIO, vm.KindInternal:
		e.Kind = vm.KindUnavailable
	}
	return e.WithHint("is it a program for this host, and may it be executed?")
}

// greet starts receiving, and settles the version.
func (d *daemon) greet(limit time.Duration) (wire.Welcome, error) {
	safe.Go("vzd client", nil, d.run)
	var w wire.Welcome
	timer := time.AfterFunc(limit, d.kill)
	_, err := d.call(context.Background(), wire.MethodHello, wire.Hello{Proto: wire.Proto, Client: "libcapsa"}, nil, &w)
	timely := timer.Stop()
	if err == nil && w.Proto != wire.Proto {
		err = vm.Errorf(vm.KindProtocol, wire.MethodHello, "the daemon speaks version %d of the protocol, and the library version %d",
			w.Proto, wire.Proto)
	}
	if err == nil {
		return w, nil
	}
	d.abort()
	e := vm.Errorf(vm.KindOf(err), "start daemon", "%w", err).WithComponent(component).WithPath(d.path).
		WithHint("is it the " + Program + " that came with this library?")
	switch {
	case !timely:
		e.Kind, e.Err = vm.KindUnavailable, errors.New("it did not answer in time")
	case errors.Is(err, vm.KindProtocol):
		e.Kind = vm.KindProtocol
	case e.Kind == vm.KindVMMDied:
		e.Kind = vm.KindUnavailable
	}
	return w, e
}

// run is the daemon's goroutine, which sees to its end.
func (d *daemon) run() {
	defer close(d.ended)
	err := safe.Run("vzd client", func() { d.reason = d.receive() })
	if err != nil {
		d.reason = err
	}
	if !errors.Is(d.reason, vm.KindProtocol) && err == nil || d.leaving.Load() {
		d.reason = nil // the end of the connection, in one way or another
		timer := time.AfterFunc(leaveTime, d.kill)
		defer timer.Stop()
		d.conn.Shutdown() // it may wait for the end of ours
	} else {
		d.kill()
	}
	<-d.gone
	if d.buried != nil {
		d.buried()
	}
	d.end()
}

// cutShort is the error of a call that the daemon's end cut short.
func (d *daemon) cutShort(op string) error {
	e := d.died(op)
	if d.reason != nil {
		e.Err = errors.Join(d.reason, e.Err)
	}
	return e
}

// leave closes the connection and waits for the daemon to end by itself.
func (d *daemon) leave() {
	d.leaving.Store(true)
	d.conn.Shutdown()
	<-d.ended
}

// abort ends the daemon.
func (d *daemon) abort() {
	d.leaving.Store(true)
	d.kill()
	<-d.ended
}
