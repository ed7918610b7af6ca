package mmio

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// TestReadGolden reads every register, and the configuration space, of a
// device in each step of its life.
func TestReadGolden(t *testing.T) {
	r := newRig(t)
	r.dev.regions = map[uint32][2]uint64{1: {0x1_2345_6000, 0x9_8765_4000}}
	var out bytes.Buffer
	dump := func(title string) {
		fmt.Fprintf(&out, "# %s\n", title)
		for offset := uint64(0); offset < 0x110; offset += 4 {
			if v := r.get(offset); v != 0 {
				fmt.Fprintf(&out, "0x%03x 0x%08x\n", offset, v)
			}
		}
	}
	dump("as made")
	r.set(regDeviceFeaturesSel, 1)
	r.set(regQueueSel, 1)
	r.set(regSHMSel, 1)
	dump("the other half of the features, queue 1, region 1")
	r.start()
	dump("running")
	r.dev.last(t).Signal.Queue(0)
	dump("after a used buffer notification")
	r.dev.last(t).Signal.Config()
	r.set(regInterruptACK, interruptUsed)
	dump("acknowledged, after a configuration change")
	r.dev.last(t).Signal.Fail(errNoKick)
	dump("failed")
	r.setStatus(0)
	dump("after a reset")
	r.Close()
	dump("closed")

	golden := filepath.Join("testdata", "registers.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

// B1: widths other than 4 and unaligned offsets, on every register.
func TestAccessWidth(t *testing.T) {
	r := newRig(t)
	before := r.snapshot()
	for offset := uint64(0); offset < regConfig; offset++ {
		for _, width := range []int{0, 1, 2, 3, 4, 5, 8, 16} {
			if width == 4 && offset%4 == 0 {
				continue
			}
			p := bytes.Repeat([]byte{0xa5}, width)
			r.Write(offset, p)
			r.Read(offset, p)
			require.Equal(t, make([]byte, width), p, "offset %#x, width %d", offset, width)
		}
	}
	require.Equal(t, before, r.snapshot())
}

// snapshot is every register as it reads.
func (r *rig) snapshot() (all []uint32) {
	for offset := uint64(0); offset < regConfig; offset += 4 {
		all = append(all, r.get(offset))
	}
	return all
}

// B2: accesses over the end of the window, and beyond it.
func TestAccessBeyondWindow(t *testing.T) {
	r := newRig(t)
	r.setStatus(stepAcknowledged)
	r.setStatus(stepDriver)
	for _, offset := range []uint64{WindowSize - 1, WindowSize - 3, WindowSize, WindowSize + 4, 1 << 32, ^uint64(0) - 3, ^uint64(0)} {
		p := bytes.Repeat([]byte{0xa5}, 8)
		r.Write(offset, p)
		r.Read(offset, p)
		require.Equal(t, make([]byte, 8), p, "offset %#x", offset)
	}
	require.Equal(t, [6]byte{1, 2, 3, 4, 5, 6}, r.dev.config)
}

// B3: selectors out of range.
func TestSelectors(t *testing.T) {
	for _, sel := range []uint32{2, 3, 0x100, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff} {
		r := newRig(t)
		r.dev.regions = map[uint32][2]uint64{0: {1, 2}}
		r.set(regDeviceFeaturesSel, sel)
		require.Zero(t, r.get(regDeviceFeatures))
		r.negotiate()
		r.set(regQueueSel, sel)
		require.Zero(t, r.get(regQueueNumMax))
		r.set(regQueueNum, 8)
		r.set(regQueueReady, 1)
		require.Zero(t, r.get(regQueueReady))
		r.set(regSHMSel, sel)
		for _, reg := range []uint64{regSHMLenLow, regSHMLenHigh, regSHMBaseLow, regSHMBaseHigh} {
			require.Equal(t, uint32(0xffff_ffff), r.get(reg))
		}
	}
}

func TestSharedMemoryRegisters(t *testing.T) {
	r := newRig(t)
	r.dev.regions = map[uint32][2]uint64{7: {0x1_2345_6000, 0x9_8765_4000}}
	r.set(regSHMSel, 7)
	require.Equal(t, uint32(0x8765_4000), r.get(regSHMLenLow))
	require.Equal(t, uint32(9), r.get(regSHMLenHigh))
	require.Equal(t, uint32(0x2345_6000), r.get(regSHMBaseLow))
	require.Equal(t, uint32(1), r.get(regSHMBaseHigh))
}

// B4: the configuration space, in any width.
func TestConfigSpace(t *testing.T) {
	r := newRig(t)
	r.Write(regConfig, []byte{9})
	require.Equal(t, byte(1), r.dev.config[0], "no driver yet")

	r.setStatus(stepAcknowledged)
	r.setStatus(stepDriver)
	p := make([]byte, 8)
	r.Read(regConfig, p)
	require.Equal(t, []byte{1, 2, 3, 4, 5, 6, 0, 0}, p)
	r.Read(regConfig+5, p[:3])
	require.Equal(t, []byte{6, 0, 0}, p[:3])
	r.Write(regConfig+3, []byte{7, 8})
	require.Equal(t, [6]byte{1, 2, 3, 7, 8, 6}, r.dev.config)
	r.Read(WindowSize-8, p)
	require.Equal(t, make([]byte, 8), p, "the last bytes of the window")
}

// Writes to registers that are read-only or do not exist are ignored, and
// write-only ones read as zero.
func TestOtherRegisters(t *testing.T) {
	r := newRig(t)
	before := r.snapshot()
	written := map[uint64]bool{
		regDeviceFeaturesSel: true, regDriverFeaturesSel: true, regQueueSel: true, regSHMSel: true, regStatus: true,
	}
	for offset := uint64(0); offset < regConfig; offset += 4 {
		if !written[offset] {
			r.set(offset, 0xffff_ffff)
		}
	}
	require.Equal(t, before, r.snapshot())
}

func TestConfigGeneration(t *testing.T) {
	r := newRig(t)
	r.start()
	g := r.get(regConfigGeneration)
	r.dev.last(t).Signal.Config()
	require.NotEqual(t, g, r.get(regConfigGeneration))
	g = r.get(regConfigGeneration)
	r.dev.last(t).Signal.Queue(0)
	require.Equal(t, g, r.get(regConfigGeneration))
	r.setStatus(0)
	require.Equal(t, g, r.get(regConfigGeneration), "a reset does not take it back")
}

func TestIdentity(t *testing.T) {
	r := newRig(t)
	require.Equal(t, "fake", r.Name())
	require.Equal(t, uint32(virtio.IDFS), r.get(regDeviceID))
}
