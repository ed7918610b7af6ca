package boot

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

// bzSpec describes a bzImage for tests; change takes a well-formed one apart.
type bzSpec struct {
	initSize uint32
	payload  int // bytes
	change   func(b []byte) []byte
}

// put32 and the like are changes of one field.
func put8(off int, v byte) func([]byte) []byte {
	return func(b []byte) []byte { b[off] = v; return b }
}

func put16(off int, v uint16) func([]byte) []byte {
	return func(b []byte) []byte { binary.LittleEndian.PutUint16(b[off:], v); return b }
}

func put32(off int, v uint32) func([]byte) []byte {
	return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[off:], v); return b }
}

func put64(off int, v uint64) func([]byte) []byte {
	return func(b []byte) []byte { binary.LittleEndian.PutUint64(b[off:], v); return b }
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

func all(changes ...func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, c := range changes {
			b = c(b)
		}
		return b
	}
}

const testSetupSects = 3

// bytes is the file.
func (s bzSpec) bytes() []byte {
	if s.payload == 0 {
		s.payload = 64 << 10
	}
	if s.initSize == 0 {
		s.initSize = 8 * mib
	}
	b := make([]byte, (1+testSetupSects)*sectorSize+s.payload)
	for i := (1 + testSetupSects) * sectorSize; i < len(b); i++ {
		b[i] = byte(i*7 + i>>8)
	}
	b = all(
		put8(hdrSetupSects, testSetupSects), put32(hdrSysSize, uint32((s.payload+paragraph-1)/paragraph)),
		put16(hdrBootFlag, bootFlag), put8(hdrJump, hdrMinEnd+8-hdrMagic), func(b []byte) []byte { copy(b[hdrMagic:], setupMagic); return b },
		put16(hdrVersion, 0x20F), put8(hdrLoadFlags, loadedHigh), put32(hdrInitrdAddrMax, 0x7FFF_FFFF),
		put32(hdrAlignment, 2*mib), put8(hdrRelocatable, 1), put16(hdrXLoadFlags, xlfKernel64|xlfAbove4G),
		put32(hdrCmdlineSize, 2047), put64(hdrPrefAddress, layout.KernelAddr), put32(hdrInitSize, s.initSize),
	)(b)
	if s.change != nil {
		b = s.change(b)
	}
	return b
}

// elfSpec describes a vmlinux for tests.
type elfSpec struct {
	entry  uint64
	progs  []prog
	change func(b []byte) []byte
}

type prog struct {
	kind   uint32
	addr   uint64
	data   []byte
	memory uint64 // bytes; 0: as long as data
}

const elfDataOffset = 4096

// goodELF is a vmlinux of two segments; the second has memory beyond its data.
func goodELF(change func(b []byte) []byte) elfSpec {
	return elfSpec{
		entry: layout.KernelAddr + 0x100,
		progs: []prog{
			{1, layout.KernelAddr, bytes.Repeat([]byte("text"), 1024), 0},
			{1, layout.KernelAddr + 2*mib, bytes.Repeat([]byte("data"), 512), mib},
			{4, 0, []byte("note"), 0},
		},
		change: change,
	}
}

// progField is the offset of a field of program header i.
func progField(i, field int) int { return elfHeaderSize + i*elfProgSize + field }

func (s elfSpec) bytes() []byte {
	le := binary.LittleEndian
	b := make([]byte, elfDataOffset)
	copy(b, "\x7FELF\x02\x01\x01")
	le.PutUint16(b[elfType:], 2)
	le.PutUint16(b[elfMachine:], 62)
	le.PutUint64(b[elfEntry:], s.entry)
	le.PutUint64(b[elfProgOffset:], elfHeaderSize)
	le.PutUint16(b[elfProgEntSize:], elfProgSize)
	le.PutUint16(b[elfProgNum:], uint16(len(s.progs)))
	for i, p := range s.progs {
		h := b[progField(i, 0):]
		le.PutUint32(h[progType:], p.kind)
		le.PutUint64(h[progOffset:], uint64(len(b)))
		le.PutUint64(h[progPhysAddr:], p.addr)
		le.PutUint64(h[progFileSize:], uint64(len(p.data)))
		le.PutUint64(h[progMemSize:], max(p.memory, uint64(len(p.data))))
		b = append(b, p.data...)
	}
	if s.change != nil {
		b = s.change(b)
	}
	return b
}

// file writes b to a file and tells its path.
func file(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// sparse makes a file of size bytes that begins with head.
func sparse(t testing.TB, head []byte, size int64) string {
	t.Helper()
	path := file(t, head)
	require.NoError(t, os.Truncate(path, size))
	return path
}

func openKernel(t testing.TB, b []byte) *Kernel {
	t.Helper()
	k, err := Open(file(t, b))
	require.NoError(t, err)
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func openInitrd(t testing.TB, path string) *Initrd {
	t.Helper()
	i, err := OpenInitrd(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = i.Close() })
	return i
}

func memoryOf(t testing.TB, size uint64) *guestmem.Memory {
	t.Helper()
	mem, err := guestmem.Heap(layout.RAM(size)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = mem.Close() })
	return mem
}

// peek copies n bytes of guest memory.
func peek(t testing.TB, mem *guestmem.Memory, addr uint64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	require.NoError(t, mem.ReadAt(b, addr))
	return b
}
