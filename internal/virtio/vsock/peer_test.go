//go:build linux

package vsock

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	hostside "github.com/libcapsa/libcapsa/internal/vsock"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

const (
	hang = 30 * time.Second
	// guestWindow and bufferSize are those of Linux.
	guestWindow = 256 << 10
	bufferSize  = 4096
	creditLimit = 64 << 10
)

// peer is a guest: a driver with sockets, which follow the rules as Linux's do.
// All of it belongs to the test's goroutine.
type peer struct {
	*rig
	t     testing.TB
	host  *hostside.Host
	rx    *virtiotest.Queue
	tx    *virtiotest.Queue
	ev    *virtiotest.Queue
	taken [2]uint16 // used entries of rx and tx

	socks   map[[2]uint32]*socket // by the guest's and the host's port
	listens map[uint32]packet.Type
	accepts []*socket
	resets  int // transport resets
	next    uint32
}

// socket is a connection as the guest sees it.
type socket struct {
	p             *peer
	typ           packet.Type
	local, remote uint32
	connected     bool
	reset         bool
	done          uint32 // directions the host has done with
	in            bytes.Buffer
	borders       []int // of messages, in bytes of in
	received      int

	sent, acked, alloc uint32 // of the host's window
	fwd, told          uint32 // of ours
}

// newPeer makes a machine's sockets with a driver that has not started.
func newPeer(t testing.TB, change func(*hostside.Config)) *peer {
	cid, err := hostside.TakeCID()
	require.NoError(t, err)
	cfg := hostside.Config{CID: cid}
	if change != nil {
		change(&cfg)
	}
	host, err := hostside.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, host.Close())
		hostside.ReturnCID(cid)
	})
	span := guestmem.Span{Base: 1 << 20, Size: 64 << 20}
	mem, err := guestmem.Heap(span)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	return &peer{rig: newRig(t, host, mem, span), t: t, host: host}
}

// startPeer makes one and starts it.
func startPeer(t testing.TB) *peer {
	p := newPeer(t, nil)
	p.boot(FeatureStream | FeatureSeqPacket | ringFeatures)
	return p
}

// boot starts the driver, with no sockets.
func (p *peer) boot(features uint64, sizes ...uint16) {
	p.Start(features, sizes...)
	p.rx, p.tx, p.ev = p.Queue(queueReceive), p.Queue(queueTransmit), p.Queue(queueEvent)
	p.taken = [2]uint16{}
	p.socks, p.accepts, p.listens = map[[2]uint32]*socket{}, nil, map[uint32]packet.Type{}
	p.next = 1024
	for p.rx.Free() > 0 {
		p.rx.Add(nil, packet.HeaderSize+bufferSize)
	}
	p.rx.Kick()
	p.ev.Post(nil, eventSize)
}

// pump takes what the device has used, and says whether there was anything.
func (p *peer) pump() (any bool) {
	for {
		u, ok := p.tx.Reap()
		if !ok {
			break
		}
		require.Zero(p.t, u.Len)
		p.taken[1]++
		any = true
	}
	back := 0
	for {
		u, ok := p.rx.Reap()
		if !ok {
			break
		}
		p.taken[0]++
		any = true
		require.GreaterOrEqual(p.t, len(u.Data), packet.HeaderSize)
		hdr := packet.Decode((*[packet.HeaderSize]byte)(u.Data))
		require.EqualValues(p.t, len(u.Data)-packet.HeaderSize, hdr.Len)
		p.rx.Add(nil, packet.HeaderSize+bufferSize)
		back++
		p.handle(&hdr, u.Data[packet.HeaderSize:])
	}
	if back > 0 {
		p.rx.Kick()
	}
	if u, ok := p.ev.Reap(); ok {
		require.Equal(p.t, []byte{0, 0, 0, 0}, u.Data)
		p.resets++
		for _, s := range p.socks {
			s.reset = true
		}
		clear(p.socks)
		p.ev.Post(nil, eventSize)
		any = true
	}
	return any
}

// until waits for a condition.
func (p *peer) until(what string, done func() bool) {
	p.t.Helper()
	p.WaitFor(what, func() bool {
		for {
			p.pump()
			if done() {
				return true
			}
			// Ask for an interrupt at the next entry, then look once more.
			p.rx.Raw.SetUsedEvent(p.taken[0])
			p.tx.Raw.SetUsedEvent(p.taken[1])
			if !p.pump() {
				return done()
			}
		}
	})
}

// handle takes a packet, as a correct guest does.
func (p *peer) handle(hdr *packet.Header, payload []byte) {
	require.Equal(p.t, [2]uint64{packet.HostCID, p.host.GuestCID()}, [2]uint64{hdr.SrcCID, hdr.DstCID})
	key := [2]uint32{hdr.DstPort, hdr.SrcPort}
	s := p.socks[key]
	if s == nil {
		p.stray(hdr)
		return
	}
	require.Equal(p.t, s.typ, hdr.Type)
	s.alloc, s.acked = hdr.BufAlloc, hdr.FwdCnt
	require.LessOrEqual(p.t, s.sent-s.acked, s.sent, "acknowledged more than was sent")
	switch hdr.Op {
	case packet.OpResponse:
		require.False(p.t, s.connected)
		s.connected = true
	case packet.OpReset:
		s.reset = true
		delete(p.socks, key)
	case packet.OpShutdown:
		s.done |= hdr.Flags
		if s.done == packet.ShutdownBoth && s.in.Len() == 0 {
			p.send(s, packet.OpReset, 0, nil)
			delete(p.socks, key)
		}
	case packet.OpData:
		require.True(p.t, s.connected)
		require.Zero(p.t, s.done&packet.ShutdownSend, "data after the end")
		s.in.Write(payload)
		s.received += len(payload)
		require.LessOrEqual(p.t, s.in.Len(), guestWindow, "beyond the window")
		if hdr.Flags&packet.EndOfMessage != 0 {
			s.borders = append(s.borders, s.received)
		}
	case packet.OpCreditRequest:
		p.send(s, packet.OpCreditUpdate, 0, nil)
	case packet.OpCreditUpdate:
	default:
		require.Fail(p.t, "packet of no use", "%+v", hdr)
	}
}

// stray takes a packet of no connection.
func (p *peer) stray(hdr *packet.Header) {
	if hdr.Op == packet.OpReset {
		return
	}
	s := &socket{p: p, typ: hdr.Type, local: hdr.DstPort, remote: hdr.SrcPort, alloc: hdr.BufAlloc}
	if typ, ok := p.listens[hdr.DstPort]; hdr.Op == packet.OpRequest && ok && typ == hdr.Type {
		s.connected = true
		p.socks[[2]uint32{s.local, s.remote}] = s
		p.accepts = append(p.accepts, s)
		p.send(s, packet.OpResponse, 0, nil)
		return
	}
	p.send(s, packet.OpReset, 0, nil)
}

// send sends one packet. It waits for room in the ring.
func (p *peer) send(s *socket, op packet.Op, flags uint32, payload []byte) {
	hdr := packet.Header{
		SrcCID: p.host.GuestCID(), DstCID: packet.HostCID, SrcPort: s.local, DstPort: s.remote,
		Type: s.typ, Op: op, Flags: flags, BufAlloc: guestWindow, FwdCnt: s.fwd,
	}
	s.told = s.fwd
	b := bytesOf(hdr, payload...)
	for p.tx.Free() < 2 {
		p.tx.Raw.SetUsedEvent(p.taken[1])
		if !p.reapSent() {
			p.WaitFor("room to transmit", p.reapSent)
		}
	}
	if len(payload) == 0 {
		p.tx.Add([][]byte{b})
	} else {
		p.tx.Add([][]byte{b[:packet.HeaderSize], b[packet.HeaderSize:]})
	}
	p.tx.Kick()
}

// reapSent takes packets back that the device has used.
func (p *peer) reapSent() (any bool) {
	for {
		if _, ok := p.tx.Reap(); !ok {
			return any
		}
		p.taken[1]++
		any = true
	}
}

// connect connects to a port of the host; nil: refused.
func (p *peer) connect(typ packet.Type, port uint32) *socket {
	p.t.Helper()
	s := p.connectSoon(typ, port)
	p.until("an answer", func() bool { return s.connected || s.reset })
	if s.reset {
		return nil
	}
	return s
}

// connectSoon does not wait for the answer.
func (p *peer) connectSoon(typ packet.Type, port uint32) *socket {
	p.next++
	s := &socket{p: p, typ: typ, local: p.next, remote: port}
	p.socks[[2]uint32{s.local, s.remote}] = s
	p.send(s, packet.OpRequest, 0, nil)
	return s
}

// accept returns the next connection of the host.
func (p *peer) accept() *socket {
	p.t.Helper()
	p.until("a connection", func() bool { return len(p.accepts) > 0 })
	s := p.accepts[0]
	p.accepts = p.accepts[1:]
	return s
}

func (s *socket) free() int { return int(s.alloc - (s.sent - s.acked)) }

// write sends all of b, as credit allows. flags go with the last packet.
func (s *socket) write(b []byte, flags uint32) {
	s.p.t.Helper()
	for len(b) > 0 {
		s.p.until("credit", func() bool { return s.free() > 0 || s.reset })
		require.False(s.p.t, s.reset, "the connection was reset")
		n := min(len(b), s.free(), packet.MaxPayload)
		last := uint32(0)
		if n == len(b) {
			last = flags
		}
		s.sent += uint32(n)
		s.p.send(s, packet.OpData, last, b[:n])
		b = b[n:]
	}
}

// read returns up to n bytes, fewer at the end only.
func (s *socket) read(n int) []byte {
	s.p.t.Helper()
	var out []byte
	for len(out) < n {
		s.p.until("data", func() bool { return s.in.Len() > 0 || s.ended() })
		b := s.in.Next(n - len(out))
		if len(b) == 0 {
			break
		}
		out = append(out, b...)
		s.consumed(len(b))
	}
	return out
}

// message returns one message.
func (s *socket) message() []byte {
	s.p.t.Helper()
	s.p.until("a message", func() bool { return len(s.borders) > 0 || s.ended() })
	if len(s.borders) == 0 {
		return nil
	}
	n := s.borders[0] - (s.received - s.in.Len())
	s.borders = s.borders[1:]
	b := bytes.Clone(s.in.Next(n))
	s.consumed(n)
	return b
}

// consumed makes room, and tells the host of it as rarely as Linux does.
func (s *socket) consumed(n int) {
	s.fwd += uint32(n)
	if guestWindow-(s.fwd-s.told) < creditLimit && !s.reset {
		s.p.send(s, packet.OpCreditUpdate, 0, nil)
	}
}

// ended: the host sends no more.
func (s *socket) ended() bool { return s.reset || s.done&packet.ShutdownSend != 0 }

// shutdown tells the host what the guest has done with.
func (s *socket) shutdown(flags uint32) { s.p.send(s, packet.OpShutdown, flags, nil) }

// close closes a socket, as Linux does.
func (s *socket) close() {
	s.p.t.Helper()
	if s.reset {
		return
	}
	if s.done == packet.ShutdownBoth {
		s.p.send(s, packet.OpReset, 0, nil)
	} else {
		s.shutdown(packet.ShutdownBoth)
		s.p.until("the reset", func() bool { return s.reset })
	}
	delete(s.p.socks, [2]uint32{s.local, s.remote})
}

// acceptUser takes a connection from a listening descriptor of the host.
func acceptUser(t testing.TB, fd int) *os.File {
	t.Helper()
	n, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	require.NoError(t, err)
	return userFile(t, n)
}

// userFile is a descriptor of a host's user.
func userFile(t testing.TB, fd int) *os.File {
	require.NoError(t, unix.SetNonblock(fd, true))
	f := os.NewFile(uintptr(fd), "user")
	require.NoError(t, f.SetDeadline(time.Now().Add(hang)))
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// pair is a connection that the guest asked for.
func (p *peer) pair(typ packet.Type, port uint32) (*socket, *os.File) {
	p.t.Helper()
	fd, err := p.host.Listen(typ, port, 1)
	require.NoError(p.t, err)
	defer unix.Close(fd)
	s := p.connect(typ, port)
	require.NotNil(p.t, s)
	require.NoError(p.t, p.host.Unbind(port, hostside.ModeConnect))
	return s, acceptUser(p.t, fd)
}

// pattern is bytes that tell where they are.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}
