//go:build linux

package fuse

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// D5: a guest that opens a million files gets EMFILE, and the host's
// descriptors stay within the budget.
func TestMillionOpens(t *testing.T) {
	noLeaks(t)
	const budget = 200
	c := share(t, func(o *Options) { o.MaxFiles = budget })
	before := openFDs(t)
	c.hostFile("x", "file")
	node := c.lookup(rootID, "file")
	r := c.prepare(14, node, u32s(unix.O_RDONLY, 0), 16)
	opened, refused := 0, 0
	for range 1_000_000 {
		require.GreaterOrEqual(t, r.handle(r.in, r.out), 16)
		switch e := syscall.Errno(-int32(get32(r.out[0], 4))); e {
		case 0:
			opened++
		case syscall.EMFILE:
			refused++
		default:
			require.Fail(t, e.Error())
		}
	}
	require.Equal(t, 1_000_000, opened+refused)
	require.Less(t, opened, budget)
	require.Greater(t, opened, budget-budget/16-10)
	// What does not keep a descriptor goes on.
	c.mkdir(rootID, "dir")
	require.Zero(t, c.rename(rootID, "file", rootID, "renamed", 0))
	_, e := c.setattr(node, setattrIn{valid: setMode | setSize, mode: 0o600, size: 1})
	require.Zero(t, e)
	require.Zero(t, c.rmdir(rootID, "dir"))
	require.LessOrEqual(t, openFDs(t), before+budget)
	// Looking, reading and closing go on.
	_, e = c.getattr(node)
	require.Zero(t, e)
	for id := range uint64(chunkSize) {
		if h := c.srv.cur.Load().handles.slots.get(id); h != nil {
			got, e := c.read(node, h.id, 0, 1)
			require.Zero(t, e)
			require.Equal(t, "x", string(got))
			require.Zero(t, c.release(node, h.id))
		}
	}
	c.works()
}

// D5: looking up more than is remembered, without FORGET.
func TestLookupsWithoutForget(t *testing.T) {
	noLeaks(t)
	const limit, files = 500, 5000
	c := share(t, func(o *Options) { o.MaxInodes = limit })
	for i := range files {
		c.hostFile("", fmt.Sprint(i))
	}
	first := c.lookup(rootID, "0")
	for i := range files {
		c.lookup(rootID, fmt.Sprint(i))
		require.LessOrEqual(t, c.srv.Stats().Inodes, int64(limit))
	}
	require.NotZero(t, c.srv.Stats().InodeEvictions)
	_, e := c.getattr(first)
	require.Equal(t, syscall.ESTALE, e, "forgotten; Linux looks it up again")
	again := c.lookup(rootID, "0")
	_, e = c.getattr(again)
	require.Zero(t, e)
	c.forget(first, 1)
	_, e = c.getattr(again)
	require.Zero(t, e, "a late FORGET is of the old number")
	for _, d := range c.list(rootID, true, 32<<10) {
		require.True(t, d.name == "." || d.name == ".." || d.node != 0, d.name)
	}
}

// When nothing can be forgotten, lookups are refused and the rest goes on.
func TestTooManyDirectories(t *testing.T) {
	c := share(t, func(o *Options) { o.MaxInodes = 50 })
	var last uint64
	for i := range 49 {
		last = c.mkdir(rootID, fmt.Sprint(i))
	}
	_, e := c.call(9, rootID, cat(u32s(0o755, 0), z("one more")), 128)
	require.Equal(t, syscall.ENFILE, e)
	_, e = c.getattr(last)
	require.Zero(t, e)
	c.forget(last, 1)
	c.lookup(rootID, "one more")
}

// D5: a tree deeper than any path, with fewer descriptors than levels.
func TestDeepTree(t *testing.T) {
	noLeaks(t)
	const depth = 4096
	c := share(t, func(o *Options) { o.MaxFiles = 32 })
	t.Cleanup(func() { require.NoError(t, removeDeep(c.dir)) })
	dirs := []uint64{rootID}
	for range depth {
		dirs = append(dirs, c.mkdir(dirs[len(dirs)-1], "d"))
	}
	node, fh := c.create(dirs[depth], "bottom")
	c.write(node, fh, 0, "deep")
	require.Zero(t, c.release(node, fh))
	c.forgetDescriptors()
	fh = c.open(node, unix.O_RDONLY)
	got, e := c.read(node, fh, 0, 10)
	require.Zero(t, e)
	require.Equal(t, "deep", string(got))
	require.Zero(t, c.release(node, fh))
	// From both ends in turns.
	for i := range 20 {
		for _, d := range []uint64{dirs[i], dirs[depth-i], dirs[depth/2+i]} {
			_, e := c.getattr(d)
			require.Zero(t, e)
		}
	}
	require.LessOrEqual(t, c.srv.Stats().Files, int64(32))
}

// removeDeep removes a chain of directories by descriptors.
func removeDeep(top string) error {
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	for {
		next, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			break
		}
		// What is two levels below comes up, so that one can go.
		err = unix.Renameat(next, "d", fd, "up")
		_ = unix.Unlinkat(next, "bottom", 0)
		_ = unix.Close(next)
		_ = unix.Unlinkat(fd, "d", unix.AT_REMOVEDIR)
		if err != nil {
			break
		}
		if err := unix.Renameat(fd, "up", fd, "d"); err != nil {
			break
		}
	}
	return unix.Close(fd)
}

// D5: a large directory, listed with few descriptors and nodes.
func TestLargeDirectory(t *testing.T) {
	c := share(t, func(o *Options) { o.MaxFiles, o.MaxInodes = 16, 1000 })
	const files = 20_000
	for i := range files {
		fd, err := unix.Open(c.path(fmt.Sprint(i)), unix.O_CREAT|unix.O_WRONLY, 0o600)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
	}
	require.Len(t, c.list(rootID, true, 64<<10), files+2)
	st := c.srv.Stats()
	require.LessOrEqual(t, st.Files, int64(16))
	require.LessOrEqual(t, st.Inodes, int64(1000))
	require.Zero(t, st.FileRefusals)
}

// H1: no descriptors at any moment of a server's life. Nothing leaks, and
// what fails fails with an error.
func TestNoDescriptors(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		child(t, "TestNoDescriptors", nil)
		return
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/d", 0o755))
	require.NoError(t, os.WriteFile(dir+"/d/file", []byte("x"), 0o644))
	made := false
	for spare := range 12 {
		var rest []int
		var limit unix.Rlimit
		require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
		used := openFDs(t) - 1
		limit.Cur = uint64(used + spare)
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		srv, err := New(dir, Options{MaxFiles: 100})
		if err == nil {
			made = true
			c := &client{t: t, srv: srv, dir: dir, handle: srv.Worker(nil, nil)}
			c.init()
			if d, _, e := c.lookupErr(rootID, "d"); e == 0 {
				if f, _, e := c.lookupErr(d, "file"); e == 0 {
					if fh, e := c.openErr(f, unix.O_RDONLY); e == 0 {
						_, e = c.read(f, fh, 0, 10)
						require.Zero(t, e)
					} else {
						require.Equal(t, syscall.EMFILE, e)
					}
				} else {
					require.Equal(t, syscall.EMFILE, e)
				}
			}
			srv.Close()
		} else {
			require.ErrorIs(t, err, syscall.EMFILE)
		}
		limit.Cur = limit.Max
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		for _, fd := range rest {
			_ = unix.Close(fd)
		}
		require.Equal(t, used, openFDs(t)-1, "with %d to spare", spare)
	}
	require.True(t, made)
}
