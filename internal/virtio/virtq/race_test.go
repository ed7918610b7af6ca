package virtq_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// flipRounds is how many chains are popped while the guest rewrites them.
const flipRounds = 30_000

// flipped are the two contents that a descriptor alternates between; its fields may mix, as the guest writes it in two halves.
type flipped struct {
	name string
	a, b virtiotest.Desc
}

// A chain that is taken while its descriptor changes is one of the contents, halves combined, and all of it is RAM.
func TestFlippedDescriptor(t *testing.T) {
	for _, f := range []flipped{
		{"two buffers", virtiotest.Desc{Addr: bufferBase, Len: 64}, virtiotest.Desc{Addr: bufferBase + 0x1000, Len: 512, Flags: virtiotest.DescWrite}},
		{"end of RAM", virtiotest.Desc{Addr: virtiotest.High.End() - 64, Len: 64}, virtiotest.Desc{Addr: virtiotest.High.Base, Len: uint32(virtiotest.High.Size)}},
		{"hole", virtiotest.Desc{Addr: bufferBase, Len: 64}, virtiotest.Desc{Addr: virtiotest.Hole, Len: 64}},
		{"loop", virtiotest.Desc{Addr: bufferBase, Len: 64}, virtiotest.Desc{Addr: bufferBase, Len: 64, Flags: virtiotest.DescNext}},
		{"table", virtiotest.Desc{Addr: bufferBase, Len: 64}, virtiotest.Desc{Addr: tableBase, Len: 32, Flags: virtiotest.DescIndirect}},
		{"huge", virtiotest.Desc{Addr: bufferBase, Len: 1}, virtiotest.Desc{Addr: 1<<64 - 1, Len: 1<<32 - 1, Flags: 0xFFFF, Next: 0xFFFF}},
	} {
		t.Run(f.name, func(t *testing.T) {
			mem := virtiotest.NewMemory(t)
			raw := virtiotest.NewRaw(t, mem, ringBase, 8)
			raw.SetTable(tableBase, f.a, f.a)
			raw.SetDesc(0, f.a)
			stop := flipper(mem, raw.Desc, f)
			defer stop()
			cfg := config(raw)
			cfg.Indirect = true
			for n := 0; n < flipRounds; {
				n += popFlipped(t, mem, raw, cfg, f)
			}
		})
	}
}

// flipper writes both contents in turns on its own goroutine.
func flipper(mem *guestmem.Memory, addr uint64, f flipped) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				_ = virtiotest.WriteDescs(mem, addr, f.a)
				_ = virtiotest.WriteDescs(mem, addr, f.b)
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// popFlipped pops chains from a new queue until it faults, or for a while.
func popFlipped(t *testing.T, mem *guestmem.Memory, raw *virtiotest.Raw, cfg virtq.Config, f flipped) (n int) {
	t.Helper()
	raw.SetAvailIdx(0)
	q, err := virtq.New(mem, cfg)
	require.NoError(t, err)
	for n < 1000 {
		n++
		raw.Expose(0)
		c, err := q.Pop()
		if err != nil {
			var fault *virtq.Fault
			require.ErrorAs(t, err, &fault)
			break
		}
		sum := 0
		for _, bufs := range [][][]byte{c.Read, c.Write} {
			for _, b := range bufs {
				checkBuffer(t, mem, b, f)
				sum += len(b)
			}
		}
		if sum != c.ReadLen()+c.WriteLen() {
			t.Fatalf("buffers have %d bytes, lengths say %d and %d", sum, c.ReadLen(), c.WriteLen())
		}
		q.Push(c, 0)
	}
	return n
}

// checkBuffer requires that a buffer starts at one of the addresses, has one of the lengths, and is RAM to its end.
func checkBuffer(t *testing.T, mem *guestmem.Memory, b []byte, f flipped) {
	t.Helper()
	for _, addr := range []uint64{f.a.Addr, f.b.Addr} {
		for _, n := range []uint32{f.a.Len, f.b.Len} {
			if want, err := mem.Slice(addr, uint64(n)); err == nil && len(b) == int(n) && &want[0] == &b[0] {
				return
			}
		}
	}
	t.Fatalf("a buffer of %d bytes that no descriptor named", len(b))
}

// A driver on one goroutine and a device on another: nothing is lost, doubled or reordered.
func TestConcurrentDriverAndDevice(t *testing.T) {
	for _, event := range []bool{false, true} {
		raw, q := newQueue(t, 16, func(c *virtq.Config) { c.EventIdx = event })
		const total = 20_000
		kick, irq := make(chan struct{}, 1), make(chan struct{}, 1)
		ring := func(c chan struct{}) {
			select {
			case c <- struct{}{}:
			default:
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { echoDevice(t, q, total, kick, func() { ring(irq) }) })
		driveEcho(t, raw, event, total, irq, func() { ring(kick) })
		wg.Wait()
	}
}

// echoDevice serves total chains and sleeps on kicks.
func echoDevice(t *testing.T, q *virtq.Queue, total int, kick <-chan struct{}, interrupt func()) {
	for n := 0; n < total; {
		q.DisableKick()
		for {
			c, err := q.Pop()
			if err != nil {
				t.Error(err)
				return
			}
			if c == nil {
				break
			}
			var p [8]byte
			c.CopyIn(p[:], 0)
			q.Push(c, uint32(c.CopyOut(p[:], 0)))
			n++
		}
		if q.NeedsInterrupt() {
			interrupt()
		}
		if n < total && !q.EnableKick() {
			<-kick
		}
	}
}

// driveEcho keeps the ring full of two-descriptor chains, and sleeps on interrupts.
func driveEcho(t *testing.T, raw *virtiotest.Raw, event bool, total int, irq <-chan struct{}, kick func()) {
	mem := raw.Mem()
	half := raw.Size / 2
	for sent, got := 0, 0; got < total; {
		old := raw.AvailIdx()
		for sent < total && sent-got < int(half) {
			head := uint16(sent) % half * 2
			at := bufferBase + 64*uint64(head)
			require.NoError(t, mem.WriteAt([]byte{byte(sent), byte(sent >> 8), byte(sent >> 16), 0, 1, 2, 3, 4}, at))
			raw.SetDesc(head, virtiotest.Desc{Addr: at, Len: 8, Flags: virtiotest.DescNext, Next: head + 1})
			raw.SetDesc(head+1, virtiotest.Desc{Addr: at + 8, Len: 8, Flags: virtiotest.DescWrite})
			raw.Expose(head)
			sent++
		}
		if now := raw.AvailIdx(); event && now-raw.AvailEvent()-1 < now-old || !event && now != old && raw.UsedFlags() == 0 {
			kick()
		}
		raw.SetUsedEvent(uint16(got))
		if raw.UsedIdx() == uint16(got) {
			<-irq
			continue
		}
		id, n := raw.UsedElem(uint16(got) & (raw.Size - 1))
		require.Equal(t, []uint32{uint32(got) % uint32(half) * 2, 8}, []uint32{id, n})
		var p [8]byte
		require.NoError(t, mem.ReadAt(p[:], bufferBase+64*uint64(id)+8))
		require.Equal(t, [3]byte{byte(got), byte(got >> 8), byte(got >> 16)}, [3]byte(p[:3]))
		got++
	}
}
