//go:build linux

package kvm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/virtio/blk"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// Types of requests (virtio 1.2 section 5.2.6).
const (
	blkIn, blkOut, blkFlush, blkGetID = 0, 1, 4, 8
)

// Where the bare disk driver keeps a request: header, data and status.
const (
	blkHeader = ringBase + ringBuffer
	blkStatus = blkHeader + 0x800
	blkData   = blkHeader + 0x1000
)

// newDiskGuest begins a guest with a driver for disk i, which uses one queue.
func newDiskGuest(i int) *asm {
	return newDriver(layout.Disk(i).Addr(), 1, uint32(blk.FeatureFlush))
}

// request hands a request to the disk, waits until it is served, and prints its
// status as a digit. size is that of the data in bytes.
func (a *asm) request(kind, sector, size uint32) *asm {
	a.mem32(blkHeader, kind).mem32(blkHeader+8, sector)
	const next, write = 1, 2
	flags := uint32(next)
	if kind == blkIn || kind == blkGetID {
		flags |= write
	}
	last := uint32(1)
	a.mem32(ringBase, blkHeader).mem32(ringBase+8, 16).mem32(ringBase+12, next|1<<16)
	if size > 0 {
		a.mem32(ringBase+16, blkData).mem32(ringBase+24, size).mem32(ringBase+28, flags|2<<16)
		last = 2
	}
	a.mem32(ringBase+16*last, blkStatus).mem32(ringBase+16*last+8, 1).mem32(ringBase+16*last+12, write)
	a.mem32(blkStatus, 0xff)
	a.submit(0, fmt.Sprint("served", len(a.code)))
	return a.printByte(blkStatus, '0')
}

// printByte prints a byte of memory, plus add, to COM1.
func (a *asm) printByte(addr uint32, add byte) *asm {
	a.emit(0x8a, 0x04, 0x25).imm32(addr) // mov al, [addr]
	a.emit(0x04, add)                    // add al, add
	return a.movEDX(layout.SerialPort).emit(0xee)
}

// printData prints the first n bytes of the data.
func (a *asm) printData(n uint32) *asm {
	for i := range n {
		a.printByte(blkData+i, 0)
	}
	return a
}

// image makes a raw image of 64 sectors, each of which begins with its number.
func image(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	for i := range 64 {
		s := make([]byte, 512)
		copy(s, fmt.Sprintf("sector %02d", i))
		b.Write(s)
	}
	path := filepath.Join(t.TempDir(), "disk.img")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

func diskConfig(t testing.TB, a *asm, disks ...vm.Disk) vm.Config {
	t.Helper()
	cfg := config(elf(t, a.assemble()))
	cfg.Disks = disks
	return cfg
}

// deviceNamed finds the counters of a device.
func deviceNamed(t testing.TB, s vm.Stats, name string) vm.DeviceStats {
	t.Helper()
	i := slices.IndexFunc(s.Devices, func(d vm.DeviceStats) bool { return d.Name == name })
	require.GreaterOrEqual(t, i, 0, "no device %q", name)
	return s.Devices[i]
}

func TestDiskRequests(t *testing.T) {
	path := image(t)
	guest := newDiskGuest(0).
		request(blkIn, 3, 512).printData(9).
		mem32(blkData, 'n'|'e'<<8|'w'<<16|'!'<<24).request(blkOut, 5, 512).
		request(blkFlush, 0, 0).
		request(blkGetID, 0, 20).printData(6).
		request(blkIn, 64, 512). // beyond the end
		powerOff()
	vmtest.CheckLeaks(t)
	out, host := serialHost()
	m := bareCfg(t, diskConfig(t, guest, vm.Disk{Path: path, Format: vm.DiskRaw, Serial: "serial"}), nil, host)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Equal(t, "0sector 03"+"0"+"0"+"0serial"+"1", out.String())

	all := m.Stats()
	stats := deviceNamed(t, all, "disk 0")
	require.Equal(t, vm.DeviceStats{
		Name: "disk 0", VirtioID: 2, Kicks: stats.Kicks, Interrupts: stats.Interrupts, Requests: 5, BytesIn: 512, BytesOut: 512,
		Resets: stats.Resets, Disk: &vm.DiskStats{Reads: 1, Writes: 1, Flushes: 1, Refused: 1},
	}, stats)
	require.Positive(t, stats.Kicks)
	line := all.Timeline
	require.Positive(t, line.FirstInstruction)
	require.GreaterOrEqual(t, line.FirstExit, line.FirstInstruction)
	require.GreaterOrEqual(t, line.DriversUp, line.FirstExit)

	require.NoError(t, m.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new!or 03", string(b[5*512:5*512+9]), "written to sector 5")
}

func TestDiskReadOnly(t *testing.T) {
	path := image(t)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	out, host := serialHost()
	// Nothing is to be flushed, so there is no such feature to accept.
	guest := newDriver(layout.Disk(0).Addr(), 1, 0).request(blkOut, 0, 512).request(blkIn, 1, 512).printData(9).powerOff()
	m := bareCfg(t, diskConfig(t, guest, vm.Disk{Path: path, Format: vm.DiskRaw, ReadOnly: true}), nil, host)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Equal(t, "1"+"0sector 01", out.String())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// TestDiskOverlays: two machines over one image, which neither changes.
func TestDiskOverlays(t *testing.T) {
	path := image(t)
	kept := filepath.Join(t.TempDir(), "kept.qcow2")
	guest := func() *asm {
		return newDiskGuest(0).
			request(blkIn, 7, 512).printData(9).
			mem32(blkData, 'c'|'h'<<8|'g'<<16|'d'<<24).request(blkOut, 7, 512).
			powerOff()
	}
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, test := range []struct {
		disk vm.Disk
		want string
	}{
		{vm.Disk{Path: path, Format: vm.DiskRaw, Temporary: true, ScratchDir: t.TempDir()}, "0sector 070"},
		{vm.Disk{Path: path, Format: vm.DiskRaw, Overlay: kept}, "0sector 070"},
		{vm.Disk{Path: path, Format: vm.DiskRaw, Temporary: true, ScratchDir: t.TempDir()}, "0sector 070"},
		{vm.Disk{Path: path, Format: vm.DiskRaw, Overlay: kept}, "0chgdor 070"},
	} {
		out, host := serialHost()
		m := bareCfg(t, diskConfig(t, guest(), test.disk), nil, host)
		require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
		require.Equal(t, test.want, out.String())
		require.NoError(t, m.Close())
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// TestDiskOrder: the guest's disk i is the i-th of the configuration, whatever it
// is.
func TestDiskOrder(t *testing.T) {
	first, second := image(t), image(t)
	require.NoError(t, os.WriteFile(second, append([]byte("second"), make([]byte, 506)...), 0o600))
	out, host := serialHost()
	guest := newDiskGuest(1).request(blkIn, 0, 512).printData(6).powerOff()
	m := bareCfg(t, diskConfig(t, guest, vm.Disk{Path: first, Format: vm.DiskRaw}, vm.Disk{Path: second, Format: vm.DiskRaw}), nil, host)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Equal(t, "0second", out.String())
}

// TestDiskErrors: what the host cannot do is an I/O error of the guest and an event,
// and the machine lives.
func TestDiskErrors(t *testing.T) {
	fd, err := unix.MemfdCreate("disk", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	require.NoError(t, unix.Ftruncate(fd, 1<<20))
	path := fmt.Sprintf("/proc/self/fd/%d", fd)

	events := make(chan vm.Event, 16)
	out, host := serialHost()
	host.Event = func(e vm.Event) { events <- e }
	guest := newDiskGuest(0).request(blkOut, 9, 512).request(blkIn, 9, 512).powerOff()
	m := bareCfg(t, diskConfig(t, guest, vm.Disk{Path: path, Format: vm.DiskRaw}), nil, host)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
	require.NoError(t, err)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Equal(t, "1"+"0", out.String())

	e := <-events
	require.Equal(t, vm.EventDiskError, e.Type)
	require.Equal(t, "disk 0", e.Component)
	require.Equal(t, 0, e.Disk)
	require.Contains(t, e.Message, "write at sector 9 of "+path)
	require.Contains(t, e.Message, "operation not permitted")
	require.Equal(t, uint64(1), deviceNamed(t, m.Stats(), "disk 0").Errors)
}

// TestDiskLocked: an image that a machine writes is nobody else's, until that
// machine is gone.
func TestDiskLocked(t *testing.T) {
	cfg := diskConfig(t, newAsm().forever(), vm.Disk{Path: image(t), Format: vm.DiskRaw})
	m := bareCfg(t, cfg, nil, vm.Host{})
	require.NoError(t, m.Start())
	other, err := New().New(cfg, vm.Host{})
	require.Nil(t, other)
	require.ErrorIs(t, err, vm.KindUnavailable)
	require.ErrorContains(t, err, "in use")
	require.NoError(t, m.Close())
	other, err = New().New(cfg, vm.Host{})
	require.NoError(t, err)
	require.NoError(t, other.Close())
}

func TestDisksThatCannotBeOpened(t *testing.T) {
	kvmtest.Require(t)
	vmtest.CheckLeaks(t)
	good, missing := image(t), filepath.Join(t.TempDir(), "missing")
	kernel := elf(t, newAsm().forever().assemble())
	tests := []struct {
		name  string
		disks []vm.Disk
		kind  vm.Kind
		says  []string
	}{
		{"missing", []vm.Disk{{Path: good, Format: vm.DiskRaw}, {Path: missing}}, vm.KindNotFound, []string{"disk 1", missing}},
		{"not said to be raw", []vm.Disk{{Path: good}}, vm.KindConfig, []string{"disk 0", good}},
		{"several", []vm.Disk{{Path: good}, {Path: good + "2", Format: vm.DiskRaw}, {Path: missing}}, vm.KindConfig,
			[]string{"disks[0]", "disks[1]", "disks[2]", missing}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(kernel)
			cfg.Disks = test.disks
			m, err := New().New(cfg, vm.Host{})
			require.Nil(t, m)
			require.ErrorIs(t, err, test.kind)
			for _, text := range test.says {
				require.ErrorContains(t, err, text)
			}
		})
	}
}

func TestTooManyDisks(t *testing.T) {
	cfg := config("/kernel")
	for i := range layout.MaxDisks + 1 {
		cfg.Disks = append(cfg.Disks, vm.Disk{Path: fmt.Sprint("/disk", i), Format: vm.DiskRaw})
	}
	caps := vm.Capabilities{Fits: fits}
	err := cfg.ValidateFor(Name, caps)
	require.ErrorIs(t, err, vm.KindLimit)
	require.ErrorContains(t, err, fmt.Sprintf("disk %d has no interrupt line", layout.MaxDisks))
	cfg.Disks = cfg.Disks[:layout.MaxDisks]
	require.NoError(t, cfg.ValidateFor(Name, caps))
}

// TestRoot: the kernel is told which disk has the root file system, unless the user
// says so.
func TestRoot(t *testing.T) {
	partitioned := image(t)
	b, err := os.ReadFile(partitioned)
	require.NoError(t, err)
	b[446+16+4], b[510], b[511] = 0x83, 0x55, 0xAA // the second entry of the MBR is a Linux partition
	require.NoError(t, os.WriteFile(partitioned, b, 0o600))
	whole := image(t)
	raw := vm.Disk{Path: image(t), Format: vm.DiskRaw}
	tests := []struct {
		name string
		disk vm.Disk
		args []string
		want string // in the command line
		not  string
	}{
		{"partition", vm.Disk{Path: partitioned, Format: vm.DiskRaw, Root: true}, nil, " root=/dev/vdb2 rw", ""},
		{"whole disk", vm.Disk{Path: whole, Format: vm.DiskRaw, Root: true}, nil, " root=/dev/vdb rw", ""},
		{"read-only", vm.Disk{Path: whole, Format: vm.DiskRaw, Root: true, ReadOnly: true}, nil, " root=/dev/vdb ro", ""},
		{"the user's", vm.Disk{Path: whole, Format: vm.DiskRaw, Root: true}, []string{"root=LABEL=x"}, " root=LABEL=x", "/dev/vdb"},
		{"the user wants it read-only", vm.Disk{Path: whole, Format: vm.DiskRaw, Root: true}, []string{"ro"}, " root=/dev/vdb", " rw"},
		{"no root", vm.Disk{Path: whole, Format: vm.DiskRaw}, nil, "", "root="},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := diskConfig(t, newAsm().forever(), raw, test.disk)
			cfg.Boot.Args = test.args
			m := bareCfg(t, cfg, nil, vm.Host{})
			line, err := m.cmdline(m.places(), 2048)
			require.NoError(t, err)
			require.Contains(t, line, test.want)
			if test.not != "" {
				require.NotContains(t, line, test.not)
			}
			tables, err := m.mem.Slice(layout.ACPIAddr, layout.ACPISize)
			require.NoError(t, err)
			require.Equal(t, len(m.devices), strings.Count(string(tables), "LNRO0005"), "each device is announced")
		})
	}
}
