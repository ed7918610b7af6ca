//go:build linux

package gateway_test

import (
	"encoding/binary"
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// patience is how long a step may take before it counts as hanging.
const patience = time.Minute

var (
	guestMAC   = [6]byte{0x02, 0, 0x5e, 0x10, 0, 1}
	gatewayMAC = [6]byte{0xca, 0x95, 0xa0, 0, 0, 1}
	broadcast  = [6]byte{255, 255, 255, 255, 255, 255}

	guest4   = netip.MustParseAddr("10.0.2.15")
	gateway4 = netip.MustParseAddr("10.0.2.2")
	none     = netip.IPv4Unspecified()
)

// rig is a gateway with a guest that takes every frame.
type rig struct {
	*testing.T
	g *gateway.Gateway

	mu     sync.Mutex
	frames [][]byte   // that the guest got; guarded by mu
	events []vm.Event // guarded by mu
	news   chan struct{}
}

func newRig(t *testing.T, change func(*vm.NetworkConfig)) *rig {
	t.Helper()
	vmtest.CheckLeaks(t)
	r := &rig{T: t, news: make(chan struct{}, 1)}
	cfg := vm.NetworkConfig{Mode: vm.NetworkUser}
	if change != nil {
		change(&cfg)
	}
	g, err := gateway.New(gateway.Config{Network: cfg.WithDefaults(), MAC: guestMAC, Event: r.event})
	require.NoError(t, err)
	r.g = g
	g.Attach(r, link.Offloads{})
	t.Cleanup(func() {
		g.Detach()
		require.NoError(t, g.Close())
		require.NoError(t, g.Close(), "once more")
	})
	return r
}

// Receive implements link.Guest.
func (r *rig) Receive(frames []link.Frame) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range frames {
		r.frames = append(r.frames, slices.Concat(f.Data...))
	}
	r.tell()
	return len(frames)
}

func (r *rig) event(e vm.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	r.tell()
}

func (r *rig) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// await waits until look, which is called with r.mu held, finds something.
func (r *rig) await(what string, look func() bool) {
	r.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		r.mu.Lock()
		found := look()
		r.mu.Unlock()
		if found {
			return
		}
		select {
		case <-r.news:
		case <-timer.C:
			require.FailNow(r, "hangs", what)
		}
	}
}

// awaitFrame waits for a frame and takes it.
func (r *rig) awaitFrame(what string, match func(p *frame.Packet, b []byte) bool) (found []byte) {
	r.Helper()
	r.await(what, func() bool {
		for i, b := range r.frames {
			var p frame.Packet
			if p.Parse(&link.Frame{Data: [][]byte{b}}) == frame.OK && match(&p, b) {
				found = b
				r.frames = slices.Delete(r.frames, i, i+1)
				return true
			}
		}
		return false
	})
	return found
}

// awaitEvent waits for an event.
func (r *rig) awaitEvent(kind vm.EventType, text string) {
	r.Helper()
	r.await("event "+text, func() bool {
		return slices.ContainsFunc(r.events, func(e vm.Event) bool { return e.Type == kind && strings.Contains(e.Message, text) })
	})
}

func (r *rig) send(to [6]byte, kind uint16, packet []byte) {
	b := append(append(append([]byte{}, to[:]...), guestMAC[:]...), byte(kind>>8), byte(kind))
	r.g.Send([]link.Frame{{Data: [][]byte{append(b, packet...)}}})
}

// ipv4 makes a packet of a transport without a checksum of its own.
func ipv4(src, dst netip.Addr, proto byte, payload []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
	var s frame.Sum
	s.Add(h)
	binary.BigEndian.PutUint16(h[10:], ^s.Fold())
	return append(h, payload...)
}

func udp(from, to uint16, payload []byte) []byte {
	h := binary.BigEndian.AppendUint16(nil, from)
	h = binary.BigEndian.AppendUint16(h, to)
	h = binary.BigEndian.AppendUint16(h, uint16(8+len(payload)))
	return append(append(h, 0, 0), payload...)
}

func (r *rig) sendUDP(src netip.Addr, from uint16, dst netip.AddrPort, payload []byte) {
	to := gatewayMAC
	if dst.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		to = broadcast
	}
	r.send(to, 0x0800, ipv4(src, dst.Addr(), 17, udp(from, dst.Port(), payload)))
}

// awaitUDP waits for a datagram from a port and returns its payload.
func (r *rig) awaitUDP(from netip.AddrPort) []byte {
	r.Helper()
	b := r.awaitFrame("datagram from "+from.String(), func(p *frame.Packet, _ []byte) bool {
		return p.Proto == frame.UDP && p.Src == from.Addr() && p.SrcPort == from.Port()
	})
	return b[42:]
}

// dhcpMessage is a message of the type (RFC 2131 section 2).
func dhcpMessage(kind byte, options ...byte) []byte {
	b := make([]byte, 240)
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[4:], "xid!")
	copy(b[28:], guestMAC[:])
	copy(b[236:], []byte{0x63, 0x82, 0x53, 0x63})
	return append(append(append(b, 53, 1, kind), options...), 255)
}

// option finds an option of a message.
func option(b []byte, code byte) []byte {
	for o := b[240:]; len(o) > 1 && o[0] != 255; o = o[2+o[1]:] {
		if o[0] == code {
			return o[2 : 2+o[1]]
		}
	}
	return nil
}

func TestDHCP(t *testing.T) {
	r := newRig(t, func(c *vm.NetworkConfig) {
		c.Hostname, c.MTU, c.Search = "web", 9000, []string{"example.com"}
	})
	everybody := netip.MustParseAddrPort("255.255.255.255:67")
	r.sendUDP(none, 68, everybody, dhcpMessage(1))
	offer := r.awaitUDP(netip.AddrPortFrom(gateway4, 67))
	require.Equal(t, []byte{2}, option(offer, 53))
	r.sendUDP(none, 68, everybody, dhcpMessage(3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2))
	ack := r.awaitUDP(netip.AddrPortFrom(gateway4, 67))
	require.Equal(t, []byte{5}, option(ack, 53))
	require.Equal(t, guest4.AsSlice(), ack[16:20])
	for code, want := range map[byte]string{
		1: "\xff\xff\xff\x00", 3: "\x0a\x00\x02\x02", 6: "\x0a\x00\x02\x02", 12: "web", 26: "\x23\x28", 119: "\x07example\x03com\x00",
	} {
		require.Equal(t, want, string(option(ack, code)), "option %d", code)
	}
	require.Equal(t, uint64(1), r.g.Stats().Leases)
}

// The gateway is found by ARP and by neighbour discovery, and only it.
func TestNeighbors(t *testing.T) {
	r := newRig(t, nil)
	arp := func(target netip.Addr) []byte {
		b := append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, guestMAC[:]...)
		b = append(append(b, guest4.AsSlice()...), 0, 0, 0, 0, 0, 0)
		return append(b, target.AsSlice()...)
	}
	r.send(broadcast, 0x0806, arp(netip.MustParseAddr("10.0.2.77")))
	r.send(broadcast, 0x0806, arp(gateway4))
	reply := r.awaitFrame("ARP reply", func(p *frame.Packet, _ []byte) bool { return p.EtherType == frame.TypeARP })
	require.Equal(t, gatewayMAC[:], reply[14+8:14+14])
	require.Equal(t, gateway4.AsSlice(), reply[14+14:14+18])

	r.send([6]byte{0x33, 0x33, 0, 0, 0, 2}, 0x86dd, icmp6("fe80::5eff:fe10:1", "ff02::2", []byte{133, 0, 0, 0, 0, 0, 0, 0}))
	ra := r.awaitFrame("advertisement", func(p *frame.Packet, _ []byte) bool { return p.Proto == frame.ICMPv6 && p.Type == 134 })
	prefix := netip.MustParseAddr("fd6c:6962:6361::").AsSlice()
	require.Contains(t, string(ra), string(prefix))
	require.Equal(t, byte(255), ra[14+7], "hop limit")
	require.Len(t, r.frames, 0, "and nothing for the address that is nobody's")
}

// icmp6 makes a packet with its checksum.
func icmp6(src, dst string, message []byte) []byte {
	from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	h := []byte{0x60, 0, 0, 0, 0, byte(len(message)), 58, 255}
	h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	var s frame.Sum
	s.AddUint16(frame.Pseudo(from, to, 58, len(message)))
	s.Add(message)
	binary.BigEndian.PutUint16(message[2:], ^s.Fold())
	return append(h, message...)
}

// Without IPv6 nothing answers.
func TestNoIPv6(t *testing.T) {
	r := newRig(t, func(c *vm.NetworkConfig) { c.NoIPv6 = true })
	r.send([6]byte{0x33, 0x33, 0, 0, 0, 2}, 0x86dd, icmp6("fe80::5eff:fe10:1", "ff02::2", []byte{133, 0, 0, 0, 0, 0, 0, 0}))
	r.sendUDP(none, 68, netip.MustParseAddrPort("255.255.255.255:67"), dhcpMessage(1))
	r.awaitUDP(netip.AddrPortFrom(gateway4, 67))
	require.Empty(t, r.frames)
}

// query is a question for an address.
func query(t *testing.T, name string) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	require.NoError(t, err)
	return b
}

// resolve asks the gateway's DNS.
func (r *rig) resolve(name string, at netip.AddrPort) dnsmessage.Message {
	r.Helper()
	r.sendUDP(guest4, 5353, at, query(r.T, name))
	var m dnsmessage.Message
	require.NoError(r, m.Unpack(r.awaitUDP(at)))
	return m
}

func addressOf(t *testing.T, m dnsmessage.Message) netip.Addr {
	t.Helper()
	require.Len(t, m.Answers, 1)
	a, ok := m.Answers[0].Body.(*dnsmessage.AResource)
	require.True(t, ok)
	return netip.AddrFrom4(a.A)
}

func TestNames(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	r := newRig(t, func(c *vm.NetworkConfig) {
		c.DNS = []netip.AddrPort{netip.MustParseAddrPort(server.LocalAddr().String())}
		c.Hosts = []vm.HostName{{Name: "db.example.com", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}}
	})
	at := netip.AddrPortFrom(gateway4, 53)
	require.Equal(t, gateway4, addressOf(t, r.resolve("host.capsa.internal.", at)))
	require.Equal(t, "192.0.2.7", addressOf(t, r.resolve("db.example.com.", at)).String())

	// What is not known here, the name server is asked for.
	r.sendUDP(guest4, 5353, at, query(t, "www.example.com."))
	buf := make([]byte, 512)
	require.NoError(t, server.SetDeadline(time.Now().Add(patience)))
	n, from, err := server.ReadFrom(buf)
	require.NoError(t, err)
	var asked dnsmessage.Message
	require.NoError(t, asked.Unpack(buf[:n]))
	answer, err := (&dnsmessage.Message{
		Header: dnsmessage.Header{ID: asked.ID, Response: true}, Questions: asked.Questions,
		Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: asked.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{93, 184, 216, 34}},
		}},
	}).Pack()
	require.NoError(t, err)
	_, err = server.WriteTo(answer, from)
	require.NoError(t, err)
	var m dnsmessage.Message
	require.NoError(t, m.Unpack(r.awaitUDP(at)))
	require.Equal(t, "93.184.216.34", addressOf(t, m).String())
	require.Equal(t, uint64(3), r.g.Stats().DNS.Queries)
}

// A name server that does not answer does not hold up the end.
func TestCloseWhileResolving(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	r := newRig(t, func(c *vm.NetworkConfig) {
		c.DNS = []netip.AddrPort{netip.MustParseAddrPort(silent.LocalAddr().String())}
	})
	r.sendUDP(guest4, 5353, netip.AddrPortFrom(gateway4, 53), query(t, "www.example.com."))
	require.NoError(t, silent.SetDeadline(time.Now().Add(patience)))
	_, _, err = silent.ReadFrom(make([]byte, 512))
	require.NoError(t, err)
}

// Under deny-all neither names nor datagrams leave; refusals are told, not all of
// many, and another policy lets them through again.
func TestPolicy(t *testing.T) {
	r := newRig(t, func(c *vm.NetworkConfig) { c.Policy = json.RawMessage(`{"default": "deny-all"}`) })
	at := netip.AddrPortFrom(gateway4, 53)
	require.Equal(t, dnsmessage.RCodeRefused, r.resolve("secret.example.com.", at).RCode)
	r.awaitEvent(vm.EventPolicyDeny, `dns query for "secret.example.com": reject by default`)
	r.sendUDP(guest4, 4000, netip.MustParseAddrPort("192.0.2.1:9"), []byte("out"))
	r.awaitEvent(vm.EventPolicyDeny, "udp from 10.0.2.15:4000 to 192.0.2.1:9: reject by default")
	for port := range uint16(200) {
		r.sendUDP(guest4, 5000+port, netip.MustParseAddrPort("192.0.2.1:9"), []byte("out"))
	}
	r.await("refusals", func() bool { return r.g.Stats().UDP.Denied == 201 })
	require.Equal(t, uint64(1), r.g.Stats().DNS.Refused)
	r.mu.Lock()
	require.Less(t, len(r.events), 100)
	r.mu.Unlock()

	err := r.g.SetPolicy(json.RawMessage(`{"default": "some"}`))
	require.ErrorIs(t, err, vm.KindInvalidArg)
	require.ErrorContains(t, err, "default")
	require.NoError(t, r.g.SetPolicy(json.RawMessage(`{"default": "deny-all", "rules": [{"action": "allow", "domains": [".example.com"]}]}`)))
	// Now names decide: whoever is asked, the gateway answers.
	other := netip.MustParseAddrPort("192.0.2.53:53")
	require.Equal(t, dnsmessage.RCodeRefused, r.resolve("secret.example.org.", other).RCode)
	require.NoError(t, r.g.SetPolicy(nil))
	require.Equal(t, dnsmessage.RCodeNameError, r.resolve("nobody.capsa.internal.", at).RCode)
}

// The host's own addresses are behind the floor.
func TestHostIsOutOfReach(t *testing.T) {
	r := newRig(t, nil)
	for _, a := range []string{"127.0.0.1", "169.254.169.254"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(a), 9)
		r.sendUDP(guest4, 4000, to, []byte("out"))
		r.awaitEvent(vm.EventPolicyDeny, to.String())
	}
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil || n.IP.IsLoopback() {
			continue
		}
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(n.IP.To4())), 9)
		r.sendUDP(guest4, 4000, to, []byte("out"))
		r.awaitEvent(vm.EventPolicyDeny, to.String()+": reject by floor (host)")
	}
}

// The gateway's address is the host's loopback where that was said, else nobody.
func TestHostAccess(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	port := netip.MustParseAddrPort(server.LocalAddr().String()).Port()
	r := newRig(t, func(c *vm.NetworkConfig) { c.HostAccess = true })
	r.sendUDP(guest4, 4000, netip.AddrPortFrom(gateway4, port), []byte("question"))
	buf := make([]byte, 64)
	require.NoError(t, server.SetDeadline(time.Now().Add(patience)))
	n, from, err := server.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "question", string(buf[:n]))
	_, err = server.WriteTo([]byte("answer"), from)
	require.NoError(t, err)
	require.Equal(t, "answer", string(r.awaitUDP(netip.AddrPortFrom(gateway4, port))))
}

func TestForwards(t *testing.T) {
	r := newRig(t, func(c *vm.NetworkConfig) {
		c.Forwards = []vm.Forward{{Protocol: vm.ForwardUDP, Guest: 9}, {Protocol: vm.ForwardTCP, Guest: 80}}
	})
	list := r.g.Forwards()
	require.Len(t, list, 2)
	r.awaitEvent(vm.EventPortBound, "udp "+list[0].Host.String()+" leads to port 9")
	client, err := net.Dial("udp4", list[0].Host.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	_, err = client.Write([]byte("question"))
	require.NoError(t, err)
	b := r.awaitFrame("datagram", func(p *frame.Packet, _ []byte) bool { return p.Proto == frame.UDP && p.DstPort == 9 })
	require.Equal(t, "question", string(b[42:]))
	require.Equal(t, guest4.AsSlice(), b[30:34])
	r.sendUDP(guest4, 9, netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[26:30])), binary.BigEndian.Uint16(b[34:])), []byte("answer"))
	buf := make([]byte, 64)
	require.NoError(t, client.SetDeadline(time.Now().Add(patience)))
	n, err := client.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "answer", string(buf[:n]))

	same := list[1]
	_, err = r.g.AddForward(same)
	require.ErrorIs(t, err, vm.KindExists)
	require.NoError(t, r.g.RemoveForward(same.ID))
	require.ErrorIs(t, r.g.RemoveForward(same.ID), vm.KindNotFound)
	again, err := r.g.AddForward(same)
	require.NoError(t, err)
	require.Equal(t, same.Host, again.Host)
	require.Equal(t, uint32(4), again.ID, "an ID is given once, also one that failed")
}

// Forwards come and go from all sides, while the gateway is closed.
func TestForwardsHammer(t *testing.T) {
	r := newRig(t, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				f, err := r.g.AddForward(vm.Forward{Protocol: vm.ForwardTCP, Guest: 80})
				if err != nil {
					require.Equal(t, vm.KindState, vm.KindOf(err), "%v", err)
					return
				}
				_ = r.g.Forwards()
				_ = r.g.SetPolicy(nil)
				_ = r.g.Stats()
				if err := r.g.RemoveForward(f.ID); err != nil {
					return
				}
			}
		})
	}
	r.g.Detach()
	require.NoError(t, r.g.Close())
	wg.Wait()
	_, err := r.g.AddForward(vm.Forward{Protocol: vm.ForwardTCP, Guest: 80})
	require.ErrorIs(t, err, vm.KindState)
}

// The gateway has another address than the guest.
func TestSameAddress(t *testing.T) {
	cfg := vm.NetworkConfig{Mode: vm.NetworkUser}.WithDefaults()
	g, err := gateway.New(gateway.Config{Network: cfg, MAC: gatewayMAC})
	require.NoError(t, err)
	require.NoError(t, g.Close())
}

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	_, problems := gateway.ParsePolicy("network.policy", json.RawMessage(`{"default": "x", "deny": "y"}`))
	var fields []string
	for _, p := range problems {
		fields = append(fields, p.Field)
	}
	require.ElementsMatch(t, []string{"network.policy.default", "network.policy.deny"}, fields)
	_, problems = gateway.ParsePolicy("", json.RawMessage(`{`))
	require.Len(t, problems, 1)
	require.Empty(t, problems[0].Field)
	parsed, problems := gateway.ParsePolicy("", nil)
	require.Empty(t, problems)
	require.Equal(t, "allow-all", string(parsed.Default))
}
