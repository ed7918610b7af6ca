package capsa

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"github.com/libcapsa/libcapsa/internal/agent/host"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Dial connects to a socket in the guest through its agent, without a network: "tcp" and
// "localhost:80", or "unix" and "/run/x.sock". Errors: those of WaitReady; KindIO (the
// guest's socket refuses: Error.Errno).
func (v *VM) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	const op = "dial"
	if network != "tcp" && network != "unix" {
		return nil, vm.Errorf(vm.KindInvalidArg, op, "%q is no kind of address; \"tcp\" and \"unix\" are", network)
	}
	h, err := v.hostOf(op)
	if err != nil {
		return nil, err
	}
	s := h.Expect()
	_, err = host.Call(ctx, h, op, wire.AgentService.Dial, &wire.DialRequest{Network: network, Address: address, Stream: s.ID()})
	if err != nil {
		s.Cancel()
		return nil, v.guestError(op, err)
	}
	conn, err := s.Wait(ctx, op)
	if err != nil {
		return nil, v.guestError(op, err)
	}
	return conn, nil
}

// SocketForward is a listening socket of the host whose clients reach one in the guest.
type SocketForward struct {
	v       *VM
	l       net.Listener
	network string
	address string
	stop    context.CancelFunc
	ctx     context.Context
	wg      sync.WaitGroup
}

// ForwardSocket listens on the host ("unix" and a path where nothing is yet, "tcp" and
// "127.0.0.1:0") and joins each client to a new connection to a socket in the guest: see
// Dial. A client whose connection fails is closed. It ends with the machine, or by Close.
func (v *VM) ForwardSocket(hostNetwork, hostAddress, guestNetwork, guestAddress string) (*SocketForward, error) {
	const op = "forward socket"
	if guestNetwork != "tcp" && guestNetwork != "unix" {
		return nil, vm.Errorf(vm.KindInvalidArg, op, "%q is no kind of address; \"tcp\" and \"unix\" are", guestNetwork)
	}
	if hostNetwork != "tcp" && hostNetwork != "unix" {
		return nil, vm.Errorf(vm.KindInvalidArg, op, "%q is no kind of address; \"tcp\" and \"unix\" are", hostNetwork)
	}
	if _, err := v.hostOf(op); err != nil {
		return nil, err
	}
	l, err := net.Listen(hostNetwork, hostAddress)
	if err != nil {
		return nil, vm.Wrap(op, err)
	}
	if hostNetwork == "unix" {
		if err := os.Chmod(hostAddress, 0o600); err != nil { // this user's alone
			return nil, vm.Wrap(op, errors.Join(err, l.Close()))
		}
	}
	f := &SocketForward{v: v, l: l, network: guestNetwork, address: guestAddress}
	f.ctx, f.stop = context.WithCancel(v.life)
	f.wg.Add(1)
	ok := v.background("socket forward", func() {
		defer f.wg.Done()
		defer context.AfterFunc(f.ctx, func() { _ = l.Close() })()
		f.serve()
	})
	if !ok {
		f.wg.Done()
		return nil, errors.Join(vm.Errorf(vm.KindClosed, op, "the machine is closed"), l.Close())
	}
	return f, nil
}

// Addr is where the host listens.
func (f *SocketForward) Addr() net.Addr { return f.l.Addr() }

// Close stops listening and ends all connections.
func (f *SocketForward) Close() error {
	f.stop()
	err := f.l.Close()
	f.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return vm.Wrap("forward socket", err)
}

func (f *SocketForward) serve() {
	for {
		client, err := f.l.Accept()
		if err != nil {
			return
		}
		f.wg.Add(1)
		safe.Go("socket forward", func(error) { _ = client.Close() }, func() {
			defer f.wg.Done()
			defer client.Close()
			guest, err := f.v.Dial(f.ctx, f.network, f.address)
			if err != nil {
				return
			}
			defer guest.Close()
			f.join(client, guest)
		})
	}
}

// join copies both ways, and passes the end of each on.
func (f *SocketForward) join(a, b net.Conn) {
	defer context.AfterFunc(f.ctx, func() { _, _ = a.Close(), b.Close() })()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Add(1)
		safe.Go("socket forward", nil, func() {
			defer wg.Done()
			_, err := io.Copy(way[0], way[1])
			if c, ok := way[0].(interface{ CloseWrite() error }); ok && err == nil {
				_ = c.CloseWrite()
				return
			}
			_, _ = a.Close(), b.Close()
		})
	}
	wg.Wait()
}
