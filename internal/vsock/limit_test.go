//go:build linux

package vsock

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// withDescriptors runs fn while this process can open n more descriptors.
func withDescriptors(t *testing.T, n int, fn func()) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	var files []*os.File
	defer func() {
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
		for _, f := range files {
			_ = f.Close()
		}
	}()
	// The limit is on numbers, so holes below it are filled first.
	top, err := os.Open(os.DevNull)
	require.NoError(t, err)
	files = append(files, top)
	highest := int(top.Fd())
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for range 2 * len(entries) {
		f, err := os.Open(os.DevNull)
		require.NoError(t, err)
		files = append(files, f)
		highest = max(highest, int(f.Fd()))
	}
	limit := old
	limit.Cur = uint64(highest + 1 + n)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	fn()
}

// H1: descriptors run out at each call that makes one: an error of the right
// class, and nothing is left.
func TestDescriptorsRunOut(t *testing.T) {
	first, err := New(Config{CID: testCID}) // whatever the runtime opens once
	require.NoError(t, err)
	require.NoError(t, first.Close())
	dir := shortDir(t)
	steps := []struct {
		name  string
		needs int
		run   func(h *Host) error
	}{
		{"connect", 2, func(h *Host) error {
			_, err := h.Connect(ended(t), packet.Stream, 1)
			return err
		}},
		{"listen", 1, func(h *Host) error {
			fd, err := h.Listen(packet.SeqPacket, 1, 1)
			if err == nil {
				_ = unix.Close(fd)
			}
			return err
		}},
		{"bind", 1, func(h *Host) error {
			_, err := h.Bind(packet.Stream, 1, "", ModeListen)
			return err
		}},
	}
	for _, s := range steps {
		for n := range s.needs + 1 {
			open := fds(t)
			h, err := New(Config{CID: testCID, Dir: dir})
			require.NoError(t, err)
			withDescriptors(t, n, func() { err = s.run(h) })
			if n < s.needs {
				require.ErrorIs(t, err, vm.KindLimit, "%s with %d", s.name, n)
			} else {
				require.NotErrorIs(t, err, vm.KindLimit, "%s with %d", s.name, n)
			}
			require.NoError(t, h.Close())
			require.Equal(t, open, fds(t), "%s with %d", s.name, n)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left, "%s with %d", s.name, n)
		}
	}
	withDescriptors(t, 0, func() {
		_, err = New(Config{CID: testCID})
	})
	require.ErrorIs(t, err, vm.KindLimit)
}

// A guest is refused while descriptors are short, and a client at a door waits
// until there are some.
func TestDescriptorsAreShort(t *testing.T) {
	g := newGuest(t, nil)
	fd, err := g.h.Listen(packet.Stream, 1, 8)
	require.NoError(t, err)
	defer unix.Close(fd)
	path, err := g.h.Bind(packet.Stream, 2, "", ModeListen)
	require.NoError(t, err)
	g.connected(packet.Stream, 3, 100)
	client, err := newSocket(packet.Stream, 0)
	require.NoError(t, err)
	user := userFile(t, client)
	withDescriptors(t, 0, func() {
		g.send(header(packet.OpRequest, 1, 200))
		g.expect(packet.OpReset, 1, 200)
		control(t, user, func(fd int) { require.NoError(t, unix.Connect(fd, &unix.SockaddrUnix{Name: path})) })
		g.until("the door to be tried", func() bool {
			g.h.mu.Lock()
			defer g.h.mu.Unlock()
			return g.h.doors[2].waiting
		})
	})
	g.quiet()
	g.send(header(packet.OpReset, 3, 100)) // a connection ends: the door is tried again
	p := g.next()
	require.Equal(t, packet.OpRequest, p.Op)
	require.EqualValues(t, 2, p.DstPort)
	g.send(header(packet.OpRequest, 1, 200))
	g.expect(packet.OpResponse, 1, 200)
}
