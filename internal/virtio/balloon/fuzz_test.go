package balloon

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// Operations of FuzzBalloon, one byte each, then a queue, an index, and 16 bytes of
// arguments.
const (
	fuzzDesc    = iota // write a descriptor: the arguments as they lie in memory
	fuzzExpose         // make a head available and kick
	fuzzAvail          // move the available index and kick
	fuzzPayload        // write the arguments to memory, at page index
	fuzzSize           // another size of the balloon
	fuzzRefresh
	fuzzRestart
	fuzzConfig // write and read the configuration
	fuzzOps
)

const fuzzCallSize = 3 + 16

func fuzzCall(op, queue, index byte, args []byte) []byte {
	return append([]byte{op, queue, index}, append(args, make([]byte, 16-len(args))...)...)
}

func fuzzDescriptor(d virtiotest.Desc) []byte {
	b := binary.LittleEndian.AppendUint64(nil, d.Addr)
	b = binary.LittleEndian.AppendUint32(b, d.Len)
	b = binary.LittleEndian.AppendUint16(b, d.Flags)
	return binary.LittleEndian.AppendUint16(b, d.Next)
}

func fuzzSeeds() [][]byte {
	request := func(queue byte, d virtiotest.Desc, payload []byte) []byte {
		return bytes.Join([][]byte{
			fuzzCall(fuzzPayload, 0, 0, payload),
			fuzzCall(fuzzDesc, queue, 0, fuzzDescriptor(d)),
			fuzzCall(fuzzExpose, queue, 0, nil),
			fuzzCall(fuzzRefresh, 0, 0, nil),
		}, nil)
	}
	at := virtiotest.High.Base
	return [][]byte{
		request(queueInflate, desc(at, 16), pfns(0, 1, 0xFFFF_FFFF, 256)),
		request(queueDeflate, desc(at, 4096), pfns(1)),
		request(queueStats, desc(at, 10), stat(4, 1)),
		request(queueStats, desc(at, 11), stat(4, 1)),
		request(queueReporting, virtiotest.Desc{Addr: virtiotest.Main.Base, Len: 2 << 20, Flags: virtiotest.DescWrite}, nil),
		request(3, virtiotest.Desc{Addr: at, Len: 64 << 10, Flags: virtiotest.DescWrite}, nil),
		request(queueReporting, virtiotest.Desc{Addr: at, Len: 32, Flags: virtiotest.DescIndirect}, nil),
		bytes.Join([][]byte{
			fuzzCall(fuzzSize, 0, 9, nil), fuzzCall(fuzzConfig, 4, 4, pfns(9)), fuzzCall(fuzzConfig, 4, 12, pfns(0xAA)),
			fuzzCall(fuzzAvail, 0, 0, []byte{0xFF, 0xFF}), fuzzCall(fuzzRestart, 0, 3, nil),
		}, nil),
	}
}

// FuzzBalloon plays any rings against the balloon, with the host's side in between:
// nothing but memory is ever given back, and the balloon works after a reset.
func FuzzBalloon(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, calls []byte) {
		r := startRig(t, allFeatures)
		for ; len(calls) >= fuzzCallSize; calls = calls[fuzzCallSize:] {
			r.play(calls[0]%fuzzOps, calls[1], calls[2], calls[3:fuzzCallSize])
		}
		r.Start(0)
		r.host.take(t)
		require.Empty(t, r.Queue(queueInflate).Do(pfns(5), 0))
		require.NotEmpty(t, r.host.take(t))
	})
}

// play does one operation.
func (r *rig) play(op, queue, index byte, args []byte) {
	q := r.Queue(int(queue % queueCount))
	head := uint16(index % queueSize)
	switch op {
	case fuzzDesc:
		q.Raw.SetDesc(head, virtiotest.Desc{
			Addr:  binary.LittleEndian.Uint64(args),
			Len:   binary.LittleEndian.Uint32(args[8:]),
			Flags: binary.LittleEndian.Uint16(args[12:]),
			Next:  binary.LittleEndian.Uint16(args[14:]),
		})
	case fuzzExpose:
		q.Raw.Expose(head)
		q.Notify()
	case fuzzAvail:
		q.Raw.SetAvailIdx(binary.LittleEndian.Uint16(args))
		q.Notify()
	case fuzzPayload:
		at := virtiotest.High.Base + uint64(index%16)*PageSize
		for i := range uint64(2) {
			require.NoError(r.t, r.Mem().Store64(at+8*i, binary.LittleEndian.Uint64(args[8*i:])))
		}
	case fuzzSize:
		r.dev.SetSize(binary.LittleEndian.Uint64(args) + uint64(index))
	case fuzzRefresh:
		r.dev.Refresh()
	case fuzzRestart:
		r.Start(uint64(index%4) << 28) // any of the ring's features
	case fuzzConfig:
		p := make([]byte, queue%17)
		copy(p, args)
		r.transport.Write(virtiotest.RegConfig+uint64(index), p)
		r.transport.Read(virtiotest.RegConfig+uint64(index), p)
	}
}
