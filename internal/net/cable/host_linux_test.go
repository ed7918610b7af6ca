package cable

import (
	"bytes"
	"encoding/binary"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// guest keeps what it gets, as long as it has room.
type guest struct {
	mu   sync.Mutex
	cond sync.Cond
	room int // frames it takes; negative: all
	got  []link.Frame
}

func newGuest(room int) *guest {
	g := &guest{room: room}
	g.cond.L = &g.mu
	return g
}

func (g *guest) Receive(frames []link.Frame) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(frames)
	if g.room >= 0 {
		n = min(n, g.room)
		g.room -= n
	}
	for _, f := range frames[:n] {
		g.got = append(g.got, link.Frame{Header: f.Header, Data: [][]byte{bytes.Join(f.Data, nil)}})
	}
	g.cond.Broadcast()
	return n
}

// await returns the first n frames, and forgets them.
func (g *guest) await(n int) []link.Frame {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.got) < n {
		g.cond.Wait()
	}
	got := g.got[:n]
	g.got = g.got[n:]
	return got
}

func pair(t *testing.T, kind int) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func newHost(t *testing.T, cfg Config, change func(bool, error)) *Host {
	t.Helper()
	h, err := New(cfg, change)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

func readN(t *testing.T, fd, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	for at := 0; at < n; {
		k, err := unix.Read(fd, b[at:])
		require.NoError(t, err)
		require.NotZero(t, k)
		at += k
	}
	return b
}

func write(t *testing.T, fd int, b []byte) {
	t.Helper()
	n, err := unix.Write(fd, b)
	require.NoError(t, err)
	require.Len(t, b, n)
}

func one(b []byte) link.Frame { return link.Frame{Data: [][]byte{b[:5], b[5:5], b[5:]}} }

var all = link.Offloads{Checksum: true, TSO4: true, TSO6: true, ECN: true, USO4: true, USO6: true}

func TestStream(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t, unix.SOCK_STREAM)
	h, g := newHost(t, Config{File: ours, Stream: true}, nil), newGuest(-1)
	h.Attach(g, all)
	frames := [][]byte{ethernet(60), ethernet(1514), ethernet(14)}
	h.Send([]link.Frame{one(frames[0]), one(frames[1]), one(frames[2])})
	want := prefixed(frames...)
	require.Equal(t, want, readN(t, theirs, len(want)))
	write(t, theirs, want)
	for i, f := range g.await(3) {
		require.Equal(t, link.Frame{Data: [][]byte{frames[i]}}, f)
	}
	h.Detach()
	require.Zero(t, h.Stats())
}

func TestDatagrams(t *testing.T) {
	t.Parallel()
	for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		ours, theirs := pair(t, kind)
		h, g := newHost(t, Config{File: ours}, nil), newGuest(-1)
		h.Attach(g, all)
		h.Send([]link.Frame{one(ethernet(60)), one(ethernet(61))})
		b := make([]byte, 100)
		for n := 60; n < 62; n++ {
			k, err := unix.Read(theirs, b)
			require.NoError(t, err)
			require.Equal(t, ethernet(n), b[:k])
		}
		write(t, theirs, ethernet(13)) // no frame
		write(t, theirs, ethernet(60))
		require.Equal(t, ethernet(60), g.await(1)[0].Data[0])
		require.EqualValues(t, 1, h.Stats().Malformed)
	}
}

// A header that lies is dropped, and one that does not comes through both ways.
func TestHeaders(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t, unix.SOCK_SEQPACKET)
	h, g := newHost(t, Config{File: ours, Header: true}, nil), newGuest(-1)
	h.Attach(g, all)
	hdr := link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4, HdrLen: 54, GSOSize: 1460, CSumStart: 34, CSumOffset: 16}
	f := one(ethernet(5000))
	f.Header = hdr
	h.Send([]link.Frame{f})
	b := make([]byte, 6000)
	n, err := unix.Read(theirs, b)
	require.NoError(t, err)
	require.Equal(t, headerSize+5000, n)
	bad := bytes.Clone(b[:n])
	binary.LittleEndian.PutUint16(bad[6:], 5000) // the checksum starts behind the frame
	write(t, theirs, bad)
	write(t, theirs, bad[:11])
	write(t, theirs, b[:n])
	require.Equal(t, link.Frame{Header: hdr, Data: [][]byte{ethernet(5000)}}, g.await(1)[0])
	require.EqualValues(t, 2, h.Stats().Malformed)
}

// tcp is a long segment over IPv4 with n bytes of payload and a partial checksum.
func tcp(n int) (link.Header, []byte) {
	b := make([]byte, 54+n)
	copy(b[12:], []byte{8, 0, 0x45, 0})
	binary.BigEndian.PutUint16(b[16:], uint16(40+n))
	b[22], b[23] = 64, 6
	copy(b[26:], []byte{10, 0, 2, 15, 10, 0, 2, 2})
	b[46], b[47] = 0x50, 0x18
	copy(b[54:], ethernet(n))
	return link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4, HdrLen: 54, GSOSize: 1000, CSumStart: 34, CSumOffset: 16}, b
}

// Where the other end takes no long frames, or the guest's driver does not, they are
// cut.
func TestCut(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t, unix.SOCK_STREAM)
	h, g := newHost(t, Config{File: ours, Stream: true}, nil), newGuest(-1)
	h.Attach(g, all)
	hdr, b := tcp(2500)
	h.Send([]link.Frame{{Header: hdr, Data: [][]byte{b}}})
	var payload []byte
	for _, n := range []int{1000, 1000, 500} {
		require.Equal(t, binary.BigEndian.AppendUint32(nil, uint32(54+n)), readN(t, theirs, 4))
		payload = append(payload, readN(t, theirs, 54+n)[54:]...)
	}
	require.Equal(t, ethernet(2500), payload)

	ours, theirs = pair(t, unix.SOCK_SEQPACKET)
	h = newHost(t, Config{File: ours, Header: true}, nil)
	h.Attach(g, link.Offloads{})
	message := make([]byte, headerSize, headerSize+len(b))
	encodeHeader(message, &hdr)
	write(t, theirs, append(message, b...))
	payload = nil
	for _, f := range g.await(3) {
		require.Zero(t, f.Header)
		payload = append(payload, f.Data[0][54:]...)
	}
	require.Equal(t, ethernet(2500), payload)
}

// A guest without room holds up the other end, and loses nothing.
func TestGuestWithoutRoom(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t, unix.SOCK_STREAM)
	h, g := newHost(t, Config{File: ours, Stream: true}, nil), newGuest(2)
	h.Attach(g, all)
	write(t, theirs, prefixed(ethernet(60), ethernet(61), ethernet(62), ethernet(63)))
	require.Len(t, g.await(2), 2)
	g.mu.Lock()
	g.room = -1
	g.mu.Unlock()
	h.Room()
	got := g.await(2)
	require.Equal(t, ethernet(62), got[0].Data[0])
	require.Equal(t, ethernet(63), got[1].Data[0])
}

// A descriptor that takes no more gets later what waited, in order; what is too much is
// lost whole.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{true, false} {
		kind := unix.SOCK_SEQPACKET
		if stream {
			kind = unix.SOCK_STREAM
		}
		ours, theirs := pair(t, kind)
		h := newHost(t, Config{File: ours, Stream: stream}, nil)
		const many = 3000
		for i := range many {
			b := ethernet(4000)
			binary.BigEndian.PutUint32(b, uint32(i))
			h.Send([]link.Frame{one(b)})
		}
		lost := h.Stats().DroppedOut
		require.NotZero(t, lost)
		last := -1
		for range many - int(lost) {
			if stream {
				require.Equal(t, []byte{0, 0, 0x0f, 0xa0}, readN(t, theirs, 4))
			}
			b := readN(t, theirs, 4000)
			require.Equal(t, ethernet(4000)[4:], b[4:])
			i := int(binary.BigEndian.Uint32(b))
			require.Greater(t, i, last)
			last = i
		}
	}
}

// Ends are told once, with the reason, and another descriptor brings the link up.
func TestEnds(t *testing.T) {
	t.Parallel()
	type news struct {
		up  bool
		why error
	}
	for _, tt := range []struct {
		kind   int
		stream bool
		end    func(theirs int)
		want   error
	}{
		{unix.SOCK_STREAM, true, func(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) }, errEnded},
		{unix.SOCK_STREAM, true, func(fd int) { _, _ = unix.Write(fd, []byte{0xff, 0xff, 0xff, 0xff}) }, errFraming},
		{unix.SOCK_SEQPACKET, false, func(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) }, errEnded},
	} {
		changes := make(chan news, 10)
		ours, theirs := pair(t, tt.kind)
		h, g := newHost(t, Config{File: ours, Stream: tt.stream}, func(up bool, why error) { changes <- news{up, why} }), newGuest(-1)
		h.Attach(g, all)
		tt.end(theirs)
		n := <-changes
		require.False(t, n.up)
		require.ErrorIs(t, n.why, tt.want)
		h.Send([]link.Frame{one(ethernet(60))})
		require.EqualValues(t, 1, h.Stats().DroppedOut)
		ours, theirs = pair(t, tt.kind)
		require.NoError(t, h.SetFile(Config{File: ours, Stream: tt.stream}))
		require.Equal(t, news{up: true}, <-changes)
		h.Send([]link.Frame{one(ethernet(60))})
		if tt.stream {
			readN(t, theirs, 4)
		}
		require.Equal(t, ethernet(60), readN(t, theirs, 60))
		// One that is replaced while it works is no news.
		ours, _ = pair(t, tt.kind)
		require.NoError(t, h.SetFile(Config{File: ours, Stream: tt.stream}))
		require.NoError(t, h.Close())
		require.Empty(t, changes)
		ours, _ = pair(t, tt.kind)
		require.ErrorIs(t, h.SetFile(Config{File: ours, Stream: tt.stream}), errClosed)
	}
}

// The end of a datagram socket shows when something is sent.
func TestDatagramEnds(t *testing.T) {
	t.Parallel()
	ends := make(chan error, 1)
	ours, theirs := pair(t, unix.SOCK_DGRAM)
	h := newHost(t, Config{File: ours}, func(_ bool, why error) { ends <- why })
	other, err := unix.Dup(theirs)
	require.NoError(t, err)
	write(t, other, nil) // an empty message is no end
	require.NoError(t, unix.Close(other))
	require.NoError(t, unix.Dup3(ours, theirs, unix.O_CLOEXEC)) // closes the other end; the cleanup closes this copy
	h.Send([]link.Frame{one(ethernet(60))})
	require.ErrorIs(t, <-ends, errEnded)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	ours, _ := pair(t, unix.SOCK_STREAM)
	_, err := New(Config{File: ours}, nil)
	require.ErrorIs(t, err, unix.EPROTOTYPE)
	ours, _ = pair(t, unix.SOCK_DGRAM)
	_, err = New(Config{File: ours, Stream: true}, nil)
	require.ErrorIs(t, err, unix.EPROTOTYPE)
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	_, err = New(Config{File: null, Stream: true}, nil)
	require.ErrorIs(t, err, unix.ENOTSOCK)
}

// network hands back what it is sent.
type network struct {
	guest    link.Guest
	rooms    chan struct{}
	mu       sync.Mutex
	attached bool
}

func (n *network) Attach(g link.Guest, _ link.Offloads) { n.set(g, true) }
func (n *network) Detach()                              { n.set(n.guest, false) }
func (n *network) Send(frames []link.Frame)             { n.guest.Receive(frames) }
func (n *network) Room()                                { n.rooms <- struct{}{} }

func (n *network) set(g link.Guest, attached bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.guest, n.attached = g, attached
}

// A device in another process and its network, through a pair.
func TestRemote(t *testing.T) {
	t.Parallel()
	near, far, err := Pair()
	require.NoError(t, err)
	n, g := &network{rooms: make(chan struct{}, 1)}, newGuest(-1)
	r, err := Serve(far, n)
	require.NoError(t, err)
	h := newHost(t, Config{File: near, Header: true}, nil)
	h.Attach(g, all)
	hdr, b := tcp(40000)
	h.Send([]link.Frame{one(ethernet(60)), {Header: hdr, Data: [][]byte{b}}})
	got := g.await(2)
	require.Equal(t, ethernet(60), got[0].Data[0])
	require.Equal(t, link.Frame{Header: hdr, Data: [][]byte{b}}, got[1])

	// The network is told to wait, and when it need not any more.
	g.mu.Lock()
	g.room = 0
	g.mu.Unlock()
	var frames []link.Frame
	for range 1000 {
		frames = append(frames, link.Frame{Header: hdr, Data: [][]byte{b}})
	}
	taken := r.Receive(frames)
	require.Less(t, taken, len(frames))
	g.mu.Lock()
	g.room = -1
	g.mu.Unlock()
	h.Room()
	<-n.rooms
	require.Len(t, g.await(taken), taken)
	r.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	require.False(t, n.attached)
}
