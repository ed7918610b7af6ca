package fs

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/fuse"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// The file server behind the device: requests through rings in guest memory.

var _ Handler = (*fuse.Server)(nil)

// shareRig is a share of a temporary directory, with a driver that has started.
type shareRig struct {
	*rig
	dir    string
	srv    *fuse.Server
	unique uint64
}

func newShareRig(t testing.TB, opt fuse.Options) *shareRig {
	t.Helper()
	s := &shareRig{dir: t.TempDir()}
	var dev *Device
	opt.Notify = func(m []byte) bool { return dev.Notify(m) }
	srv, err := fuse.New(s.dir, opt)
	require.NoError(t, err)
	s.srv = srv
	t.Cleanup(srv.Close)
	s.rig = newRig(t, func(c *Config) { c.Handler, c.Queues, c.Notifications = srv, 2, true })
	dev = s.dev
	return s
}

func words(vs ...any) []byte {
	var b []byte
	for _, v := range vs {
		switch v := v.(type) {
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, v)
		case uint64:
			b = binary.LittleEndian.AppendUint64(b, v)
		case string:
			b = append(b, v...)
		}
	}
	return b
}

func (s *shareRig) message(op uint32, node uint64, arg []byte) []byte {
	s.unique += 2
	return append(words(uint32(40+len(arg)), op, s.unique, node, uint32(0), uint32(0), uint32(1), uint32(0)), arg...)
}

// call sends a request on queue 1 and returns the reply's body.
func (s *shareRig) call(t testing.TB, op uint32, node uint64, arg []byte, room int) []byte {
	t.Helper()
	b := s.Queue(1).Do(s.message(op, node, arg), 16+room)
	require.GreaterOrEqual(t, len(b), 16)
	require.Zero(t, binary.LittleEndian.Uint32(b[4:]), "errno of opcode %d", op)
	return b[16:]
}

func (s *shareRig) init(t testing.TB) {
	t.Helper()
	s.call(t, 26, 0, append(words(uint32(7), uint32(40), uint32(65536), ^uint32(0)), make([]byte, 48)...), 64)
}

func TestShare(t *testing.T) {
	s := newShareRig(t, fuse.Options{})
	for _, features := range []uint64{0, ringFeatures} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			s.Start(features, small...)
			s.init(t)
			name := fmt.Sprintf("file%d", features)
			b := s.call(t, 35, 1, words(uint32(unix.O_RDWR|unix.O_CREAT), uint32(0o644), uint32(0), uint32(0), name+"\x00"), 144)
			node, fh := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[128:])
			data := make([]byte, 100_000)
			for i := range data {
				data[i] = byte(i * 3)
			}
			s.call(t, 16, node, append(words(fh, uint64(0), uint32(len(data)), uint32(0), uint64(0), uint64(0)), data...), 8)
			got, err := os.ReadFile(filepath.Join(s.dir, name))
			require.NoError(t, err)
			require.Equal(t, data, got)
			require.Equal(t, data, s.call(t, 15, node, words(fh, uint64(0), uint32(len(data)), uint32(0), uint64(0), uint64(0)), len(data)))
			// FORGET on the queue for it has no reply.
			require.Empty(t, s.Queue(queueHiprio).Do(s.message(2, node, words(uint64(1))), 0))
		})
	}
	// A reset forgets: what the first driver had is gone, and its file closed.
	require.Zero(t, s.transport.Stats().Faults)
	s.Start(ringFeatures, small...)
	s.init(t)
	require.EqualValues(t, 1, s.srv.Stats().Inodes)
	settle(t, "descriptors", func() bool { return s.srv.Stats().Files == 1 })
}

// A change that the host makes arrives as a notification.
func TestShareNotifies(t *testing.T) {
	s := newShareRig(t, fuse.Options{})
	s.Start(FeatureNotification|ringFeatures, small...)
	b := s.Queue(2).Do(s.message(26, 0, append(words(uint32(7), uint32(40), uint32(65536), ^uint32(0)), make([]byte, 48)...)), 80)
	require.Zero(t, binary.LittleEndian.Uint32(b[4:]))
	require.NoError(t, s.srv.Watch("."))
	s.Queue(queueNotify).Post(nil, 4096)
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "new"), 0o755))
	u := s.Queue(queueNotify).Wait()
	require.Equal(t, words(uint32(36), uint32(3), uint64(0), uint64(1), uint32(3), uint32(0), "new\x00"), u.Data)
}

// Locks that nobody lets go of do not keep a reset, and other requests go on.
func TestShareLocks(t *testing.T) {
	s := newShareRig(t, fuse.Options{})
	s.Start(ringFeatures, small...)
	s.init(t)
	b := s.call(t, 35, 1, words(uint32(unix.O_RDWR|unix.O_CREAT), uint32(0o644), uint32(0), uint32(0), "file\x00"), 144)
	node, fh := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[128:])
	f, err := os.Open(filepath.Join(s.dir, "file"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	for range 10 {
		s.Queue(1).Post(s.message(33, node, words(fh, uint64(1), uint64(0), ^uint64(0)>>1, uint32(1), uint32(1), uint32(1), uint32(0))), 16)
	}
	head := s.Queue(1).Post(s.message(3, 1, make([]byte, 16)), 120)
	require.Equal(t, head, s.Queue(1).Wait().Head)
	s.Start(ringFeatures, small...)
	s.init(t)
}

func TestHostileShare(t *testing.T) {
	for queue := range 2 {
		t.Run(fmt.Sprint(queue), func(t *testing.T) {
			virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
				s := newShareRig(t, fuse.Options{})
				return &virtiotest.Subject{Driver: s.Driver, Queue: queue, Request: s.message(1, 1, []byte("name\x00")), Reply: 16 + 128}
			})
		})
	}
}

// FuzzShare: any bytes in a request's buffers, in pieces of any size.
func FuzzShare(f *testing.F) {
	s := &shareRig{}
	f.Add(s.message(26, 0, make([]byte, 64)), uint16(80), uint8(40))
	f.Add(s.message(1, 1, []byte("name\x00")), uint16(144), uint8(7))
	f.Add([]byte{}, uint16(0), uint8(1))
	f.Fuzz(func(t *testing.T, m []byte, room uint16, piece uint8) {
		s := newShareRig(t, fuse.Options{MaxFiles: 64})
		s.Start(ringFeatures, small...)
		s.init(t)
		if len(m) >= 8 && m[4] == 33 {
			m[4] = 32 // a lock that may be waited for, for ever
		}
		var read [][]byte
		for n := max(int(piece), len(m)/20+1); len(m) > 0; {
			k := min(n, len(m))
			read = append(read, m[:k])
			m = m[k:]
		}
		var write []int
		if room > 0 {
			write = append(write, int(room))
		}
		if len(read)+len(write) == 0 {
			return
		}
		s.Queue(1).Add(read, write...)
		s.Queue(1).Kick()
		s.Queue(1).Wait()
		require.Zero(t, s.srv.Stats().Panics)
		require.Zero(t, s.transport.Stats().Faults)
	})
}

// BenchmarkShare is one request at a time through the ring: what the device
// adds to the server.
func BenchmarkShare(b *testing.B) {
	s := newShareRig(b, fuse.Options{})
	s.Start(ringFeatures, small...)
	s.init(b)
	m := s.message(3, 1, make([]byte, 16))
	b.Run("GETATTR", func(b *testing.B) {
		for b.Loop() {
			s.Queue(1).Do(m, 120)
		}
	})
	b.Run("GETATTR batch 32", func(b *testing.B) {
		q := s.Queue(1)
		for b.Loop() {
			for range 32 {
				q.Add([][]byte{m}, 120)
			}
			q.Kick()
			for range 32 {
				q.Wait()
			}
		}
	})
}
