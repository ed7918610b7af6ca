//go:build linux

package kvm

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	netdev "github.com/libcapsa/libcapsa/internal/virtio/net"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// guestMAC is the address of the bare guest's interface.
var guestMAC = [6]byte{0x02, 0, 0x5e, 0x10, 0, 1}

// netHeader is the size of struct virtio_net_hdr with VERSION_1 (virtio 1.2 section
// 5.1.6).
const netHeader = 12

func netConfig(t testing.TB, a *asm, change func(*vm.NetworkConfig)) vm.Config {
	t.Helper()
	cfg := config(elf(t, a.assemble()))
	cfg.Network = vm.NetworkConfig{Mode: vm.NetworkUser, MAC: "02:00:5e:10:00:01"}
	if change != nil {
		change(&cfg.Network)
	}
	return cfg
}

// newNetGuest begins a guest with a driver for both queues and a receive buffer,
// which can be waited for.
func newNetGuest() *asm {
	a := newDriver(layout.Net.Addr(), 2, uint32(netdev.FeatureMAC))
	const writable = 2
	a.mem32(ring(0)+8, 0x1000).mem32(ring(0)+12, writable)
	return a.emit(0x66, 0xc7, 0x04, 0x25).imm32(ring(0)+ringAvail+2).emit(1, 0). // mov word [avail.idx], 1
											store32(regNotify, 0)
}

// sendFrame hands a frame to the device and waits until it was taken.
func (a *asm) sendFrame(frame []byte) *asm {
	at := ring(1) + ringBuffer
	all := append(make([]byte, netHeader), frame...)
	padded := append(all, make([]byte, 3)...)
	for i := 0; i < len(all); i += 4 {
		a.mem32(at+uint32(i), binary.LittleEndian.Uint32(padded[i:]))
	}
	a.mem32(ring(1)+8, uint32(len(all)))
	return a.submit(1, "sent")
}

// awaitFrame waits for the first frame.
func (a *asm) awaitFrame() *asm {
	a.label("came").pause()
	return a.emit(0x66, 0x83, 0x3c, 0x25).imm32(ring(0) + ringUsed + 2).emit(1).jne("came") // cmp word [used.idx], 1
}

// printFrame prints bytes of the frame that came.
func (a *asm) printFrame(from, n uint32) *asm {
	for i := range n {
		a.printByte(ring(0)+ringBuffer+netHeader+from+i, 0)
	}
	return a
}

// discover is a DHCPDISCOVER as a frame (RFC 2131 section 2), with UDP's checksum left
// out, as it may be.
func discover() []byte {
	message := make([]byte, 240, 244)
	message[0], message[1], message[2] = 1, 1, 6
	copy(message[4:], "xid!")
	copy(message[28:], guestMAC[:])
	copy(message[236:], []byte{0x63, 0x82, 0x53, 0x63})
	message = append(message, 53, 1, 1, 255)

	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(message)))
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	udp := []byte{0, 68, 0, 67, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(message)))

	frame := append([]byte{255, 255, 255, 255, 255, 255}, guestMAC[:]...)
	frame = append(append(frame, 8, 0), ip...)
	return append(append(frame, udp...), message...)
}

// Where things are in the answer: after the headers of Ethernet, IPv4 and UDP.
const (
	dhcpYourAddr = 42 + 16
	dhcpType     = 42 + 240 // the first option
)

func TestNetDHCP(t *testing.T) {
	vmtest.CheckLeaks(t)
	guest := newNetGuest().sendFrame(discover()).awaitFrame().
		printFrame(dhcpType, 3).printFrame(dhcpYourAddr, 4).powerOff()
	out, host := serialHost()
	m := bareCfg(t, netConfig(t, guest, func(c *vm.NetworkConfig) {
		c.IPv4 = netip.MustParsePrefix("192.168.77.0/24")
	}), nil, host)
	require.Contains(t, m.places(), layout.Net)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Equal(t, string([]byte{53, 1, 2})+string([]byte{192, 168, 77, 15}), out.String(), "an OFFER")

	stats := deviceNamed(t, m.Stats(), "network")
	require.Equal(t, uint32(1), stats.VirtioID)
	require.Equal(t, uint64(1), stats.Net.FramesIn)
	require.Equal(t, uint64(1), stats.Net.FramesOut)
	require.Equal(t, uint64(len(discover())), stats.BytesIn)
	require.Equal(t, "02:00:5e:10:00:01", stats.Net.MAC)
	require.Zero(t, stats.Net.Spoofed+stats.Net.Malformed+stats.Net.Stray)
	require.NoError(t, m.Close())
}

// Frames from an address that is not the guest's go nowhere.
func TestNetSpoofed(t *testing.T) {
	vmtest.CheckLeaks(t)
	frame := discover()
	frame[11]++
	m := bareCfg(t, netConfig(t, newNetGuest().sendFrame(frame).powerOff(), nil), nil, vm.Host{})
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	stats := deviceNamed(t, m.Stats(), "network").Net
	require.Equal(t, uint64(1), stats.Spoofed)
	require.Zero(t, stats.FramesOut)
}

// The link is down until it is plugged in.
func TestNetLink(t *testing.T) {
	vmtest.CheckLeaks(t)
	m := bareCfg(t, netConfig(t, newNetGuest().sendFrame(discover()).print("sent").forever(), func(c *vm.NetworkConfig) {
		c.LinkDown = true
	}), nil, vm.Host{})
	stats := func() *vm.NetStats { return deviceNamed(t, m.Stats(), "network").Net }
	require.False(t, stats().Link)
	out, host := serialHost()
	other := bareCfg(t, m.cfg, nil, host)
	require.NoError(t, other.Start())
	wait(t, "the guest", out.Seen("sent"))
	counted := deviceNamed(t, other.Stats(), "network").Net
	require.Equal(t, uint64(1), counted.DroppedIn)
	require.Zero(t, counted.FramesIn)
	require.NoError(t, m.SetLink(true))
	require.True(t, stats().Link)
}

// An address comes from the machine's name, so that the guest finds it again.
func TestNetAddress(t *testing.T) {
	kvmtest.Require(t)
	mac := func(name string) string {
		cfg := config(elf(t, newAsm().forever().assemble()))
		cfg.Name, cfg.Network.Mode = name, vm.NetworkUser
		return deviceNamed(t, bareCfg(t, cfg, nil, vm.Host{}).Stats(), "network").Net.MAC
	}
	require.Equal(t, mac("web"), mac("web"))
	require.NotEqual(t, mac("web"), mac("db"))
	require.NotEqual(t, mac(""), mac(""))
}

// Forwarded ports are there from the build to the end, and what they are is told.
func TestNetForwards(t *testing.T) {
	vmtest.CheckLeaks(t)
	dir := socketDir(t)
	var bound []vm.Forward
	host := vm.Host{Event: func(e vm.Event) {
		if e.Type == vm.EventPortBound {
			bound = append(bound, *e.Forward)
		}
	}}
	cfg := netConfig(t, newAsm().forever(), func(c *vm.NetworkConfig) {
		c.Forwards = []vm.Forward{
			{Protocol: vm.ForwardTCP, Guest: 80}, {Protocol: vm.ForwardUDP, Guest: 53},
			{Protocol: vm.ForwardTCP, Path: dir + "/web", Guest: 80},
		}
	})
	m := bareCfg(t, cfg, nil, host)
	list, err := m.Forwards()
	require.NoError(t, err)
	require.Equal(t, bound, list)
	require.Len(t, list, 3)
	info, err := os.Stat(dir + "/web")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "only this user connects")

	client, err := net.Dial("tcp", list[0].Host.String()) // waits for the guest
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, m.Start())
	require.NoError(t, m.Kill(vm.CauseKilled))
	require.NoError(t, client.SetDeadline(time.Now().Add(patience)))
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err, "the end")
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, m.Close())
	require.NoFileExists(t, dir+"/web")
	l, err := net.Listen("tcp", list[0].Host.String())
	require.NoError(t, err, "the port is free")
	require.NoError(t, l.Close())
}

// What cannot be bound is told at once, and nothing is left.
func TestNetPortsThatCannotBeBound(t *testing.T) {
	kvmtest.Require(t)
	vmtest.CheckLeaks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	taken := vm.Forward{Protocol: vm.ForwardTCP, Host: netip.MustParseAddrPort(l.Addr().String()), Guest: 80}
	missing := vm.Forward{Protocol: vm.ForwardTCP, Path: t.TempDir() + "/no/such", Guest: 80}
	strange := vm.Forward{Protocol: vm.ForwardUDP, Host: netip.MustParseAddrPort("192.0.2.1:80"), Guest: 80}
	tests := []struct {
		name     string
		forwards []vm.Forward
		kind     vm.Kind
		says     []string
	}{
		{"taken", []vm.Forward{taken}, vm.KindExists, []string{"forward 0", l.Addr().String()}},
		{"no directory", []vm.Forward{missing}, vm.KindNotFound, []string{missing.Path}},
		{"not ours", []vm.Forward{strange}, vm.KindInvalidArg, []string{"192.0.2.1"}},
		{"all", []vm.Forward{taken, {Protocol: vm.ForwardTCP, Guest: 1}, missing}, vm.KindExists,
			[]string{"network.forwards[0]", "network.forwards[2]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := New().New(netConfig(t, newAsm().forever(), func(c *vm.NetworkConfig) { c.Forwards = test.forwards }), vm.Host{})
			require.Nil(t, m)
			require.Equal(t, test.kind, vm.KindOf(err), "%v", err)
			for _, text := range test.says {
				require.ErrorContains(t, err, text)
			}
		})
	}
}

func TestNetPolicies(t *testing.T) {
	vmtest.CheckLeaks(t)
	m := bareCfg(t, netConfig(t, newAsm().forever(), nil), nil, vm.Host{})
	require.NoError(t, m.SetPolicy(json.RawMessage(`{"default": "deny-all", "rules": [{"action": "allow", "domains": ["example.com"]}]}`)))
	err := m.SetPolicy(json.RawMessage(`{"default": "some", "rules": [{"action": "allow", "ports": [0]}]}`))
	require.ErrorIs(t, err, vm.KindInvalidArg)
	require.ErrorContains(t, err, "default")
	require.ErrorContains(t, err, "rules[0].ports[0]")
	require.NoError(t, m.SetPolicy(nil))
	_, err = New().New(netConfig(t, newAsm().forever(), func(c *vm.NetworkConfig) { c.Policy = json.RawMessage(`{"default": "x"}`) }), vm.Host{})
	require.ErrorIs(t, err, vm.KindConfig)
	require.ErrorContains(t, err, "network.policy.default")
}

// A client that waits for the guest does not hold up the end.
func TestNetEndWithClients(t *testing.T) {
	vmtest.CheckLeaks(t)
	m := bareCfg(t, netConfig(t, newNetGuest().print("up").forever(), func(c *vm.NetworkConfig) {
		c.Forwards = []vm.Forward{{Protocol: vm.ForwardTCP, Guest: 80}}
	}), nil, vm.Host{})
	list, err := m.Forwards()
	require.NoError(t, err)
	require.NoError(t, m.Start())
	var clients []net.Conn
	for range 8 {
		c, err := net.Dial("tcp", list[0].Host.String())
		require.NoError(t, err)
		clients = append(clients, c)
	}
	require.NoError(t, m.Close())
	for _, c := range clients {
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		_, err := io.ReadAll(c)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, c.Close())
	}
}
