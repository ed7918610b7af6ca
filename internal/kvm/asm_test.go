//go:build linux

package kvm

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

// asm assembles the few 64-bit instructions that bare guests are made of. Jumps
// go to labels; everything else is emitted as it is called.
type asm struct {
	code   []byte
	labels map[string]int
	fixups map[int]string // offset of a rel32 -> label
}

func newAsm() *asm { return &asm{labels: map[string]int{}, fixups: map[int]string{}} }

func (a *asm) emit(b ...byte) *asm { a.code = append(a.code, b...); return a }
func (a *asm) imm32(v uint32) *asm { a.code = binary.LittleEndian.AppendUint32(a.code, v); return a }
func (a *asm) imm64(v uint64) *asm { a.code = binary.LittleEndian.AppendUint64(a.code, v); return a }

func (a *asm) label(name string) *asm { a.labels[name] = len(a.code); return a }

func (a *asm) branch(to string, opcode ...byte) *asm {
	a.emit(opcode...)
	a.fixups[len(a.code)] = to
	return a.imm32(0)
}

func (a *asm) jmp(to string) *asm { return a.branch(to, 0xe9) }
func (a *asm) je(to string) *asm  { return a.branch(to, 0x0f, 0x84) }
func (a *asm) jne(to string) *asm { return a.branch(to, 0x0f, 0x85) }

// assemble resolves the labels.
func (a *asm) assemble() []byte {
	for at, name := range a.fixups {
		to, ok := a.labels[name]
		if !ok {
			panic("BUG: no label " + name)
		}
		binary.LittleEndian.PutUint32(a.code[at:], uint32(int32(to-(at+4))))
	}
	return a.code
}

func (a *asm) cli() *asm   { return a.emit(0xfa) }
func (a *asm) sti() *asm   { return a.emit(0xfb) }
func (a *asm) hlt() *asm   { return a.emit(0xf4) }
func (a *asm) pause() *asm { return a.emit(0xf3, 0x90) }
func (a *asm) ud2() *asm   { return a.emit(0x0f, 0x0b) }

func (a *asm) movEAX(v uint32) *asm { return a.emit(0xb8).imm32(v) }
func (a *asm) movECX(v uint32) *asm { return a.emit(0xb9).imm32(v) }
func (a *asm) movEDX(v uint32) *asm { return a.emit(0xba).imm32(v) }
func (a *asm) movESI(v uint32) *asm { return a.emit(0xbe).imm32(v) }
func (a *asm) movEDI(v uint32) *asm { return a.emit(0xbf).imm32(v) }
func (a *asm) movRAX(v uint64) *asm { return a.emit(0x48, 0xb8).imm64(v) }
func (a *asm) movRBX(v uint64) *asm { return a.emit(0x48, 0xbb).imm64(v) }

// outb, outw and outl write v to a port; inb, inw and inl read one into eax.
func (a *asm) outb(port uint16, v byte) *asm {
	return a.movEDX(uint32(port)).emit(0xb0, v).emit(0xee)
}
func (a *asm) outw(port, v uint16) *asm {
	return a.movEDX(uint32(port)).movEAX(uint32(v)).emit(0x66, 0xef)
}
func (a *asm) outl(port uint16, v uint32) *asm {
	return a.movEDX(uint32(port)).movEAX(v).emit(0xef)
}
func (a *asm) outEAX(port uint16) *asm { return a.movEDX(uint32(port)).emit(0xef) }
func (a *asm) inb(port uint16) *asm {
	return a.movEAX(0).movEDX(uint32(port)).emit(0xec)
}
func (a *asm) inw(port uint16) *asm {
	return a.movEAX(0).movEDX(uint32(port)).emit(0x66, 0xed)
}
func (a *asm) inl(port uint16) *asm { return a.movEDX(uint32(port)).emit(0xed) }

// print writes text to COM1.
func (a *asm) print(text string) *asm {
	for i := range len(text) {
		a.outb(layout.SerialPort, text[i])
	}
	return a
}

// store32 writes v to [rbx+off].
func (a *asm) store32(off, v uint32) *asm { return a.emit(0xc7, 0x83).imm32(off).imm32(v) }

// mem32 writes v to a 32-bit address below 2 GiB.
func (a *asm) mem32(addr, v uint32) *asm { return a.emit(0xc7, 0x04, 0x25).imm32(addr).imm32(v) }

// forever ends a guest: it spins with interrupts off.
func (a *asm) forever() *asm { return a.cli().label("forever").jmp("forever") }

// powerOff enters S5 (ACPI 6.5, 4.8.3.7: sleep type 5, enable).
func (a *asm) powerOff() *asm { return a.outb(layout.SleepControlPort, 5<<2|1<<5).forever() }

// codeAddr is where bare guests are loaded and start.
const codeAddr = layout.KernelAddr

// elf makes an ELF file that boot.Open takes for a kernel, with code at
// codeAddr.
func elf(t testing.TB, code []byte) string {
	t.Helper()
	const headers = 64 + 56
	le := binary.LittleEndian
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	b = le.AppendUint16(b, 2)  // ET_EXEC
	b = le.AppendUint16(b, 62) // EM_X86_64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, codeAddr) // entry
	b = le.AppendUint64(b, 64)       // program headers
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 7)
	for _, v := range []uint64{headers, codeAddr, codeAddr, uint64(len(code)), uint64(len(code)), 1} {
		b = le.AppendUint64(b, v)
	}
	path := filepath.Join(t.TempDir(), "guest.elf")
	require.NoError(t, os.WriteFile(path, append(b, code...), 0o600))
	return path
}
