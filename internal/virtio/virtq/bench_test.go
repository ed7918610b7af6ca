package virtq_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// chains writes chains of n descriptors, all over the table, and returns their heads.
func chains(raw *virtiotest.Raw, n uint16) (heads []uint16) {
	for i := uint16(0); i+n <= raw.Size; i += n {
		heads = append(heads, i)
		for k := range n {
			d := virtiotest.Desc{Addr: bufferBase + 64*uint64(i+k), Len: 64, Flags: virtiotest.DescNext, Next: i + k + 1}
			if k == n-1 {
				d.Flags = virtiotest.DescWrite
			}
			raw.SetDesc(i+k, d)
		}
	}
	return heads
}

// tables writes indirect chains of n descriptors.
func tables(raw *virtiotest.Raw, n uint16) (heads []uint16) {
	for i := range raw.Size {
		addr := tableBase + 16*uint64(i)*uint64(n)
		for k := range n {
			d := virtiotest.Desc{Addr: bufferBase + 64*uint64(k), Len: 64, Flags: virtiotest.DescNext, Next: k + 1}
			if k == n-1 {
				d.Flags = virtiotest.DescWrite
			}
			raw.SetTable(addr+16*uint64(k), d)
		}
		raw.SetDesc(i, virtiotest.Desc{Addr: addr, Len: 16 * uint32(n), Flags: virtiotest.DescIndirect})
		heads = append(heads, i)
	}
	return heads
}

var shapes = []struct {
	name  string
	build func(raw *virtiotest.Raw) []uint16
}{
	{"1 direct", func(raw *virtiotest.Raw) []uint16 { return chains(raw, 1) }},
	{"3 direct", func(raw *virtiotest.Raw) []uint16 { return chains(raw, 3) }},
	{"3 indirect", func(raw *virtiotest.Raw) []uint16 { return tables(raw, 3) }},
	{"16 indirect", func(raw *virtiotest.Raw) []uint16 { return tables(raw, 16) }},
}

func both(c *virtq.Config) { c.Indirect, c.EventIdx = true, true }

// drain is a device's round: all there is, one decision about the interrupt, one re-arming.
func drain(t testing.TB, q *virtq.Queue) (n int) {
	for {
		c, err := q.Pop()
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			break
		}
		q.Push(c, 64)
		n++
	}
	q.NeedsInterrupt()
	q.EnableKick()
	return n
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	for _, s := range shapes {
		raw, q := newQueue(t, 64, both)
		heads := s.build(raw)
		mem := 0
		used := make([]virtq.Used, 0, raw.Size)
		round := func() {
			used = used[:0]
			for i, h := range heads {
				raw.SetAvail((raw.AvailIdx()+uint16(i))&(raw.Size-1), h)
			}
			raw.SetAvailIdx(raw.AvailIdx() + uint16(len(heads)))
			for {
				c, err := q.Pop()
				if err != nil || c == nil {
					break
				}
				mem += c.CopyIn(nil, 0)
				_ = c.Reader()
				_ = c.Writer()
				if len(used) < cap(used)/4 {
					used = append(used, virtq.Used{Chain: c, Written: 64})
					continue
				}
				q.Push(c, 64)
			}
			q.PushAll(used)
			q.NeedsInterrupt()
			q.DisableKick()
			q.EnableKick()
		}
		round()
		require.Zero(t, testing.AllocsPerRun(10, round), s.name)
		require.Zero(t, mem)
	}
}

func BenchmarkPopPush(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			raw, q := newQueue(b, 256, both)
			heads := s.build(raw)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += len(heads) {
				b.StopTimer()
				raw.Expose(heads...)
				b.StartTimer()
				drain(b, q)
			}
		})
	}
}
