package vztest

import (
	"io"
	"net"
	"os"
	"runtime"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vz"
)

// Ended is closed when the guest has been stopped.
func (g *Guest) Ended() <-chan struct{} { return g.stopped }

// do runs one action that the host can see: not while paused, never after the end.
func (g *Guest) do(action func()) {
	g.mu.Lock()
	for g.state == vz.Paused && !g.over {
		g.running.Wait()
	}
	over := g.over
	if !over {
		action()
	}
	g.mu.Unlock()
	if over {
		runtime.Goexit()
	}
}

// Print writes to the console.
func (g *Guest) Print(text string) {
	g.do(func() { _, _ = io.WriteString(g.ends.Output, text) }) // the host reads always
}

// Read reads from the console, at least one byte.
func (g *Guest) Read(b []byte) int {
	read := make(chan int, 1)
	safe.Go("vztest read", nil, func() {
		n, _ := g.ends.Input.Read(b)
		read <- n
	})
	select {
	case n := <-read:
		g.do(func() {})
		return n
	case <-g.stopped:
		_ = g.ends.Input.Close() // ends the read
		<-read
		runtime.Goexit()
	}
	return 0
}

// AwaitButton waits until the power button is pressed.
func (g *Guest) AwaitButton() {
	select {
	case <-g.button:
	case <-g.stopped:
	}
	g.do(func() {})
}

// Fail ends the guest with an internal error of the framework.
func (g *Guest) Fail() {
	g.halt(vz.Failed)
	runtime.Goexit()
}

// Dial connects to a port of the host, and waits until somebody listens there.
func (g *Guest) Dial(port uint32) (*net.UnixConn, error) {
	g.mu.Lock()
	for g.listeners[port] == nil && !g.over {
		g.running.Wait()
	}
	l, over := g.listeners[port], g.over
	g.mu.Unlock()
	if over {
		runtime.Goexit()
	}
	guest, host, err := g.pair()
	if err != nil {
		return nil, err
	}
	select {
	case l.conns <- host:
		return guest, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Network is the guest's end of the network, a frame in each datagram; nil: there is
// none.
func (g *Guest) Network() *os.File { return g.ends.Network }
