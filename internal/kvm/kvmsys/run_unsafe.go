//go:build linux

package kvmsys

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// Offsets in struct kvm_run (linux/kvm.h), asserted in layout_test.go against
// the C compiler where one is there. The union starts at 32; exits describe
// themselves in it.
const (
	runImmediateExit = 1
	runExitReason    = 8
	runUnion         = 32
	runUnionEnd      = 288

	runIODirection = 32
	runIOSize      = 33
	runIOPort      = 34
	runIOCount     = 36
	runIOOffset    = 40

	runMMIOAddr  = 32
	runMMIOData  = 40
	runMMIOLen   = 48
	runMMIOWrite = 52
	maxMMIO      = 8

	runInternalSub  = 32
	runInternalN    = 36
	runInternalData = 40
	maxInternal     = 16

	runEmuFlags = 40
	runEmuSize  = 48
	runEmuBytes = 49
	maxInsn     = 15

	runEventType = 32
	runEventN    = 36
	runEventData = 40

	runMSRError = 32
	runMSRIndex = 44
	runMSRData  = 48

	runHypercallRet = 88

	runFaultFlags = 32
	runFaultGPA   = 40
	runFaultSize  = 48
)

// Run is the area a vCPU shares with the kernel (struct kvm_run and the pages
// behind it). All methods but SetImmediateExit belong to the vCPU's thread,
// between two calls of VCPU.Run.
type Run struct{ mem []byte }

// SetImmediateExit makes the next KVM_RUN, or one that has not yet entered the
// guest, return EINTR at once; false takes it back. Any thread may call it
// while the area is mapped.
//
// The store is sequentially consistent: what the caller stored before it is
// seen by the vCPU's thread when it comes out.
func (r *Run) SetImmediateExit(on bool) {
	var v uint32
	if on {
		v = 1 << (8 * runImmediateExit)
	}
	// SAFETY: the area starts on a page, so its first word is aligned, and it is
	// larger than 4 bytes (checked when it was mapped). The word's other bytes
	// are request_interrupt_window, always 0 for us, and padding; the kernel
	// only reads it. Not Go memory, unmapped only after the vCPU's thread and
	// all kickers are gone.
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&r.mem[0])), v)
}

func (r *Run) u32(off int) uint32 { return binary.LittleEndian.Uint32(r.mem[off:]) }
func (r *Run) u64(off int) uint64 { return binary.LittleEndian.Uint64(r.mem[off:]) }

// Reason says why the guest stopped.
func (r *Run) Reason() ExitReason { return ExitReason(r.u32(runExitReason)) }

// IO describes an ExitIO. Data has Count elements of Size bytes each, all for
// the same port; for a read the kernel takes the answer from there.
type IO struct {
	Write bool
	Port  uint16
	Size  int // bytes an access: 1, 2 or 4
	Data  []byte
}

// IO describes an ExitIO; ok is false when the kernel's numbers make no sense.
func (r *Run) IO() (io IO, ok bool) {
	size, count, off := uint64(r.mem[runIOSize]), uint64(r.u32(runIOCount)), r.u64(runIOOffset)
	total, limit := size*count, uint64(len(r.mem)) // no overflow: 8 and 32 bits
	if size == 0 || off > limit || total > limit-off {
		return IO{}, false
	}
	return IO{
		Write: r.mem[runIODirection] == 1, // KVM_EXIT_IO_OUT
		Port:  binary.LittleEndian.Uint16(r.mem[runIOPort:]),
		Size:  int(size),
		Data:  r.mem[off : off+total : off+total],
	}, true
}

// MMIO describes an ExitMMIO: an access outside of all memory slots. For a read
// the kernel takes the answer from Data.
type MMIO struct {
	Write bool
	Addr  uint64
	Data  []byte // 1 to 8 bytes
}

// MMIO describes an ExitMMIO; ok is false when the kernel's numbers make no
// sense.
func (r *Run) MMIO() (m MMIO, ok bool) {
	n := r.u32(runMMIOLen)
	if n == 0 || n > maxMMIO {
		return MMIO{}, false
	}
	end := runMMIOData + int(n)
	return MMIO{Write: r.mem[runMMIOWrite] != 0, Addr: r.u64(runMMIOAddr), Data: r.mem[runMMIOData:end:end]}, true
}

// HardwareReason is the processor's code of an ExitUnknown or ExitFailEntry.
func (r *Run) HardwareReason() uint64 { return r.u64(runUnion) }

// Internal describes an ExitInternalError.
func (r *Run) Internal() (suberror uint32, data []uint64) {
	n := min(int(r.u32(runInternalN)), maxInternal)
	for i := range n {
		data = append(data, r.u64(runInternalData+8*i))
	}
	return r.u32(runInternalSub), data
}

// FailedInsn is the instruction that KVM could not emulate, of an
// ExitInternalError with InternalEmulation; nil where the kernel does not say.
func (r *Run) FailedInsn() []byte {
	const hasBytes = 1 // KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES
	if r.u32(runInternalSub) != InternalEmulation || r.u32(runInternalN) < 1 || r.u64(runEmuFlags)&hasBytes == 0 {
		return nil
	}
	n := min(int(r.mem[runEmuSize]), maxInsn)
	return append([]byte(nil), r.mem[runEmuBytes:runEmuBytes+n]...)
}

// SystemEvent describes an ExitSystemEvent.
func (r *Run) SystemEvent() (e SystemEvent, data []uint64) {
	n := min(int(r.u32(runEventN)), maxInternal)
	for i := range n {
		data = append(data, r.u64(runEventData+8*i))
	}
	return SystemEvent(r.u32(runEventType)), data
}

// MSR is the register of an ExitX86RDMSR or ExitX86WRMSR.
func (r *Run) MSR() (index uint32, data uint64) { return r.u32(runMSRIndex), r.u64(runMSRData) }

// RefuseMSR answers an ExitX86RDMSR or ExitX86WRMSR with a general protection
// fault in the guest.
func (r *Run) RefuseMSR() { r.mem[runMSRError] = 1 }

// SetHypercallResult answers an ExitHypercall.
func (r *Run) SetHypercallResult(v uint64) {
	binary.LittleEndian.PutUint64(r.mem[runHypercallRet:], v)
}

// MemoryFault describes an ExitMemoryFault.
func (r *Run) MemoryFault() (flags, gpa, size uint64) {
	return r.u64(runFaultFlags), r.u64(runFaultGPA), r.u64(runFaultSize)
}
