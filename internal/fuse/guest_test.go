//go:build linux

package fuse

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What follows runs on a mount: the host's kernel is the guest.

// Locks between guest and host, in both directions.
func TestMountLocks(t *testing.T) {
	dir := t.TempDir()
	m := mount(t, dir, faithful(), 4)
	require.NoError(t, os.WriteFile(dir+"/file", nil, 0o644))
	open := func(path string) int {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		return fd
	}
	guest, host := open(m.dir+"/file"), open(dir+"/file")
	defer unix.Close(host)
	require.NoError(t, unix.Flock(guest, unix.LOCK_EX|unix.LOCK_NB))
	require.ErrorIs(t, unix.Flock(host, unix.LOCK_SH|unix.LOCK_NB), unix.EAGAIN)
	require.NoError(t, unix.Flock(guest, unix.LOCK_UN))
	require.NoError(t, unix.Flock(host, unix.LOCK_EX|unix.LOCK_NB))
	require.ErrorIs(t, unix.Flock(guest, unix.LOCK_SH|unix.LOCK_NB), unix.EAGAIN)
	require.NoError(t, unix.Flock(host, unix.LOCK_UN))

	lk := unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 10}
	require.NoError(t, unix.FcntlFlock(uintptr(guest), unix.F_SETLK, &lk))
	require.ErrorIs(t, unix.FcntlFlock(uintptr(host), unix.F_OFD_SETLK, &lk), unix.EAGAIN)
	second := open(m.dir + "/file")
	require.NoError(t, unix.Close(second)) // POSIX: any close of the process's takes its locks
	require.NoError(t, unix.FcntlFlock(uintptr(host), unix.F_OFD_SETLK, &lk))
	require.ErrorIs(t, unix.FcntlFlock(uintptr(guest), unix.F_SETLK, &lk), unix.EAGAIN)
	require.NoError(t, unix.Close(guest))
}

// Shared mappings, read and written, under each policy that has a cache, and
// without one.
func TestMountMmap(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"auto": func(*Options) {}, "writeback": func(o *Options) { o.Writeback = true }, "none": func(o *Options) { o.Cache = CacheNone },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opt := faithful()
			change(&opt)
			m := mount(t, dir, opt, 4)
			require.NoError(t, os.WriteFile(dir+"/file", bytes.Repeat([]byte("a"), 8192), 0o644))
			fd, err := unix.Open(m.dir+"/file", unix.O_RDWR|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			b, err := unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			require.NoError(t, err)
			require.Equal(t, "aa", string(b[4095:4097]))
			copy(b[4095:], "zz")
			require.NoError(t, unix.Msync(b, unix.MS_SYNC))
			require.NoError(t, unix.Munmap(b))
			require.NoError(t, unix.Close(fd))
			got, err := os.ReadFile(dir + "/file")
			require.NoError(t, err)
			require.Equal(t, "zz", string(got[4095:4097]))
		})
	}
}

// Ordinary programs at ordinary work, and the host sees the same.
func TestMountPrograms(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"auto": func(*Options) {}, "writeback": func(o *Options) { o.Writeback, o.Cache = true, CacheAlways },
		"tight": func(o *Options) { o.MaxFiles, o.MaxInodes = 40, 100 },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opt := faithful()
			change(&opt)
			m := mount(t, dir, opt, 4)
			script := `set -e
mkdir -p tree/a/b tree/c
for i in 1 2 3 4 5 6 7 8 9; do echo "file $i" >tree/a/f$i; ln tree/a/f$i tree/c/h$i; ln -s ../a/f$i tree/c/s$i; done
chmod 4755 tree/a/f1
dd if=/dev/urandom of=tree/big bs=64k count=40 2>/dev/null
dd if=/dev/zero of=tree/sparse bs=1 count=1 seek=1000000 2>/dev/null
tar -cf tree.tar tree
mkdir copy && tar -C copy -xpf tree.tar
diff -r --no-dereference tree copy/tree
mkfifo tree/fifo
mv copy/tree/a copy/moved && mv copy/moved copy/tree/a
cp -a tree twice && rm -r tree/a && find twice -type f | sort | xargs cat >all
( echo one >>log ) ; ( echo two >>log ); test "$(cat log)" = "one
two"
rm -r copy twice
`
			out, err := shell(m.dir, script)
			require.NoError(t, err, out)
			var st unix.Stat_t
			require.NoError(t, unix.Stat(filepath.Join(dir, "all"), &st))
			require.Greater(t, st.Size, int64(2_500_000))
			_, err = os.Stat(dir + "/copy")
			require.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}

// Names that are not UTF-8, O_EXCL, and two guests on one directory.
func TestMountTwoGuests(t *testing.T) {
	dir := t.TempDir()
	opt := faithful()
	opt.Cache = CacheNone // or it takes a second until one sees the other
	one, two := mount(t, dir, opt, 2), mount(t, dir, opt, 2)
	name := "/\xff\xfe caf\xe9"
	fd, err := unix.Open(one.dir+name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	require.NoError(t, err)
	_, err = unix.Open(two.dir+name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	require.ErrorIs(t, err, unix.EEXIST)
	_, err = unix.Write(fd, []byte("from one"))
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	got := readFile(t, two.dir+name)
	require.Equal(t, "from one", got)
	require.NoError(t, unix.Unlink(two.dir+name))
	_, err = os.Lstat(dir + name)
	require.ErrorIs(t, err, os.ErrNotExist)
	var appended strings.Builder
	for i := range 20 {
		line := fmt.Sprintf("line %d\n", i)
		m := []*mounted{one, two}[i%2]
		fd, err := unix.Open(m.dir+"/log", unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0o644)
		require.NoError(t, err)
		_, err = unix.Write(fd, []byte(line))
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		appended.WriteString(line)
	}
	require.Equal(t, appended.String(), readFile(t, dir+"/log"))
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	var all []byte
	b := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, b)
		require.NoError(t, err)
		if n <= 0 {
			return string(all)
		}
		all = append(all, b[:n]...)
	}
}
