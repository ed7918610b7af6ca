package capsa_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// socketMachine is a machine of the fake backend whose sockets are numbers.
type socketMachine struct {
	vm.Machine
	used map[uint32]vm.VsockType // by port
	err  error                   // of all calls, if not nil
}

func (m *socketMachine) VsockConnect(ctx context.Context, _ vm.VsockType, port uint32) (int, error) {
	if port == silent {
		<-ctx.Done()
		return -1, vm.ContextError(ctx, "connect")
	}
	return int(port), m.err
}

func (m *socketMachine) VsockListen(t vm.VsockType, port uint32, _ int) (int, error) {
	if _, used := m.used[port]; used {
		return -1, vm.Errorf(vm.KindExists, "listen", "in use")
	}
	m.used[port] = t
	return int(port), m.err
}

func (m *socketMachine) VsockUnlisten(port uint32) error {
	delete(m.used, port)
	return m.err
}

var _ vm.Sockets = (*socketMachine)(nil)

// silent is a port of socketMachine that does not answer.
const silent = 5

// vsockBuilder is a builder for machines that wrap makes of the fake ones.
func vsockBuilder(t *testing.T, wrap func(vm.Machine) vm.Machine) *capsa.Builder {
	t.Helper()
	vmtest.CheckLeaks(t)
	fake := vmtest.NewFake()
	fake.Caps.Features[vm.FeatureVsock] = true
	b := capsa.NewBuilder()
	b.UseBackend(faulty{fake, wrap})
	require.NoError(t, b.SetKernel(vmtest.KernelSpin))
	return b
}

func TestVsock(t *testing.T) {
	machine := &socketMachine{used: map[uint32]vm.VsockType{}}
	b := vsockBuilder(t, func(m vm.Machine) vm.Machine { machine.Machine = m; return machine })
	require.NoError(t, b.SetVsock(true))
	m := buildFrom(t, b)

	fd, err := m.VsockConnect(t.Context(), capsa.VsockStream, 22)
	require.NoError(t, err)
	require.Equal(t, 22, fd)
	_, err = m.VsockConnect(expired(), capsa.VsockStream, silent)
	refused(t, vm.KindTimeout, err)
	_, err = m.VsockConnect(cancelled(), capsa.VsockStream, silent)
	refused(t, vm.KindCancelled, err)

	fd, err = m.VsockListen(capsa.VsockSeqPacket, 1024, 8)
	require.NoError(t, err)
	require.Equal(t, 1024, fd)
	require.Equal(t, vm.VsockSeqPacket, machine.used[1024])
	_, err = m.VsockListen(capsa.VsockStream, 1024, 8)
	refused(t, vm.KindExists, err)
	require.NoError(t, m.VsockUnlisten(1024))
	require.Empty(t, machine.used)

	_, err = m.VsockConnect(t.Context(), "dgram", 22)
	refused(t, vm.KindInvalidArg, err)
	_, err = m.VsockListen(capsa.VsockStream, 1<<32-1, 8)
	refused(t, vm.KindInvalidArg, err)

	machine.err = errGone // it ends meanwhile
	_, err = m.VsockConnect(t.Context(), capsa.VsockStream, 22)
	refused(t, vm.KindState, err)
	refused(t, vm.KindState, m.VsockUnlisten(1024))
	require.NoError(t, m.Kill())
	machine.err = nil
	_, err = m.VsockListen(capsa.VsockStream, 1024, 8)
	refused(t, vm.KindState, err)
}

func TestNoVsock(t *testing.T) {
	m := build(t, vmtest.KernelSpin)
	_, err := m.VsockConnect(t.Context(), capsa.VsockStream, 1)
	refused(t, vm.KindUnsupported, err)
	_, err = m.VsockListen(capsa.VsockStream, 1, 1)
	refused(t, vm.KindUnsupported, err)
	refused(t, vm.KindUnsupported, m.VsockUnlisten(1))
}

// A backend that promises sockets, and whose machines have none.
func TestVsockWithoutSockets(t *testing.T) {
	b := vsockBuilder(t, func(m vm.Machine) vm.Machine { return m })
	require.NoError(t, b.SetVsock(true))
	_, err := buildFrom(t, b).VsockConnect(t.Context(), capsa.VsockStream, 1)
	refused(t, vm.KindUnsupported, err)
}

// A backend without sockets builds no machine with them.
func TestVsockUnsupported(t *testing.T) {
	b := builder(t, vmtest.NewFake(), vmtest.KernelSpin)
	require.NoError(t, b.BindVsock(capsa.VsockPort{Port: 1, Path: "/x", Mode: capsa.VsockModeConnect}))
	_, err := b.Build()
	refused(t, vm.KindUnsupported, err)
	b.ClearVsockPorts()
	buildFrom(t, b)
}

func TestBindVsock(t *testing.T) {
	b := builder(t, vmtest.NewFake(), vmtest.KernelSpin)
	good := capsa.VsockPort{Port: 1, Path: "/x", Mode: capsa.VsockModeListen}
	for _, bad := range []capsa.VsockPort{
		{Port: 1, Mode: capsa.VsockModeListen}, {Port: 1, Path: "/x"}, {Port: 1<<32 - 1, Path: "/x", Mode: capsa.VsockModeListen},
	} {
		refused(t, vm.KindInvalidArg, b.BindVsock(bad))
	}
	require.Empty(t, b.Config().Vsock)
	require.NoError(t, b.BindVsock(good))
	other := b.Clone()
	require.NoError(t, other.BindVsock(good))
	require.Equal(t, []capsa.VsockPort{good}, b.Config().Vsock.Ports)
	refused(t, vm.KindConfig, other.Validate())
	for range vm.MaxVsockPorts - 1 {
		require.NoError(t, b.BindVsock(good))
	}
	refused(t, vm.KindInvalidArg, b.BindVsock(good))
}
