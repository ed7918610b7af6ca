//go:build linux

package kvm

import (
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/net/lan"
	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// socket is a pair: a descriptor for a machine, and a file at the other end.
func socket(t *testing.T) (fd int, far *os.File) {
	t.Helper()
	near, other, err := sockpair.New()
	require.NoError(t, err)
	far = os.NewFile(uintptr(other), "other end")
	t.Cleanup(func() {
		_ = unix.Close(near)
		_ = far.Close()
	})
	return near, far
}

func fdConfig(t *testing.T, a *asm, fd int) vm.Config {
	return netConfig(t, a, func(c *vm.NetworkConfig) {
		c.Mode, c.Cable = vm.NetworkFD, vm.Cable{File: fd}
	})
}

// Frames go over a descriptor as QEMU has them, both ways; when the other end goes, the
// guest sees its cable pulled, and another descriptor plugs it in again.
func TestNetFD(t *testing.T) {
	vmtest.CheckLeaks(t)
	fd, far := socket(t)
	events := make(chan vm.Event, 10)
	out, host := serialHost()
	host.Event = func(e vm.Event) { events <- e }
	m := bareCfg(t, fdConfig(t, newNetGuest().sendFrame(discover()).awaitFrame().printFrame(0, 14).forever(), fd), nil, host)
	require.NoError(t, m.Start())
	got := make([]byte, 4+len(discover()))
	_, err := io.ReadFull(far, got)
	require.NoError(t, err)
	require.Equal(t, append(binary.BigEndian.AppendUint32(nil, uint32(len(discover()))), discover()...), got)
	answer := append(append([]byte{}, guestMAC[:]...), "from-a-t"...)
	_, err = far.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...))
	require.NoError(t, err)
	<-out.Seen(string(answer))
	require.NoError(t, far.Close())
	e := <-events
	require.Equal(t, vm.EventLink, e.Type)
	require.False(t, e.Up)
	require.Contains(t, e.Message, "the other end was closed")
	require.False(t, deviceNamed(t, m.Stats(), "network").Net.Link)
	again, _ := socket(t)
	require.NoError(t, m.SetCable(again))
	require.True(t, (<-events).Up)
	require.True(t, deviceNamed(t, m.Stats(), "network").Net.Link)
	require.ErrorIs(t, m.SetCable(1<<20), vm.KindInvalidArg)
	_, err = m.AddForward(vm.Forward{Protocol: vm.ForwardTCP, Guest: 80})
	require.ErrorIs(t, err, vm.KindUnsupported)
	require.NoError(t, m.Close())
}

func TestNetFDRefused(t *testing.T) {
	for _, change := range []func(*vm.Config){
		func(c *vm.Config) { c.Network.Cable.File = 1 << 20 },
		func(c *vm.Config) { c.Network.Cable.Framing = vm.FramingDatagram },
	} {
		fd, _ := socket(t)
		cfg := fdConfig(t, newAsm().forever(), fd)
		change(&cfg)
		_, err := New().New(cfg, vm.Host{})
		require.ErrorIs(t, err, vm.KindInvalidArg)
	}
	cfg := fdConfig(t, newAsm().forever(), 0)
	cfg.Network.Mode, cfg.Network.Cable.TAP = vm.NetworkTAP, "no-such-tap"
	_, err := New().New(cfg, vm.Host{})
	require.ErrorIs(t, err, vm.KindNotFound)
	require.ErrorContains(t, err, "no-such-tap")
	cfg.Network.Mode, cfg.Network.Cable = vm.NetworkShared, vm.Cable{}
	_, err = New().New(cfg, vm.Host{})
	require.ErrorIs(t, err, vm.KindUnsupported)
}

// passt at the other end of the cable answers the guest's DHCP.
func TestNetPasst(t *testing.T) {
	program, err := exec.LookPath("passt")
	if err != nil {
		if strings.Contains(os.Getenv(kvmtest.RequireEnv), "passt") {
			t.Fatal("CAPSA_REQUIRE names passt, which is not installed (Debian: passt)")
		}
		t.Skip("there is no passt")
	}
	fd, far := socket(t)
	cmd := exec.Command(program, "-f", "-q", "-1", "-F", "3", "-a", "10.9.0.15", "-n", "24", "-g", "10.9.0.2")
	cmd.ExtraFiles = []*os.File{far}
	require.NoError(t, cmd.Start())
	require.NoError(t, far.Close())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	guest := newNetGuest().sendFrame(discover()).awaitFrame().printFrame(dhcpYourAddr, 4).powerOff()
	out, host := serialHost()
	m := bareCfg(t, fdConfig(t, guest, fd), nil, host)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Equal(t, string([]byte{10, 9, 0, 15}), out.String(), "an OFFER of passt")
	require.NoError(t, m.Close())
}

// What passes the device is in the file, from the beginning on; another capture takes
// its place while the machine runs.
func TestNetCapture(t *testing.T) {
	vmtest.CheckLeaks(t)
	path := filepath.Join(t.TempDir(), "capture")
	guest := newNetGuest().sendFrame(discover()).awaitFrame().printFrame(dhcpType, 3).powerOff()
	m := bareCfg(t, netConfig(t, guest, func(c *vm.NetworkConfig) { c.Capture = vm.Capture{Path: path} }), nil, vm.Host{})
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.NoError(t, m.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(b), string(discover()))
	require.Contains(t, string(b), string([]byte{53, 1, 2}), "the OFFER")

	m = bareCfg(t, netConfig(t, newAsm().forever(), func(c *vm.NetworkConfig) { c.Capture = vm.Capture{Path: path} }), nil, vm.Host{})
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, m.SetCapture(vm.Capture{File: int(w.Fd()), SnapLen: 100}))
	require.NoError(t, w.Close())
	require.ErrorIs(t, m.SetCapture(vm.Capture{File: 1 << 20}), vm.KindInvalidArg)
	require.NoError(t, m.SetCapture(vm.Capture{}))
	whole, err := io.ReadAll(r) // to the end: the machine's copy is closed
	require.NoError(t, err)
	require.NotEmpty(t, whole)
	require.NoError(t, r.Close())
	require.NoError(t, m.Close())
	cfg := netConfig(t, newAsm().forever(), func(c *vm.NetworkConfig) { c.Capture = vm.Capture{Path: "/no/such/directory"} })
	_, err = New().New(cfg, vm.Host{})
	require.ErrorIs(t, err, vm.KindNotFound)
}

// Limits of a running machine.
func TestNetLimits(t *testing.T) {
	limits := vm.NetworkLimits{FromGuest: vm.RateLimit{PacketsPerSec: 1, PacketsBurst: 1}, ConnectionsPerSec: 1}
	guest := newNetGuest().sendFrame(discover()).powerOff()
	m := bareCfg(t, netConfig(t, guest, func(c *vm.NetworkConfig) { c.Limits = limits }), nil, vm.Host{})
	require.NoError(t, m.SetLimits(vm.NetworkLimits{}))
	require.NoError(t, m.SetLimits(limits))
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.EqualValues(t, 1, deviceNamed(t, m.Stats(), "network").Net.FramesIn)
	require.ErrorIs(t, m.SetLimits(limits), vm.KindState)
	require.NoError(t, m.Close())
}

// A machine on a network of several, in this process and through a descriptor.
func TestNetShared(t *testing.T) {
	vmtest.CheckLeaks(t)
	n, err := lan.New(lan.Config{IPv4: netip.MustParsePrefix("10.44.0.0/24")})
	require.NoError(t, err)
	for _, apart := range []bool{false, true} {
		port, err := n.Join(lan.PortConfig{Name: "a", MAC: "02:00:5e:10:00:01", Guest: netip.MustParseAddr("10.44.0.7")})
		require.NoError(t, err)
		guest := newNetGuest().sendFrame(discover()).awaitFrame().printFrame(dhcpYourAddr, 4).powerOff()
		out, host := serialHost()
		cfg := netConfig(t, guest, func(c *vm.NetworkConfig) { c.Mode = vm.NetworkShared })
		var remote *lan.Remote
		if apart {
			var file *os.File
			file, remote, err = port.Plug()
			require.NoError(t, err)
			cfg.Network.Cable = vm.Cable{File: int(file.Fd()), Framing: vm.FramingDatagram, Header: true}
			defer file.Close()
		} else {
			host.Port = port
		}
		m := bareCfg(t, cfg, nil, host)
		require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
		require.Equal(t, string([]byte{10, 44, 0, 7}), out.String())
		require.NoError(t, m.Close())
		if remote != nil {
			remote.Close()
		}
		require.NoError(t, port.Close())
	}
}
