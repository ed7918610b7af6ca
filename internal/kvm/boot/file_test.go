package boot

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// openers opens a path in both ways.
var openers = map[string]func(path string) error{
	"kernel": func(path string) error {
		k, err := Open(path)
		if err == nil {
			_ = k.Close()
		}
		return err
	},
	"initrd": func(path string) error {
		i, err := OpenInitrd(path)
		if err == nil {
			_ = i.Close()
		}
		return err
	},
}

// TestOpenSpecial gives paths that are no regular file with something in it. None of them is read, nor waited for.
func TestOpenSpecial(t *testing.T) {
	dir, err := os.MkdirTemp("", "boot") // short: the path of a socket has 107 bytes at most
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	fifo, socket, empty := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket"), filepath.Join(dir, "empty")
	loop := filepath.Join(dir, "loop")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.NoError(t, os.Symlink(loop, loop))

	for _, tt := range []struct {
		name, path string
		kind       vm.Kind
		text       string
	}{
		{"missing", filepath.Join(dir, "nowhere"), vm.KindNotFound, "nowhere"},
		{"below a file", filepath.Join(empty, "x"), vm.KindConfig, "not a directory"},
		{"link to itself", loop, vm.KindConfig, "loop"},
		{"directory", dir, vm.KindConfig, "directory"},
		{"FIFO", fifo, vm.KindConfig, "FIFO"},
		{"socket", socket, vm.KindConfig, "socket"},
		{"device", "/dev/zero", vm.KindConfig, "device"},
		{"empty", empty, vm.KindConfig, "empty"},
		{"NUL in the path", "a\x00b", vm.KindConfig, "NUL"},
	} {
		for what, open := range openers {
			t.Run(what+"/"+tt.name, func(t *testing.T) {
				err := open(tt.path)
				require.ErrorContains(t, err, tt.text)
				require.Equal(t, tt.kind, vm.KindOf(err), "%v", err)
				require.ErrorContains(t, err, what)
			})
		}
	}
}

func TestOpenUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads every file")
	}
	path := file(t, bzSpec{}.bytes())
	require.NoError(t, os.Chmod(path, 0))
	for what, open := range openers {
		require.ErrorIs(t, open(path), vm.KindPermission, what)
	}
}

// TestShrink has a file become shorter between the checks and the copy.
func TestShrink(t *testing.T) {
	mem := memoryOf(t, 128*mib)
	for name, image := range map[string][]byte{"bzImage": bzSpec{}.bytes(), "ELF": goodELF(nil).bytes()} {
		t.Run(name, func(t *testing.T) {
			path := file(t, image)
			k, err := Open(path)
			require.NoError(t, err)
			t.Cleanup(func() { _ = k.Close() })
			require.NoError(t, os.Truncate(path, 5000))
			_, err = Load(mem, Params{Kernel: k, RAM: 128 * mib})
			require.ErrorIs(t, err, vm.KindIO)
			require.ErrorContains(t, err, "became shorter")
			require.ErrorContains(t, err, path)
		})
	}
	t.Run("initrd", func(t *testing.T) {
		path := file(t, make([]byte, 10000))
		i := openInitrd(t, path)
		require.NoError(t, os.Truncate(path, 1))
		_, err := Load(mem, Params{Kernel: openKernel(t, bzSpec{}.bytes()), Initrd: i, RAM: 128 * mib})
		require.ErrorIs(t, err, vm.KindIO)
		require.ErrorContains(t, err, "became shorter")
	})
}

// TestReplaced has another file take the name of one that is open: the open one is loaded.
func TestReplaced(t *testing.T) {
	path := file(t, bzSpec{}.bytes())
	k, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = k.Close() })
	require.NoError(t, os.Rename(file(t, []byte("something else")), path))
	mem := memoryOf(t, 128*mib)
	e, err := Load(mem, Params{Kernel: k, RAM: 128 * mib})
	require.NoError(t, err)
	require.EqualValues(t, layout.KernelAddr+entryOffset64, e.RIP)
}

// TestSparse gives files of 1 TiB. What is read of them is bounded by the guest's memory, and nothing of these is.
func TestSparse(t *testing.T) {
	const size = 1 << 40
	_, err := Open(sparse(t, nil, size))
	require.ErrorIs(t, err, vm.KindBoot)

	k, err := Open(sparse(t, bzSpec{change: put32(hdrSysSize, 0xFFFF_FFFF)}.bytes(), size))
	require.NoError(t, err)
	t.Cleanup(func() { _ = k.Close() })
	_, err = Load(nil, Params{Kernel: k, RAM: 512 * mib})
	require.ErrorIs(t, err, vm.KindConfig)
	require.ErrorContains(t, err, "65536.0 MiB")

	_, err = Open(sparse(t, goodELF(all(put64(progField(0, progFileSize), 1<<39), put64(progField(0, progMemSize), 1<<39))).bytes(), size))
	require.ErrorIs(t, err, vm.KindBoot)

	i := openInitrd(t, sparse(t, []byte("070701"), size))
	_, err = Load(nil, Params{Kernel: openKernel(t, bzSpec{}.bytes()), Initrd: i, RAM: 8192 * mib})
	require.ErrorIs(t, err, vm.KindConfig)
	require.ErrorContains(t, err, "1024 GiB")
}

func TestClose(t *testing.T) {
	k := openKernel(t, bzSpec{}.bytes())
	require.NoError(t, k.Close())
	require.ErrorIs(t, k.Close(), os.ErrClosed)
	i := openInitrd(t, file(t, []byte("x")))
	require.EqualValues(t, 1, i.Size())
	require.NoError(t, i.Close())
}
