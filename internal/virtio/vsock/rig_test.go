package vsock

import (
	"sync"
	"testing"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// backing lends what a machine lends, within the process.
type backing struct{ irq *virtiotest.IRQ }

func (b backing) NewKick(int) (virtio.StoppableKick, error) { return virtio.NewLocalKick(), nil }
func (b backing) Interrupt()                                { b.irq.Raise() }

const ringFeatures = virtiotest.FeatureIndirect | virtiotest.FeatureEventIdx

// rig is a device behind an MMIO transport, with a driver that has not started.
type rig struct {
	*virtiotest.Driver
	dev       *Device
	transport *mmio.Transport
	mem       *guestmem.Memory
}

// newRig makes a device over some memory; nil is the kit's.
func newRig(t testing.TB, host Host, mem *guestmem.Memory, arena guestmem.Span) *rig {
	r := &rig{dev: New(host), mem: mem}
	if mem == nil {
		r.mem = virtiotest.NewMemory(t)
	}
	irq := virtiotest.NewIRQ()
	r.transport = mmio.New(r.dev, r.mem, backing{irq})
	t.Cleanup(r.transport.Close)
	r.Driver = virtiotest.NewDriver(t, virtiotest.Config{Bus: r.transport, Mem: r.mem, IRQ: irq, Arena: arena})
	return r
}

// fakeHost is a Host with no connections: it delivers what it is told to, and
// keeps what it gets.
type fakeHost struct {
	mu       sync.Mutex
	link     packet.Link
	attached int
	got      []packet.Header
	payload  [][]byte
	keep     bool // every packet with payload
	soon     bool // finish them on another goroutine
	kept     []*packet.Packet
	finished []*packet.Packet
	out      []packet.Header // packets for the guest; Len bytes of payload each
	slots    []int           // how many were offered at each Fill
	asked    int             // calls of Pending
}

const testCID = 0x01020304

func (f *fakeHost) GuestCID() uint64 { return testCID }

func (f *fakeHost) Attach(link packet.Link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.link = link
	f.attached++
}

func (f *fakeHost) Detach() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.link = packet.Link{}
	f.attached--
	f.kept, f.finished = nil, nil
}

func (f *fakeHost) Send(p *packet.Packet) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, p.Header)
	var b []byte
	for _, part := range p.Payload {
		if len(b) < 1<<20 {
			b = append(b, part[:min(len(part), 1<<20)]...)
		}
	}
	f.payload = append(f.payload, b)
	if f.keep && p.Size > 0 {
		f.kept = append(f.kept, p)
		if f.soon {
			go f.finish()
		}
		return true
	}
	return false
}

// finish gives the packets back that were kept.
func (f *fakeHost) finish() {
	f.mu.Lock()
	f.finished = append(f.finished, f.kept...)
	f.kept = nil
	guest := f.link.Guest
	f.mu.Unlock()
	if guest != nil {
		guest.Reclaim()
	}
}

func (f *fakeHost) Finished() *packet.Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.finished) == 0 {
		return nil
	}
	p := f.finished[0]
	f.finished = f.finished[1:]
	return p
}

func (f *fakeHost) Pending() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return len(f.out) > 0
}

func (f *fakeHost) Fill(slots []packet.Slot) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slots = append(f.slots, len(slots))
	n := min(len(slots), len(f.out))
	for i := range n {
		s := &slots[i]
		s.Header = f.out[i]
		s.Header.Len = uint32(min(int(s.Header.Len), s.Size))
		for k, left := 0, int(s.Header.Len); left > 0; k++ {
			part := s.Room[k][:min(left, len(s.Room[k]))]
			for j := range part {
				part[j] = byte(i)
			}
			left -= len(part)
		}
	}
	f.out = f.out[n:]
	return n
}

// put queues packets for the guest and has them delivered on this goroutine.
func (f *fakeHost) put(n int, size uint32) {
	f.mu.Lock()
	for range n {
		f.out = append(f.out, packet.Header{SrcCID: packet.HostCID, DstCID: testCID, Op: packet.OpData, Len: size})
	}
	guest := f.link.Guest
	f.mu.Unlock()
	if guest != nil {
		guest.Deliver()
	}
}

func (f *fakeHost) headers() []packet.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]packet.Header(nil), f.got...)
}

// guest returns the driver that runs.
func (f *fakeHost) guest() packet.Guest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link.Guest
}

// bytesOf is a packet as it lies in memory.
func bytesOf(hdr packet.Header, payload ...byte) []byte {
	var raw [packet.HeaderSize]byte
	hdr.Len = uint32(len(payload))
	hdr.Encode(&raw)
	return append(raw[:], payload...)
}

var _ Host = (*fakeHost)(nil)
