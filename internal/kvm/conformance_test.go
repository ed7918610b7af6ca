//go:build linux

package kvm

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func TestConformance(t *testing.T) {
	kvmtest.Require(t)
	vmtest.Conformance(t, New(), bareGuests(t))
}

// TestRefusals: what the backend reports as available it does not refuse, and what it
// refuses it names with its need.
func TestRefusals(t *testing.T) {
	kvmtest.Require(t)
	dir := t.TempDir()
	files := vmtest.Files{
		Kernel: elf(t, newAsm().forever().assemble()), Disk: filepath.Join(dir, "raw"), Dir: dir, State: filepath.Join(dir, "state"),
	}
	near, far, err := sockpair.New()
	require.NoError(t, err)
	defer func() { _, _ = unix.Close(near), unix.Close(far) }()
	files.Socket = near
	require.NoError(t, os.WriteFile(files.Disk, make([]byte, 1<<20), 0o600))
	qcow2 := filepath.Join(dir, "qcow2")
	require.NoError(t, os.WriteFile(qcow2, emptyQcow2(1<<20), 0o600))
	b := New()
	caps, err := b.Capabilities()
	require.NoError(t, err)
	vmtest.CheckRefusals(t, caps, files, func(cfg vm.Config) error {
		cfg.Memory = 64 * vm.MiB
		for i := range cfg.Disks {
			if cfg.Disks[i].Format == vm.DiskQcow2 {
				cfg.Disks[i].Path = qcow2
			}
		}
		m, err := b.New(cfg, vm.Host{})
		if err != nil {
			return err
		}
		return m.Close()
	})
}

// emptyQcow2 is an image of size bytes, all zero: a header of version 3 with an L1 table
// without entries, a refcount table and a block (QEMU, docs/interop/qcow2.rst).
func emptyQcow2(size uint64) []byte {
	const cluster = 1 << 16
	b := make([]byte, 4*cluster)
	be := binary.BigEndian
	copy(b, "QFI\xfb")
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 16) // cluster_bits
	be.PutUint64(b[24:], size)
	be.PutUint32(b[36:], 1)         // l1_size
	be.PutUint64(b[40:], cluster)   // l1_table_offset
	be.PutUint64(b[48:], 2*cluster) // refcount_table_offset
	be.PutUint32(b[56:], 1)         // refcount_table_clusters
	be.PutUint32(b[96:], 4)         // refcount_order
	be.PutUint32(b[100:], 104)      // header_length
	be.PutUint64(b[2*cluster:], 3*cluster)
	for i := range 4 {
		be.PutUint16(b[3*cluster+2*i:], 1)
	}
	return b
}

// bareGuests are the guests for the conformance suite.
func bareGuests(t *testing.T) vmtest.Guests {
	t.Helper()
	guest := func(a *asm) *vm.Config {
		cfg := config(elf(t, a.assemble()))
		return &cfg
	}
	const polite = "press the button\n"
	return vmtest.Guests{
		Spin:     guest(newAsm().forever()),
		PowerOff: guest(newAsm().print("bye\n").powerOff()),
		Reboot:   guest(newAsm().outb(layout.I8042StatusPort, 0xfe).forever()),
		Panic: guest(newAsm().print("[    1.0] Kernel panic - not syncing: test\n").
			outb(layout.ResetPort, layout.ResetValue).forever()),
		TripleFault: guest(tripleFault(newAsm())),
		Polite: guest(newAsm().print(polite).
			label("ask").inl(layout.EventPort).emit(0xa8, 1).je("ask"). // test al, 1
			powerOff()),
		PoliteText: polite,
		Print:      guest(newConsoleGuest().say("hello from a bare guest\n").forever()),
		PrintText:  "hello from a bare guest",
		Echo:       guest(newConsoleGuest().say("listening\n").echo()),
		EchoText:   "listening",
	}
}

// tripleFault makes the interrupt table empty and raises an exception.
func tripleFault(a *asm) *asm {
	const emptyTable = 0x5000 // ten zero bytes
	return a.emit(0x0f, 0x01, 0x1c, 0x25).imm32(emptyTable).ud2().forever()
}
