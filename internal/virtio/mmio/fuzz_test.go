package mmio

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio"
)

// A call of FuzzRegisters: an operation with its width, an offset, a value.
const callSize = 1 + 2 + 4

func call(op byte, offset uint16, v uint32) []byte {
	b := []byte{op}
	b = binary.LittleEndian.AppendUint16(b, offset)
	return binary.LittleEndian.AppendUint32(b, v)
}

const (
	fuzzWrite = 0x04 // 4 bytes wide
	fuzzRead  = 0x84
	fuzzRing  = 0x40 // write guest memory instead, at the offset times 8
)

// registerSeeds are the sequences that fuzzing starts from: a driver that
// does everything right, and parts of it out of order.
func registerSeeds() [][]byte {
	status := func(s virtio.Status) []byte { return call(fuzzWrite, regStatus, uint32(s)) }
	features := bytes.Join([][]byte{
		call(fuzzWrite, regDriverFeaturesSel, 0), call(fuzzWrite, regDriverFeatures, uint32(allFeatures&0xffff_ffff)),
		call(fuzzWrite, regDriverFeaturesSel, 1), call(fuzzWrite, regDriverFeatures, uint32(allFeatures>>32)),
	}, nil)
	q := queueAddrs(0)
	queue := bytes.Join([][]byte{
		call(fuzzWrite, regQueueSel, 0), call(fuzzWrite, regQueueNum, q.num),
		call(fuzzWrite, regQueueDescLow, uint32(q.desc)), call(fuzzWrite, regQueueDriverLow, uint32(q.driver)),
		call(fuzzWrite, regQueueDeviceLow, uint32(q.device)), call(fuzzWrite, regQueueReady, 1),
	}, nil)
	traffic := bytes.Join([][]byte{
		call(fuzzRing, uint16(q.desc/8), 0x1000), call(fuzzRing, uint16(q.desc/8+1), 16),
		call(fuzzRing, uint16(q.driver/8), 1<<16), call(fuzzWrite, regQueueNotify, 0),
		call(fuzzRead, regInterruptStatus, 0), call(fuzzWrite, regInterruptACK, 3),
	}, nil)
	begin := bytes.Join([][]byte{status(stepAcknowledged), status(stepDriver), features, status(stepFeatures)}, nil)
	return [][]byte{
		bytes.Join([][]byte{begin, queue, status(stepRunning), traffic, status(0)}, nil),
		bytes.Join([][]byte{begin, status(stepRunning), queue, traffic}, nil),
		bytes.Join([][]byte{queue, begin, traffic, status(stepRunning), status(stepRunning | virtio.StatusFailed)}, nil),
		bytes.Join([][]byte{begin, queue, call(fuzzWrite, regQueueNum, 0x10008), status(stepRunning), traffic, status(0), begin}, nil),
		bytes.Join([][]byte{call(0x01, regStatus, 1), call(0x88, 0xffc, 0), call(0x02, regConfig, 7), call(fuzzRead, regSHMLenLow, 0)}, nil),
	}
}

// FuzzRegisters plays any sequence of register accesses and checks what holds
// after each: the status is one a driver may be in, what runs is what the
// status says, and nothing is left after Close.
func FuzzRegisters(f *testing.F) {
	for _, seed := range registerSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, calls []byte) {
		r := newRig(t)
		for ; len(calls) >= callSize; calls = calls[callSize:] {
			op, offset, v := calls[0], uint64(binary.LittleEndian.Uint16(calls[1:])), binary.LittleEndian.Uint32(calls[3:])
			if op&fuzzRing != 0 {
				require.NoError(t, r.mem.Store32(offset*8, v))
				continue
			}
			p := make([]byte, op&0xf)
			for i := range p {
				p[i] = byte(v >> (8 * (i % 4)))
			}
			if op&0x80 != 0 {
				r.Read(offset, p)
			} else {
				r.Write(offset, p)
			}
			r.check(t)
		}
	})
}

// check holds what is true between any two accesses.
func (r *rig) check(t *testing.T) {
	s := r.getStatus() &^ virtio.StatusFailed
	switch s {
	case 0, stepAcknowledged, stepDriver, stepFeatures:
		require.Nil(t, r.kicks)
		require.Zero(t, r.backing.live.Load())
	case stepRunning:
		require.NotNil(t, r.kicks)
		require.Zero(t, r.driverFeatures&^r.offered)
	case stepRunning | virtio.StatusNeedsReset:
	default:
		require.Failf(t, "status", "%#x", uint32(s))
	}
	require.Zero(t, r.get(regInterruptStatus)&^(interruptUsed|interruptConfig))
}
