//go:build linux

package fuse

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/fuse/watch"
)

// told collects changes.
type told struct {
	t  *testing.T
	ch chan Change
}

func listen(t *testing.T, s *Server) *told {
	l := &told{t: t, ch: make(chan Change, 1000)}
	s.OnChange(func(c Change) { l.ch <- c })
	return l
}

func (l *told) next() Change {
	l.t.Helper()
	select {
	case c := <-l.ch:
		return c
	case <-time.After(20 * time.Second): // a hang
		require.FailNow(l.t, "nothing is told")
		return Change{}
	}
}

func TestWatch(t *testing.T) {
	noLeaks(t)
	notes := make(chan []byte, 1000)
	c := share(t, func(o *Options) {
		o.Notify = func(m []byte) bool { notes <- m; return true }
	})
	l := listen(t, c.srv)
	require.NoError(t, os.MkdirAll(c.path("a", "b"), 0o755))
	require.NoError(t, c.srv.Watch("."))
	require.NoError(t, c.srv.Watch("a/b"))
	require.NoError(t, c.srv.Watch("a//b/"), "once more")

	b := c.lookup(c.lookup(rootID, "a"), "b")
	c.hostFile("x", "a", "b", "new")
	require.Equal(t, Change{Path: "a/b/new", Op: watch.Created}, l.next())
	require.Equal(t, Change{Path: "a/b/new", Op: watch.Written}, l.next())
	require.Equal(t, invalEntry(b, "new"), <-notes)
	require.Equal(t, invalInode(b, notifyAttrOnly), <-notes)
	file := c.lookup(b, "new")
	require.NoError(t, unix.Chmod(c.path("a", "b", "new"), 0o600))
	require.Equal(t, Change{Path: "a/b/new", Op: watch.Changed}, l.next())
	require.Equal(t, invalInode(file, notifyAttrOnly), <-notes)
	require.NoError(t, os.Rename(c.path("a", "b", "new"), c.path("moved")))
	away, here := l.next(), l.next()
	require.Equal(t, "a/b/new", away.Path)
	require.Equal(t, "moved", here.Path)
	require.Equal(t, away.Cookie, here.Cookie)

	// What the client does is no news to it. The host's change after it is.
	node, fh := c.create(b, "mine")
	c.write(node, fh, 0, "text")
	_, e := c.setattr(node, setattrIn{valid: setMode, mode: 0o600})
	require.Zero(t, e)
	require.Zero(t, c.rename(b, "mine", b, "still mine", 0))
	require.Zero(t, c.unlink(b, "still mine"))
	c.mkdir(b, "dir")
	require.NoError(t, os.Mkdir(c.path("a", "b", "hosts"), 0o755))
	require.Equal(t, Change{Path: "a/b/hosts", Op: watch.Created, Dir: true}, l.next())

	c.srv.Unwatch("a/b")
	c.srv.Unwatch("never watched")
	c.hostFile("x", "a", "b", "unseen")
	require.NoError(t, os.Remove(c.path("moved")))
	require.Equal(t, Change{Path: "moved", Op: watch.Removed}, l.next())
}

// Watches stay inside of the share.
func TestWatchEscapes(t *testing.T) {
	w := newWorld(t)
	w.links()
	l := listen(t, w.srv)
	for _, path := range []string{
		"..", "../outside", "/", "/etc", w.outside, "link", "link/dir", "up", "toroot/etc", "proc", "self/fd", "a/../../outside", "\x00",
	} {
		err := w.srv.Watch(path)
		if err == nil {
			require.Equal(t, "/", path, "the root of the share is its own")
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(w.outside, "loud"), nil, 0o600))
	require.NoError(t, os.Remove(filepath.Join(w.outside, "loud")))
	require.NoError(t, w.srv.Watch(""))
	require.NoError(t, os.Mkdir(w.path("seen"), 0o755))
	require.Equal(t, Change{Path: "seen", Op: watch.Created, Dir: true}, l.next())
}

// On a mount: with everything cached for a day, what the host changes in a
// watched directory is seen at once.
func TestNotificationsReachTheKernel(t *testing.T) {
	dir := t.TempDir()
	m, fd := newMount(t)
	opt := faithful()
	opt.Cache = CacheAlways
	opt.Notify = func(message []byte) bool {
		_, err := unix.Write(fd, message)
		return err == nil
	}
	srv, err := New(dir, opt)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { serveDev(fd, srv) })
	}
	t.Cleanup(func() {
		require.NoError(t, unix.Unmount(m.dir, unix.MNT_DETACH))
		wg.Wait() // reads end with ENODEV
		srv.Close()
		require.NoError(t, unix.Close(fd))
	})
	require.NoError(t, os.WriteFile(dir+"/file", []byte("old"), 0o644))
	read := func() string {
		fd, err := unix.Open(m.dir+"/file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err.Error()
		}
		defer unix.Close(fd)
		b := make([]byte, 100)
		n, err := unix.Read(fd, b)
		require.NoError(t, err)
		return string(b[:n])
	}
	require.Equal(t, "old", read())
	require.NoError(t, os.WriteFile(dir+"/file", []byte("new and longer"), 0o644))
	require.Equal(t, "old", read(), "this is what CacheAlways means")

	l := listen(t, srv)
	require.NoError(t, srv.Watch("."))
	require.NoError(t, os.WriteFile(dir+"/file", []byte("newest"), 0o644))
	for l.next().Op != watch.Written { // it is told after the notification
	}
	require.Contains(t, []string{"newest", ""}, read()) // truncated first, then written
	for c := (Change{}); read() != "newest"; c = l.next() {
		_ = c
	}
	require.NoError(t, os.Remove(dir+"/file"))
	for l.next().Op != watch.Removed {
	}
	require.Equal(t, unix.ENOENT.Error(), read())
	require.NotZero(t, srv.Stats().Notified)
}
