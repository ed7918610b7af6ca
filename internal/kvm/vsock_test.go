//go:build linux

package kvm

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
	"github.com/libcapsa/libcapsa/internal/vsock"
)

// socketDir is a directory with a path short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kvm")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// printCID is a guest that prints the low byte of its address and powers off.
func printCID() *asm {
	const config = 0x100
	return newAsm().cli().movRBX(layout.Vsock.Addr()).
		emit(0x8a, 0x83).imm32(config). // mov al, [rbx+config]
		movEDX(layout.SerialPort).emit(0xee).powerOff()
}

// An address is a machine's until its end.
func TestVsockCID(t *testing.T) {
	vmtest.CheckLeaks(t)
	out, host := serialHost()
	cfg := config(elf(t, printCID().assemble()))
	cfg.Vsock.On = true
	m := bareCfg(t, cfg, nil, host)
	cid := m.vsock.GuestCID()
	require.Equal(t, vm.KindExists, vm.KindOf(vsock.ReserveCID(cid)))
	require.NotEqual(t, cid, bareCfg(t, cfg, nil, vm.Host{}).vsock.GuestCID())
	require.Contains(t, m.places(), layout.Vsock)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Equal(t, string([]byte{byte(cid)}), out.String())
	require.NoError(t, m.Close())
	require.NoError(t, vsock.ReserveCID(cid))
	vsock.ReturnCID(cid)
}

func TestVsockPorts(t *testing.T) {
	vmtest.CheckLeaks(t)
	path := filepath.Join(socketDir(t), "in")
	cfg := config(elf(t, newAsm().forever().assemble()))
	cfg.Vsock.Ports = []vm.VsockPort{
		{Port: 22, Path: path, Mode: vm.VsockListen},
		{Port: 1024, Path: path + "/not/there", Mode: vm.VsockConnect, Type: vm.VsockSeqPacket},
	}
	m := bareCfg(t, cfg, nil, vm.Host{})
	client, err := net.Dial("unix", path) // waits for the guest's driver
	require.NoError(t, err)
	defer client.Close()
	_, err = m.VsockListen(vm.VsockStream, 1024, 1)
	require.Equal(t, vm.KindExists, vm.KindOf(err))
	require.NoError(t, m.Start())
	require.Zero(t, deviceNamed(t, m.Stats(), "vsock").Vsock.Packets)

	require.NoError(t, m.Kill(vm.CauseKilled))
	require.NoError(t, client.SetDeadline(time.Now().Add(patience)))
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err, "the end")
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, m.Close())
	require.NoFileExists(t, path)
}

// Calls for sockets, from before the start until after the end.
func TestVsockCalls(t *testing.T) {
	vmtest.CheckLeaks(t)
	cfg := config(elf(t, newAsm().forever().assemble()))
	cfg.Vsock.On = true
	m := bareCfg(t, cfg, nil, vm.Host{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.VsockConnect(ctx, vm.VsockStream, 22)
	require.Equal(t, vm.KindCancelled, vm.KindOf(err))
	fd, err := m.VsockListen(vm.VsockSeqPacket, 1024, 8)
	require.NoError(t, err)
	defer unix.Close(fd)
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	require.NoError(t, err)
	require.Equal(t, unix.SOCK_SEQPACKET, typ)
	require.NoError(t, m.VsockUnlisten(1024))
	require.Equal(t, vm.KindNotFound, vm.KindOf(m.VsockUnlisten(1024)))

	require.NoError(t, m.Start())
	answer := make(chan error, 1)
	go func() {
		_, err := m.VsockConnect(context.Background(), vm.VsockStream, 22)
		answer <- err
	}()
	require.NoError(t, m.Pause())
	require.NoError(t, m.Resume())
	require.NoError(t, m.Close())
	select {
	case err := <-answer:
		require.Contains(t, []vm.Kind{vm.KindClosed, vm.KindState}, vm.KindOf(err), "%v", err)
	case <-time.After(patience):
		require.FailNow(t, "connect hangs")
	}
	_, err = m.VsockListen(vm.VsockStream, 1024, 8)
	require.Equal(t, vm.KindClosed, vm.KindOf(err))
}

// A machine that is not made leaves nothing, and says what is wrong with every port.
func TestVsockCannotBind(t *testing.T) {
	kvmtest.Require(t)
	vmtest.CheckLeaks(t)
	dir := socketDir(t)
	taken, good := filepath.Join(dir, "taken"), filepath.Join(dir, "good")
	require.NoError(t, os.WriteFile(taken, nil, 0o600))
	cfg := config(elf(t, newAsm().forever().assemble()))
	listen := func(port uint32, path string) vm.VsockPort {
		return vm.VsockPort{Port: port, Path: path, Mode: vm.VsockListen}
	}
	cfg.Vsock.Ports = []vm.VsockPort{listen(1, good), listen(2, taken)}
	_, err := New().New(cfg, vm.Host{})
	require.Equal(t, vm.KindExists, vm.KindOf(err))
	require.ErrorContains(t, err, taken)
	cfg.Vsock.Ports = append(cfg.Vsock.Ports, listen(3, dir+"/no/socket"))
	_, err = New().New(cfg, vm.Host{})
	require.ErrorContains(t, err, "vsock.ports[1]")
	require.ErrorContains(t, err, "vsock.ports[2]")
	require.NoFileExists(t, good)
	require.FileExists(t, taken)
}

// Without being asked for there is no device.
func TestNoVsock(t *testing.T) {
	m := bare(t, newAsm().forever(), nil, vm.Host{})
	require.NotContains(t, m.places(), layout.Vsock)
	_, err := m.VsockConnect(t.Context(), vm.VsockStream, 1)
	require.Equal(t, vm.KindUnsupported, vm.KindOf(err))
	_, err = m.VsockListen(vm.VsockStream, 1, 1)
	require.Equal(t, vm.KindUnsupported, vm.KindOf(err))
}
