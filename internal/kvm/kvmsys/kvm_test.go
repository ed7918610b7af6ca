//go:build linux

package kvmsys_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
)

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	for _, c := range []struct {
		name, path string
		want       error
	}{
		{"missing", filepath.Join(dir, "none"), unix.ENOENT},
		{"a file", file, unix.ENOTTY},
		{"a fifo does not block", fifo, unix.ENOTTY},
		{"a directory", dir, unix.EISDIR},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := kvmtest.Measure(t)
			_, err := kvmsys.Open(c.path, nil)
			require.ErrorIs(t, err, c.want)
			var se *os.SyscallError
			require.ErrorAs(t, err, &se)
			kvmtest.NoLeak(t, before, 1)
		})
	}
}

func open(t *testing.T, gate kvmsys.Gate) (*kvmsys.System, *kvmsys.VM) {
	t.Helper()
	kvmtest.Require(t)
	sys, err := kvmsys.Open(kvmsys.DevicePath, gate)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sys.Close() })
	v, err := sys.CreateVM()
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	return sys, v
}

func TestGateFailsACall(t *testing.T) {
	kvmtest.Require(t)
	_, err := kvmsys.Open(kvmsys.DevicePath, func(call string) error {
		if call == "KVM_GET_VCPU_MMAP_SIZE" {
			return unix.ENOMEM
		}
		return nil
	})
	require.EqualError(t, err, "KVM_GET_VCPU_MMAP_SIZE: cannot allocate memory")
}

// memory maps anonymous pages that the test owns.
func memory(t *testing.T, size int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	return mem
}

// realMode makes a vCPU that starts at 0x1000 in real mode with the code there.
func realMode(t *testing.T, v *kvmsys.VM, mem, code []byte) *kvmsys.VCPU {
	t.Helper()
	copy(mem[0x1000:], code)
	require.NoError(t, v.SetMemory(0, 0, 0, mem))
	c, err := v.CreateVCPU(0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.Sregs()
	require.NoError(t, err)
	s.CS.Base, s.CS.Selector = 0, 0
	require.NoError(t, c.SetSregs(s))
	require.NoError(t, c.SetRegs(&kvmsys.Regs{RIP: 0x1000, RFLAGS: 2, RSP: 0x800}))
	return c
}

// run runs until an exit that is not an interruption.
func run(t *testing.T, c *kvmsys.VCPU) kvmsys.ExitReason {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		switch err := c.Run(); err {
		case nil:
			return c.Shared().Reason()
		case unix.EINTR, unix.EAGAIN:
		default:
			require.NoError(t, err)
		}
	}
}

func TestPortMMIOAndHalt(t *testing.T) {
	_, v := open(t, nil)
	mem := memory(t, 1<<16)
	c := realMode(t, v, mem, []byte{
		0xb0, 'A', // mov al, 'A'
		0xe6, 0x20, // out 0x20, al
		0xe4, 0x21, // in al, 0x21
		0xbb, 0x00, 0x20, // mov bx, 0x2000
		0x8e, 0xdb, // mov ds, bx
		0xa2, 0x00, 0x00, // mov [0], al: 0x20000, beyond the slot
		0xf4, // hlt
	})
	require.Equal(t, kvmsys.ExitIO, run(t, c))
	io, ok := c.Shared().IO()
	require.True(t, ok)
	require.Equal(t, kvmsys.IO{Write: true, Port: 0x20, Size: 1, Data: []byte{'A'}}, io)

	require.Equal(t, kvmsys.ExitIO, run(t, c))
	io, ok = c.Shared().IO()
	require.True(t, ok)
	require.False(t, io.Write)
	io.Data[0] = 0x5a

	require.Equal(t, kvmsys.ExitMMIO, run(t, c))
	m, ok := c.Shared().MMIO()
	require.True(t, ok)
	require.Equal(t, kvmsys.MMIO{Write: true, Addr: 0x20000, Data: []byte{0x5a}}, m)

	require.Equal(t, kvmsys.ExitHLT, run(t, c)) // no interrupt controller in the kernel
}

func TestImmediateExit(t *testing.T) {
	_, v := open(t, nil)
	c := realMode(t, v, memory(t, 1<<16), []byte{0xeb, 0xfe}) // jmp $
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.Shared().SetImmediateExit(true)
	require.Equal(t, unix.EINTR, c.Run())
	require.Equal(t, unix.EINTR, c.Run(), "stays set")
	c.Shared().SetImmediateExit(false)
}

func TestRegistersRoundTrip(t *testing.T) {
	_, v := open(t, nil)
	require.NoError(t, v.SetTSSAddr(0xfffbd000))
	require.NoError(t, v.CreateIRQChip())
	c := realMode(t, v, memory(t, 1<<16), nil)
	r, err := c.Regs()
	require.NoError(t, err)
	r.R15, r.RBX = 0x1122334455667788, 0x99
	require.NoError(t, c.SetRegs(r))
	back, err := c.Regs()
	require.NoError(t, err)
	require.Equal(t, r, back)

	l, err := c.LAPIC()
	require.NoError(t, err)
	require.NoError(t, c.SetLAPIC(l))
	require.NoError(t, c.SetFPU(&kvmsys.FPU{FCW: 0x37f, MXCSR: 0x1f80}))
	require.NoError(t, c.SetMPState(kvmsys.MPHalted))
	s, err := c.MPState()
	require.NoError(t, err)
	require.Equal(t, kvmsys.MPHalted, s)
	khz, err := c.TSCKHz()
	require.NoError(t, err)
	require.NotZero(t, khz)
}

func TestMSRs(t *testing.T) {
	sys, v := open(t, nil)
	c := realMode(t, v, memory(t, 1<<16), nil)
	ids, err := sys.SupportedCPUID()
	require.NoError(t, err)
	require.NoError(t, c.SetCPUID(ids))
	const pat = 0x277
	require.NoError(t, c.SetMSRs([]kvmsys.MSREntry{kvmsys.MSR(pat, 0x0606060606060606)}))
	got, err := c.MSR(pat)
	require.NoError(t, err)
	require.Equal(t, uint64(0x0606060606060606), got)
	require.ErrorContains(t, c.SetMSRs([]kvmsys.MSREntry{kvmsys.MSR(0x4f4f4f4f, 1)}), "0x4f4f4f4f")
}

func TestLimits(t *testing.T) {
	_, v := open(t, nil)
	require.ErrorContains(t, v.SetGSIRouting(make([]kvmsys.Route, 65)), "limit 64")
	require.NoError(t, v.CreateIRQChip())
	require.ErrorIs(t, v.SetMemory(0, 0, 1, memory(t, 4096)), unix.EINVAL)
}

func TestCloseIsIdempotent(t *testing.T) {
	before := kvmtest.Measure(t)
	sys, v := open(t, nil)
	c, err := v.CreateVCPU(0)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, c.Close())
		require.NoError(t, v.Close())
		require.NoError(t, sys.Close())
	}
	kvmtest.NoLeak(t, before, 1)
}
