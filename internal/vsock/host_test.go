//go:build linux

package vsock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

func TestConnect(t *testing.T) {
	g := newGuest(t, nil)
	host, result := g.connecting(t.Context(), packet.Stream, 1234)
	require.GreaterOrEqual(t, host, uint32(firstEphemeral))
	g.send(header(packet.OpResponse, host, 1234))
	r := <-result
	require.NoError(t, r.err)
	flags, err := unix.FcntlInt(uintptr(r.fd), unix.F_GETFL, 0)
	require.NoError(t, err)
	require.Zero(t, flags&unix.O_NONBLOCK, "the caller's descriptor blocks")
	flags, err = unix.FcntlInt(uintptr(r.fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC)
	user := userFile(t, r.fd)

	g.data(host, 1234, []byte("from the guest"))
	b := make([]byte, 64)
	n, err := user.Read(b)
	require.NoError(t, err)
	require.Equal(t, "from the guest", string(b[:n]))

	_, err = user.WriteString("from the host")
	require.NoError(t, err)
	p := g.expect(packet.OpData, host, 1234)
	require.Equal(t, "from the host", string(p.payload))
	require.EqualValues(t, len("from the guest"), p.FwdCnt, "data carries the credit")
}

func TestConnectErrors(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		g := newGuest(t, nil)
		host, result := g.connecting(t.Context(), packet.Stream, 5)
		g.send(header(packet.OpReset, host, 5))
		r := <-result
		require.ErrorIs(t, r.err, syscall.ECONNREFUSED)
		require.ErrorIs(t, r.err, vm.KindIO)
		g.quiet()
	})
	t.Run("cancelled after the request", func(t *testing.T) {
		g := newGuest(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		host, result := g.connecting(ctx, packet.Stream, 5)
		cancel()
		r := <-result
		require.ErrorIs(t, r.err, vm.KindCancelled)
		g.expect(packet.OpReset, host, 5)
		g.send(header(packet.OpResponse, host, 5)) // too late
		g.expect(packet.OpReset, host, 5)
	})
	t.Run("cancelled before the request", func(t *testing.T) {
		g := newGuest(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := g.h.Connect(ctx, packet.Stream, 5)
		require.ErrorIs(t, err, vm.KindCancelled)
		g.quiet()
		require.Zero(t, g.h.Stats().Connections)
	})
	t.Run("the driver goes away", func(t *testing.T) {
		g := newGuest(t, nil)
		_, result := g.connecting(t.Context(), packet.Stream, 5)
		g.h.Detach()
		require.ErrorIs(t, (<-result).err, syscall.ECONNRESET)
	})
	t.Run("closed", func(t *testing.T) {
		g := newGuest(t, nil)
		_, result := g.connecting(t.Context(), packet.Stream, 5)
		require.NoError(t, g.h.Close())
		require.ErrorIs(t, (<-result).err, vm.KindClosed)
		_, err := g.h.Connect(t.Context(), packet.Stream, 5)
		require.ErrorIs(t, err, vm.KindClosed)
	})
	t.Run("the guest breaks the protocol", func(t *testing.T) {
		g := newGuest(t, nil)
		host, result := g.connecting(t.Context(), packet.Stream, 5)
		g.data(host, 5, []byte("early"))
		require.ErrorIs(t, (<-result).err, vm.KindProtocol)
		g.expect(packet.OpReset, host, 5)
	})
	t.Run("too many", func(t *testing.T) {
		g := newGuest(t, func(c *Config) { c.MaxConnections = 1 })
		g.connecting(t.Context(), packet.Stream, 5)
		_, err := g.h.Connect(t.Context(), packet.Stream, 5)
		require.ErrorIs(t, err, vm.KindLimit)
	})
	t.Run("arguments", func(t *testing.T) {
		g := newGuest(t, nil)
		_, err := g.h.Connect(t.Context(), packet.Stream, packet.PortAny)
		require.ErrorIs(t, err, vm.KindInvalidArg)
		_, err = g.h.Connect(t.Context(), 7, 5)
		require.ErrorIs(t, err, vm.KindInvalidArg)
	})
	t.Run("no such sockets in the guest", func(t *testing.T) {
		g := newGuest(t, nil)
		g.h.Detach()
		g.h.Attach(packet.Link{Guest: g})
		_, err := g.h.Connect(t.Context(), packet.SeqPacket, 5)
		require.ErrorIs(t, err, vm.KindUnsupported)
	})
}

// Who asks before there is a driver is served by the first one.
func TestConnectBeforeTheDriver(t *testing.T) {
	g := newGuest(t, nil)
	g.h.Detach()
	result := make(chan connectResult, 1)
	asked := make(chan struct{})
	go func() {
		close(asked)
		fd, err := g.h.Connect(t.Context(), packet.Stream, 9)
		result <- connectResult{fd, err}
	}()
	<-asked
	g.h.Detach() // a driver that probes resets the device first
	g.attach()
	p := g.next()
	require.Equal(t, packet.OpRequest, p.Op)
	g.send(header(packet.OpResponse, p.SrcPort, 9))
	r := <-result
	require.NoError(t, r.err)
	userFile(t, r.fd)
}

func TestListen(t *testing.T) {
	g := newGuest(t, nil)
	fd, err := g.h.Listen(packet.Stream, 1024, 2)
	require.NoError(t, err)
	defer unix.Close(fd)
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	path := name.(*unix.SockaddrUnix).Name
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, st.Mode().Perm())

	// A backlog of n holds n+1: the kernel compares with "more than".
	for port := range uint32(3) {
		g.send(header(packet.OpRequest, 1024, 100+port))
		g.expect(packet.OpResponse, 1024, 100+port)
	}
	g.send(header(packet.OpRequest, 1024, 103))
	g.expect(packet.OpReset, 1024, 103) // the backlog is full

	for port := range uint32(3) {
		g.data(1024, 100+port, []byte{byte(port)})
		user := accept(t, fd)
		b := make([]byte, 2)
		n, err := user.Read(b)
		require.NoError(t, err)
		require.Equal(t, []byte{byte(port)}, b[:n])
	}

	_, err = g.h.Listen(packet.Stream, 1024, 1)
	require.ErrorIs(t, err, vm.KindExists)
	require.NoError(t, g.h.Unbind(1024, ModeConnect))
	require.NoFileExists(t, path)
	require.ErrorIs(t, g.h.Unbind(1024, ModeConnect), vm.KindNotFound)
	g.send(header(packet.OpRequest, 1024, 104))
	g.expect(packet.OpReset, 1024, 104)
	_, err = g.h.Listen(packet.Stream, 1, 0)
	require.ErrorIs(t, err, vm.KindInvalidArg)
}

// A caller that closes its listening descriptor and says nothing refuses.
func TestListenerClosed(t *testing.T) {
	g := newGuest(t, nil)
	fd, err := g.h.Listen(packet.Stream, 7, 8)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	g.send(header(packet.OpRequest, 7, 100))
	g.expect(packet.OpReset, 7, 100)
}

func TestBindConnect(t *testing.T) {
	g := newGuest(t, nil)
	path := filepath.Join(shortDir(t), "s")
	_, err := g.h.Bind(packet.Stream, 7, path, ModeConnect)
	require.NoError(t, err)
	g.send(header(packet.OpRequest, 7, 100))
	g.expect(packet.OpReset, 7, 100) // nobody listens yet

	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	g.send(header(packet.OpRequest, 7, 100))
	g.expect(packet.OpResponse, 7, 100)
	c, err := l.Accept()
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(g.expect(packet.OpData, 7, 100).payload))

	hdr := header(packet.OpRequest, 7, 101)
	hdr.Type = packet.SeqPacket
	g.send(hdr)
	g.expect(packet.OpReset, 7, 101) // of another type
	require.NoError(t, g.h.Unbind(7, ModeConnect))
	require.FileExists(t, path, "it is not ours to remove")
}

func TestBindListen(t *testing.T) {
	for _, automatic := range []bool{false, true} {
		g := newGuest(t, nil)
		path := ""
		if !automatic {
			path = filepath.Join(shortDir(t), "s")
		}
		path, err := g.h.Bind(packet.Stream, 22, path, ModeListen)
		require.NoError(t, err)
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("early"))
		require.NoError(t, err)
		p := g.next()
		require.Equal(t, packet.OpRequest, p.Op)
		require.EqualValues(t, 22, p.DstPort)
		g.quiet() // nothing before the guest has accepted
		g.send(header(packet.OpResponse, p.SrcPort, 22))
		require.Equal(t, "early", string(g.expect(packet.OpData, p.SrcPort, 22).payload))

		_, err = g.h.Bind(packet.Stream, 22, "", ModeListen)
		require.ErrorIs(t, err, vm.KindExists)
		require.NoError(t, g.h.Unbind(22, ModeListen))
		require.NoFileExists(t, path)
		_, err = net.Dial("unix", path)
		require.Error(t, err)
	}
}

// Clients at a door that are refused, leave early, or come when there is no room.
func TestDoor(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		g := newGuest(t, nil)
		path, err := g.h.Bind(packet.Stream, 22, "", ModeListen)
		require.NoError(t, err)
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		p := g.next()
		g.send(header(packet.OpReset, p.SrcPort, 22))
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
	t.Run("leaves before the answer", func(t *testing.T) {
		g := newGuest(t, nil)
		path, err := g.h.Bind(packet.Stream, 22, "", ModeListen)
		require.NoError(t, err)
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		p := g.next()
		require.NoError(t, c.Close())
		g.expect(packet.OpReset, p.SrcPort, 22)
		require.Zero(t, g.h.Stats().Connections)
	})
	t.Run("waits for room", func(t *testing.T) {
		g := newGuest(t, func(c *Config) { c.MaxConnections = 2 })
		path, err := g.h.Bind(packet.Stream, 22, "", ModeListen)
		require.NoError(t, err)
		var clients []net.Conn
		for range 5 {
			c, err := net.Dial("unix", path)
			require.NoError(t, err)
			clients = append(clients, c)
		}
		for range 4 {
			p := g.next()
			require.Equal(t, packet.OpRequest, p.Op)
			require.LessOrEqual(t, g.h.Stats().Connections, 2)
			g.send(header(packet.OpReset, p.SrcPort, 22))
		}
		g.next()
		for _, c := range clients {
			c.Close()
		}
	})
}

func TestBindRefuses(t *testing.T) {
	g := newGuest(t, nil)
	dir := shortDir(t)
	taken := filepath.Join(dir, "taken")
	require.NoError(t, os.WriteFile(taken, []byte("mine"), 0o600))
	long := filepath.Join(dir, string(make([]byte, maxPath)))
	for _, tt := range []struct {
		name, path string
		port       uint32
		mode       Mode
		kind       vm.Kind
	}{
		{"no path", "", 1, ModeConnect, vm.KindInvalidArg},
		{"abstract", "@x", 1, ModeConnect, vm.KindInvalidArg},
		{"zero byte", "/tmp/a\x00b", 1, ModeListen, vm.KindInvalidArg},
		{"too long", long, 1, ModeListen, vm.KindInvalidArg},
		{"a file is there", taken, 1, ModeListen, vm.KindExists},
		{"no directory", dir + "/no/s", 1, ModeListen, vm.KindNotFound},
		{"no port", dir + "/s", packet.PortAny, ModeListen, vm.KindInvalidArg},
	} {
		_, err := g.h.Bind(packet.Stream, tt.port, tt.path, tt.mode)
		require.ErrorIs(t, err, tt.kind, tt.name)
		var e *vm.Error
		require.True(t, errors.As(err, &e), tt.name)
	}
	b, err := os.ReadFile(taken)
	require.NoError(t, err)
	require.Equal(t, "mine", string(b))
}

// A name that somebody else has taken over is not removed.
func TestNameTakenOver(t *testing.T) {
	g := newGuest(t, nil)
	path, err := g.h.Bind(packet.Stream, 1, filepath.Join(shortDir(t), "s"), ModeListen)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, g.h.Unbind(1, ModeListen))
	require.FileExists(t, path)
}

func TestDirectory(t *testing.T) {
	t.Run("open to others", func(t *testing.T) {
		dir := shortDir(t)
		require.NoError(t, os.Chmod(dir, 0o755))
		g := newGuest(t, func(c *Config) { c.Dir = dir })
		_, err := g.h.Listen(packet.Stream, 1, 1)
		require.ErrorIs(t, err, vm.KindInvalidArg)
	})
	t.Run("missing", func(t *testing.T) {
		g := newGuest(t, func(c *Config) { c.Dir += "/no" })
		_, err := g.h.Listen(packet.Stream, 1, 1)
		require.ErrorIs(t, err, vm.KindNotFound)
	})
	t.Run("made when needed, and removed", func(t *testing.T) {
		t.Setenv("TMPDIR", shortDir(t))
		g := newGuest(t, func(c *Config) { c.Dir = "" })
		fd, err := g.h.Listen(packet.Stream, 1, 1)
		require.NoError(t, err)
		defer unix.Close(fd)
		path, err := g.h.Bind(packet.Stream, 1, "", ModeListen)
		require.NoError(t, err)
		st, err := os.Stat(filepath.Dir(path))
		require.NoError(t, err)
		require.EqualValues(t, 0o700, st.Mode().Perm())
		require.NoError(t, g.h.Close())
		require.NoDirExists(t, filepath.Dir(path))
	})
}

func TestNewRefuses(t *testing.T) {
	for _, cid := range []uint64{0, 1, 2, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
		_, err := New(Config{CID: cid})
		require.ErrorIs(t, err, vm.KindInvalidArg, "%d", cid)
	}
	_, err := New(Config{CID: 3, MaxConnections: -1})
	require.ErrorIs(t, err, vm.KindInvalidArg)
}
