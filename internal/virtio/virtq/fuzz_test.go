package virtq_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// The fuzzed machine: 8 KiB of RAM at 0, rings at fixed places, all contents from the input.
const (
	fuzzRAM   = 8 << 10
	fuzzDesc  = 0x0
	fuzzAvail = 0x400
	fuzzUsed  = 0x600
	fuzzMax   = 64 // largest queue: its table ends where the available ring starts
)

// Operations of the fuzzed device and driver, one byte each, modulo their number.
const (
	opPop = iota
	opPush
	opExpose
	opFlip // changes a byte of RAM: the next two bytes of the input are address and value
	opInterrupt
	opEnable
	opDisable
	opPushAll // as many as there are
	numOps
)

// FuzzQueue plays a sequence of operations over arbitrary memory. data[0] has the size and the features, data[1] the number of
// operations, then come the operations and then memory.
func FuzzQueue(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		mem, err := guestmem.Heap(guestmem.Span{Base: 0, Size: fuzzRAM})
		require.NoError(t, err)
		ram := mem.Regions()[0].Bytes
		n := min(int(data[1]), len(data)-2)
		ops := data[2 : 2+n]
		copy(ram, data[2+n:])
		q, err := virtq.New(mem, virtq.Config{
			Size: 1 << (data[0] % 7), Desc: fuzzDesc, Avail: fuzzAvail, Used: fuzzUsed,
			Indirect: data[0]&0x40 != 0, EventIdx: data[0]&0x80 != 0,
		})
		require.NoError(t, err)
		q.SetMaxBytes(1 << 20)
		fuzzRun(t, q, ram, ops)
	})
}

func fuzzRun(t *testing.T, q *virtq.Queue, ram, ops []byte) {
	var held []*virtq.Chain
	heads := map[uint16]bool{}
	var stopped error
	for i := 0; i < len(ops); i++ {
		switch ops[i] % numOps {
		case opPop:
			c, err := q.Pop()
			if stopped != nil {
				require.Same(t, stopped, err)
			}
			if stopped = err; c == nil {
				continue
			}
			require.False(t, heads[c.Head], "head %d twice", c.Head)
			heads[c.Head] = true
			held = append(held, c)
			fuzzCheck(t, c, ram)
		case opPush:
			if len(held) > 0 {
				c := held[0]
				held = held[1:]
				delete(heads, c.Head)
				q.Push(c, uint32(ops[i])<<8)
			}
		case opExpose:
			ram[fuzzAvail+2]++
		case opFlip:
			if i+2 < len(ops) {
				ram[int(ops[i+1])*8%fuzzRAM] = ops[i+2]
				i += 2
			}
		case opInterrupt:
			q.NeedsInterrupt()
		case opEnable:
			q.EnableKick()
		case opDisable:
			q.DisableKick()
		case opPushAll:
			var used []virtq.Used
			for _, c := range held {
				used = append(used, virtq.Used{Chain: c, Written: uint32(ops[i]) << 8})
			}
			held = nil
			clear(heads)
			q.PushAll(used)
		}
		require.Equal(t, len(held), q.InFlight())
		require.LessOrEqual(t, q.InFlight(), int(q.Config().Size))
	}
}

// fuzzCheck requires that all buffers are in RAM, within the bound, and that copies stay in them.
func fuzzCheck(t *testing.T, c *virtq.Chain, ram []byte) {
	first := reflect.ValueOf(ram).Pointer()
	sums := [2]int{}
	for k, bufs := range [][][]byte{c.Read, c.Write} {
		for _, b := range bufs {
			at := reflect.ValueOf(b).Pointer() - first
			require.True(t, len(b) > 0 && at < fuzzRAM && uintptr(len(b)) <= fuzzRAM-at, "buffer outside of RAM")
			sums[k] += len(b)
		}
	}
	require.Equal(t, sums, [2]int{c.ReadLen(), c.WriteLen()})
	require.LessOrEqual(t, sums[0]+sums[1], 1<<20)
	p := make([]byte, 128)
	require.Equal(t, min(len(p), sums[0]), c.CopyIn(p, 0))
	n, _ := c.Reader().Read(p)
	require.Equal(t, min(len(p), sums[0]), n)
}

// fuzzSeeds are rings of each shape: direct, chained, indirect, looping, and a jump of the index.
func fuzzSeeds() (seeds [][]byte) {
	const next, write, ind = virtiotest.DescNext, virtiotest.DescWrite, virtiotest.DescIndirect
	ops := []byte{opDisable, opPop, opPop, opPush, opInterrupt, opEnable, opExpose, opPop, opFlip, 1, 0xFF, opPop, opPush, opPush, opExpose, opPop, opPushAll}
	for _, descs := range [][]virtiotest.Desc{
		{{Addr: 0x1000, Len: 64}, {Addr: 0x1100, Len: 64, Flags: write}},
		{{Addr: 0x1000, Len: 64, Flags: next, Next: 1}, {Addr: 0x1100, Len: 64, Flags: write}},
		{{Addr: 0x10, Len: 32, Flags: ind}, {Addr: 0x1000, Len: 64, Flags: next, Next: 1}, {Addr: 0x1000, Len: 64, Flags: write}},
		{{Addr: 0x11, Len: 16, Flags: ind}, {}, {}},
		{{Addr: 0x1000, Len: 8, Flags: next, Next: 1}, {Addr: 0x1000, Len: 8, Flags: next}},
		{{Addr: fuzzRAM - 8, Len: 8}, {Addr: fuzzRAM - 8, Len: 9}},
		{{Addr: 1<<64 - 1, Len: 1<<32 - 1, Flags: 0xFFFF, Next: 0xFFFF}, {}},
	} {
		for _, idx := range []byte{1, 2, 200} {
			mem, err := guestmem.Heap(guestmem.Span{Base: 0, Size: fuzzRAM})
			if err != nil {
				panic(err)
			}
			if err := virtiotest.WriteDescs(mem, fuzzDesc, descs...); err != nil {
				panic(err)
			}
			ram := mem.Regions()[0].Bytes[:fuzzUsed]
			ram[fuzzAvail+2], ram[fuzzAvail+6] = idx, 1
			for _, head := range []byte{0x02, 0x42, 0xC2} {
				seeds = append(seeds, append(append([]byte{head, byte(len(ops))}, ops...), ram...))
			}
		}
	}
	return seeds
}
