//go:build linux

package vsock

import (
	"encoding/binary"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// fuzzed is a host's side under random packets, and what must hold whatever
// they are.
type fuzzed struct {
	*guest
	listeners []int
	users     []*os.File
	sent      map[tuple]uint32 // to the guest, since its last request or response
}

func newFuzzed(t *testing.T) *fuzzed {
	f := &fuzzed{guest: newGuest(t, func(c *Config) { c.MaxConnections = 8 }), sent: map[tuple]uint32{}}
	f.room = 256
	for i, typ := range []packet.Type{packet.Stream, packet.SeqPacket} {
		fd, err := f.h.Listen(typ, uint32(i), 2)
		require.NoError(t, err)
		require.NoError(t, unix.SetNonblock(fd, true))
		f.listeners = append(f.listeners, fd)
	}
	t.Cleanup(func() {
		for _, fd := range f.listeners {
			_ = unix.Close(fd)
		}
	})
	return f
}

// step does one thing that 12 bytes tell.
func (f *fuzzed) step(b []byte) {
	a := binary.LittleEndian.Uint32(b[4:])
	port, peer := uint32(b[1]%3), uint32(100+b[1]>>4%3)
	switch b[0] % 16 {
	case 0:
		f.users = append(f.users, f.acceptAll()...)
	case 1:
		f.fetchAll()
	case 2:
		f.onUser(a, func(u *os.File) { _, _ = u.Write(make([]byte, b[2])) })
	case 3:
		f.onUser(a, func(u *os.File) { _, _ = io.CopyN(io.Discard, u, int64(b[2])) })
	case 4:
		f.onUser(a, func(u *os.File) { _ = u.Close() })
	case 5:
		f.onUser(a, func(u *os.File) {
			if raw, err := u.SyscallConn(); err == nil {
				_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), int(b[2]%3)) })
			}
		})
	case 6:
		if b[2] < 16 {
			f.h.Detach()
			f.attach()
		} else if b[2] < 32 {
			f.h.Disconnect()
			<-f.reset
		}
	default:
		hdr := header(packet.Op(b[0]%10), port, peer)
		hdr.Type = packet.Type(1 + b[2]&1)
		hdr.Flags = uint32(b[3])
		hdr.FwdCnt = f.sent[tuple{port, peer}] - uint32(b[3]&7)/7
		if b[2]&2 != 0 {
			hdr.BufAlloc = a
		}
		if b[2]&0x7c == 0x7c {
			hdr.FwdCnt = a
		}
		size := int(binary.LittleEndian.Uint16(b[8:])) * int(b[10]&1)
		if hdr.Op == packet.OpData {
			hdr.Len = uint32(size)
		}
		if b[11] == 0xff {
			hdr.Len, hdr.SrcCID, hdr.DstCID = a, uint64(b[8]), uint64(b[9])
		}
		f.send(hdr, make([]byte, size))
	}
}

func (f *fuzzed) onUser(n uint32, fn func(*os.File)) {
	if len(f.users) > 0 {
		u := f.users[int(n)%len(f.users)]
		_ = u.SetDeadline(past)
		fn(u)
	}
}

// acceptAll takes what waits in the backlogs.
func (f *fuzzed) acceptAll() (users []*os.File) {
	for _, l := range f.listeners {
		for {
			fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
			if err != nil {
				break
			}
			users = append(users, userFile(f.t, fd))
		}
	}
	return users
}

// fetchAll takes what there is for the guest and checks it.
func (f *fuzzed) fetchAll() {
	f.fetch()
	for _, p := range f.queue {
		require.Equal(f.t, uint64(testCID), p.DstCID)
		require.EqualValues(f.t, len(p.payload), p.Len)
		key := tuple{p.SrcPort, p.DstPort}
		switch p.Op {
		case packet.OpData:
			f.sent[key] += p.Len
		case packet.OpResponse:
			f.sent[key] = 0
		case packet.OpReset, packet.OpShutdown, packet.OpCreditUpdate:
		default:
			require.Fail(f.t, "not a packet of a host that nobody connects from", "%+v", p.Header)
		}
	}
	f.queue = nil
}

// check is what always holds.
func (f *fuzzed) check() {
	h := f.h
	h.mu.Lock()
	defer h.mu.Unlock()
	require.LessOrEqual(f.t, h.count(), 8)
	require.LessOrEqual(f.t, h.refusals.len(), maxRefusals)
	require.GreaterOrEqual(f.t, h.keep, 0)
	for key, c := range h.table {
		require.Equal(f.t, key, c.tuple)
		require.True(f.t, c.state.inTable())
		require.LessOrEqual(f.t, c.receive.received-c.receive.forwarded, c.receive.size)
		require.Equal(f.t, c.state == closing, c.buried)
	}
}

// FuzzMachine: no sequence of packets and of what the host's users do breaks the
// state machine, and nothing is left at the end.
func FuzzMachine(f *testing.F) {
	open := []byte{11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}     // request
	messages := []byte{11, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0} // request of seqpacket
	data := []byte{15, 0, 0, 0, 0, 0, 0, 0, 0, 200, 1, 0}
	down := []byte{14, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0}
	seed := func(parts ...[]byte) {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		f.Add(all)
	}
	take := make([]byte, 12)
	seed(open, take, data, data, data, data, data, data, data, data, data, down, open)
	seed(messages, take, data, down)
	seed(open, take, []byte{2, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, data)
	seed(open, take, data, []byte{6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, open, data)
	f.Fuzz(func(t *testing.T, script []byte) {
		z := newFuzzed(t)
		for n := 0; len(script) >= 12 && n < 200; n++ {
			z.step(script)
			script = script[12:]
			z.check()
		}
		for _, u := range append(z.users, z.acceptAll()...) {
			_ = u.Close()
		}
		z.h.Detach()
		z.attach() // to be woken
		z.until("nothing to be left", func() bool { return present(z.h) == Stats{} })
		require.Zero(t, z.h.credits.given)
	})
}
