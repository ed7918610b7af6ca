package balloon

import (
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// backing lends what a machine lends, within the process.
type backing struct{ irq *virtiotest.IRQ }

func (b backing) NewKick(int) (virtio.StoppableKick, error) { return virtio.NewLocalKick(), nil }
func (b backing) Interrupt()                                { b.irq.Raise() }

// host is a Memory that remembers what came back, and requires that all of it is
// guest memory.
type host struct {
	mu     sync.Mutex
	err    error           // answer of Discard; guarded by mu
	gate   chan struct{}   // Discard waits for it; nil: it does not; guarded by mu
	got    []guestmem.Span // guarded by mu
	beyond int             // ranges that are not memory; guarded by mu
}

// isRAM says whether a range is memory of virtiotest.NewMemory, which has two regions
// that touch. It does not look at the memory, as the race detector would see.
func isRAM(addr, size uint64) bool {
	both := guestmem.Span{Base: virtiotest.Main.Base, Size: virtiotest.Main.Size + virtiotest.Next.Size}
	return virtiotest.Low.Contains(addr, size) || both.Contains(addr, size) || virtiotest.High.Contains(addr, size)
}

func (h *host) Discard(addr, size uint64) error {
	h.mu.Lock()
	gate := h.gate
	h.mu.Unlock()
	if gate != nil {
		<-gate
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !isRAM(addr, size) {
		h.beyond++
	}
	h.got = append(h.got, guestmem.Span{Base: addr, Size: size})
	return h.err
}

// take returns what came back since the last call.
func (h *host) take(t testing.TB) []guestmem.Span {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Zero(t, h.beyond, "something that is no memory was given back")
	got := h.got
	h.got = nil
	return got
}

var errHost = errors.New("the host does not want it")

// rig is a balloon behind an MMIO transport, with a driver.
type rig struct {
	*virtiotest.Driver
	t         testing.TB
	dev       *Device
	transport *mmio.Transport
	host      *host
}

const (
	allFeatures  = FeatureStats | FeatureDeflateOnOOM | FeaturePoison | FeatureReporting
	ringFeatures = virtiotest.FeatureIndirect | virtiotest.FeatureEventIdx
)

// newRig makes a balloon with everything, whose driver wants features of the device
// at every start and has not started.
func newRig(t testing.TB, features uint64) *rig {
	return newRigOf(t, features, Config{Reporting: true, DeflateOnOOM: true})
}

func newRigOf(t testing.TB, features uint64, cfg Config) *rig {
	mem, irq := virtiotest.NewMemory(t), virtiotest.NewIRQ()
	r := &rig{t: t, host: &host{}}
	cfg.Memory = r.host
	r.dev = New(cfg)
	r.transport = mmio.New(r.dev, mem, backing{irq})
	t.Cleanup(r.transport.Close)
	r.Driver = virtiotest.NewDriver(t, virtiotest.Config{Bus: r.transport, Mem: mem, IRQ: irq, Features: features})
	return r
}

// start starts the driver with the ring's features.
func startRig(t testing.TB, features uint64) *rig {
	r := newRig(t, features)
	r.Start(ringFeatures)
	return r
}

// pfns encodes page numbers.
func pfns(numbers ...uint32) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

// page is the number of the page at addr.
func page(addr uint64) uint32 { return uint32(addr / PageSize) }

// stat encodes one statistic.
func stat(tag uint16, value uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(nil, tag), value)
}

// report posts one report of ranges and waits until it comes back.
func (r *rig) report(queue int, ranges ...virtiotest.Desc) {
	r.t.Helper()
	raw := r.Queue(queue).Raw
	used := raw.UsedIdx()
	r.expose(queue, ranges...)
	r.WaitFor("the report", func() bool { return raw.UsedIdx() != used })
}

// expose makes one report available, in the descriptors from 0 on, and kicks.
func (r *rig) expose(queue int, ranges ...virtiotest.Desc) {
	r.t.Helper()
	raw := r.Queue(queue).Raw
	for i, d := range ranges {
		d.Flags |= virtiotest.DescWrite
		if i+1 < len(ranges) {
			d.Flags |= virtiotest.DescNext
			d.Next = uint16(i + 1)
		}
		raw.SetDesc(uint16(i), d)
	}
	raw.Expose(0)
	r.Queue(queue).Notify()
}

// desc is a range as a descriptor.
func desc(base uint64, size uint32) virtiotest.Desc { return virtiotest.Desc{Addr: base, Len: size} }
