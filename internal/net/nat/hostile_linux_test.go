package nat

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

var somewhere = netip.MustParseAddrPort("192.0.2.1:80")

var now = time.Unix(1_000_000_000, 0)

// Frames that are not the guest's to send are dropped and counted.
func TestSpoofed(t *testing.T) {
	syn := func(src, dst string) link.Frame {
		l4 := make([]byte, 20)
		copy(l4, []byte{0x10, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, frame.FlagSYN})
		return rawFrame(netip.MustParseAddr(src), netip.MustParseAddr(dst), frame.TCP, l4, 16)
	}
	mac := func(f link.Frame, at int, m frame.MAC) link.Frame { copy(f.Data[0][at:], m[:]); return f }
	for name, c := range map[string]struct {
		f     link.Frame
		spoof bool
	}{
		"another station":         {mac(synFrame(1), 6, frame.MAC{2, 2, 2, 2, 2, 2}), true},
		"the gateway's station":   {mac(synFrame(1), 6, gatewayMAC), true},
		"to another station":      {mac(synFrame(1), 0, frame.MAC{2, 2, 2, 2, 2, 2}), false},
		"to all stations":         {mac(synFrame(1), 0, frame.Broadcast), false},
		"a neighbour's address":   {syn("10.0.2.16", "192.0.2.1"), true},
		"the gateway's address":   {syn("10.0.2.2", "192.0.2.1"), true},
		"loopback":                {syn("127.0.0.1", "192.0.2.1"), true},
		"none":                    {syn("0.0.0.0", "192.0.2.1"), true},
		"a stranger over v6":      {syn("2001:db8::5", "2001:db8::1"), true},
		"the gateway over v6":     {syn("fd00::2", "2001:db8::1"), true},
		"link-local":              {syn("fe80::1", "2001:db8::1"), true},
		"to a neighbour":          {syn("10.0.2.15", "10.0.2.16"), false},
		"to itself":               {syn("10.0.2.15", "10.0.2.15"), false},
		"to the network":          {syn("10.0.2.15", "10.0.2.255"), false},
		"to a group":              {syn("10.0.2.15", "224.0.0.1"), false},
		"to everybody":            {syn("10.0.2.15", "255.255.255.255"), false},
		"to nobody":               {syn("10.0.2.15", "0.0.0.0"), false},
		"to a neighbour over v6":  {syn("fd00::15", "fd00::16"), false},
		"to a link-local address": {syn("fd00::15", "fe80::9"), false},
		"to IPv4 inside of v6":    {syn("fd00::15", "::ffff:10.0.2.2"), false},
		"to a group over v6":      {syn("fd00::15", "ff02::1"), false},
		"DHCPv6 to a stranger":    {rawFrame(netip.MustParseAddr("fe80::15"), netip.MustParseAddr("2001:db8::1"), frame.UDP, udpPayload(546, 547, nil), 6), true},
		"longer than the MTU":     {udpFrameOf(1473), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.send(c.f)
			require.Eventually(t, func() bool { s := r.e.Stats(); return s.Spoofed+s.Misdirected == 1 }, tooLong, tick)
			s := r.e.Stats()
			assert.Equal(t, c.spoof, s.Spoofed == 1)
			assert.Zero(t, s.FramesToGuest)
			assert.Zero(t, s.TCP.Open+s.UDP.Open)
		})
	}
}

// udpFrameOf makes one frame, whatever the MTU.
func udpFrameOf(size int) link.Frame {
	m := builder{from: guestMAC, to: gatewayMAC, mtu: 65535}
	b := append(make([]byte, headroom), udpPayload(4000, 80, make([]byte, size))...)
	return m.packet(nil, b, frame.UDP, 6, guest4.Addr(), somewhere.Addr(), 1)[0]
}

func TestBadChecksums(t *testing.T) {
	r := newRig(t)
	for _, f := range []link.Frame{synFrame(1), udpFrame(somewhere, 1, []byte("abc")), echoFrame(gateway4, 1)} {
		b := f.Data[0]
		b[len(b)-1] ^= 1
		r.send(f)
	}
	require.Eventually(t, func() bool { return r.e.Stats().BadChecksum == 3 }, tooLong, tick)
	assert.Zero(t, r.e.Stats().FramesToGuest)
}

// SYNs to everywhere open no more than the limits, and nothing is left of them.
func TestSYNFlood(t *testing.T) {
	r := newRig(t, func(c *Config, _ *guest) { c.Limits.Flows, c.Limits.Connecting = 100, 50 }, leadTo(server(t, "tcp", echo)))
	for i := range 5000 {
		r.send(synFrame(uint16(1000 + i)))
	}
	require.Eventually(t, func() bool { return r.e.Stats().FramesFromGuest >= 5000 }, tooLong, tick)
	s := r.e.Stats().TCP
	assert.LessOrEqual(t, s.Open, 100)
	assert.NotZero(t, s.Limited)
	r.e.tcp.mu.Lock()
	assert.LessOrEqual(t, len(r.e.tcp.pending), 50)
	r.e.tcp.mu.Unlock()
}

// A guest that goes away in the middle of a handshake leaves nothing.
func TestHandshakeAbandoned(t *testing.T) {
	closed := make(chan error, 1)
	r := newRig(t, leadTo(server(t, "tcp", func(c *net.TCPConn) {
		_, err := io.ReadAll(c)
		closed <- err
	})))
	// The guest's kernel is stopped, or it would answer the SYN-ACK with a reset.
	r.mu.Lock()
	r.closed = true
	r.wake.Broadcast()
	r.mu.Unlock()
	r.done.Wait()
	r.e.Send([]link.Frame{synFrame(1001)})
	id := stack.TransportEndpointID{
		LocalAddress: tcpip.AddrFromSlice(somewhere.Addr().AsSlice()), LocalPort: somewhere.Port(),
		RemoteAddress: tcpip.AddrFromSlice(guest4.Addr().AsSlice()), RemotePort: 1001,
	}
	require.Eventually(t, func() bool {
		return r.e.stack.FindTransportEndpoint(ipv4.ProtocolNumber, tcp.ProtocolNumber, id, nicID) != nil
	}, tooLong, tick)
	r.e.Detach()
	require.Eventually(t, func() bool { return r.e.Stats().TCP.Open == 0 }, tooLong, tick)
	assert.ErrorContains(t, <-closed, "reset")
}

// What a guest does not take stays its flow's, which counts until it is gone.
func TestGuestTakesNothing(t *testing.T) {
	done := make(chan bool, 1)
	r := newRig(t, leadTo(server(t, "tcp", func(c *net.TCPConn) {
		_, _ = io.ReadAll(c)
		_, _ = c.Write(make([]byte, 20000))
		done <- true
	})))
	conn := r.mustDial(somewhere)
	r.mu.Lock()
	r.ring = 0 // from now on nothing reaches the guest
	r.mu.Unlock()
	require.NoError(t, conn.CloseWrite())
	<-done
	require.Eventually(t, func() bool {
		n := uint64(0)
		for _, f := range r.e.tcp.all() {
			n += f.toGuest.Load()
		}
		return n == 20000
	}, tooLong, tick)
	assert.Equal(t, 1, r.e.Stats().TCP.Open)
	r.e.tcp.mu.Lock()
	assert.NotEqual(t, r.e.cfg.Limits.Buffer, r.e.tcp.memory)
	r.e.tcp.mu.Unlock()
}

// Fragments that are never whole are bounded in number.
func TestFragmentFlood(t *testing.T) {
	r := newRig(t)
	m := builder{from: guestMAC, to: gatewayMAC, mtu: 1500}
	const many = 1000
	for id := range uint32(many) {
		for i, f := range m.fragments(nil, make([]byte, 4000), frame.UDP, guest4.Addr(), somewhere.Addr(), id) {
			if i != 1 {
				r.send(f)
			}
		}
	}
	require.Eventually(t, func() bool { return r.e.Stats().Fragments == 2*many }, tooLong, tick)
	assert.Equal(t, uint64(many-maxPartial), r.e.Stats().FragmentsLost)
	assert.Zero(t, r.e.Stats().UDP.Opened)
}

func TestReassemble(t *testing.T) {
	data := make([]byte, 5000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	m := builder{mtu: 1500}
	for name, src := range map[string]netip.Addr{"v4": guest4.Addr(), "v6": guest6} {
		pieces := m.fragments(nil, data, frame.UDP, src, src, 9)
		for name, c := range map[string]struct {
			order []int
			lost  int
			whole bool
		}{
			"in order": {[]int{0, 1, 2, 3}, 0, true}, "backwards": {[]int{3, 2, 1, 0}, 0, true},
			"missing": {[]int{0, 1, 3}, 0, false}, "twice": {[]int{0, 1, 1}, 1, false}, "two lasts": {[]int{3, 3}, 1, false},
		} {
			t.Run(name, func(t *testing.T) {
				var r reassembler
				var got []byte
				total := 0
				for _, i := range c.order {
					var p frame.Packet
					require.Equal(t, frame.OK, p.Parse(&pieces[i]))
					whole, lost := r.add(&p, &pieces[i], now)
					total += lost
					if whole != nil {
						got = whole
					}
				}
				assert.Equal(t, c.lost, total)
				assert.Equal(t, c.whole, got != nil)
				if c.whole {
					assert.Equal(t, data, got)
					assert.Empty(t, r.partial)
				}
			})
		}
		_ = name
	}
	var r reassembler
	pieces := m.fragments(nil, data, frame.UDP, guest4.Addr(), gateway4, 9)
	var p frame.Packet
	require.Equal(t, frame.OK, p.Parse(&pieces[0]))
	_, lost := r.add(&p, &pieces[0], now)
	assert.Zero(t, lost)
	_, lost = r.add(&p, &pieces[0], now.Add(2*partialTimeout))
	assert.Equal(t, 1, lost, "the old one is forgotten")
	assert.Len(t, r.partial, 1)
}

// Any frames, in any order, with any header: nothing panics, all stays bounded.
func FuzzSend(f *testing.F) {
	add := func(fr link.Frame) { f.Add(fr.Data[0], uint8(7), uint8(0), uint8(0), uint16(0), uint16(0), uint16(0)) }
	add(synFrame(1000))
	add(tcpFrame(netip.MustParseAddrPort("[2001:db8::1]:443"), 1, frame.FlagACK))
	add(udpFrame(netip.AddrPortFrom(gateway4, 67), 68, []byte("abc")))
	add(echoFrame(gateway6, 9))
	f.Add(udpFrameOf(100).Data[0], uint8(7), uint8(1), uint8(5), uint16(10), uint16(34), uint16(6))
	for _, fr := range fromGuest.fragments(nil, make([]byte, 2000), frame.UDP, guest4.Addr(), somewhere.Addr(), 7) {
		add(fr)
	}
	pol, err := policy.Compile(policy.Policy{Default: policy.DenyAll})
	require.NoError(f, err)
	e, err := New(Config{
		GatewayMAC: gatewayMAC, GuestMAC: guestMAC, Gateway4: gateway4, Guest4: guest4,
		Gateway6: gateway6, Prefix6: prefix6, Guest6: guest6, Policy: pol, HostAccess: true, InterceptDNS: true,
		Services: Services{
			DNS: func(q []byte, _, _ netip.AddrPort, reply func([]byte)) { reply(q) },
		},
	})
	require.NoError(f, err)
	f.Cleanup(func() { _ = e.Close() })
	f.Fuzz(func(t *testing.T, b []byte, offloads, flags, gso uint8, size, start, offset uint16) {
		g := &sink{t: t, off: link.Offloads{Checksum: offloads&1 != 0, TSO4: offloads&2 != 0, TSO6: offloads&4 != 0}}
		e.Attach(g, g.off)
		h := link.Header{Flags: flags, GSOType: gso, GSOSize: size, CSumStart: start, CSumOffset: offset}
		at := int(size) % (len(b) + 1)
		e.Send([]link.Frame{{Header: h, Data: [][]byte{b[:at], b[at:]}}, {Data: [][]byte{repair(b)}}})
		e.Room()
		e.Detach()
		if len(e.whole.partial) != 0 || len(e.tcp.flows) != 0 || e.Stats().UDP.Open != 0 {
			t.Fatal("something is left of a guest that is gone")
		}
	})
}

// repair makes a frame that gets further: addresses and IP header as they should be.
func repair(b []byte) []byte {
	b = append([]byte(nil), b...)
	if len(b) < 34 || len(b) > 1514 {
		return b
	}
	copy(b, gatewayMAC[:])
	copy(b[6:], guestMAC[:])
	b[12], b[13], b[14] = 8, 0, 0x45
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
	b[20], b[21] = 0, 0
	src := guest4.Addr().As4()
	copy(b[26:], src[:])
	checksum4(b[14:34])
	if off := map[uint8]int{frame.TCP: 16, frame.UDP: 6, frame.ICMPv4: 2}[b[23]]; off != 0 && len(b) >= 34+off+2 {
		if b[23] == frame.UDP {
			binary.BigEndian.PutUint16(b[38:], uint16(len(b)-34))
		}
		b[34+off], b[34+off+1] = 0, 0
		if b[23] != frame.ICMPv4 {
			dst, _ := netip.AddrFromSlice(b[30:34])
			binary.BigEndian.PutUint16(b[34+off:], frame.Pseudo(guest4.Addr(), dst, b[23], len(b)-34))
		}
		frame.Complete(b, 34, off)
	}
	return b
}

// sink is a guest that checks what it gets.
type sink struct {
	t   *testing.T
	off link.Offloads
}

// Receive implements link.Guest.
func (s *sink) Receive(frames []link.Frame) int {
	for i := range frames {
		f := &frames[i]
		var p frame.Packet
		if r := p.Parse(f); r != frame.OK {
			s.t.Errorf("the guest gets a frame that is broken: %v", r)
		}
		if f.Header.Flags != 0 && !s.off.Checksum {
			s.t.Error("a checksum that the driver does not complete")
		}
		if f.Len() > 1514 {
			s.t.Errorf("%d bytes", f.Len())
		}
	}
	return len(frames)
}
