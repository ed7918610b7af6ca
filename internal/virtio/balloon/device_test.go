package balloon

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestIdentity(t *testing.T) {
	r := newRig(t, 0)
	require.EqualValues(t, 5, r.Reg(virtiotest.RegDeviceID)) // virtio 1.2 section 5.5.1
	require.Equal(t, virtio.TransportFeatures|allFeatures, r.Offered())

	r = newRigOf(t, 0, Config{})
	require.Equal(t, virtio.TransportFeatures|FeatureStats, r.Offered())
}

// The configuration is little-endian; two of its fields are the driver's.
func TestConfig(t *testing.T) {
	r := startRig(t, allFeatures)
	r.dev.SetSize(0x01020304*PageSize + 5)
	r.SetReg(virtiotest.RegConfig+configActual, 0x0A0B0C0D)
	r.SetReg(virtiotest.RegConfig+configPoison, 0xAA)
	want := []byte{4, 3, 2, 1, 0x0D, 0x0C, 0x0B, 0x0A, 0, 0, 0, 0, 0xAA, 0, 0, 0}
	require.Equal(t, append(want, make([]byte, 8)...), r.ReadConfig(0, 24))
	require.Equal(t, uint64(0x01020304)*PageSize, r.dev.Stats().Target)
	require.Equal(t, uint64(0x0A0B0C0D)*PageSize, r.dev.Stats().Actual)

	// Every width and place.
	for offset := uint64(0); offset < 40; offset++ {
		for size := range 20 {
			p := make([]byte, size)
			r.transport.Write(virtiotest.RegConfig+offset, p)
			r.transport.Read(virtiotest.RegConfig+offset, p)
		}
	}
	require.Equal(t, []byte{4, 3, 2, 1}, r.ReadConfig(0, 4), "the host's field is not the driver's")
	r.SetReg(virtiotest.RegConfig+configActual+2, 0xFFFFFFFF)
	require.Equal(t, uint64(0xFFFF0000)*PageSize, r.dev.Stats().Actual)
}

func TestSetSize(t *testing.T) {
	r := newRig(t, allFeatures)
	r.dev.SetSize(8 << 20)
	require.False(t, r.dev.Stats().Driver)
	r.Start(ringFeatures)
	require.True(t, r.dev.Stats().Driver)
	r.WaitConfigChange() // a driver that comes later is told
	require.EqualValues(t, 2048, binary.LittleEndian.Uint32(r.ReadConfig(configNumPages, 4)))

	before := r.Reg(virtiotest.RegConfigGen)
	r.dev.SetSize(0)
	r.WaitConfigChange()
	require.NotEqual(t, before, r.Reg(virtiotest.RegConfigGen))
	require.Zero(t, binary.LittleEndian.Uint32(r.ReadConfig(configNumPages, 4)))

	r.dev.SetSize(math.MaxUint64)
	require.EqualValues(t, math.MaxUint32, binary.LittleEndian.Uint32(r.ReadConfig(configNumPages, 4)))

	// What the driver said is gone with it; what the host wants stays.
	r.SetReg(virtiotest.RegConfig+configActual, 7)
	r.Reset()
	require.Equal(t, Stats{Target: math.MaxUint32 * PageSize}, r.dev.Stats())
}

func TestInflate(t *testing.T) {
	main, next, high := page(virtiotest.Main.Base), page(virtiotest.Next.Base), page(virtiotest.High.Base)
	span := func(first uint32, n uint64) guestmem.Span {
		return guestmem.Span{Base: uint64(first) * PageSize, Size: n * PageSize}
	}
	last := page(virtiotest.High.End()) - 1
	tests := []struct {
		name  string
		pages []uint32
		want  []guestmem.Span
		lost  uint64
	}{
		{"one", []uint32{main + 5}, []guestmem.Span{span(main+5, 1)}, 0},
		{"rows", []uint32{main + 9, main + 8, main + 7, main, main + 1}, []guestmem.Span{span(main, 2), span(main+7, 3)}, 0},
		{"twice", []uint32{main, main, main + 1, main}, []guestmem.Span{span(main, 2)}, 0},
		{"the first and the last", []uint32{last, 0}, []guestmem.Span{span(0, 1), span(last, 1)}, 0},
		{"over a border of regions", []uint32{next, next - 1}, []guestmem.Span{span(next-1, 2)}, 0},
		{"beyond memory", []uint32{last + 1, math.MaxUint32, 0x1234_5678}, nil, 3},
		{"in a hole", []uint32{page(virtiotest.Low.End()), page(virtiotest.Hole), high - 1}, nil, 3},
		{"good among bad", []uint32{high - 1, high, high + 1, high + 100}, []guestmem.Span{span(high, 2)}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startRig(t, allFeatures)
			require.Empty(t, r.Queue(queueInflate).Do(pfns(tt.pages...), 0))
			require.Equal(t, tt.want, r.host.take(t))
			require.Equal(t, tt.lost, r.transport.Stats().Errors)
			var bytes uint64
			for _, s := range tt.want {
				bytes += s.Size
			}
			require.Equal(t, bytes, r.dev.Stats().Inflated)

			require.Empty(t, r.Queue(queueDeflate).Do(pfns(tt.pages...), 0))
			require.Empty(t, r.host.take(t), "deflating gives nothing back")
			require.Equal(t, 2*tt.lost, r.transport.Stats().Errors)
			require.Equal(t, uint64(2), r.transport.Stats().Requests)
			require.Zero(t, r.transport.Stats().Faults)
		})
	}
}

// The longest request is served in parts; a longer one is refused.
func TestInflateMost(t *testing.T) {
	r := startRig(t, allFeatures)
	numbers := make([]uint32, MaxRequest/pfnSize)
	for i := range numbers {
		numbers[i] = page(virtiotest.Main.Base) + uint32(i%2048)
	}
	r.Queue(queueInflate).Do(pfns(numbers...), 0)
	var bytes uint64
	for _, s := range r.host.take(t) {
		bytes += s.Size
	}
	require.EqualValues(t, len(numbers)*PageSize, bytes)
	r.Queue(queueInflate).Post(pfns(append(numbers, 0)...), 0)
	r.WaitNeedsReset()
	require.Empty(t, r.host.take(t))
}

// What the host does not take is an error of the host and none of the guest.
func TestHostFails(t *testing.T) {
	r := newRig(t, allFeatures)
	r.host.err = errHost
	r.Start(0)
	r.Queue(queueInflate).Do(pfns(0, 1, 9), 0)
	r.report(queueReporting, desc(virtiotest.Main.Base, 2<<20))
	require.Len(t, r.host.take(t), 3)
	require.EqualValues(t, 3, r.transport.Stats().Errors)
	require.Zero(t, r.dev.Stats().Inflated+r.dev.Stats().Reported)
	require.Zero(t, r.transport.Stats().Faults)
}

// The reporting queue has the number of the specification, or that which Linux gives
// it: the next that is not in use.
func TestReportingQueues(t *testing.T) {
	tests := []struct {
		features uint64
		queues   []int
	}{
		{allFeatures, []int{3, 4}},
		{allFeatures &^ FeatureStats, []int{2, 3, 4}},
	}
	for _, tt := range tests {
		for _, queue := range tt.queues {
			t.Run(fmt.Sprintf("features %#x, queue %d", tt.features, queue), func(t *testing.T) {
				r := newRig(t, tt.features)
				r.Negotiate(0)
				for _, i := range []int{queueInflate, queueDeflate, queue} { // and no other
					r.SetupQueue(i, queueSize)
				}
				r.Go()
				r.report(queue, desc(virtiotest.Main.Base, 2<<20))
				require.Equal(t, []guestmem.Span{{Base: virtiotest.Main.Base, Size: 2 << 20}}, r.host.take(t))
				require.True(t, r.dev.Stats().Reporting)
			})
		}
	}
	// Without the feature nobody serves it.
	r := newRig(t, FeatureStats)
	r.Start(0)
	r.expose(queueReporting, desc(virtiotest.Main.Base, PageSize))
	r.Queue(queueInflate).Do(pfns(0), 0)
	require.Len(t, r.host.take(t), 1)
	require.False(t, r.dev.Stats().Reporting)
}

func TestReports(t *testing.T) {
	r := newRig(t, allFeatures)
	r.Start(0)
	ranges := []virtiotest.Desc{
		desc(virtiotest.Main.Base, 4<<20), desc(virtiotest.High.Base, uint32(virtiotest.High.Size)),
		desc(virtiotest.Main.Base+123, 5), // less than a page is the Memory's matter
	}
	r.report(queueReporting, ranges...)
	var want []guestmem.Span
	var bytes uint64
	for _, d := range ranges {
		want = append(want, guestmem.Span{Base: d.Addr, Size: uint64(d.Len)})
		bytes += uint64(d.Len)
	}
	require.Equal(t, want, r.host.take(t))
	require.Equal(t, bytes, r.dev.Stats().Reported)
}

// A guest whose free pages are filled with a pattern must find it again, unless it
// never negotiated that.
func TestPoison(t *testing.T) {
	tests := []struct {
		features uint64
		poison   uint32
		kept     bool
	}{
		{allFeatures, 0xAA, true},
		{allFeatures, 0x100, true},
		{allFeatures, 0, false},
		{allFeatures &^ FeaturePoison, 0xAA, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("features %#x, poison %#x", tt.features, tt.poison), func(t *testing.T) {
			r := newRig(t, tt.features)
			r.Negotiate(0)
			r.SetReg(virtiotest.RegConfig+configPoison, tt.poison) // before DRIVER_OK, as Linux does
			for i := range queueCount {
				r.SetupQueue(i, queueSize)
			}
			r.Go()
			r.report(queueReporting, desc(virtiotest.Main.Base, 2<<20))
			require.Equal(t, tt.kept, len(r.host.take(t)) == 0)
			r.Queue(queueInflate).Do(pfns(7), 0)
			require.Len(t, r.host.take(t), 1, "pages of the balloon are nobody's")
		})
	}
}

// A range is given back in steps.
func TestSteps(t *testing.T) {
	h := &steps{}
	d := New(Config{Memory: h})
	lost, err := d.discard(1<<32, 3*maxStep+PageSize)
	require.NoError(t, err)
	require.False(t, lost)
	require.Equal(t, steps{
		{Base: 1 << 32, Size: maxStep}, {Base: 1<<32 + maxStep, Size: maxStep},
		{Base: 1<<32 + 2*maxStep, Size: maxStep}, {Base: 1<<32 + 3*maxStep, Size: PageSize},
	}, *h)
}

type steps []guestmem.Span

func (s *steps) Discard(addr, size uint64) error {
	*s = append(*s, guestmem.Span{Base: addr, Size: size})
	return nil
}
