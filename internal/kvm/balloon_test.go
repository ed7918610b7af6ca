//go:build linux

package kvm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/virtio/balloon"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

const (
	// balloonAt is memory that the guest touches, in bytes; balloonPages of it, of
	// which it gives the first half back.
	balloonAt    = 32 << 20
	balloonPages = 256
	balloonHalf  = balloonPages / 2 * balloon.PageSize
	// balloonReports is the reporting queue by the number that Linux gives it where
	// there are no statistics.
	balloonReports = 2
	// goFlag is a word of guest memory with which the host lets the guest go on.
	goFlag = balloonAt - balloon.PageSize
)

// newBalloonGuest begins a guest with a driver for the balloon and its queues 0 to 2,
// which touches its memory, says so, and waits for the flag.
func newBalloonGuest() *asm {
	a := newDriver(layout.Balloon.Addr(), 3, uint32(balloon.FeatureReporting))
	a.emit(0x45, 0x31, 0xd2) // xor r10d, r10d: counts the chains of queue 2
	for i := range uint32(balloonPages) {
		a.mem32(balloonAt+i*balloon.PageSize, 0xA5A5A5A5)
	}
	return a.print("touched").awaitFlag()
}

// awaitFlag waits until the host has set the flag.
func (a *asm) awaitFlag() *asm {
	a.label("flag").pause()
	a.emit(0x83, 0x3c, 0x25).imm32(goFlag).emit(1) // cmp dword [flag], 1
	return a.jne("flag")
}

// inflate hands pages over, by their numbers.
func (a *asm) inflate(first, n uint32) *asm {
	for i := range n {
		a.mem32(ring(0)+ringBuffer+4*i, first+i)
	}
	a.mem32(ring(0)+8, 4*n) // length; flags 0: readable
	return a.submit(0, "inflated")
}

// report reports a range as free.
func (a *asm) report(addr, size uint32) *asm {
	at := ring(balloonReports)
	a.mem32(at, addr).mem32(at+8, size).mem32(at+12, 2) // writable
	return a.submit(balloonReports, "reported")
}

// halves prints a byte of the last page that was given back, which reads as zero,
// and of the first that was not.
func (a *asm) halves() *asm {
	return a.printByte(balloonAt+balloonHalf-balloon.PageSize, '0').printByte(balloonAt+balloonHalf, 0).print("done").forever()
}

func TestBalloonGivesBack(t *testing.T) {
	tests := []struct {
		name  string
		guest *asm
		want  func(b *vm.BalloonStats) uint64
	}{
		{"inflate", newBalloonGuest().inflate(balloonAt/balloon.PageSize, balloonPages/2).halves(),
			func(b *vm.BalloonStats) uint64 { return b.Inflated }},
		{"report", newBalloonGuest().report(balloonAt, balloonHalf).halves(),
			func(b *vm.BalloonStats) uint64 { return b.Reported }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vmtest.CheckLeaks(t)
			out, host := serialHost()
			m := bareCfg(t, config(elf(t, tt.guest.assemble())), nil, host)
			require.NoError(t, m.SetMemoryTarget(m.cfg.Memory-balloonHalf)) // also: no huge pages, so that memory is counted exactly
			require.NoError(t, m.Start())
			wait(t, "the guest to touch its memory", out.Seen("touched"))
			before := m.Stats()
			require.True(t, before.Balloon.Driver)
			require.True(t, before.Balloon.Reporting)
			require.GreaterOrEqual(t, before.Resident, uint64(balloonPages*balloon.PageSize))
			require.Less(t, before.Resident, before.Memory)

			require.NoError(t, m.mem.Store32(goFlag, 1))
			wait(t, "the guest", out.Seen("done"))
			require.Equal(t, "touched"+"0\xA5"+"done", out.String())
			after := m.Stats()
			require.EqualValues(t, balloonHalf, tt.want(after.Balloon))
			// The page with the flag, those of the rings, and the one that was read again.
			require.LessOrEqual(t, after.Resident, before.Resident-balloonHalf+8*balloon.PageSize)
			require.Equal(t, m.cfg.Memory-balloonHalf, after.Balloon.Target)
		})
	}
}

// The guest sees what it is asked for, in pages, and says how far it is.
func TestMemoryTarget(t *testing.T) {
	const numPages, actual = 0x100, 0x104 // in the device's configuration
	guest := newDriver(layout.Balloon.Addr(), 2, 0).print("up").
		label("again").pause().
		emit(0x8b, 0x83).imm32(numPages). // mov eax, [rbx+num_pages]
		emit(0x3d).imm32(0x1234).         // cmp eax, 0x1234
		jne("again").
		emit(0x89, 0x83).imm32(actual). // mov [rbx+actual], eax
		print("done").forever()
	out, host := serialHost()
	m := bareCfg(t, config(elf(t, guest.assemble())), nil, host)
	require.NoError(t, m.Start())
	wait(t, "the driver", out.Seen("up"))
	require.False(t, m.Stats().Balloon.Reporting, "this driver did not want to")
	require.NoError(t, m.SetMemoryTarget(m.cfg.Memory-0x1234*balloon.PageSize))
	wait(t, "the guest", out.Seen("done"))
	stats := m.Stats().Balloon
	require.Equal(t, m.cfg.Memory-0x1234*balloon.PageSize, stats.Target)
	require.Equal(t, stats.Target, stats.Current)
	require.Equal(t, uint32(virtioBalloon), deviceNamed(t, m.Stats(), "balloon").VirtioID)
}

// virtioBalloon is the device type (virtio 1.2 section 5.5.1).
const virtioBalloon = 5

// Options reach the guest as features.
func TestBalloonOptions(t *testing.T) {
	const low = 0xff // the bits of the device type are below
	guest := func() *asm {
		return newAsm().cli().movRBX(layout.Balloon.Addr()).
			emit(0x8b, 0x83).imm32(0x10). // mov eax, [rbx+DeviceFeatures]
			emit(0x25).imm32(low).        // and eax, low
			emit(0x04, '0').              // add al, '0'
			movEDX(layout.SerialPort).emit(0xee).powerOff()
	}
	const stats, oom, poison, reports = 1 << 1, 1 << 2, 1 << 4, 1 << 5
	tests := []struct {
		cfg  vm.BalloonConfig
		want byte
	}{
		{vm.BalloonConfig{}, stats | oom | poison | reports},
		{vm.BalloonConfig{NoReporting: true}, stats | oom},
		{vm.BalloonConfig{NoDeflateOnOOM: true}, stats | poison | reports},
	}
	for _, tt := range tests {
		out, host := serialHost()
		cfg := config(elf(t, guest().assemble()))
		cfg.Balloon = tt.cfg
		m := bareCfg(t, cfg, nil, host)
		require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
		require.Equal(t, string([]byte{'0' + tt.want}), out.String())
	}
	cfg := config(elf(t, guest().assemble()))
	cfg.Balloon.Off = true
	m := bareCfg(t, cfg, nil, vm.Host{})
	for _, d := range m.Stats().Devices {
		require.NotEqual(t, "balloon", d.Name)
	}
	require.NotContains(t, m.places(), layout.Balloon)
}
