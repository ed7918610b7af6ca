//go:build linux

package watch

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sink collects events and lets a test wait for them.
type sink struct {
	t  *testing.T
	ch chan Event
}

func newSink(t *testing.T, limit int) (*sink, *Watcher) {
	s := &sink{t: t, ch: make(chan Event, 10_000)}
	w, err := New(limit, func(events []Event) {
		for _, e := range events {
			s.ch <- e
		}
	})
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return s, w
}

// until returns the events up to the first that is wanted. The deadline is one
// that only a hang reaches.
func (s *sink) until(want func(Event) bool) []Event {
	s.t.Helper()
	var got []Event
	hang := time.After(20 * time.Second)
	for {
		select {
		case e := <-s.ch:
			got = append(got, e)
			if want(e) {
				return got
			}
		case <-hang:
			require.FailNow(s.t, "no such event", "got %+v", got)
		}
	}
}

func dirFD(t *testing.T, path string) int {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func TestEvents(t *testing.T) {
	s, w := newSink(t, 10)
	a, b := t.TempDir(), t.TempDir()
	fdA, err := unix.Open(a, unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, w.Add(1, fdA))
	require.NoError(t, unix.Close(fdA)) // a directory that somebody has open is not gone
	require.NoError(t, w.Add(2, dirFD(t, b)))
	file := filepath.Join(a, "not UTF-8: \xff")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	require.NoError(t, os.Chmod(file, 0o644))
	require.NoError(t, os.Rename(file, filepath.Join(b, "moved")))
	require.NoError(t, os.Mkdir(filepath.Join(b, "dir"), 0o700))
	require.NoError(t, os.Remove(filepath.Join(b, "moved")))
	require.NoError(t, os.RemoveAll(a))
	got := s.until(func(e Event) bool { return e.Op == Gone })

	var ops []Op
	for _, e := range got {
		ops = append(ops, e.Op)
	}
	require.Equal(t, []Op{Created, Written, Changed, MovedAway, MovedHere, Created, Removed, Gone}, ops)
	require.Equal(t, "not UTF-8: \xff", got[0].Name)
	require.NotZero(t, got[3].Cookie)
	require.Equal(t, got[3].Cookie, got[4].Cookie)
	require.Equal(t, Event{Key: 2, Op: Created, Name: "dir", Dir: true}, got[5])
	require.Equal(t, uint64(1), got[7].Key)
	require.Equal(t, 1, w.Len())
}

func TestLimits(t *testing.T) {
	s, w := newSink(t, 1)
	a, b := t.TempDir(), t.TempDir()
	fdA, fdB := dirFD(t, a), dirFD(t, b)
	require.NoError(t, w.Add(1, fdA))
	require.ErrorIs(t, w.Add(2, fdB), ErrLimit)
	require.NoError(t, w.Add(1, fdA), "again")
	require.NoError(t, w.Add(1, fdB), "the key goes to another directory")
	require.Equal(t, 1, w.Len())
	require.NoError(t, os.Mkdir(filepath.Join(a, "unseen"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(b, "seen"), 0o700))
	got := s.until(func(Event) bool { return true })
	require.Equal(t, "seen", got[0].Name)
	w.Remove(1)
	w.Remove(1)
	require.Zero(t, w.Len())

	f, err := os.Create(filepath.Join(a, "file"))
	require.NoError(t, err)
	defer f.Close()
	require.ErrorIs(t, w.Add(3, int(f.Fd())), unix.ENOTDIR)
	require.ErrorIs(t, w.Add(3, -1), unix.ENOENT)
}

// More than the kernel's queue holds: the loss is told.
func TestOverflow(t *testing.T) {
	block, started := make(chan struct{}), make(chan struct{}, 1)
	lost := make(chan struct{}, 1)
	w, err := New(10, func(events []Event) {
		select {
		case started <- struct{}{}:
			<-block
		default:
		}
		for _, e := range events {
			if e.Op == Overflow {
				select {
				case lost <- struct{}{}:
				default:
				}
			}
		}
	})
	require.NoError(t, err)
	defer w.Close()
	dir := t.TempDir()
	require.NoError(t, w.Add(1, dirFD(t, dir)))
	names := []string{filepath.Join(dir, "x"), filepath.Join(dir, "y")}
	for _, name := range names {
		require.NoError(t, os.Mkdir(name, 0o700))
	}
	<-started
	for i := range 20_000 { // /proc/sys/fs/inotify/max_queued_events is 16384; equal neighbours are merged
		require.NoError(t, unix.Chmod(names[i%2], 0o700))
	}
	close(block)
	<-lost
}

func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	w, err := New(10, func([]Event) {})
	require.NoError(t, err)
	require.NoError(t, w.Add(1, dirFD(t, t.TempDir())))
	w.Close()
	w.Close()
	require.ErrorIs(t, w.Add(2, dirFD(t, t.TempDir())), ErrClosed)
	w.Remove(1)
	for range 1_000_000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

// Events come from the kernel; the parser takes whatever comes all the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00abc\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff\xff\xffabc\x00"))
	f.Add([]byte("\xff\xff\xff\xff\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &Watcher{keys: map[int32]uint64{1: 7}, wds: map[uint64]int32{7: 1}}
		for _, e := range w.parse(b) {
			require.True(t, e.Key == 7 || e.Op == Overflow)
			require.NotContains(t, e.Name, "\x00")
		}
	})
}
