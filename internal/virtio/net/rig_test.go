package net

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// backing lends what a machine lends, within the process.
type backing struct{ irq *virtiotest.IRQ }

func (b backing) NewKick(int) (virtio.StoppableKick, error) { return virtio.NewLocalKick(), nil }
func (b backing) Interrupt()                                { b.irq.Raise() }

const (
	ringFeatures = virtiotest.FeatureIndirect | virtiotest.FeatureEventIdx
	allFeatures  = features | ringFeatures
)

var testMAC = MAC{0x02, 0xca, 0xb5, 0xa0, 0x01, 0x02}

// rig is a device behind an MMIO transport, with a driver that has not started.
type rig struct {
	*virtiotest.Driver
	dev       *Device
	transport *mmio.Transport
	mem       *guestmem.Memory
}

type setup struct {
	Config
	features uint64           // that every start asks for
	mem      *guestmem.Memory // nil: the kit's
	arena    guestmem.Span
}

func newRig(t testing.TB, host link.Host, change ...func(*setup)) *rig {
	t.Helper()
	s := &setup{Config: Config{Host: host, MAC: testMAC}}
	for _, c := range change {
		c(s)
	}
	dev, err := New(s.Config)
	require.NoError(t, err)
	r := &rig{dev: dev, mem: s.mem}
	if r.mem == nil {
		r.mem = virtiotest.NewMemory(t)
	}
	irq := virtiotest.NewIRQ()
	r.transport = mmio.New(r.dev, r.mem, backing{irq})
	t.Cleanup(r.transport.Close)
	r.Driver = virtiotest.NewDriver(t, virtiotest.Config{Bus: r.transport, Mem: r.mem, IRQ: irq, Arena: s.arena, Features: s.features})
	return r
}

// maxPending is how many frames wait in a fakeHost.
const maxPending = 10_000

// sent is a frame that the host's side got.
type sent struct {
	Header link.Header
	Data   string
	Pieces int
}

// fakeHost is a network that nobody is on: it keeps what it gets, and delivers
// what it is told to.
type fakeHost struct {
	onSend    func(frames []link.Frame) // called first
	roomEnded chan struct{}             // one for each Room; nil: nobody waits

	mu       sync.Mutex
	guest    link.Guest
	offloads link.Offloads
	attached int
	got      []sent
	batches  []int
	rooms    int

	pump    sync.Mutex
	pending []link.Frame // for the guest; guarded by pump
	taken   int          // guarded by pump
}

func (f *fakeHost) Attach(guest link.Guest, offloads link.Offloads) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guest, f.offloads = guest, offloads
	f.attached++
}

func (f *fakeHost) Detach() {
	f.mu.Lock()
	f.guest = nil
	f.attached--
	f.mu.Unlock()
	f.pump.Lock() // a Receive has ended after that
	f.pending = nil
	f.pump.Unlock()
}

func (f *fakeHost) Send(frames []link.Frame) {
	if f.onSend != nil {
		f.onSend(frames)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, len(frames))
	for i := range frames {
		var b []byte
		for _, d := range frames[i].Data {
			b = append(b, d...)
		}
		f.got = append(f.got, sent{Header: frames[i].Header, Data: string(b), Pieces: len(frames[i].Data)})
	}
}

func (f *fakeHost) Room() {
	f.mu.Lock()
	f.rooms++
	f.mu.Unlock()
	f.put()
	if f.roomEnded != nil {
		f.roomEnded <- struct{}{}
	}
}

// put queues frames for the guest, delivers what it takes, and returns how many
// are left.
func (f *fakeHost) put(frames ...link.Frame) int {
	f.pump.Lock()
	defer f.pump.Unlock()
	f.mu.Lock()
	guest := f.guest
	f.mu.Unlock()
	if len(f.pending) < maxPending { // as a network does
		f.pending = append(f.pending, frames...)
	}
	if guest == nil {
		f.pending = nil
		return 0
	}
	n := guest.Receive(f.pending)
	f.taken += n
	f.pending = f.pending[n:]
	return len(f.pending)
}

// frames returns what the guest sent so far.
func (f *fakeHost) frames() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]sent(nil), f.got...)
}

func (f *fakeHost) roomCalls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rooms
}

// ethernet is a frame of n bytes to dst, with contents that tell positions apart.
func ethernet(dst MAC, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	copy(b, dst[:])
	if n >= ethHeader {
		copy(b[12:], []byte{0x08, 0x00})
	}
	return b
}

var broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// frame is one for the guest, in one piece.
func frame(n int) link.Frame { return link.Frame{Data: [][]byte{ethernet(broadcast, n)}} }

// packed is a frame as a driver sends it.
func packed(h link.Header, data []byte) []byte {
	var raw [hdrSize]byte
	encode(&raw, &h, 0)
	return append(raw[:], data...)
}

// got is a frame as a driver received it.
type got struct {
	Header  link.Header
	Buffers int
	Data    string
}

// receive takes the next frame from the receive queue. All its buffers are there
// when the first one is.
func (r *rig) receive(t testing.TB) got {
	t.Helper()
	q := r.Queue(queueReceive)
	u := q.Wait()
	require.GreaterOrEqual(t, len(u.Data), hdrSize)
	raw := (*[hdrSize]byte)(u.Data)
	g := got{Header: decode(raw), Buffers: int(raw[hdrNumBuffers]) | int(raw[hdrNumBuffers+1])<<8}
	data := u.Data[hdrSize:]
	for range g.Buffers - 1 {
		u, ok := q.Reap()
		require.True(t, ok, "half a frame was shown to the driver")
		data = append(data, u.Data...)
	}
	g.Data = string(data)
	return g
}

var _ link.Host = (*fakeHost)(nil)
