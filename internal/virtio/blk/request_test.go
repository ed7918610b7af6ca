package blk

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestReadsAndWrites(t *testing.T) {
	for _, features := range []uint64{0, allFeatures} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			r := newRig(t, newFakeDisk(1000), Config{Serial: "capsa-0"}).start(features)
			require.Equal(t, r.disk.bytes(3, 1), r.ok(typeIn, 3, nil, 512))
			require.Equal(t, r.disk.bytes(0, 1000), r.ok(typeIn, 0, nil, 512_000))
			want := bytes.Repeat([]byte("abcdefgh"), 64*200)
			r.ok(typeOut, 800, want, 0)
			require.Equal(t, want, r.disk.bytes(800, 200))
			require.Equal(t, want[:512], r.ok(typeIn, 800, nil, 512))
			require.Empty(t, r.ok(typeIn, 1000, nil, 0), "nothing at the end of the disk is on the disk")
			require.Equal(t, []byte("capsa-0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), r.ok(typeGetID, 0, nil, 20))
			require.Equal(t, []byte("cap"), r.ok(typeGetID, 0, nil, 3))
		})
	}
}

func TestGetIDIntoMoreRoom(t *testing.T) {
	r := newRig(t, newFakeDisk(8), Config{Serial: "x"}).start(0)
	p := r.do(typeGetID, 0, nil, 100)
	require.EqualValues(t, statusOK, p.code)
	require.EqualValues(t, 20, p.used, "the rest, up to the status, was not written")
}

func TestEraseAndFlush(t *testing.T) {
	var ops []string
	disk := newFakeDisk(1000)
	disk.hook = func(op string, off, n uint64) error {
		ops = append(ops, fmt.Sprintf("%s %d+%d", op, off/512, n/512))
		return nil
	}
	r := newRig(t, disk, Config{}).start(allFeatures)
	r.ok(typeDiscard, 77, ranges(segment{8, 8, 0}, segment{100, 1, 0}), 0)
	r.ok(typeWriteZeroes, 0, ranges(segment{200, 10, 0}), 0)
	r.ok(typeWriteZeroes, 0, ranges(segment{300, 10, flagUnmap}, segment{400, 0, 0}), 0)
	r.ok(typeFlush, 0, nil, 0)
	require.Equal(t, []string{"discard 8+8", "discard 100+1", "zero 200+10", "unmap 300+10", "flush 0+0"}, ops)
	require.Equal(t, make([]byte, 5120), disk.bytes(300, 10))
	s := r.dev.Stats()
	require.Equal(t, Stats{Requests: 4, Discards: 1, WriteZeroes: 2, Flushes: 1}, s)
}

// Ranges longer than maxErase are worked through in pieces that end at
// multiples of it.
func TestLongErase(t *testing.T) {
	var ops []string
	disk := &bigDisk{size: 1 << 40}
	disk.hook = func(op string, off, n uint64) error {
		ops = append(ops, fmt.Sprintf("%s %d+%d", op, off>>20, n>>20))
		return nil
	}
	r := newRig(t, nil, Config{Backend: disk}).start(allFeatures)
	r.ok(typeDiscard, 0, ranges(segment{50 << 11, 100 << 11, 0}), 0)
	require.Equal(t, []string{"discard 50+14", "discard 64+64", "discard 128+22"}, ops)
}

// bigDisk has no content.
type bigDisk struct {
	fakeDisk
	size uint64
}

func (d *bigDisk) Size() uint64                      { return d.size }
func (d *bigDisk) Discard(off, n uint64) error       { return d.hook("discard", off, n) }
func (d *bigDisk) ReadAt(b [][]byte, o uint64) error { return d.hook("read", o, lenOf(b)) }

// A request of gigabytes, made of buffers that overlap, is read in pieces.
func TestLongRead(t *testing.T) {
	var sizes []uint64
	disk := &bigDisk{size: 1 << 40}
	disk.hook = func(_ string, _, n uint64) error {
		sizes = append(sizes, n)
		return nil
	}
	r := newRig(t, nil, Config{Backend: disk}).start(0)
	const buffers = 5 // of 8 MiB less one page
	size := uint32(virtiotest.Main.Size) - 4096
	q := r.ring
	q.SetDesc(0, virtiotest.Desc{Addr: r.guest(0, header(typeIn, 0)), Len: headerSize, Flags: virtiotest.DescNext, Next: 1})
	for i := range uint16(buffers) {
		q.SetDesc(1+i, virtiotest.Desc{Addr: virtiotest.Main.Base, Len: size, Flags: virtiotest.DescWrite | virtiotest.DescNext, Next: 2 + i})
	}
	status := virtiotest.High.Base
	q.SetDesc(1+buffers, virtiotest.Desc{Addr: status, Len: 1, Flags: virtiotest.DescWrite})
	q.Expose(0)
	r.Queue(0).Notify()
	r.WaitFor("the request", func() bool { return q.UsedIdx() == 1 })
	_, used := q.UsedElem(0)
	require.EqualValues(t, buffers*size+1, used)
	require.Equal(t, []uint64{maxPiece, maxPiece, uint64(buffers*size) - 2*maxPiece}, sizes)
}

// G1: requests that make no sense are answered, and the disk is not touched.
func TestRefusedRequests(t *testing.T) {
	const sectors = 1000
	long := make([]segment, maxSegments+1)
	for i := range long {
		long[i].count = 1
	}
	for _, c := range []struct {
		name     string
		kind     uint32
		sector   uint64
		out      []byte
		in       int
		code     byte
		features uint64
	}{
		{"read at the end", typeIn, sectors, nil, 512, statusIOErr, allFeatures},
		{"read across the end", typeIn, sectors - 1, nil, 1024, statusIOErr, allFeatures},
		{"read far beyond", typeIn, 1 << 40, nil, 512, statusIOErr, allFeatures},
		{"sector that wraps in bytes", typeIn, 1 << 55, nil, 512, statusIOErr, allFeatures},
		{"sector that wraps", typeIn, math.MaxUint64, nil, 1024, statusIOErr, allFeatures},
		{"write across the end", typeOut, sectors - 1, make([]byte, 1024), 0, statusIOErr, allFeatures},
		{"write that wraps", typeOut, math.MaxUint64 - 1, make([]byte, 1024), 0, statusIOErr, allFeatures},
		{"read of 511 bytes", typeIn, 0, nil, 511, statusIOErr, allFeatures},
		{"read of 513 bytes", typeIn, 0, nil, 513, statusIOErr, allFeatures},
		{"write of one byte", typeOut, 0, []byte{1}, 0, statusIOErr, allFeatures},
		{"type 2", 2, 0, nil, 512, statusUnsupported, allFeatures},
		{"SCSI command", 3, 0, make([]byte, 64), 0, statusUnsupported, allFeatures},
		{"barrier bit", 1<<31 | typeOut, 0, make([]byte, 512), 0, statusUnsupported, allFeatures},
		{"secure erase", 14, 0, ranges(segment{0, 1, 0}), 0, statusUnsupported, allFeatures},
		{"type 2^32-1", math.MaxUint32, 0, nil, 0, statusUnsupported, allFeatures},
		{"flush when not negotiated", typeFlush, 0, nil, 0, statusUnsupported, 0},
		{"discard when not negotiated", typeDiscard, 0, ranges(segment{0, 8, 0}), 0, statusUnsupported, 0},
		{"write zeroes when not negotiated", typeWriteZeroes, 0, ranges(segment{0, 8, 0}), 0, statusUnsupported, 0},
		{"discard of nothing", typeDiscard, 0, nil, 0, statusIOErr, allFeatures},
		{"discard of half a segment", typeDiscard, 0, make([]byte, 24), 0, statusIOErr, allFeatures},
		{"discard of too many segments", typeDiscard, 0, ranges(long...), 0, statusIOErr, allFeatures},
		{"discard beyond the end", typeDiscard, 0, ranges(segment{0, 8, 0}, segment{sectors, 1, 0}), 0, statusIOErr, allFeatures},
		{"discard that wraps", typeDiscard, 0, ranges(segment{math.MaxUint64, 2, 0}), 0, statusIOErr, allFeatures},
		{"discard of 2^32-1 sectors", typeDiscard, 0, ranges(segment{0, math.MaxUint32, 0}), 0, statusIOErr, allFeatures},
		{"discard with unmap", typeDiscard, 0, ranges(segment{0, 8, flagUnmap}), 0, statusUnsupported, allFeatures},
		{"discard with unknown flags", typeDiscard, 0, ranges(segment{0, 8, 0}, segment{8, 8, 1 << 31}), 0, statusUnsupported, allFeatures},
		{"write zeroes with unknown flags", typeWriteZeroes, 0, ranges(segment{0, 8, 3}), 0, statusUnsupported, allFeatures},
		{"write zeroes of 2^32-1 sectors", typeWriteZeroes, 0, ranges(segment{0, math.MaxUint32, 1}), 0, statusIOErr, allFeatures},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := newFakeDisk(sectors)
			disk.hook = func(op string, _, _ uint64) error {
				t.Errorf("the disk was asked to %s", op)
				return nil
			}
			r := newRig(t, disk, Config{}).start(c.features)
			p := r.do(c.kind, c.sector, c.out, c.in)
			require.Equal(t, c.code, p.code)
			if c.in == 0 {
				require.EqualValues(t, 1, p.used)
			} else {
				require.Zero(t, p.used, "the data before the status was not written")
			}
			require.Equal(t, Stats{Requests: 1, Refused: 1}, r.dev.Stats())
			require.Zero(t, r.transport.Stats().Faults)
			disk.hook = nil
			require.Equal(t, disk.bytes(0, 1), r.ok(typeIn, 0, nil, 512))
		})
	}
}

func TestReadOnlyDisk(t *testing.T) {
	disk := newFakeDisk(100)
	r := newRig(t, disk, Config{ReadOnly: true}).start(allFeatures)
	want := disk.bytes(0, 100)
	require.EqualValues(t, statusIOErr, r.do(typeOut, 0, make([]byte, 512), 0).code)
	for _, kind := range []uint32{typeDiscard, typeWriteZeroes} {
		require.EqualValues(t, statusUnsupported, r.do(kind, 0, ranges(segment{0, 8, 0}), 0).code)
	}
	require.EqualValues(t, statusUnsupported, r.do(typeFlush, 0, nil, 0).code)
	require.Equal(t, want, disk.bytes(0, 100))
	require.Equal(t, want[:512], r.ok(typeIn, 0, nil, 512))
}

// cut splits p into pieces of n bytes.
func cut(p []byte, n int) [][]byte {
	var out [][]byte
	for len(p) > 0 {
		k := min(n, len(p))
		out, p = append(out, p[:k]), p[k:]
	}
	return out
}

// G1: no rule says where buffers begin and end (virtio 1.2 section 2.7.4.1).
func TestAnyLayout(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 32) // 1024 descriptors are the most
	for _, n := range []int{1, 3, 7, 16, 17, 100, 2000} {
		t.Run(fmt.Sprintf("pieces of %d", n), func(t *testing.T) {
			r := newRig(t, newFakeDisk(100), Config{})
			r.Start(allFeatures)
			q := r.Queue(0)
			q.AddIndirect(cut(append(header(typeOut, 5), payload...), n), 1)
			q.Kick()
			require.Equal(t, []byte{statusOK}, q.Wait().Data)
			require.Equal(t, payload, r.disk.bytes(5, 1))

			// The reply in pieces of n, the status in the last of them.
			var sizes []int
			for _, b := range cut(make([]byte, 513), n) {
				sizes = append(sizes, len(b))
			}
			q.AddIndirect(cut(header(typeIn, 5), n), sizes...)
			q.Kick()
			require.Equal(t, append(bytes.Clone(payload), statusOK), q.Wait().Data)
		})
	}
}

func TestHeaderInSixteenDescriptors(t *testing.T) {
	r := newRig(t, newFakeDisk(100), Config{})
	r.Start(0)
	q := r.Queue(0)
	q.Add(cut(header(typeIn, 9), 1), 512, 1)
	q.Kick()
	require.Equal(t, append(r.disk.bytes(9, 1), statusOK), q.Wait().Data)
}

// A broken header can still be answered.
func TestShortHeader(t *testing.T) {
	for n := range headerSize {
		r := newRig(t, newFakeDisk(100), Config{})
		r.Start(0)
		q := r.Queue(0)
		q.Post(make([]byte, n), 1)
		require.Equal(t, []byte{statusIOErr}, q.Wait().Data)
		require.NotEmpty(t, q.Do(header(typeIn, 0), 513))
	}
}

// Without a status byte there is no answer: the device needs a reset.
func TestNoStatus(t *testing.T) {
	for _, request := range [][]byte{header(typeIn, 0), append(header(typeOut, 0), make([]byte, 512)...), {1}} {
		r := newRig(t, newFakeDisk(100), Config{})
		r.Start(0)
		r.Queue(0).Post(request, 0)
		r.WaitNeedsReset()
		require.Equal(t, uint64(1), r.transport.Stats().Faults)
		r.start(allFeatures)
		require.Equal(t, r.disk.bytes(0, 1), r.ok(typeIn, 0, nil, 512))
	}
}

// Errors of the host are I/O errors of the guest, whatever they are, and the
// device works on.
func TestHostErrors(t *testing.T) {
	errs := []error{unix.ENOSPC, unix.EIO, unix.EDQUOT, unix.EFBIG, errors.New("the image is corrupt")}
	requests := []struct {
		op   string
		kind uint32
		out  []byte
		in   int
	}{
		{"read", typeIn, nil, 512},
		{"write", typeOut, make([]byte, 512), 0},
		{"flush", typeFlush, nil, 0},
		{"discard", typeDiscard, ranges(segment{4, 4, 0}), 0},
		{"write zeroes", typeWriteZeroes, ranges(segment{4, 4, 0}, segment{8, 1, 0}), 0},
	}
	for _, req := range requests {
		for _, cause := range errs {
			t.Run(fmt.Sprintf("%s: %v", req.op, cause), func(t *testing.T) {
				fail := cause
				disk := newFakeDisk(100)
				disk.hook = func(string, uint64, uint64) error { return fail }
				var failures []Failure
				r := newRig(t, disk, Config{OnError: func(f Failure) { failures = append(failures, f) }}).start(allFeatures)
				for range 3 {
					p := r.do(req.kind, 4, req.out, req.in)
					require.EqualValues(t, statusIOErr, p.code)
				}
				require.Len(t, failures, 1, "the others came within a second")
				require.Equal(t, req.op, failures[0].Op)
				require.ErrorIs(t, failures[0].Err, cause)
				require.EqualValues(t, 4, failures[0].Sector)
				require.Equal(t, Stats{Requests: 3, Errors: 3}, r.dev.Stats())
				require.EqualValues(t, 3, r.transport.Stats().Errors)
				fail = nil
				p := r.do(req.kind, 4, req.out, req.in)
				require.EqualValues(t, statusOK, p.code)
				require.Zero(t, r.transport.Stats().Faults)
			})
		}
	}
}

// Write-through: a write that cannot be made durable has failed.
func TestWriteThroughFlushFails(t *testing.T) {
	disk := newFakeDisk(100)
	disk.hook = func(op string, _, _ uint64) error {
		if op == "flush" {
			return unix.EIO
		}
		return nil
	}
	r := newRig(t, disk, Config{}).start(0)
	require.EqualValues(t, statusIOErr, r.do(typeOut, 0, make([]byte, 512), 0).code)
}
