//go:build linux

package kvm

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
	"github.com/libcapsa/libcapsa/internal/vzd"
	"github.com/libcapsa/libcapsa/internal/vzd/client"
	"github.com/libcapsa/libcapsa/internal/vzd/daemon"
)

// daemonRole makes the test's program a daemon with this backend.
const daemonRole = "kvm-daemon"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == daemonRole {
		syscall.Exit(daemon.Run(os.Args[2:], New(), vzd.Options{}, os.Stderr))
	}
	os.Exit(m.Run())
}

// isolated is this backend in processes of its own.
func isolated(t *testing.T) *client.Backend {
	t.Helper()
	kvmtest.Require(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	return client.New(client.Config{Name: Name, Path: exe, Args: []string{daemonRole}, Capabilities: New().Capabilities})
}

// TestConformanceOfProcess: in a process of its own a machine behaves the same.
func TestConformanceOfProcess(t *testing.T) {
	vmtest.Conformance(t, isolated(t), bareGuests(t))
}

// TestProcessVsock: sockets reach through the process, and go with it.
func TestProcessVsock(t *testing.T) {
	backend := isolated(t)
	vmtest.CheckLeaks(t)
	path := filepath.Join(t.TempDir(), "sock")
	cfg := config(elf(t, newAsm().forever().assemble()))
	cfg.Vsock.Ports = []vm.VsockPort{{Port: 1024, Mode: vm.VsockListen, Path: path}}
	made, err := backend.New(cfg, vm.Host{})
	require.NoError(t, err)
	require.FileExists(t, path)
	m := made.(vm.Sockets)
	fd, err := m.VsockListen(vm.VsockSeqPacket, 9, 5)
	require.NoError(t, err)
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	require.NoError(t, err)
	require.Equal(t, 1, accepts)
	_, err = m.VsockListen(vm.VsockStream, 9, 5)
	require.ErrorIs(t, err, vm.KindExists)
	require.NoError(t, m.VsockUnlisten(9))
	require.ErrorIs(t, m.VsockUnlisten(9), vm.KindNotFound)
	require.NoError(t, unix.Close(fd))
	require.NoError(t, made.Close())
	require.NoFileExists(t, path)

	// What cannot be bound is said as in this process, and a used path is nobody's to remove.
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, inProcess := New().New(cfg, vm.Host{})
	_, isolatedErr := backend.New(cfg, vm.Host{})
	require.EqualError(t, isolatedErr, inProcess.Error())
	require.Equal(t, vm.KindOf(inProcess), vm.KindOf(isolatedErr))
	require.FileExists(t, path)
}

// TestProcessNetwork: a network works through the process, and goes with it.
func TestProcessNetwork(t *testing.T) {
	backend := isolated(t)
	vmtest.CheckLeaks(t)
	guest := newNetGuest().sendFrame(discover()).awaitFrame().printFrame(dhcpType, 3).print("up").forever()
	path := filepath.Join(t.TempDir(), "web")
	cfg := netConfig(t, guest, func(c *vm.NetworkConfig) {
		c.Forwards = []vm.Forward{{Protocol: vm.ForwardTCP, Path: path, Guest: 80}, {Protocol: vm.ForwardUDP, Guest: 53}}
	})
	out, host := serialHost()
	bound := make(chan vm.Forward, 3)
	host.Event = func(e vm.Event) {
		if e.Type == vm.EventPortBound {
			bound <- *e.Forward
		}
	}
	made, err := backend.New(cfg, host)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, made.Close()) })
	m := made.(vm.Networked)
	list, err := m.Forwards()
	require.NoError(t, err)
	require.Equal(t, []vm.Forward{<-bound, <-bound}, list)
	require.NoError(t, made.Start())
	wait(t, "the offer", out.Seen("up"))
	require.Equal(t, "\x35\x01\x02up", out.String())
	open, err := m.AddForward(vm.Forward{Protocol: vm.ForwardTCP, Guest: 22})
	require.NoError(t, err)
	require.Equal(t, open, <-bound)
	require.NoError(t, m.RemoveForward(open.ID))
	require.ErrorIs(t, m.SetPolicy([]byte("{")), vm.KindInvalidArg)
	require.NoError(t, m.SetPolicy([]byte(`{"default": "deny-all"}`)))
	require.NoError(t, m.SetLink(false))
	require.False(t, deviceNamed(t, made.Stats(), "network").Net.Link)
	require.NoError(t, made.Close())
	require.NoFileExists(t, path)
}
