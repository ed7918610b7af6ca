package lan

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/ether"
	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// host is a machine of a network, with a driver that takes every frame.
type host struct {
	*Port
	t      testing.TB
	mu     sync.Mutex
	got    []link.Frame // guarded by mu
	events []vm.Event   // guarded by mu
}

func (h *host) Receive(frames []link.Frame) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range frames {
		h.got = append(h.got, link.Frame{Header: f.Header, Data: [][]byte{bytes.Join(f.Data, nil)}})
	}
	return len(frames)
}

func (h *host) event(e vm.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// take returns what came from others of the network, and forgets it. Deliveries happen
// in the call of Send; what the gateway sends is left out.
func (h *host) take() (list [][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.got {
		if [6]byte(f.Data[0][6:12]) != gateway.MAC {
			list = append(list, f.Data[0])
		}
	}
	h.got = nil
	return list
}

func newNetwork(t testing.TB, cfg Config) *Network {
	t.Helper()
	n, err := New(cfg)
	require.NoError(t, err)
	return n
}

func join(t testing.TB, n *Network, cfg PortConfig, o link.Offloads) *host {
	t.Helper()
	h := &host{t: t}
	cfg.Event = h.event
	p, err := n.Join(cfg)
	require.NoError(t, err)
	h.Port = p
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	p.Attach(h, o)
	t.Cleanup(p.Detach)
	return h
}

var all = link.Offloads{Checksum: true, TSO4: true, TSO6: true, ECN: true, USO4: true, USO6: true}

// two machines of a network.
func two(t testing.TB, cfg Config) (n *Network, a, b *host) {
	t.Helper()
	n = newNetwork(t, cfg)
	return n, join(t, n, PortConfig{Name: "a"}, all), join(t, n, PortConfig{Name: "b"}, all)
}

func (h *host) send(frames ...[]byte) {
	list := make([]link.Frame, len(frames))
	for i, f := range frames {
		list[i] = link.Frame{Data: [][]byte{f}}
	}
	h.Send(list)
}

func ethernet(dst, src ether.MAC, kind uint16, packet []byte) []byte {
	b := append(append([]byte{}, dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(b, kind), packet...)
}

// ip is a packet of either version with a transport whose checksum is at an offset.
func ip(src, dst netip.Addr, proto uint8, transport []byte, at int) []byte {
	t := bytes.Clone(transport)
	if at >= 0 {
		binary.BigEndian.PutUint16(t[at:], frame.Pseudo(src, dst, proto, len(t)))
		frame.Complete(t, 0, at)
	}
	var h []byte
	if src.Is4() {
		h = []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(t)))
		h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
		frame.Complete(h, 0, 10)
	} else {
		h = []byte{0x60, 0, 0, 0, 0, 0, proto, 255}
		binary.BigEndian.PutUint16(h[4:], uint16(len(t)))
		h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
	}
	return append(h, t...)
}

func udp(sport, dport uint16, payload string) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
	return append(append(binary.BigEndian.AppendUint16(b, uint16(8+len(payload))), 0, 0), payload...)
}

func tcp(sport, dport uint16, flags uint8) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
	return append(b, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 0, 0, 0, 0, 0, 0)
}

// udpTo is a datagram from one machine to another.
func (h *host) udpTo(to *host, sport, dport uint16, payload string) []byte {
	return ethernet(to.mac, h.mac, frame.TypeIPv4, ip(h.ip, to.ip, frame.UDP, udp(sport, dport, payload), 6))
}

func (h *host) tcpTo(to *host, sport, dport uint16, flags uint8) []byte {
	return ethernet(to.mac, h.mac, frame.TypeIPv4, ip(h.ip, to.ip, frame.TCP, tcp(sport, dport, flags), 16))
}

var everybody = ether.MAC{255, 255, 255, 255, 255, 255}

func arp(op uint16, mac ether.MAC, sender, target netip.Addr) []byte {
	b := append([]byte{0, 1, 8, 0, 6, 4}, byte(op>>8), byte(op))
	b = append(append(b, mac[:]...), sender.AsSlice()...)
	return append(append(b, make([]byte, 6)...), target.AsSlice()...)
}

func TestAddresses(t *testing.T) {
	n := newNetwork(t, Config{IPv4: netip.MustParsePrefix("10.1.0.0/29")})
	a, b := join(t, n, PortConfig{Name: "A"}, all), join(t, n, PortConfig{}, all)
	require.NotEqual(t, a.ip, b.ip)
	require.NotEqual(t, a.mac, b.mac)
	fixed := netip.MustParseAddr("10.1.0.6")
	c := join(t, n, PortConfig{Name: "c", MAC: "02:00:00:00:00:09", Guest: fixed}, all)
	require.Equal(t, fixed, c.ip)
	require.Equal(t, "02:00:00:00:00:09", c.MAC())
	for _, tt := range []struct {
		cfg  PortConfig
		want vm.Kind
	}{
		{PortConfig{Name: "a"}, vm.KindExists},
		{PortConfig{MAC: "02:00:00:00:00:09"}, vm.KindExists},
		{PortConfig{MAC: "ca:95:a0:00:00:01"}, vm.KindExists},
		{PortConfig{Guest: fixed}, vm.KindExists},
		{PortConfig{Guest: netip.MustParseAddr("10.2.0.1")}, vm.KindInvalidArg},
		{PortConfig{Forwards: []vm.Forward{{Protocol: "sctp"}}}, vm.KindInvalidArg},
	} {
		_, err := n.Join(tt.cfg)
		require.ErrorIs(t, err, tt.want, tt.cfg)
	}
	join(t, n, PortConfig{}, all)
	join(t, n, PortConfig{}, all)
	_, err := n.Join(PortConfig{})
	require.ErrorIs(t, err, vm.KindLimit, "6 addresses, of which one is the gateway's")
	addrs, ok := n.lookup("a.capsa.internal")
	require.True(t, ok)
	require.Equal(t, []netip.Addr{a.ip}, addrs)
	name, ok := n.reverse(fixed)
	require.True(t, ok)
	require.Equal(t, "c.capsa.internal", name)
	n.Close()
	_, err = n.Join(PortConfig{})
	require.ErrorIs(t, err, vm.KindState)
	for _, cfg := range []Config{{IPv4: netip.MustParsePrefix("10.0.0.0/31")}, {NoNAT: true, HostAccess: true}, {Domain: "a..b"}} {
		_, err := New(cfg)
		require.ErrorIs(t, err, vm.KindInvalidArg)
	}
}

// Who leaves leaves room for another one.
func TestLeave(t *testing.T) {
	n := newNetwork(t, Config{})
	p, err := n.Join(PortConfig{Name: "a"})
	require.NoError(t, err)
	require.NoError(t, p.Close())
	_, known := n.lookup("a")
	require.False(t, known)
	again := join(t, n, PortConfig{Name: "a"}, all)
	require.Equal(t, p.ip, again.ip)
	require.Equal(t, p.mac, again.mac)
	require.Len(t, n.addrs, 3)
}

func TestDatagrams(t *testing.T) {
	_, a, b := two(t, Config{})
	first, second := a.udpTo(b, 5000, 6000, "one"), a.udpTo(b, 5000, 6000, "two")
	a.send(first, second)
	require.Equal(t, [][]byte{first, second}, b.take())
	back := b.udpTo(a, 6000, 5000, "back")
	b.send(back)
	require.Equal(t, [][]byte{back}, a.take())
	require.EqualValues(t, 2, a.Stats().Peer.Frames)
}

// A flow needs the leave of both, answers need none, and a policy that changes ends what
// it does not allow.
func TestPolicy(t *testing.T) {
	n := newNetwork(t, Config{})
	a := join(t, n, PortConfig{Name: "a"}, all)
	b := join(t, n, PortConfig{Name: "b", Policy: json.RawMessage(
		`{"default": "deny-all", "inbound": "deny", "rules": [{"action": "allow", "direction": "inbound", "ports": [80], "protocols": ["tcp"]}]}`)}, all)
	a.send(a.udpTo(b, 5000, 80, "x"))
	require.Empty(t, b.take())
	require.EqualValues(t, 1, a.Stats().Peer.Denied)
	a.send(a.tcpTo(b, 5000, 81, frame.FlagSYN))
	require.Empty(t, b.take())
	rst := a.take()
	require.Len(t, rst, 1, "the opener is told")
	require.Equal(t, b.mac[:], rst[0][6:12])
	require.Equal(t, frame.FlagRST|frame.FlagACK, rst[0][47])
	require.Equal(t, []byte{0, 0, 0, 8}, rst[0][42:46], "what follows the SYN")

	syn := a.tcpTo(b, 5000, 80, frame.FlagSYN)
	a.send(syn)
	require.Equal(t, [][]byte{syn}, b.take())
	b.send(b.tcpTo(a, 80, 5000, frame.FlagSYN|frame.FlagACK)) // though all outbound is denied
	require.Len(t, a.take(), 1)
	b.send(b.tcpTo(a, 80, 5001, frame.FlagSYN|frame.FlagACK), b.tcpTo(a, 80, 5001, frame.FlagACK))
	require.Empty(t, a.take(), "of no flow")
	b.send(b.tcpTo(a, 5000, 80, frame.FlagSYN))
	require.Empty(t, a.take())
	require.Len(t, b.take(), 1, "b is told that it may not")
	require.Contains(t, b.events[len(b.events)-1].Message, "tcp from "+b.ip.String())

	require.NoError(t, a.SetPolicy(json.RawMessage(`{"default": "deny-all"}`)))
	b.send(b.tcpTo(a, 80, 5000, frame.FlagACK))
	require.Empty(t, a.take())
	require.Equal(t, frame.FlagRST, b.take()[0][47])
	require.NoError(t, a.SetPolicy(nil))
	a.send(a.tcpTo(b, 5000, 80, frame.FlagACK))
	require.Empty(t, b.take(), "the flow is over")
}

// Frames from addresses that are not the port's own go nowhere.
func TestSpoofed(t *testing.T) {
	_, a, b := two(t, Config{Broadcast: true})
	foreign := netip.MustParseAddr("10.0.2.77")
	six := interfaceAddr(netip.MustParsePrefix("fe80::/64"), b.mac)
	advert := func(kind byte) []byte { return append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 16)...) }
	own6 := interfaceAddr(linkLocal, a.mac)
	all6 := netip.MustParseAddr("ff02::1")
	for i, f := range [][]byte{
		ethernet(b.mac, ether.MAC{2, 9, 9, 9, 9, 9}, frame.TypeIPv4, ip(a.ip, b.ip, frame.UDP, udp(1, 2, ""), 6)),
		ethernet(b.mac, a.mac, frame.TypeIPv4, ip(foreign, b.ip, frame.UDP, udp(1, 2, ""), 6)),
		ethernet(b.mac, a.mac, frame.TypeIPv4, ip(b.ip, b.ip, frame.UDP, udp(1, 2, ""), 6)),
		ethernet(b.mac, a.mac, frame.TypeIPv4, ip(netip.MustParseAddr("10.0.2.2"), b.ip, frame.UDP, udp(53, 2, ""), 6)),
		ethernet(b.mac, a.mac, frame.TypeIPv6, ip(six, own6, frame.UDP, udp(1, 2, ""), 6)),
		ethernet(b.mac, a.mac, frame.TypeARP, arp(2, a.mac, netip.MustParseAddr("10.0.2.2"), b.ip)),
		ethernet(everybody, a.mac, frame.TypeARP, arp(1, a.mac, b.ip, b.ip)),
		ethernet(b.mac, a.mac, frame.TypeARP, arp(2, b.mac, a.ip, b.ip)),
		ethernet(ether.MAC{0x33, 0x33, 0, 0, 0, 1}, a.mac, frame.TypeIPv6, ip(own6, all6, frame.ICMPv6, advert(134), 2)),
		ethernet(b.mac, a.mac, frame.TypeIPv6, ip(own6, six, frame.ICMPv6, advert(137), 2)),
		ethernet(everybody, a.mac, frame.TypeIPv4, ip(a.ip, netip.MustParseAddr("255.255.255.255"), frame.UDP, udp(67, 68, ""), 6)),
	} {
		a.send(f)
		require.Empty(t, b.take(), i)
		require.EqualValues(t, i+1, a.Stats().Spoofed, i)
	}
}

// What is to nobody, or to somebody by another's address, goes nowhere.
func TestStray(t *testing.T) {
	_, a, b := two(t, Config{})
	a.send(
		ethernet(ether.MAC{2, 9, 9, 9, 9, 9}, a.mac, frame.TypeIPv4, ip(a.ip, b.ip, frame.UDP, udp(1, 2, ""), 6)),
		ethernet(b.mac, a.mac, frame.TypeIPv4, ip(a.ip, netip.MustParseAddr("192.0.2.1"), frame.UDP, udp(1, 2, ""), 6)),
		ethernet(a.mac, a.mac, frame.TypeIPv4, ip(a.ip, a.ip, frame.UDP, udp(1, 2, ""), 6)),
		ethernet(everybody, a.mac, frame.TypeARP, arp(1, a.mac, a.ip, netip.MustParseAddr("10.0.2.77"))),
		ethernet(everybody, a.mac, frame.TypeIPv4, ip(a.ip, netip.MustParseAddr("10.0.2.255"), frame.UDP, udp(1, 2, ""), 6)),
	)
	require.Empty(t, b.take())
	require.EqualValues(t, 5, a.Stats().Stray)
	a.send([]byte{1, 2, 3}, ethernet(b.mac, a.mac, 0x88cc, []byte{0}), ethernet(b.mac, a.mac, frame.TypeARP, []byte{0}))
	require.Empty(t, b.take())
	require.EqualValues(t, 3, a.Stats().Malformed)
}

// ARP goes to the one who is asked for, and so much of it in a second.
func TestARP(t *testing.T) {
	n, a, b := two(t, Config{})
	c := join(t, n, PortConfig{}, all)
	who := ethernet(everybody, a.mac, frame.TypeARP, arp(1, a.mac, a.ip, b.ip))
	a.send(who)
	require.Equal(t, [][]byte{who}, b.take())
	answer := ethernet(a.mac, b.mac, frame.TypeARP, arp(2, b.mac, b.ip, a.ip))
	b.send(answer)
	require.Equal(t, [][]byte{answer}, a.take())
	for range 3 * groupBurst {
		a.send(who)
	}
	require.Less(t, len(b.take()), 2*groupBurst)
	require.NotZero(t, a.Stats().Peer.Limited)
	require.Empty(t, c.take())
}

func neighbor(kind byte, target netip.Addr) []byte {
	return append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
}

// IPv6 addresses are whose they were first, but those that follow from an interface's
// address; a port has so many.
func TestIPv6(t *testing.T) {
	n, a, b := two(t, Config{})
	nth := func(i int) netip.Addr {
		x := n.base.IPv6.Masked().Addr().As16()
		binary.BigEndian.PutUint16(x[12:], uint16(i))
		return netip.AddrFrom16(x)
	}
	group := ether.MAC{0x33, 0x33, 0xff, 0, 0, 1}
	solicited := netip.MustParseAddr("ff02::1:ff00:1")
	probe := func(h *host, target netip.Addr) {
		h.send(ethernet(group, h.mac, frame.TypeIPv6, ip(netip.IPv6Unspecified(), solicited, frame.ICMPv6, neighbor(135, target), 2)))
	}
	probe(a, nth(1))
	require.Equal(t, a.Port, n.owner(nth(1)))
	probe(b, nth(1)) // is asked for, so that a can say that it has it
	require.Len(t, a.take(), 1)
	require.Equal(t, a.Port, n.owner(nth(1)))
	b.send(ethernet(a.mac, b.mac, frame.TypeIPv6, ip(nth(1), nth(1), frame.UDP, udp(1, 2, ""), 6)))
	require.EqualValues(t, 1, b.Stats().Spoofed)
	probe(a, interfaceAddr(n.base.IPv6, b.mac))
	require.Equal(t, b.Port, n.owner(interfaceAddr(n.base.IPv6, b.mac)))
	for i := range 100 {
		probe(a, nth(i+10))
	}
	require.Len(t, a.learned, maxLearned)
	require.Nil(t, n.owner(nth(10)))
	require.Less(t, len(n.addrs), 3*maxLearned)

	probe(b, nth(500))
	require.Len(t, b.take(), 1, "of the address that is b's own")
	who := ethernet(group, a.mac, frame.TypeIPv6, ip(nth(109), solicited, frame.ICMPv6, neighbor(135, nth(500)), 2))
	a.send(who)
	require.Equal(t, [][]byte{who}, b.take())
	here := ethernet(a.mac, b.mac, frame.TypeIPv6, ip(nth(500), nth(109), frame.ICMPv6, neighbor(136, nth(500)), 2))
	b.send(here, ethernet(a.mac, b.mac, frame.TypeIPv6, ip(nth(500), nth(109), frame.ICMPv6, neighbor(136, nth(109)), 2)))
	require.Equal(t, [][]byte{here}, a.take(), "but not in another's name")
	data := ethernet(b.mac, a.mac, frame.TypeIPv6, ip(nth(109), nth(500), frame.UDP, udp(1, 2, "six"), 6))
	a.send(data)
	require.Equal(t, [][]byte{data}, b.take())
	addrs, _ := n.lookup("b")
	require.Equal(t, []netip.Addr{b.ip, nth(500)}, addrs)
}

func TestIsolated(t *testing.T) {
	_, a, b := two(t, Config{Isolated: true, Broadcast: true})
	a.send(a.udpTo(b, 1, 2, ""), ethernet(everybody, a.mac, frame.TypeARP, arp(1, a.mac, a.ip, b.ip)),
		ethernet(everybody, a.mac, frame.TypeIPv4, ip(a.ip, netip.MustParseAddr("10.0.2.255"), frame.UDP, udp(1, 2, ""), 6)))
	require.Empty(t, b.take())
}

// Broadcasts reach the others where the network is made so, but not all of a storm.
func TestBroadcast(t *testing.T) {
	n, a, b := two(t, Config{Broadcast: true})
	c := join(t, n, PortConfig{}, all)
	storm := ethernet(everybody, a.mac, frame.TypeIPv4, ip(a.ip, netip.MustParseAddr("10.0.2.255"), frame.UDP, udp(1, 2, "hello"), 6))
	a.send(storm)
	require.Equal(t, [][]byte{storm}, b.take())
	require.Equal(t, [][]byte{storm}, c.take())
	for range 3 * groupBurst {
		a.send(storm)
	}
	require.Less(t, len(b.take()), 2*groupBurst)
	b.send(b.udpTo(a, 1, 2, "not b's fault"))
	require.Len(t, a.take(), 1)
}

// A machine that opens flows without end takes nothing from the others.
func TestManyFlows(t *testing.T) {
	_, a, b := two(t, Config{})
	for i := range 3 * maxFlows {
		a.send(a.udpTo(b, uint16(1+i), uint16(1+i/60000), ""))
	}
	require.EqualValues(t, 2*maxFlows, a.Stats().Peer.Limited)
	require.Len(t, b.take(), maxFlows)
	b.send(b.udpTo(a, 9, 9, ""))
	require.Len(t, a.take(), 1)
	a.n.flows.now = func() time.Time { return time.Now().Add(2 * idleOther) }
	a.send(a.udpTo(b, 1, 7, ""))
	require.Len(t, b.take(), 1, "those that are over make room")
}

// Fragments follow the first, do not overlap with it, and are nothing without it.
func TestFragments(t *testing.T) {
	_, a, b := two(t, Config{})
	cut := func(id byte, offset int, more bool, payload []byte) []byte {
		packet := ip(a.ip, b.ip, frame.UDP, payload, -1)
		packet[5] = id
		at := uint16(offset / 8)
		if more {
			at |= 0x2000
		}
		binary.BigEndian.PutUint16(packet[6:], at)
		packet[10], packet[11] = 0, 0
		frame.Complete(packet[:20], 0, 10)
		return ethernet(b.mac, a.mac, frame.TypeIPv4, packet)
	}
	first, rest := cut(1, 0, true, udp(5, 6, "12345678")), cut(1, 16, false, []byte("rest"))
	a.send(cut(2, 16, false, []byte("lost")), first, cut(1, 8, true, []byte("overlaps")), rest, rest)
	require.Equal(t, [][]byte{first, rest}, b.take())
	for i := range 10 * maxParts {
		a.send(cut(byte(i), 0, true, udp(5, uint16(6+i/256), "12345678")))
	}
	require.LessOrEqual(t, len(a.n.flows.parts[a.Port]), maxParts)
}

// Long segments go as they are to who takes them, and cut to others.
func TestLongSegments(t *testing.T) {
	n, a, b := two(t, Config{})
	c := join(t, n, PortConfig{}, link.Offloads{})
	for _, to := range []*host{b, c} {
		a.send(a.tcpTo(to, 1, 2, frame.FlagSYN))
		to.take()
		long := a.tcpTo(to, 1, 2, frame.FlagACK)
		long = append(long, make([]byte, 2500)...)
		binary.BigEndian.PutUint16(long[16:], uint16(len(long)-14))
		long[24], long[25] = 0, 0
		frame.Complete(long[14:34], 0, 10)
		h := link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4, HdrLen: 54, GSOSize: 1000, CSumStart: 34, CSumOffset: 16}
		a.Send([]link.Frame{{Header: h, Data: [][]byte{long[:20], long[20:]}}})
		to.mu.Lock()
		if to == b {
			require.Len(t, to.got, 1)
			require.Equal(t, h, to.got[0].Header)
		} else {
			require.Len(t, to.got, 3)
		}
		to.mu.Unlock()
	}
}

// FuzzSwitch: whatever a machine sends, another one gets nothing in a third one's name.
func FuzzSwitch(f *testing.F) {
	n := newNetwork(f, Config{Broadcast: true})
	a, b := join(f, n, PortConfig{Name: "a", MAC: "02:00:00:00:00:0a"}, all), join(f, n, PortConfig{Name: "b", MAC: "02:00:00:00:00:0b"}, all)
	f.Add(a.udpTo(b, 1, 2, "x"), uint8(0))
	f.Add(a.tcpTo(b, 1, 2, frame.FlagSYN), uint8(1))
	f.Add(ethernet(everybody, a.mac, frame.TypeARP, arp(1, a.mac, a.ip, b.ip)), uint8(0))
	f.Add(ethernet(b.mac, a.mac, frame.TypeIPv6, ip(interfaceAddr(linkLocal, a.mac), interfaceAddr(linkLocal, b.mac), frame.UDP, udp(1, 2, ""), 6)), uint8(0))
	f.Fuzz(func(t *testing.T, b1 []byte, flags uint8) {
		a.Send([]link.Frame{{Header: link.Header{Flags: flags & 1, CSumStart: 34, CSumOffset: 6}, Data: [][]byte{b1[:len(b1)/2], b1[len(b1)/2:]}}})
		for _, got := range b.take() {
			require.Equal(t, a.mac[:], got[6:12])
			if binary.BigEndian.Uint16(got[12:]) == frame.TypeIPv4 {
				require.Contains(t, [][]byte{a.ip.AsSlice(), {0, 0, 0, 0}}, got[26:30])
			}
		}
		require.LessOrEqual(t, len(a.learned), maxLearned)
	})
}
