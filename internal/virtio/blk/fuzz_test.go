package blk

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

const fuzzSectors = 64

// oracle is a disk as the specification has it, without the device's code.
type oracle struct {
	data     [fuzzSectors * SectorSize]byte
	readOnly bool
}

// answer is what a request must get: its status and, if that is OK, the data
// before the status.
func (o *oracle) answer(out []byte, in int) (code byte, data []byte) {
	le := binary.LittleEndian
	if len(out) < 16 {
		return 1, nil
	}
	kind, sector, payload := le.Uint32(out), le.Uint64(out[8:]), out[16:]
	on := func(sector uint64, size int) bool {
		return size%512 == 0 && sector <= fuzzSectors && uint64(size/512) <= fuzzSectors-sector
	}
	switch {
	case kind == 0 && on(sector, in):
		return 0, bytes.Clone(o.data[sector*512:][:in])
	case kind == 1 && !o.readOnly && on(sector, len(payload)):
		copy(o.data[sector*512:], payload)
		return 0, nil
	case kind == 0 || kind == 1:
		return 1, nil
	case kind == 8:
		return 0, append([]byte("fuzz"), make([]byte, 16)...)[:min(in, 20)]
	case kind == 4 && !o.readOnly:
		return 0, nil
	case (kind == 11 || kind == 13) && !o.readOnly:
		return o.erase(kind, payload)
	}
	return 2, nil
}

func (o *oracle) erase(kind uint32, p []byte) (byte, []byte) {
	le := binary.LittleEndian
	if len(p) == 0 || len(p)%16 != 0 || len(p) > 16*32 {
		return 1, nil
	}
	for q := p; len(q) > 0; q = q[16:] {
		sector, count, flags := le.Uint64(q), uint64(le.Uint32(q[8:])), le.Uint32(q[12:])
		switch {
		case flags > 1 || flags == 1 && kind == 11:
			return 2, nil
		case sector > fuzzSectors || count > fuzzSectors-sector:
			return 1, nil
		}
	}
	for ; len(p) > 0; p = p[16:] {
		off := le.Uint64(p) * 512
		clear(o.data[off : off+uint64(le.Uint32(p[8:]))*512])
	}
	return 0, nil
}

// input takes a fuzzer's bytes apart.
type input struct{ b []byte }

func (i *input) byte() (v byte) {
	if len(i.b) > 0 {
		v, i.b = i.b[0], i.b[1:]
	}
	return v
}

// number is small, near the end of the disk, or anything.
func (i *input) number() uint64 {
	switch v := uint64(i.byte()); v >> 6 {
	case 0:
		return v
	case 1:
		return fuzzSectors - v&7
	case 2:
		return -v
	default:
		return v << (i.byte() % 64)
	}
}

// request makes the readable bytes of a request and the number of writable
// ones before the status.
func (i *input) request() (out []byte, in int) {
	kinds := []uint32{0, 1, 4, 8, 11, 13, 2, 1 << 31, 0, 1}
	kind := kinds[int(i.byte())%len(kinds)]
	out = header(kind, i.number())
	switch kind {
	case 0, 8:
		in = int(i.byte()%12) * 128
	case 1:
		out = append(out, bytes.Repeat([]byte{i.byte()}, int(i.byte()%12)*128)...)
	case 11, 13:
		for range i.byte() % 35 {
			out = append(out, ranges(segment{i.number(), i.number(), uint32(i.byte() >> 5)})...)
		}
	}
	if cut := int(i.byte()); cut > 240 { // some are too short or too long
		out = out[:max(len(out)-(cut-240), 0)]
		in += cut & 1
	}
	return out, in
}

// sizes cuts n bytes into up to 20 pieces, and the rest.
func (i *input) sizes(n int) (sizes []int) {
	for n > 0 && len(sizes) < 20 {
		k := min(n, 1+int(i.byte())*4)
		sizes = append(sizes, k)
		n -= k
	}
	if n > 0 {
		sizes = append(sizes, n)
	}
	return sizes
}

// FuzzRequests runs a sequence of requests, cut into buffers anyhow, and holds
// every status, every byte and the whole disk against the oracle.
func FuzzRequests(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{1, 3, 0xAA, 4, 0, 2, 0, 3, 4, 0, 200, 3, 1, 7, 0, 0})
	f.Add([]byte{3, 0, 1, 0, 255, 255, 5, 4, 0, 3, 1, 1, 0, 2, 2, 1, 3, 3, 0, 0})
	f.Add(bytes.Repeat([]byte{5, 0x47, 33, 0x41, 0xFF, 0x3F, 0x81, 250}, 20))
	f.Add(bytes.Repeat([]byte{0, 0xC1, 63, 11, 241, 0, 0, 9, 0x80}, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		i := &input{b}
		flags := i.byte()
		disk := newFakeDisk(fuzzSectors)
		r := newRig(t, disk, Config{Serial: "fuzz", ReadOnly: flags&1 != 0})
		o := &oracle{readOnly: flags&1 != 0}
		copy(o.data[:], disk.data)
		features := allFeatures
		if flags&2 != 0 {
			features &^= virtiotest.FeatureEventIdx
		}
		r.Start(features)
		q := r.Queue(0)
		for range 40 {
			if len(i.b) == 0 {
				break
			}
			out, in := i.request()
			code, data := o.answer(out, in)
			var read [][]byte
			for _, n := range i.sizes(len(out)) {
				read, out = append(read, out[:n]), out[n:]
			}
			q.AddIndirect(read, append(i.sizes(in), 1)...)
			q.Kick()
			u := q.Wait()
			if code == 0 && len(data) == in {
				require.Equal(t, append(data, 0), u.Data)
			} else if code == 0 {
				require.Equal(t, data, u.Data) // GET_ID with room to spare
			} else if in == 0 {
				require.Equal(t, []byte{code}, u.Data)
			} else {
				require.Zero(t, u.Len)
			}
		}
		require.Equal(t, o.data[:], disk.data)
		require.Zero(t, r.transport.Stats().Faults)
	})
}
