package rng

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
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

type rig struct {
	*virtiotest.Driver
	transport *mmio.Transport
	mem       *guestmem.Memory
}

func newRig(t testing.TB, cfg Config) *rig {
	mem, irq := virtiotest.NewMemory(t), virtiotest.NewIRQ()
	transport := mmio.New(New(cfg), mem, backing{irq})
	t.Cleanup(transport.Close)
	return &rig{
		Driver:    virtiotest.NewDriver(t, virtiotest.Config{Bus: transport, Mem: mem, IRQ: irq}),
		transport: transport,
		mem:       mem,
	}
}

const ringFeatures = virtiotest.FeatureIndirect | virtiotest.FeatureEventIdx

// counting is a Source whose bytes can be told apart.
type counting struct{ n int }

func (s *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s.n)
		s.n++
	}
	return len(p), nil
}

func TestIdentity(t *testing.T) {
	r := newRig(t, Config{})
	require.EqualValues(t, 4, r.Reg(virtiotest.RegDeviceID)) // virtio 1.2 section 5.4.1
	require.Equal(t, virtio.TransportFeatures, r.Offered())
	require.Equal(t, make([]byte, 16), r.ReadConfig(0, 16))
}

func TestRequests(t *testing.T) {
	for _, features := range []uint64{0, ringFeatures} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			r := newRig(t, Config{Source: &counting{}})
			r.Start(features)
			next := 0
			for _, size := range []int{1, 2, 63, 64, 4095, 4096, 4097, 10_000, MaxRequest} {
				got := r.Queue(0).Do(nil, size)
				require.Len(t, got, size)
				for _, b := range got {
					require.Equal(t, byte(next), b)
					next++
				}
			}
			require.Equal(t, uint64(next), r.transport.Stats().Bytes)
		})
	}
}

func TestRandomness(t *testing.T) {
	r := newRig(t, Config{})
	r.Start(ringFeatures)
	a, b := r.Queue(0).Do(nil, 64), r.Queue(0).Do(nil, 64)
	require.NotEqual(t, a, b)
	require.NotEqual(t, make([]byte, 64), a)
}

// G3: requests above the cap get the cap, however large, and cost no memory.
func TestCap(t *testing.T) {
	r := newRig(t, Config{})
	r.Start(0)
	require.Len(t, r.Queue(0).Do(nil, MaxRequest+1), MaxRequest)
	require.Len(t, r.Queue(0).Do(nil, 1<<20), MaxRequest)
	r.Start(0)

	// 512 times the whole of RAM is 4 GiB; a chain of the queue's 64
	// descriptors that overlap is as close as its length allows.
	q := r.Queue(0).Raw
	for i := range uint16(queueSize) {
		d := virtiotest.Desc{
			Addr: virtiotest.High.Base, Len: uint32(virtiotest.High.Size),
			Flags: virtiotest.DescWrite | virtiotest.DescNext, Next: i + 1,
		}
		if i == queueSize-1 {
			d.Flags = virtiotest.DescWrite
		}
		q.SetDesc(i, d)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	q.Expose(0)
	r.Queue(0).Notify()
	r.WaitFor("the request", func() bool { return q.UsedIdx() == 1 })
	runtime.ReadMemStats(&after)
	_, length := q.UsedElem(0)
	require.EqualValues(t, MaxRequest, length)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

// G3 word for word: one descriptor of 4 GiB - 1 is outside of RAM.
func TestDescriptorOf4GiB(t *testing.T) {
	r := newRig(t, Config{})
	r.Start(0)
	q := r.Queue(0)
	q.Raw.SetDesc(0, virtiotest.Desc{Addr: virtiotest.Main.Base, Len: 1<<32 - 1, Flags: virtiotest.DescWrite})
	q.Raw.Expose(0)
	q.Notify()
	r.WaitNeedsReset()
	r.Start(0)
	require.Len(t, r.Queue(0).Do(nil, 8), 8)
}

func TestNothingToWriteTo(t *testing.T) {
	r := newRig(t, Config{})
	r.Start(0)
	r.Queue(0).Post([]byte("take this"), 0)
	r.WaitNeedsReset()
}

// A source that fails costs the request, and says so in the statistics.
func TestSourceFails(t *testing.T) {
	source := io.MultiReader(bytes.NewReader(make([]byte, chunkSize)), failing{})
	r := newRig(t, Config{Source: source})
	r.Start(0)
	require.Len(t, r.Queue(0).Do(nil, 2*chunkSize), chunkSize)
	require.Empty(t, r.Queue(0).Do(nil, 16))
	require.Equal(t, uint64(2), r.transport.Stats().Errors)
	require.Zero(t, r.transport.Stats().Faults)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestHostile(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		return &virtiotest.Subject{Driver: newRig(t, Config{}).Driver, Reply: 64}
	})
}
