package mptable

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// memory is the blocks laid out in the first MiB.
func memory(t *testing.T, blocks []Block) []byte {
	t.Helper()
	mem := make([]byte, layout.ExtMemBase)
	for _, b := range blocks {
		limit := map[uint64]int{layout.MPTableAddr: layout.MPTableSize, layout.MPConfigAddr: layout.MPConfigSize}[b.Addr]
		require.LessOrEqual(t, len(b.Bytes), limit, "block at %#x", b.Addr)
		copy(mem[b.Addr:], b.Bytes)
	}
	return mem
}

// parsed is what a guest learns.
type parsed struct {
	cpus, ioapics int
	lines         map[byte]byte // interrupt line to IOAPIC pin
	local         []byte        // types of local interrupts
}

// parse scans the last KiB of base memory for the floating pointer and follows it, like default_find_smp_config does in
// arch/x86/kernel/mpparse.c, checking all it passes.
func parse(t *testing.T, mem []byte) parsed {
	t.Helper()
	le := binary.LittleEndian
	floating := -1
	for at := layout.BaseMemEnd; at < 0xA_0000; at += 16 {
		if string(mem[at:at+4]) == "_MP_" {
			floating = at
			break
		}
	}
	require.NotEqual(t, -1, floating, "no floating pointer")
	f := mem[floating:][:floatingSize]
	require.EqualValues(t, 1, f[8])
	require.EqualValues(t, 4, f[9])
	require.Zero(t, checksum(f))

	b := mem[le.Uint32(f[4:]):]
	require.Equal(t, "PCMP", string(b[:4]))
	b = b[:le.Uint16(b[4:])]
	require.Zero(t, checksum(b))
	require.EqualValues(t, 4, b[6])
	require.EqualValues(t, layout.LocalAPICAddr, le.Uint32(b[36:]))
	require.Zero(t, le.Uint16(b[40:]), "extended table")
	entries := int(le.Uint16(b[34:]))

	p := parsed{lines: map[byte]byte{}}
	for b = b[headerSize:]; len(b) > 0; entries-- {
		size := entrySize
		switch b[0] {
		case typeProcessor:
			size = processorSize
			require.EqualValues(t, p.cpus, b[1])
			require.Equal(t, p.cpus == 0, b[3]&processorBoot != 0)
			require.NotZero(t, b[3]&processorEnabled)
			p.cpus++
		case typeBus:
			require.Equal(t, "ISA   ", string(b[2:8]))
		case typeIOAPIC:
			require.EqualValues(t, layout.IOAPICAddr, le.Uint32(b[4:]))
			p.ioapics++
		case typeInterrupt:
			require.EqualValues(t, activeHighEdge, le.Uint16(b[2:]))
			require.EqualValues(t, layout.IOAPICID, b[6])
			p.lines[b[5]] = b[7]
		case typeLocalInterrupt:
			p.local = append(p.local, b[1])
		default:
			t.Fatalf("entry of type %d", b[0])
		}
		b = b[size:]
	}
	require.Zero(t, entries, "number of entries")
	return p
}

func TestParseBack(t *testing.T) {
	for cpus := 1; cpus <= MaxCPUs; cpus++ {
		blocks, err := Build(cpus)
		require.NoError(t, err)
		p := parse(t, memory(t, blocks))
		require.Equal(t, cpus, p.cpus)
		require.Equal(t, 1, p.ioapics)
		require.Len(t, p.lines, layout.IOAPICPins)
		for line, pin := range p.lines {
			require.Equal(t, line, pin)
		}
		require.Equal(t, []byte{interruptExtInt, interruptNMI}, p.local)
	}
}

// TestExactFit finds the last number of processors whose table stays in the last KiB of base memory.
func TestExactFit(t *testing.T) {
	const last = (layout.MPTableSize - floatingSize - headerSize - (1+1+layout.IOAPICPins+2)*entrySize) / processorSize
	for cpus, blocks := range map[int]int{1: 1, last: 1, last + 1: 2, MaxCPUs: 2} {
		got, err := Build(cpus)
		require.NoError(t, err)
		require.Len(t, got, blocks, "%d processors", cpus)
		size := 0
		for _, b := range got {
			size += len(b.Bytes)
		}
		require.Equal(t, floatingSize+configSize(cpus), size)
	}
	require.LessOrEqual(t, configSize(MaxCPUs), layout.MPConfigSize)
}

func TestTooMany(t *testing.T) {
	for _, cpus := range []int{-1, 0, 255, 4096} {
		_, err := Build(cpus)
		require.ErrorIs(t, err, vm.KindLimit)
	}
}
