//go:build linux

package vsock

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// hang is how long a test waits for what must come. No correct run comes near.
const hang = 20 * time.Second

// past is a deadline that makes a call not wait.
var past = time.Unix(1, 0)

const testCID = 42

// guest is a guest without a device: it speaks packets with a Host.
type guest struct {
	t     testing.TB
	h     *Host
	wake  chan struct{} // capacity 1: Deliver, Notify or Reclaim was called
	reset chan struct{} // TransportReset was called
	queue []received    // taken from the host, not looked at yet
	room  int           // of each slot
	slots []packet.Slot
	kept  int

	delivers atomic.Int64 // calls of Deliver
}

// received is a packet for the guest.
type received struct {
	packet.Header
	payload []byte
}

func (g *guest) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *guest) Deliver()        { g.delivers.Add(1); g.poke() }
func (g *guest) Notify()         { g.poke() }
func (g *guest) Reclaim()        { g.poke() }
func (g *guest) TransportReset() { g.reset <- struct{}{} }

// newGuest makes a host's side with a running driver.
func newGuest(t testing.TB, change func(*Config)) *guest {
	t.Helper()
	cfg := Config{CID: testCID, Dir: shortDir(t)}
	if change != nil {
		change(&cfg)
	}
	h, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	g := &guest{t: t, h: h, wake: make(chan struct{}, 1), reset: make(chan struct{}, 16), room: 4096}
	g.attach()
	return g
}

// attach starts a driver.
func (g *guest) attach() {
	g.queue, g.kept = nil, 0
	g.h.Attach(packet.Link{Guest: g, SeqPacket: true, Keep: 16})
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "vs")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// fetch takes all packets there are.
func (g *guest) fetch() {
	for len(g.slots) < 32 {
		g.slots = append(g.slots, packet.Slot{Room: [][]byte{make([]byte, g.room)}, Size: g.room})
	}
	for {
		n := g.h.Fill(g.slots)
		if n == 0 {
			break
		}
		for _, s := range g.slots[:n] {
			g.queue = append(g.queue, received{s.Header, bytes.Clone(s.Room[0][:s.Header.Len])})
		}
	}
	for g.h.Finished() != nil {
		g.kept--
	}
}

// until waits for a condition and fetches packets meanwhile.
func (g *guest) until(what string, done func() bool) {
	g.t.Helper()
	end := time.NewTimer(hang)
	defer end.Stop()
	for {
		g.fetch()
		if done() {
			return
		}
		select {
		case <-g.wake:
		case <-end.C:
			require.FailNow(g.t, "hang", "waiting for %s; stats %+v; queue %v", what, g.h.Stats(), g.queue)
		}
	}
}

// next returns the next packet for the guest.
func (g *guest) next() received {
	g.t.Helper()
	g.until("a packet", func() bool { return len(g.queue) > 0 })
	p := g.queue[0]
	g.queue = g.queue[1:]
	return p
}

// expect requires that the next packet is of a kind.
func (g *guest) expect(op packet.Op, host, guestPort uint32) received {
	g.t.Helper()
	p := g.next()
	require.Equal(g.t, op, p.Op, "%+v", p.Header)
	require.Equal(g.t, [4]uint64{packet.HostCID, testCID, uint64(host), uint64(guestPort)},
		[4]uint64{p.SrcCID, p.DstCID, uint64(p.SrcPort), uint64(p.DstPort)})
	return p
}

// quiet requires that there is nothing for the guest now.
func (g *guest) quiet() {
	g.t.Helper()
	g.fetch()
	require.Empty(g.t, g.queue)
}

// header is a correct header of the guest.
func header(op packet.Op, host, guestPort uint32) packet.Header {
	return packet.Header{
		SrcCID: testCID, DstCID: packet.HostCID, SrcPort: guestPort, DstPort: host,
		Type: packet.Stream, Op: op, BufAlloc: 64 << 10,
	}
}

// send sends a packet.
func (g *guest) send(hdr packet.Header, payload ...[]byte) (kept bool) {
	p := &packet.Packet{Header: hdr}
	for _, b := range payload {
		if len(b) > 0 {
			p.Payload = append(p.Payload, b)
			p.Size += len(b)
		}
	}
	p.Weight = 1 + len(p.Payload)
	if kept = g.h.Send(p); kept {
		g.kept++
	}
	return kept
}

// data sends bytes on a stream.
func (g *guest) data(host, guestPort uint32, b []byte) {
	hdr := header(packet.OpData, host, guestPort)
	hdr.Len = uint32(len(b))
	g.send(hdr, b)
}

// connected is a connection that the guest asked for, and its host's user.
func (g *guest) connected(t packet.Type, host, guestPort uint32) *os.File {
	g.t.Helper()
	fd, err := g.h.Listen(t, host, 8)
	require.NoError(g.t, err)
	defer unix.Close(fd)
	hdr := header(packet.OpRequest, host, guestPort)
	hdr.Type = t
	g.send(hdr)
	g.expect(packet.OpResponse, host, guestPort)
	require.NoError(g.t, g.h.Unbind(host, ModeConnect))
	return accept(g.t, fd)
}

func accept(t testing.TB, fd int) *os.File {
	t.Helper()
	n, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	require.NoError(t, err)
	return userFile(t, n)
}

// userFile is a descriptor of a host's user, whose reads and writes go through
// the runtime's poller.
func userFile(t testing.TB, fd int) *os.File {
	require.NoError(t, unix.SetNonblock(fd, true))
	f := os.NewFile(uintptr(fd), "user")
	require.NoError(t, f.SetDeadline(time.Now().Add(hang)))
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// control runs fn on a file's descriptor.
func control(t testing.TB, f *os.File, fn func(fd int)) {
	raw, err := f.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { fn(int(fd)) }))
}

func shutdown(t testing.TB, f *os.File, how int) {
	control(t, f, func(fd int) { require.NoError(t, unix.Shutdown(fd, how)) })
}

// connecting begins Connect on another goroutine and returns the port of the
// host that the guest sees.
func (g *guest) connecting(ctx context.Context, t packet.Type, port uint32) (host uint32, result <-chan connectResult) {
	g.t.Helper()
	c := make(chan connectResult, 1)
	go func() {
		fd, err := g.h.Connect(ctx, t, port)
		c <- connectResult{fd, err}
	}()
	p := g.next()
	require.Equal(g.t, packet.OpRequest, p.Op)
	require.Equal(g.t, port, p.DstPort)
	require.Equal(g.t, t, p.Type)
	return p.SrcPort, c
}

type connectResult struct {
	fd  int
	err error
}

// pattern is bytes that tell where they are.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// fds counts this process's descriptors.
func fds(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// noLeak requires that fn leaves no descriptor and no goroutine behind.
func noLeak(t *testing.T, fn func()) {
	t.Helper()
	goroutines, open := runtime.NumGoroutine(), fds(t)
	fn()
	require.Equal(t, open, fds(t), "descriptors")
	for range 1_000_000 { // one that was joined may need a turn to be gone
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "goroutines")
}

// sum describes packets for failure messages.
func (r received) String() string {
	return fmt.Sprintf("%v %d->%d len %d flags %d", r.Op, r.SrcPort, r.DstPort, len(r.payload), r.Flags)
}

// ended is a context that has ended.
func ended(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
