package guestmem_test

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/safe"
)

const (
	mib      = 1 << 20
	hugePage = 2 * mib
)

// machine is the shape of a machine's RAM: low memory, a hole, and high memory whose base is no multiple of its file offset.
var machine = []guestmem.Span{{Base: 0, Size: 640 << 10}, {Base: mib, Size: 5 * mib}, {Base: 4 << 30, Size: 3 * mib}}

func alloc(t *testing.T) *guestmem.Memory {
	t.Helper()
	m, err := guestmem.Alloc("guestmem-test", machine...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// mappings returns the lines of /proc/self/smaps of mappings whose header has text, each with its VmFlags.
func mappings(t *testing.T, text string) (headers, flags []string) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer f.Close()
	ours := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if first, _, _ := strings.Cut(line, " "); strings.Contains(first, "-") {
			if ours = strings.Contains(line, text); ours {
				headers = append(headers, line)
			}
		} else if ours && strings.HasPrefix(line, "VmFlags:") {
			flags = append(flags, line)
		}
	}
	return headers, flags
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestAlloc(t *testing.T) {
	m := alloc(t)
	require.EqualValues(t, 8*mib+640<<10, m.Size())
	for i, r := range m.Regions() {
		require.Equal(t, machine[i], r.Span)
		require.Equal(t, m.Regions()[0].File, r.File, "one file for all")
		require.Equal(t, r.Base%hugePage, uint64(r.Offset)%hugePage, "file and guest addresses do not agree modulo a huge page")
		host := uint64(reflect.ValueOf(r.Bytes).Pointer())
		require.Equal(t, r.Base%hugePage, host%hugePage, "host and guest addresses do not agree modulo a huge page")

		want := []byte(fmt.Sprintf("region %d", i))
		require.NoError(t, m.WriteAt(want, r.End()-16))
		got := make([]byte, len(want))
		_, err := unix.Pread(r.File, got, r.Offset+int64(r.Size)-16)
		require.NoError(t, err)
		require.Equal(t, want, got, "the file is not the memory")
	}
	_, flags := mappings(t, "memfd:guestmem-test")
	require.Len(t, flags, len(machine))
	for _, f := range flags {
		require.Contains(t, f+" ", " dc ", "mapping is inherited over fork")
	}
}

func TestAllocIsSealed(t *testing.T) {
	fd := alloc(t).Regions()[0].File
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	require.NoError(t, err)
	const want = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	require.Equal(t, want, seals&want)
	require.ErrorIs(t, unix.Ftruncate(fd, 0), unix.EPERM)
	require.ErrorIs(t, unix.Ftruncate(fd, 1<<40), unix.EPERM)
	fdFlags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, fdFlags&unix.FD_CLOEXEC)
}

func TestAllocRefuses(t *testing.T) {
	before := openFiles(t)
	for _, spans := range [][]guestmem.Span{nil, {{Base: 8, Size: 4096}}, {{Base: 0, Size: 4096 + 8}}, {{Base: 0, Size: 8192}, {Base: 4096, Size: 4096}}} {
		_, err := guestmem.Alloc("x", spans...)
		require.ErrorIs(t, err, guestmem.ErrLayout)
	}
	_, err := guestmem.Alloc("x\x00y", machine...)
	require.Error(t, err)
	require.Equal(t, before, openFiles(t))
}

// Under limits of the process the calls fail one after the other: what was made before is undone.
func TestAllocUndoesWhatItDid(t *testing.T) {
	big := append(machine[:2:2], guestmem.Span{Base: 4 << 30, Size: 16 << 30})
	for _, tt := range []struct {
		name     string
		resource int
		limit    func() uint64
		want     error
	}{
		{"no file descriptors", unix.RLIMIT_NOFILE, func() uint64 { return 0 }, unix.EMFILE},
		{"no address space for the last region", unix.RLIMIT_AS, func() uint64 { return addressSpace(t) + 1<<30 }, unix.ENOMEM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := openFiles(t)
			var old unix.Rlimit
			require.NoError(t, unix.Getrlimit(tt.resource, &old))
			require.NoError(t, unix.Setrlimit(tt.resource, &unix.Rlimit{Cur: tt.limit(), Max: old.Max}))
			m, err := guestmem.Alloc("guestmem-limits", big...)
			require.NoError(t, unix.Setrlimit(tt.resource, &old))
			require.Nil(t, m)
			require.ErrorIs(t, err, tt.want)
			var sys *os.SyscallError
			require.ErrorAs(t, err, &sys)
			require.Equal(t, files, openFiles(t))
			headers, _ := mappings(t, "memfd:guestmem-limits")
			require.Empty(t, headers)
		})
	}
}

// addressSpace is how much of it this process has in use, bytes.
func addressSpace(t *testing.T) (size uint64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm") // first field: pages (proc(5))
	require.NoError(t, err)
	_, err = fmt.Sscan(string(text), &size)
	require.NoError(t, err)
	return size * uint64(os.Getpagesize())
}

func TestLongNamesAreCut(t *testing.T) {
	m, err := guestmem.Alloc(strings.Repeat("n", 1000), machine[0])
	require.NoError(t, err)
	require.NoError(t, m.Close())
}

func TestCloseFreesEverything(t *testing.T) {
	files := openFiles(t)
	for range 20 {
		m, err := guestmem.Alloc("guestmem-close", machine...)
		require.NoError(t, err)
		require.NoError(t, m.WriteAt([]byte("x"), 0))
		require.NoError(t, m.Close())
		require.NoError(t, m.Close())
	}
	require.Equal(t, files, openFiles(t))
	headers, _ := mappings(t, "memfd:guestmem-close")
	require.Empty(t, headers)
}

// A late user who holds a reference reads zeroes after Close: it neither faults nor meets somebody else's memory.
func TestLateUser(t *testing.T) {
	files := openFiles(t)
	m, err := guestmem.Alloc("guestmem-late", machine...)
	require.NoError(t, err)
	require.True(t, m.Acquire())
	b, err := m.Slice(mib, 4096)
	require.NoError(t, err)
	w, err := m.Words(mib, 8)
	require.NoError(t, err)
	w.Store64(0, 42)
	require.NoError(t, m.Close())
	require.Equal(t, files, openFiles(t), "the file is closed at once")
	headers, _ := mappings(t, "memfd:guestmem-late")
	require.Empty(t, headers, "the pages are given back at once")
	require.NoError(t, safe.Run("late user", func() {
		require.Zero(t, b[0])
		require.Zero(t, w.Load64(0))
		w.Store64(0, 1)
		copy(b[8:], "late")
	}))
	m.Release()
}

// The pages beside a region belong to nobody: a system call that is told too long a buffer gets EFAULT, not foreign memory.
func TestGuardPages(t *testing.T) {
	m := alloc(t)
	headers, _ := mappings(t, "memfd:guestmem-test")
	require.Len(t, headers, len(machine))
	all, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	for _, r := range m.Regions() {
		host := uint64(reflect.ValueOf(r.Bytes).Pointer())
		before, after := fmt.Sprintf("-%x ---p", host), fmt.Sprintf("\n%x-", host+r.Size)
		require.Contains(t, string(all), before, "no guard before %v", r.Span)
		_, rest, found := strings.Cut(string(all), after)
		require.True(t, found, "no mapping after %v", r.Span)
		require.Contains(t, rest[:strings.IndexByte(rest, '\n')], "---p", "no guard after %v", r.Span)
	}
}
