package balloon

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// Stats says how far the balloon is, and what the guest says of its memory.
type Stats struct {
	Driver    bool   // the guest has a driver, and it is up
	Reporting bool   // that driver reports free pages
	Target    uint64 // size that the host wants, bytes
	Actual    uint64 // size that the guest says the balloon has, bytes

	// Bytes so far, over all drivers. Pages outside of memory are in none.
	Inflated uint64
	Deflated uint64
	Reported uint64

	Guest   Guest     // of the last report; zero without one
	GuestAt time.Time // when that came; zero: never
}

// Guest are the guest's own statistics (section 5.5.6.4). Sizes are bytes. A field
// that the guest does not give is 0; all of it is the guest's word.
type Guest struct {
	SwapIn, SwapOut          uint64 // swapped since boot
	MajorFaults, MinorFaults uint64 // since boot
	Free                     uint64 // used for nothing
	Total                    uint64 // known to the kernel
	Available                uint64 // could be had without swapping
	Caches                   uint64 // could be had back from caches at once
	OOMKills                 uint64 // since boot
}

// Tags of the statistics (section 5.5.6.4; the last from Linux,
// include/uapi/linux/virtio_balloon.h). Others are skipped, as they must be.
const (
	tagSwapIn      = 0
	tagSwapOut     = 1
	tagMajorFaults = 2
	tagMinorFaults = 3
	tagFree        = 4
	tagTotal       = 5
	tagAvailable   = 6
	tagCaches      = 7
	tagOOMKills    = 10
)

// field is where the value of a tag goes, or nil.
func (g *Guest) field(tag uint16) *uint64 {
	switch tag {
	case tagSwapIn:
		return &g.SwapIn
	case tagSwapOut:
		return &g.SwapOut
	case tagMajorFaults:
		return &g.MajorFaults
	case tagMinorFaults:
		return &g.MinorFaults
	case tagFree:
		return &g.Free
	case tagTotal:
		return &g.Total
	case tagAvailable:
		return &g.Available
	case tagCaches:
		return &g.Caches
	case tagOOMKills:
		return &g.OOMKills
	default:
		return nil
	}
}

const (
	// statSize is the length of struct virtio_balloon_stat in bytes: le16 tag, le64
	// value, packed.
	statSize = 10
	// maxStats is how many bytes of statistics a guest may send: 64. Linux 6.12 has
	// 16.
	maxStats = 64 * statSize
)

// errStats: the buffer is an array of tags and values (section 5.5.6.4).
var errStats = errors.New("the buffer has no statistics")

// Stats returns the values of this moment. Statistics of the guest are the last that
// came.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{
		Driver:    d.signal != nil,
		Reporting: d.features&FeatureReporting != 0,
		Target:    uint64(d.numPages) * PageSize,
		Actual:    uint64(d.actual) * PageSize,
		Inflated:  d.inflated.Load(),
		Deflated:  d.deflated.Load(),
		Reported:  d.reported.Load(),
		Guest:     d.guest,
		GuestAt:   d.guestAt,
	}
}

// Refresh asks the guest for fresh statistics and does not wait for them. It does
// nothing while the guest still owes some.
func (d *Device) Refresh() {
	d.wanted.Store(true)
	d.stats.Load().Poke() // nil: the next driver sends some at once
}

// statistics serves their queue: the driver sends a buffer of them, which is kept;
// giving it back asks for the next.
type statistics struct {
	d        *Device
	counters *virtio.Counters
	held     *virtq.Chain // nil: the guest owes one
}

// Serve implements [virtio.Handler].
func (s *statistics) Serve(q *virtq.Queue, budget int) (int, virtio.Outcome, error) {
	for n := 0; n < budget; {
		if s.held != nil {
			if !s.d.wanted.Swap(false) {
				return n, virtio.HostIdle, nil
			}
			q.Push(s.held, 0)
			s.held = nil
			n++
		}
		c, err := q.Pop()
		if err != nil || c == nil {
			return n, virtio.RingEmpty, err
		}
		guest, err := parse(c)
		if err != nil {
			return n, virtio.RingEmpty, q.Fail(c.Head, err)
		}
		s.held = c
		s.counters.AddRequests(1, 0)
		s.d.mu.Lock()
		s.d.guest, s.d.guestAt = guest, time.Now()
		s.d.mu.Unlock()
	}
	return budget, virtio.Again, nil
}

// parse reads a buffer of statistics. Of a tag that comes twice the last counts.
//
// Preconditions: the chain has at most maxStats bytes.
func parse(c *virtq.Chain) (Guest, error) {
	var buf [maxStats]byte
	b := buf[:c.CopyIn(buf[:], 0)]
	if len(b) == 0 || len(b)%statSize != 0 {
		return Guest{}, errStats
	}
	var g Guest
	for ; len(b) > 0; b = b[statSize:] {
		if f := g.field(binary.LittleEndian.Uint16(b)); f != nil {
			*f = binary.LittleEndian.Uint64(b[2:])
		}
	}
	return g, nil
}
