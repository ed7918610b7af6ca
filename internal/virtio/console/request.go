package console

import (
	"errors"
	"sync"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

const (
	// pieceSize is how much output is copied out of the guest at once, in
	// bytes: what Linux writes to a port at most (drivers/char/virtio_console.c,
	// port_fops_write).
	pieceSize = 32 << 10
	// stagedSize is how much input waits in the device at most, in bytes: one
	// receive buffer of Linux, which is a page.
	stagedSize = 4 << 10
	// MaxTransmit is how many bytes one transmit request may have. Linux stays
	// below it: 32 KiB for a write, a pipe's 1 MiB for a splice. The buffers of
	// a chain may overlap, so a small guest could have 4 GiB written by each,
	// and a reset would wait for that.
	MaxTransmit = 1 << 20
)

// errNoRoom: receiveq gets "one or more buffers for incoming data", which are
// device-writable (virtio 1.2 section 5.3.6).
var errNoRoom = errors.New("a receive buffer has nothing to write to")

// pieces are buffers for output. All consoles share them: few print at a time.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// transmit returns what serves one request of the transmit queue: it copies
// the bytes out of guest memory, piece by piece, and hands them to the Output.
func (d *Device) transmit(counters *virtio.Counters) func(*virtq.Chain) (uint32, error) {
	return func(c *virtq.Chain) (uint32, error) {
		buf := pieces.Get().(*[pieceSize]byte)
		defer pieces.Put(buf)
		size, done := c.ReadLen(), 0
		for done < size {
			n := c.CopyIn(buf[:min(size-done, pieceSize)], done)
			if n == 0 {
				break
			}
			d.write(buf[:n], counters)
			done += n
		}
		counters.AddRequests(1, uint64(done))
		return 0, nil
	}
}

// write hands a piece of output to the host.
func (d *Device) write(p []byte, counters *virtio.Counters) {
	if !d.said {
		d.said = true
		if d.firstOutput != nil {
			d.firstOutput()
		}
	}
	if _, err := d.output.Write(p); err != nil {
		counters.AddError()
	}
}

// receive returns what serves the receive queue: it takes bytes from the Input
// only when it has delivered those it took before, and takes a buffer of the
// guest only when it has bytes.
func (d *Device) receive(counters *virtio.Counters) func(*virtq.Queue, int) (int, virtio.Outcome, error) {
	return func(q *virtq.Queue, budget int) (int, virtio.Outcome, error) {
		for n := range budget {
			if !d.stage() {
				return n, virtio.HostIdle, nil
			}
			c, err := q.Pop()
			if err != nil {
				return n, virtio.RingEmpty, err
			}
			if c == nil {
				return n, virtio.RingEmpty, nil
			}
			written := c.CopyOut(d.pending, 0)
			if written == 0 {
				return n, virtio.RingEmpty, q.Fail(c.Head, errNoRoom)
			}
			d.pending = d.pending[written:]
			q.Push(c, uint32(written))
			counters.AddRequests(1, uint64(written))
		}
		return budget, virtio.Again, nil
	}
}

// stage makes sure that pending has bytes; false: there are none.
func (d *Device) stage() bool {
	if len(d.pending) == 0 && d.input != nil {
		d.pending = d.inBuf[:d.input.TryRead(d.inBuf)]
	}
	return len(d.pending) > 0
}
