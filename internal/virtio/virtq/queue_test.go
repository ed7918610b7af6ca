package virtq_test

import (
	"errors"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

const (
	ringBase   = 0x10_0000 // of the ring in tests, in virtiotest.Main
	bufferBase = 0x20_0000 // of buffers
	tableBase  = 0x30_0000 // of indirect tables
)

func config(raw *virtiotest.Raw) virtq.Config {
	return virtq.Config{Size: raw.Size, Desc: raw.Desc, Avail: raw.Avail, Used: raw.Used}
}

// newQueue is a ring of the size, and the queue over it.
func newQueue(t testing.TB, size uint16, change func(*virtq.Config)) (*virtiotest.Raw, *virtq.Queue) {
	t.Helper()
	mem := virtiotest.NewMemory(t)
	raw := virtiotest.NewRaw(t, mem, ringBase, size)
	cfg := config(raw)
	if change != nil {
		change(&cfg)
	}
	q, err := virtq.New(mem, cfg)
	require.NoError(t, err)
	return raw, q
}

func indirect(c *virtq.Config) { c.Indirect = true }
func eventIdx(c *virtq.Config) { c.EventIdx = true }

func TestNewRefuses(t *testing.T) {
	mem := virtiotest.NewMemory(t)
	raw := virtiotest.NewRaw(t, mem, ringBase, 8)
	for _, tt := range []struct {
		name   string
		change func(c *virtq.Config)
		want   virtq.Reason
	}{
		{"size 0", func(c *virtq.Config) { c.Size = 0 }, virtq.FaultQueueSize},
		{"size 3", func(c *virtq.Config) { c.Size = 3 }, virtq.FaultQueueSize},
		{"size 65535", func(c *virtq.Config) { c.Size = math.MaxUint16 }, virtq.FaultQueueSize},
		{"desc", func(c *virtq.Config) { c.Desc += 8 }, virtq.FaultRingAlign},
		{"avail", func(c *virtq.Config) { c.Avail++ }, virtq.FaultRingAlign},
		{"used", func(c *virtq.Config) { c.Used += 2 }, virtq.FaultRingAlign},
		{"desc in hole", func(c *virtq.Config) { c.Desc = virtiotest.Hole }, virtq.FaultRingRange},
		{"desc at end", func(c *virtq.Config) { c.Desc = virtiotest.High.End() - 16 }, virtq.FaultRingRange},
		{"avail at end", func(c *virtq.Config) { c.Avail = virtiotest.High.End() - 20 }, virtq.FaultRingRange},
		{"used wraps", func(c *virtq.Config) { c.Used = math.MaxUint64 - 3 }, virtq.FaultRingRange},
		{"used in two regions", func(c *virtq.Config) { c.Used = virtiotest.Main.End() - 8 }, virtq.FaultRingRange},
		{"avail in desc", func(c *virtq.Config) { c.Avail = c.Desc + 126 }, virtq.FaultRingOverlap},
		{"used in avail", func(c *virtq.Config) { c.Used = (c.Avail + 20) &^ 3 }, virtq.FaultRingOverlap},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(raw)
			tt.change(&cfg)
			q, err := virtq.New(mem, cfg)
			require.Nil(t, q)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

func TestNewAcceptsTheLastBytesOfRAM(t *testing.T) {
	mem := virtiotest.NewMemory(t)
	for _, cfg := range []virtq.Config{
		{Size: 8, Desc: virtiotest.High.End() - 128, Avail: ringBase, Used: ringBase + 64},
		{Size: 8, Desc: ringBase, Avail: virtiotest.High.End() - 22, Used: ringBase + 128},
		{Size: 8, Desc: ringBase, Avail: ringBase + 128, Used: virtiotest.High.End() - 72},
		{Size: 1, Desc: ringBase, Avail: ringBase + 16, Used: ringBase + 24},
		{Size: virtq.MaxSize, Desc: ringBase, Avail: bufferBase, Used: tableBase},
	} {
		_, err := virtq.New(mem, cfg)
		require.NoError(t, err, "%+v", cfg)
	}
}

func TestPopFaults(t *testing.T) {
	const next, write, ind = virtiotest.DescNext, virtiotest.DescWrite, virtiotest.DescIndirect
	good := virtiotest.Desc{Addr: bufferBase, Len: 16}
	for _, tt := range []struct {
		name  string
		head  uint16
		descs []virtiotest.Desc
		table []virtiotest.Desc // at tableBase
		want  virtq.Reason
	}{
		{"head", 4, nil, nil, virtq.FaultHeadIndex},
		{"next", 0, []virtiotest.Desc{{Addr: bufferBase, Len: 1, Flags: next, Next: 4}}, nil, virtq.FaultNextIndex},
		{"loop", 0, []virtiotest.Desc{{Addr: bufferBase, Len: 1, Flags: next}}, nil, virtq.FaultChainLength},
		{"hole", 0, []virtiotest.Desc{{Addr: virtiotest.Hole, Len: 1}}, nil, virtq.FaultBufferRange},
		{"wrap", 0, []virtiotest.Desc{{Addr: math.MaxUint64, Len: 2}}, nil, virtq.FaultBufferRange},
		{"order", 0, []virtiotest.Desc{{Addr: bufferBase, Len: 1, Flags: next | write, Next: 1}, good}, nil, virtq.FaultBufferOrder},
		{"order with empty buffers", 0, []virtiotest.Desc{{Flags: next | write, Next: 1}, {}}, nil, virtq.FaultBufferOrder},
		{"table with next", 0, []virtiotest.Desc{{Addr: tableBase, Len: 16, Flags: ind | next}}, nil, virtq.FaultIndirectNext},
		{"empty table", 0, []virtiotest.Desc{{Addr: tableBase, Len: 0, Flags: ind}}, nil, virtq.FaultIndirectLength},
		{"odd table", 0, []virtiotest.Desc{{Addr: tableBase, Len: 24, Flags: ind}}, nil, virtq.FaultIndirectLength},
		{"huge table", 0, []virtiotest.Desc{{Addr: tableBase, Len: 32769 * 16, Flags: ind}}, nil, virtq.FaultIndirectLength},
		{"table in hole", 0, []virtiotest.Desc{{Addr: virtiotest.Hole, Len: 16, Flags: ind}}, nil, virtq.FaultIndirectRange},
		{"odd table in hole", 0, []virtiotest.Desc{{Addr: virtiotest.Hole + 1, Len: 16, Flags: ind}}, nil, virtq.FaultIndirectRange},
		{"nested", 0, []virtiotest.Desc{{Addr: tableBase, Len: 16, Flags: ind}},
			[]virtiotest.Desc{{Addr: tableBase, Len: 16, Flags: ind}}, virtq.FaultIndirectNested},
		{"next in table", 0, []virtiotest.Desc{{Addr: tableBase, Len: 16, Flags: ind}},
			[]virtiotest.Desc{{Addr: bufferBase, Len: 16, Flags: next, Next: 1}}, virtq.FaultNextIndex},
		{"loop in table", 0, []virtiotest.Desc{{Addr: tableBase, Len: 32, Flags: ind}},
			[]virtiotest.Desc{{Addr: bufferBase, Len: 16, Flags: next, Next: 1}, {Addr: bufferBase, Len: 16, Flags: next}}, virtq.FaultChainLength},
		{"order across table", 0, []virtiotest.Desc{{Addr: bufferBase, Len: 1, Flags: next | write, Next: 1}, {Addr: tableBase, Len: 16, Flags: ind}},
			[]virtiotest.Desc{good}, virtq.FaultBufferOrder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, q := newQueue(t, 4, indirect)
			for i, d := range tt.descs {
				raw.SetDesc(uint16(i), d)
			}
			raw.SetTable(tableBase, tt.table...)
			raw.Expose(tt.head)
			c, err := q.Pop()
			require.Nil(t, c)
			require.ErrorIs(t, err, tt.want)
			var fault *virtq.Fault
			require.ErrorAs(t, err, &fault)
			require.Equal(t, tt.head, fault.Head)
			_, again := q.Pop()
			require.Same(t, err, again, "the fault does not stay")
			require.False(t, q.EnableKick())
			require.Zero(t, q.InFlight())
			require.Zero(t, raw.UsedIdx())
		})
	}
}

func TestIndirectNeedsTheFeature(t *testing.T) {
	raw, q := newQueue(t, 4, nil)
	raw.SetDesc(0, virtiotest.Desc{Addr: tableBase, Len: 16, Flags: virtiotest.DescIndirect})
	raw.Expose(0)
	_, err := q.Pop()
	require.ErrorIs(t, err, virtq.FaultIndirectFeature)
}

func TestAvailIndexJumps(t *testing.T) {
	for _, tt := range []struct {
		idx  uint16
		want error
	}{{0, nil}, {4, nil}, {5, virtq.FaultAvailIndex}, {0x8000, virtq.FaultAvailIndex}, {0xFFFF, virtq.FaultAvailIndex}} {
		raw, q := newQueue(t, 4, nil)
		for i := range uint16(4) {
			raw.SetAvail(i, i)
		}
		raw.SetAvailIdx(tt.idx)
		_, err := q.Pop()
		require.ErrorIs(t, err, tt.want, "index %#x", tt.idx)
	}
}

func TestHeadInFlight(t *testing.T) {
	t.Run("still there", func(t *testing.T) {
		raw, q := newQueue(t, 4, nil)
		raw.Expose(2)
		_, err := q.Pop()
		require.NoError(t, err)
		raw.Expose(2)
		_, err = q.Pop()
		require.ErrorIs(t, err, virtq.FaultHeadInFlight)
	})
	t.Run("twice in a batch", func(t *testing.T) {
		raw, q := newQueue(t, 4, nil)
		raw.Expose(2, 2)
		c, err := q.Pop()
		require.NoError(t, err)
		q.Push(c, 0)
		_, err = q.Pop()
		require.ErrorIs(t, err, virtq.FaultHeadInFlight)
	})
	t.Run("again after use", func(t *testing.T) {
		raw, q := newQueue(t, 4, nil)
		for range 10 {
			raw.Expose(2)
			c, err := q.Pop()
			require.NoError(t, err)
			q.Push(c, 0)
		}
	})
}

func TestTotalLength(t *testing.T) {
	raw, q := newQueue(t, 4, nil)
	q.SetMaxBytes(100)
	raw.SetDesc(0, virtiotest.Desc{Addr: bufferBase, Len: 60, Flags: virtiotest.DescNext, Next: 1})
	raw.SetDesc(1, virtiotest.Desc{Addr: bufferBase, Len: 40, Flags: virtiotest.DescWrite})
	raw.Expose(0)
	c, err := q.Pop()
	require.NoError(t, err)
	require.Equal(t, []int{60, 40}, []int{c.ReadLen(), c.WriteLen()})
	raw.SetDesc(3, virtiotest.Desc{Addr: bufferBase, Len: 101})
	raw.Expose(3)
	_, err = q.Pop()
	require.ErrorIs(t, err, virtq.FaultTotalLength)
}

// Drivers do exceed the queue's size in an indirect table, up to what QEMU allows them.
func TestLongIndirectChain(t *testing.T) {
	for entries, want := range map[int]error{1024: nil, 1025: virtq.FaultChainLength} {
		raw, q := newQueue(t, 4, indirect)
		table := make([]virtiotest.Desc, entries)
		for i := range table {
			table[i] = virtiotest.Desc{Addr: bufferBase, Len: 1, Flags: virtiotest.DescNext, Next: uint16(i + 1)}
		}
		table[entries-1].Flags = 0
		raw.SetTable(tableBase, table...)
		raw.SetDesc(0, virtiotest.Desc{Addr: tableBase, Len: uint32(16 * entries), Flags: virtiotest.DescIndirect})
		raw.Expose(0)
		c, err := q.Pop()
		require.ErrorIs(t, err, want)
		if want == nil {
			require.Len(t, c.Read, entries)
		}
	}
}

func TestPushCapsAndPanics(t *testing.T) {
	raw, q := newQueue(t, 4, nil)
	raw.SetDesc(1, virtiotest.Desc{Addr: bufferBase, Len: 10, Flags: virtiotest.DescWrite})
	raw.Expose(1)
	c, err := q.Pop()
	require.NoError(t, err)
	q.Push(c, 11)
	id, n := raw.UsedElem(0)
	require.Equal(t, []uint32{1, 10}, []uint32{id, n})
	require.PanicsWithValue(t, "BUG: virtq: Push of a chain that is not in flight", func() { q.Push(c, 0) })
}

func TestPushAllPanics(t *testing.T) {
	raw, q := newQueue(t, 4, nil)
	raw.Expose(1)
	c, err := q.Pop()
	require.NoError(t, err)
	require.PanicsWithValue(t, "BUG: virtq: Push of a chain that is not in flight", func() {
		q.PushAll([]virtq.Used{{Chain: c}, {Chain: c}})
	})
	require.Zero(t, raw.UsedIdx(), "half of a batch was shown")
}

func TestFail(t *testing.T) {
	raw, q := newQueue(t, 4, nil)
	raw.Expose(1)
	cause := errors.New("bad header")
	fault := q.Fail(1, cause)
	require.ErrorIs(t, fault, virtq.FaultRequest)
	require.ErrorIs(t, fault, cause)
	require.Same(t, fault, q.Fail(2, io.EOF))
	_, err := q.Pop()
	require.Same(t, fault, err)
	require.Contains(t, err.Error(), "bad header")
}

func TestClosedMemoryIsAFault(t *testing.T) {
	mem := virtiotest.NewMemory(t)
	raw := virtiotest.NewRaw(t, mem, ringBase, 4)
	q, err := virtq.New(mem, config(raw))
	require.NoError(t, err)
	raw.SetDesc(0, virtiotest.Desc{Addr: bufferBase, Len: 1})
	raw.Expose(0)
	require.NoError(t, mem.Close())
	_, err = q.Pop()
	require.ErrorIs(t, err, guestmem.ErrClosed)
}

func TestReasonTexts(t *testing.T) {
	for r := virtq.FaultQueueSize; r <= virtq.FaultRequest; r++ {
		require.NotEqual(t, "virtq: ", r.Error(), "reason %d", int(r))
	}
	require.Equal(t, "virtq: reason 99", virtq.Reason(99).Error())
}
