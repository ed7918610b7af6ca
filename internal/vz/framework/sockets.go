//go:build darwin && (cgo || vzstub)

package framework

import (
	"context"
	"errors"
	"net"
	"sync"

	vzf "github.com/Code-Hex/vz/v3"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vz"
)

func (g *guest) findSocket() *vzf.VirtioSocketDevice {
	devices := g.vm.SocketDevices()
	pin(devices)
	if len(devices) != 1 {
		return nil
	}
	return devices[0]
}

// errNoSocket is the answer for a guest without a socket device.
var errNoSocket = errors.New("the framework shows no socket device")

// attempts is how often a connection is asked for whose descriptor somebody else has
// closed meanwhile.
const attempts = 3

// Connect implements vz.Guest.
func (g *guest) Connect(ctx context.Context, port uint32) (conn *net.UnixConn, err error) {
	for range attempts {
		conn, err = g.connectOnce(ctx, port)
		if !errors.Is(err, errTaken) {
			break
		}
	}
	return conn, err
}

// connectOnce gives the wait for an answer an end: the framework has none, and none at
// all when the guest stops meanwhile.
func (g *guest) connectOnce(ctx context.Context, port uint32) (*net.UnixConn, error) {
	device := g.socket()
	if device == nil {
		return nil, errNoSocket
	}
	type answer struct {
		conn *net.UnixConn
		err  error
	}
	answered := make(chan answer, 1)
	safe.Go("vz connect", func(err error) { answered <- answer{err: err} }, func() {
		c, err := device.Connect(port)
		if err != nil {
			answered <- answer{err: convert(err)}
			return
		}
		conn, err := g.take(c)
		answered <- answer{conn, err}
	})
	select {
	case a := <-answered:
		return a.conn, a.err
	case <-ctx.Done():
		safe.Go("vz late answer", nil, func() {
			if a := <-answered; a.conn != nil {
				_ = a.conn.Close()
			}
		})
		return nil, ctx.Err()
	}
}

// take takes the socket out of a connection, one at a time.
func (g *guest) take(c *vzf.VirtioSocketConnection) (*net.UnixConn, error) {
	g.taking.Lock()
	defer g.taking.Unlock()
	return socketOf(c)
}

// listener implements vz.Listener.
type listener struct {
	own    *vzf.VirtioSocketListener
	conns  chan *net.UnixConn
	closed chan struct{}
	once   sync.Once
}

// Listen implements vz.Guest. The goroutine that accepts stays behind after Close,
// which does not wake it.
func (g *guest) Listen(port uint32) (vz.Listener, error) {
	device := g.socket()
	if device == nil {
		return nil, errNoSocket
	}
	own, err := device.Listen(port)
	if err != nil {
		return nil, convert(err)
	}
	l := &listener{own: own, conns: make(chan *net.UnixConn), closed: make(chan struct{})}
	pin(l)
	safe.Go("vz accept", func(err error) { g.log("%v", err) }, func() {
		for {
			c, err := own.AcceptVirtioSocketConnection()
			if err != nil {
				g.log("port %d: %v", port, convert(err))
				continue
			}
			conn, err := g.take(c)
			if err != nil {
				g.log("port %d: %v", port, err)
				continue
			}
			select {
			case l.conns <- conn:
			case <-l.closed:
				_ = conn.Close()
			}
		}
	})
	return l, nil
}

// Accept implements vz.Listener.
func (l *listener) Accept() (*net.UnixConn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements vz.Listener.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		err = convert(l.own.Close())
	})
	return err
}
