package blk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestIdentity(t *testing.T) {
	r := newRig(t, newFakeDisk(1000), Config{})
	require.EqualValues(t, 2, r.Reg(virtiotest.RegDeviceID)) // virtio 1.2 section 5.2.1
	require.Equal(t, virtio.TransportFeatures|FeatureSegMax|FeatureBlkSize|FeatureTopology|FeatureFlush|
		FeatureConfigWCE|FeatureDiscard|FeatureWriteZeroes, r.Offered())

	ro := newRig(t, newFakeDisk(1000), Config{ReadOnly: true, Queues: 3})
	require.Equal(t, virtio.TransportFeatures|FeatureSegMax|FeatureBlkSize|FeatureTopology|FeatureRO|FeatureMQ, ro.Offered())
	require.Len(t, ro.dev.QueueSizes(), 3)
}

// The bytes of struct virtio_blk_config, written down from virtio 1.2 section
// 5.2.4.
func TestConfigSpace(t *testing.T) {
	want := make([]byte, 64)
	le := binary.LittleEndian
	le.PutUint64(want[0:], 1000)   // capacity
	le.PutUint32(want[12:], 254)   // seg_max
	le.PutUint32(want[20:], 512)   // blk_size
	want[24] = 3                   // physical_block_exp: 4096 bytes
	le.PutUint16(want[26:], 8)     // min_io_size
	want[32] = 1                   // writeback
	le.PutUint16(want[34:], 2)     // num_queues
	le.PutUint32(want[36:], 1<<22) // max_discard_sectors
	le.PutUint32(want[40:], 32)    // max_discard_seg
	le.PutUint32(want[44:], 128)   // discard_sector_alignment: 65536 bytes
	le.PutUint32(want[48:], 1<<22) // max_write_zeroes_sectors
	le.PutUint32(want[52:], 32)    // max_write_zeroes_seg
	want[56] = 1                   // write_zeroes_may_unmap
	r := newRig(t, newFakeDisk(1000), Config{Queues: 2})
	require.Equal(t, want, r.ReadConfig(0, 64))
	for offset := range uint32(70) {
		for _, n := range []int{0, 1, 2, 3, 4, 8, 65} {
			p := bytes.Repeat([]byte{0xEE}, n)
			r.dev.ReadConfig(offset, p)
			full := append(bytes.Clone(want), make([]byte, 80)...)
			require.Equal(t, full[offset:int(offset)+n], p, "%d bytes at %d", n, offset)
		}
	}
	r.dev.ReadConfig(math.MaxUint32, make([]byte, 8))
}

func TestConfigWrites(t *testing.T) {
	r := newRig(t, newFakeDisk(8), Config{}).start(allFeatures)
	before := r.ReadConfig(0, 64)
	for offset := range uint64(70) {
		if offset == offWriteback {
			continue
		}
		r.transport.Write(virtiotest.RegConfig+offset, []byte{0})
		r.transport.Write(virtiotest.RegConfig+offset, []byte{0, 0, 0, 0})
	}
	r.transport.Write(virtiotest.RegConfig+offWriteback, []byte{2})
	require.Equal(t, before, r.ReadConfig(0, 64))
	r.transport.Write(virtiotest.RegConfig+offWriteback, []byte{0})
	require.Equal(t, []byte{0}, r.ReadConfig(offWriteback, 1))
	r.start(allFeatures)
	require.Equal(t, []byte{1}, r.ReadConfig(offWriteback, 1), "a reset brings the cache back")

	ro := newRig(t, newFakeDisk(8), Config{ReadOnly: true}).start(allFeatures)
	ro.transport.Write(virtiotest.RegConfig+offWriteback, []byte{0})
	require.Equal(t, []byte{1}, ro.ReadConfig(offWriteback, 1))
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"empty disk":       {Backend: newFakeDisk(0)},
		"odd size":         {Backend: &fakeDisk{data: make([]byte, 513)}},
		"long serial":      {Backend: newFakeDisk(1), Serial: "123456789012345678901"},
		"serial with zero": {Backend: newFakeDisk(1), Serial: "a\x00b"},
		"too many queues":  {Backend: newFakeDisk(1), Queues: 17},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(cfg)
			require.Error(t, err)
		})
	}
}

func TestQueuesFor(t *testing.T) {
	for cpus, want := range map[int]int{0: 1, 1: 1, 4: 1, 5: 2, 8: 2, 64: 16, 1000: 16} {
		require.Equal(t, want, QueuesFor(cpus), "%d CPUs", cpus)
	}
}

// A write is acknowledged before it is durable only when the driver agreed to
// that and can flush (virtio 1.2 section 5.2.6.2).
func TestWriteCache(t *testing.T) {
	for _, c := range []struct {
		name     string
		features uint64
		off      bool // the driver turns the cache off
		cached   bool
	}{
		{"no features", 0, false, false},
		{"flush", FeatureFlush, false, true},
		{"cache chosen", FeatureFlush | FeatureConfigWCE, false, true},
		{"cache refused", FeatureFlush | FeatureConfigWCE, true, false},
		{"cache chosen without flush", FeatureConfigWCE, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, newFakeDisk(64), Config{})
			r.start(c.features | FeatureDiscard)
			if c.off {
				r.transport.Write(virtiotest.RegConfig+offWriteback, []byte{0})
			}
			require.EqualValues(t, statusOK, r.do(typeOut, 0, make([]byte, 512), 0).code)
			require.Equal(t, c.cached, r.disk.written)
			require.EqualValues(t, statusOK, r.do(typeDiscard, 0, ranges(segment{count: 8}), 0).code)
			require.Equal(t, c.cached, r.disk.written)
		})
	}
}

func TestCloseClosesTheBackendOnce(t *testing.T) {
	disk := newFakeDisk(8)
	failed := make(chan Failure, 1)
	disk.hook = func(op string, _, _ uint64) error {
		if op == "close" {
			return errors.New("no more space")
		}
		return nil
	}
	r := newRig(t, disk, Config{OnError: func(f Failure) { failed <- f }}).start(0)
	r.transport.Close()
	r.dev.Close()
	require.EqualValues(t, 1, disk.closed.Load())
	require.Equal(t, "close", (<-failed).Op)
}
