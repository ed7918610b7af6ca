package blk

import (
	"fmt"
	"testing"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// zeroDisk costs nothing: what is left is the device.
type zeroDisk struct{ bigDisk }

func (*zeroDisk) ReadAt([][]byte, uint64) error  { return nil }
func (*zeroDisk) WriteAt([][]byte, uint64) error { return nil }

// BenchmarkDevice is the cost of a request of 4 KiB in device and ring, with a
// disk that costs nothing, at several depths.
func BenchmarkDevice(b *testing.B) {
	for _, depth := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			disk := &zeroDisk{bigDisk{size: 1 << 30}}
			benchReads(b, newRig(b, nil, Config{Backend: disk}), depth)
		})
	}
}

// benchReads reads random blocks of 4 KiB, depth at a time. The descriptors
// are written once, so that the driver costs little.
func benchReads(b *testing.B, r *rig, depth int) {
	r.Start(allFeatures)
	ring := r.Queue(0).Raw
	sectors := r.dev.disk.Size() / SectorSize
	free := make([]uint16, depth) // heads
	headers := make([]uint64, depth)
	for i := range free {
		head := uint16(3 * i)
		free[i], headers[i] = head, r.Alloc(headerSize)
		data, status := r.Alloc(4096), r.Alloc(1)
		_ = r.mem.WriteAt(header(typeIn, 0), headers[i])
		ring.SetDesc(head, virtiotest.Desc{Addr: headers[i], Len: headerSize, Flags: virtiotest.DescNext, Next: head + 1})
		ring.SetDesc(head+1, virtiotest.Desc{Addr: data, Len: 4096, Flags: virtiotest.DescNext | virtiotest.DescWrite, Next: head + 2})
		ring.SetDesc(head+2, virtiotest.Desc{Addr: status, Len: 1, Flags: virtiotest.DescWrite})
	}
	seed, avail, seen := uint64(1), uint16(0), uint16(0)
	submit := func() {
		old := avail
		for _, head := range free {
			seed = seed*6364136223846793005 + 1442695040888963407
			_ = r.mem.Store64(headers[head/3]+8, (seed>>33)%(sectors/8)*8)
			ring.SetAvail(avail&(ring.Size-1), head)
			avail++
		}
		free = free[:0]
		ring.SetAvailIdx(avail)
		if avail-ring.AvailEvent()-1 < avail-old {
			r.Queue(0).Notify()
		}
	}
	b.SetBytes(4096)
	b.ReportAllocs()
	b.ResetTimer()
	submit()
	for done := 0; done < b.N; {
		r.WaitFor("a request", func() bool {
			if ring.UsedIdx() == seen {
				ring.SetUsedEvent(seen)
			}
			return ring.UsedIdx() != seen
		})
		for ; ring.UsedIdx() != seen; seen++ {
			id, _ := ring.UsedElem(seen & (ring.Size - 1))
			free = append(free, uint16(id))
			done++
		}
		submit()
	}
}
