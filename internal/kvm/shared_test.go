//go:build linux

package kvm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// summingGuest adds up the first words of the initrd's pages, says whether that is the sum, writes to the last page, and
// sleeps.
func summingGuest(pages int, sum uint32) *asm {
	a := newAsm().movESI(layout.InitrdAddr).movECX(uint32(pages)).movEAX(0)
	a.label("page").emit(0x03, 0x06)              // add eax, [rsi]
	a.emit(0x48, 0x81, 0xc6).imm32(0x1000)        // add rsi, 0x1000
	a.emit(0xff, 0xc9).jne("page")                // dec ecx
	a.emit(0x3d).imm32(sum).jne("wrong")          // cmp eax, sum
	a.emit(0xc7, 0x86).imm32(0xfffff000).imm32(7) // mov dword [rsi-0x1000], 7
	a.print("right\n").sti().label("idle").hlt().jmp("idle")
	return a.label("wrong").print("wrong\n").powerOff()
}

// initrdOf makes a file of pages that begin with their number, and sets the cache's clock so that it is old enough
// to be shared.
func initrdOf(t testing.TB, pages int) (path string, sum uint32) {
	t.Helper()
	data := make([]byte, pages*layout.PageSize)
	for i := range pages {
		binary.LittleEndian.PutUint32(data[i*layout.PageSize:], uint32(i*i+1))
		sum += uint32(i*i + 1)
	}
	path = filepath.Join(t.TempDir(), "initrd")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	guests.Now = func() time.Time { return time.Now().Add(time.Hour) }
	t.Cleanup(func() { guests.Now = nil })
	return path, sum
}

// pss is the process's share of the memory that it maps, in bytes.
func pss(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no Pss in smaps_rollup")
	return 0
}

// Machines of one initrd have its memory once, though all read it, and none sees what another writes.
func TestMachinesShareTheInitrd(t *testing.T) {
	kvmtest.Require(t)
	const machines, pages = 6, 6144
	path, sum := initrdOf(t, pages)
	cfg := config(elf(t, summingGuest(pages, sum).assemble()))
	cfg.Memory = 128 * vm.MiB
	cfg.Boot.Initrd = path
	before := pss(t)
	var all []*machine
	for range machines {
		out, host := serialHost()
		m := bareCfg(t, cfg, nil, host)
		require.NoError(t, m.Start())
		wait(t, "the guest", out.Seen("right\n"))
		all = append(all, m)
	}
	took := pss(t) - before
	t.Logf("%d machines with an initrd of %d MiB take %d MiB", machines, pages/256, took>>20)
	require.Less(t, took, 3*pages*layout.PageSize)

	// What the guest gives back is its own from then on.
	m := all[0]
	require.NoError(t, m.mem.Discard(layout.InitrdAddr, pages*layout.PageSize))
	got, want := make([]byte, 2*layout.PageSize), make([]byte, 2*layout.PageSize)
	require.NoError(t, m.mem.ReadAt(got, layout.InitrdAddr))
	require.True(t, bytes.Equal(want, got))
}
