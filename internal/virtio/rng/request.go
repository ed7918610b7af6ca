package rng

import (
	"errors"
	"io"
	"sync"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// errNoRoom: "The driver MUST NOT place driver-readable buffers into the
// queue" and offers at least one to write to (virtio 1.2 section 5.4.6.1).
var errNoRoom = errors.New("a request has nothing to write to")

// chunks are buffers that all devices share: a guest asks for entropy now and then.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// serve fills one request and returns how many bytes it got. Where the host's
// source ends early, the request gets what there is.
func (d *Device) serve(c *virtq.Chain, counters *virtio.Counters) (uint32, error) {
	want := min(c.WriteLen(), MaxRequest)
	if want == 0 {
		return 0, errNoRoom
	}
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	got := 0
	for got < want {
		chunk := buf[:min(want-got, chunkSize)]
		if _, err := io.ReadFull(d.source, chunk); err != nil {
			counters.AddError()
			break
		}
		n := c.CopyOut(chunk, got)
		if n == 0 {
			break
		}
		got += n
	}
	counters.AddRequests(1, uint64(got))
	return uint32(got), nil
}
