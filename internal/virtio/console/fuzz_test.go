package console

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// Operations of FuzzConsole, one byte each, then a queue, an index, and 16
// bytes of arguments.
const (
	fuzzDesc   = iota // write a descriptor: the arguments as they lie in memory
	fuzzExpose        // make a head available and kick
	fuzzAvail         // move the available index and kick
	fuzzInput         // bytes from the host
	fuzzResize
	fuzzRestart
	fuzzConfig // read and write the configuration
	fuzzOps
)

const fuzzCallSize = 3 + 16

func fuzzCall(op, queue, index byte, d virtiotest.Desc) []byte {
	b := []byte{op, queue, index}
	b = binary.LittleEndian.AppendUint64(b, d.Addr)
	b = binary.LittleEndian.AppendUint32(b, d.Len)
	b = binary.LittleEndian.AppendUint16(b, d.Flags)
	return binary.LittleEndian.AppendUint16(b, d.Next)
}

func fuzzSeeds() [][]byte {
	none := virtiotest.Desc{}
	at := virtiotest.High.Base
	read := virtiotest.Desc{Addr: at, Len: 100}
	write := virtiotest.Desc{Addr: at, Len: 64, Flags: virtiotest.DescWrite}
	loop := virtiotest.Desc{Addr: at, Len: 16, Flags: virtiotest.DescNext, Next: 0}
	table := virtiotest.Desc{Addr: at, Len: 32, Flags: virtiotest.DescIndirect}
	return [][]byte{
		bytes.Join([][]byte{fuzzCall(fuzzDesc, 1, 0, read), fuzzCall(fuzzExpose, 1, 0, none)}, nil),
		bytes.Join([][]byte{fuzzCall(fuzzDesc, 0, 0, write), fuzzCall(fuzzExpose, 0, 0, none), fuzzCall(fuzzInput, 0, 200, none)}, nil),
		bytes.Join([][]byte{fuzzCall(fuzzDesc, 1, 0, loop), fuzzCall(fuzzExpose, 1, 0, none), fuzzCall(fuzzRestart, 0, 0, none)}, nil),
		bytes.Join([][]byte{fuzzCall(fuzzDesc, 1, 3, table), fuzzCall(fuzzExpose, 1, 3, none), fuzzCall(fuzzResize, 80, 25, none)}, nil),
		bytes.Join([][]byte{fuzzCall(fuzzInput, 0, 9, none), fuzzCall(fuzzAvail, 0, 0, read), fuzzCall(fuzzConfig, 0, 2, write)}, nil),
	}
}

// FuzzConsole plays any rings against the console, with input and resizes of
// the host in between, and requires that it works after a reset.
func FuzzConsole(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, calls []byte) {
		r := newRig(t, nil)
		r.Start(FeatureSize | ringFeatures)
		for ; len(calls) >= fuzzCallSize; calls = calls[fuzzCallSize:] {
			r.play(calls[0]%fuzzOps, calls[1], calls[2], calls[3:fuzzCallSize])
			_, taken := r.in.counts()
			require.LessOrEqual(t, len(r.dev.inBuf), stagedSize)
			require.GreaterOrEqual(t, taken, 0)
		}
		r.Start(0)
		before := len(r.out.String())
		r.send(t, "alive")
		require.Equal(t, "alive", r.out.String()[before:])
	})
}

// play does one operation.
func (r *rig) play(op, queue, index byte, args []byte) {
	q := r.Queue(int(queue % 2))
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
	case fuzzInput:
		r.in.put(bytes.Repeat([]byte{'i'}, int(index)))
	case fuzzResize:
		r.dev.Resize(uint16(queue), uint16(index))
	case fuzzRestart:
		r.Start(uint64(index%4) << 28) // any of the ring's features
	case fuzzConfig:
		p := make([]byte, queue%17)
		r.transport.Read(virtiotest.RegConfig+uint64(index), p)
		r.transport.Write(virtiotest.RegConfig+uint64(index), p)
	}
}
