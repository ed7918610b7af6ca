//go:build linux

package kvm

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// Where the bare driver of shares keeps a request and its reply.
const (
	fuseRequest = ringBase + ringBuffer
	fuseReply   = fuseRequest + 0x1000
)

// FUSE operations (include/uapi/linux/fuse.h).
const (
	fuseLookup = 1
	fuseInit   = 26
)

// newShareGuest begins a guest with a driver for the high-priority queue of share i,
// which serves every request, as the others do.
func newShareGuest(i int) *asm {
	return newDriver(layout.Share(i).Addr(), 1, 0)
}

// call sends a FUSE request and prints the negated error of the reply, 0 for none,
// as a digit.
func (a *asm) call(opcode uint32, node uint32, body []byte) *asm {
	header := make([]byte, 40) // struct fuse_in_header
	for i, v := range []uint32{uint32(len(header) + len(body)), opcode, 1, 0, node} {
		binary.LittleEndian.PutUint32(header[4*i:], v)
	}
	request := append(header, body...)
	padded := append(request, make([]byte, 3)...)
	for i := 0; i < len(request); i += 4 {
		a.mem32(fuseRequest+uint32(i), binary.LittleEndian.Uint32(padded[i:]))
	}
	const next, write = 1, 2
	a.mem32(ringBase, fuseRequest).mem32(ringBase+8, uint32(len(request))).mem32(ringBase+12, next|1<<16)
	a.mem32(ringBase+16, fuseReply).mem32(ringBase+24, 0x1000).mem32(ringBase+28, write)
	a.submit(0, fmt.Sprint("served", len(a.code)))
	a.emit(0x8a, 0x04, 0x25).imm32(fuseReply + 4) // mov al, [error of struct fuse_out_header]
	a.emit(0xf6, 0xd8, 0x04, '0')                 // neg al; add al, '0'
	return a.movEDX(layout.SerialPort).emit(0xee)
}

// hello is FUSE_INIT of version 7.36, as Linux 6.1 has it, without any feature.
func (a *asm) hello() *asm {
	body := make([]byte, 64) // struct fuse_init_in
	binary.LittleEndian.PutUint32(body, 7)
	binary.LittleEndian.PutUint32(body[4:], 36)
	return a.call(fuseInit, 0, body)
}

func shareConfig(t testing.TB, a *asm, shares ...vm.Share) vm.Config {
	t.Helper()
	cfg := config(elf(t, a.assemble()))
	cfg.Shares = shares
	return cfg
}

func TestShareRequests(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o640))
	guest := newShareGuest(1).
		hello().
		call(fuseLookup, 1, []byte("file\x00")).printByte(fuseReply+16+40+8, '0'). // size in struct fuse_attr
		call(fuseLookup, 1, []byte("none\x00")).
		powerOff()
	vmtest.CheckLeaks(t)
	out, host := serialHost()
	cfg := shareConfig(t, guest, vm.Share{Tag: "other", Path: t.TempDir()}, vm.Share{Tag: "dir", Path: dir, MaxFiles: 100})
	m := bareCfg(t, cfg, nil, host)
	require.Equal(t, vm.CauseGuestShutdown, runToEnd(t, m).Cause)
	require.Equal(t, "0"+"04"+string(rune('0'+unix.ENOENT)), out.String())

	stats := deviceNamed(t, m.Stats(), "share 1")
	require.Equal(t, uint32(26), stats.VirtioID)
	require.Equal(t, uint64(3), stats.Requests)
	require.Equal(t, map[string]uint64{"INIT": 1, "LOOKUP": 2}, stats.Share.Calls)
	require.Equal(t, map[string]uint64{"ENOENT": 1}, stats.Share.Replies)
	require.Equal(t, int64(100), stats.Share.MaxFiles)
	require.NoError(t, m.Close())
}

func TestSharesThatCannotBeOpened(t *testing.T) {
	kvmtest.Require(t)
	vmtest.CheckLeaks(t)
	dir := t.TempDir()
	file, missing := filepath.Join(dir, "file"), filepath.Join(dir, "missing")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	kernel := elf(t, newAsm().forever().assemble())
	tests := []struct {
		name   string
		shares []vm.Share
		kind   vm.Kind
		says   []string
	}{
		{"missing", []vm.Share{{Tag: "a", Path: dir}, {Tag: "b", Path: missing}}, vm.KindNotFound, []string{`share 1 ("b")`, missing}},
		{"a file", []vm.Share{{Tag: "a", Path: file}}, vm.KindConfig, []string{`share 0 ("a")`, file}},
		{"several", []vm.Share{{Tag: "a", Path: file}, {Tag: "b", Path: missing}}, vm.KindConfig, []string{"shares[0]", "shares[1]", missing}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(kernel)
			cfg.Shares = test.shares
			m, err := New().New(cfg, vm.Host{})
			require.Nil(t, m)
			require.ErrorIs(t, err, test.kind)
			for _, text := range test.says {
				require.ErrorContains(t, err, text)
			}
		})
	}
}

// TestDevicesThatDoNotFit: shares and disks come from both ends of the same lines.
func TestDevicesThatDoNotFit(t *testing.T) {
	caps := vm.Capabilities{Fits: fits}
	cfg := config("/kernel")
	for i := range 14 {
		cfg.Shares = append(cfg.Shares, vm.Share{Tag: fmt.Sprint(i), Path: "/"})
	}
	require.NoError(t, cfg.ValidateFor(Name, caps))
	cfg.Disks = []vm.Disk{{Path: "/disk", Format: vm.DiskRaw}}
	err := cfg.ValidateFor(Name, caps)
	require.ErrorIs(t, err, vm.KindLimit)
	require.ErrorContains(t, err, "disks")
	cfg.Disks, cfg.Shares = nil, append(cfg.Shares, vm.Share{Tag: "one more", Path: "/"})
	err = cfg.ValidateFor(Name, caps)
	require.ErrorIs(t, err, vm.KindLimit)
	require.ErrorContains(t, err, "shares")
}
