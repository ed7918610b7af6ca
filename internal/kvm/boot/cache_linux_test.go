package boot

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// later is a cache that takes new files for old ones.
func later() *Cache { return &Cache{Now: func() time.Time { return time.Now().Add(time.Hour) }} }

func bigELF() elfSpec {
	s := goodELF(nil)
	s.progs[0].data = bytes.Repeat([]byte("text"), mib/4)
	s.progs[1].data = bytes.Repeat([]byte("more"), 1<<8+1) // ends within a page
	return s
}

// loadFrom loads a guest into memory with a file of its own, and holds what it shares.
func loadFrom(t testing.TB, c *Cache, kernel, initrd string) (*guestmem.Memory, *Hold) {
	t.Helper()
	mem, err := guestmem.Alloc("boot-cache", layout.RAM(128*mib)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	k, err := Open(kernel)
	require.NoError(t, err)
	defer func() { require.NoError(t, k.Close()) }()
	hold := c.Hold()
	t.Cleanup(func() { require.NoError(t, hold.Close()) })
	_, err = Load(mem, Params{Kernel: k, Initrd: openInitrd(t, initrd), Cmdline: "x", RAM: 128 * mib, Shared: hold})
	require.NoError(t, err)
	return mem, hold
}

func images(t testing.TB) int {
	t.Helper()
	n := 0
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		name, _ := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if name == "/memfd:capsa:kernel (deleted)" || name == "/memfd:capsa:initrd (deleted)" {
			n++
		}
	}
	return n
}

// Machines of the same files share two images, which are there as long as one of the machines is.
func TestCache(t *testing.T) {
	c := later()
	spec := bigELF()
	data := bytes.Repeat([]byte("070701"), 200_001)
	kernel, initrd := file(t, spec.bytes()), file(t, data)
	var mems []*guestmem.Memory
	var holds []*Hold
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 4 {
		wg.Go(func() {
			mem, hold := loadFrom(t, c, kernel, initrd)
			mu.Lock()
			defer mu.Unlock()
			mems, holds = append(mems, mem), append(holds, hold)
		})
	}
	wg.Wait()
	require.Len(t, c.known, 2)
	require.Equal(t, 2, images(t))
	for _, mem := range mems {
		require.NoError(t, mem.WriteAt([]byte("own"), layout.KernelAddr+mib/2))
	}
	for i, mem := range mems {
		require.Equal(t, data, peek(t, mem, layout.InitrdAddr, len(data)))
		require.Equal(t, "own", string(peek(t, mem, layout.KernelAddr+mib/2, 3)))
		require.Equal(t, "text", string(peek(t, mem, layout.KernelAddr, 4)))
		require.Equal(t, spec.progs[1].data, peek(t, mem, spec.progs[1].addr, len(spec.progs[1].data)))
		require.Equal(t, make([]byte, layout.PageSize), peek(t, mem, spec.progs[1].addr+uint64(len(spec.progs[1].data)), layout.PageSize))
		require.NoError(t, holds[i].Close())
		require.Equal(t, i < len(mems)-1, images(t) > 0)
	}
	require.Empty(t, c.known)
}

// A file that has changed, or has a moment ago, is another file.
func TestCacheOfAFileThatChanges(t *testing.T) {
	c := later()
	kernel := file(t, goodELF(nil).bytes()) // small: it is copied
	one, two := bytes.Repeat([]byte("1"), mib), bytes.Repeat([]byte("2"), mib)
	initrd := file(t, one)
	a, _ := loadFrom(t, c, kernel, initrd)
	require.Len(t, c.known, 1)
	require.NoError(t, os.WriteFile(initrd, two, 0o600))
	b, _ := loadFrom(t, c, kernel, initrd)
	require.Len(t, c.known, 2)
	require.Equal(t, one, peek(t, a, layout.InitrdAddr, mib))
	require.Equal(t, two, peek(t, b, layout.InitrdAddr, mib))

	var young Cache
	require.NoError(t, os.WriteFile(initrd, one, 0o600))
	d, _ := loadFrom(t, &young, kernel, initrd)
	require.Empty(t, young.known)
	require.Equal(t, one, peek(t, d, layout.InitrdAddr, mib))
}

// A file that becomes shorter is an error, and the next machine tries again.
func TestCacheOfAFileThatIsCut(t *testing.T) {
	c := later()
	path := file(t, bytes.Repeat([]byte("1"), mib))
	i := openInitrd(t, path)
	require.NoError(t, os.Truncate(path, mib/2))
	hold := c.Hold()
	mem := memoryOf(t, 128*mib)
	require.ErrorIs(t, i.load(mem, hold, layout.InitrdAddr), vm.KindIO)
	require.Empty(t, c.known)
	require.NoError(t, hold.Close())
	require.Zero(t, images(t))
	require.NoError(t, openInitrd(t, path).load(mem, hold, layout.InitrdAddr))
	require.Len(t, c.known, 1)
	require.NoError(t, hold.Close())
}
