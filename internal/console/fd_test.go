package console

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// openFD returns a descriptor of the console as a file.
func openFD(t *testing.T, c *Console) *os.File {
	t.Helper()
	fd, err := c.FD()
	require.NoError(t, err)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC)
	f := os.NewFile(uintptr(fd), "console fd")
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFDCarriesBothWays(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	c := New(Config{Input: &fakeInput{each: func(p []byte) { heard <- string(p) }}})
	_, _ = c.Write([]byte("early "))
	a, b := openFD(t, c), openFD(t, c)
	_, _ = c.Write([]byte("late"))
	for _, f := range []*os.File{a, b} {
		p := make([]byte, 10)
		_, err := io.ReadFull(f, p)
		require.NoError(t, err)
		require.Equal(t, "early late", string(p))
	}
	_, err := a.WriteString("typed")
	require.NoError(t, err)
	require.Equal(t, "typed", <-heard)
	c.End()
	rest, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.NoError(t, c.Close())
	_, err = c.FD()
	require.ErrorIs(t, err, ErrClosed)
}

// TestFDEndReachesCopies: the end is told by shutdown, since a forked child may
// hold a copy of the descriptor.
func TestFDEndReachesCopies(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	f := openFD(t, c)
	dup, err := unix.Dup(int(f.Fd()))
	require.NoError(t, err)
	copied := os.NewFile(uintptr(dup), "copy")
	defer func() { _ = copied.Close() }()
	_, _ = c.Write([]byte("bye"))
	require.NoError(t, c.Close())
	got, err := io.ReadAll(copied)
	require.NoError(t, err)
	require.Equal(t, "bye", string(got))
}

// TestFDCloseWithUnreadBothWays: nobody reads and the guest takes no input;
// Close still returns, and the holder gets what fits and then the end.
func TestFDCloseWithUnreadBothWays(t *testing.T) {
	t.Parallel()
	in := &fakeInput{limit: 10, block: make(chan struct{})}
	c := New(Config{Input: in})
	f := openFD(t, c)
	_, err := f.Write(make([]byte, 64<<10))
	require.NoError(t, err)
	_, _ = c.Write([]byte(strings.Repeat("0123456789abcdef", 1<<16)))
	require.NoError(t, c.Close())
	got, err := io.ReadAll(f)
	require.NoError(t, err, "the end, not a reset")
	require.NotEmpty(t, got)
	require.True(t, strings.HasPrefix(strings.Repeat("0123456789abcdef", 1<<16), string(got)), "no gap")
}

// TestFDHolderGoesAway: descriptors that their holder closed or half closed
// keep nothing alive.
func TestFDHolderGoesAway(t *testing.T) {
	t.Parallel()
	in := &fakeInput{}
	c := New(Config{Input: in})
	closed, half := openFD(t, c), openFD(t, c)
	_, err := closed.WriteString("last words")
	require.NoError(t, err)
	c.mu.Lock()
	var streams []*stream
	for s := range c.fds {
		streams = append(streams, s)
	}
	c.mu.Unlock()
	require.NoError(t, closed.Close())
	require.NoError(t, unix.Shutdown(int(half.Fd()), unix.SHUT_WR))
	first := make(chan *stream, 2)
	for _, s := range streams {
		go func() { s.join(); first <- s }()
	}
	<-first // the closed one ends by itself
	require.Equal(t, "last words", in.text())
	_, _ = c.Write([]byte("still here"))
	p := make([]byte, 10)
	_, err = io.ReadFull(half, p)
	require.NoError(t, err)
	require.Equal(t, "still here", string(p))
	require.NoError(t, c.Close())
	<-first
	require.Empty(t, in.text()[len("last words"):])
}

// TestFDInputEnds: when nothing takes input any more, writing fails instead of
// filling a buffer for ever.
func TestFDInputEnds(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	f := openFD(t, c)
	var err error
	for range 1 << 12 {
		if _, err = f.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, unix.EPIPE)
	require.NoError(t, c.Close())
}

// TestFDLeavesNothing opens and closes many while output flows, and counts
// descriptors and goroutines.
func TestFDLeavesNothing(t *testing.T) {
	goroutines, fds := runtime.NumGoroutine(), countFDs(t)
	for range 20 {
		c := New(Config{RingSize: 1 << 14, Input: &fakeInput{}})
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				fd, err := c.FD()
				if err != nil {
					return
				}
				f := os.NewFile(uintptr(fd), "x")
				_, _ = fmt.Fprintf(f, "hello %d", i)
				_, _ = f.Read(make([]byte, 1+i*100))
				_ = f.Close()
			})
		}
		for range 200 {
			_, _ = c.Write(make([]byte, 512))
		}
		if _, err := c.Send(context.Background(), []byte("x")); err != nil {
			t.Error(err)
		}
		require.NoError(t, c.Close())
		wg.Wait()
	}
	// A goroutine that has closed its done channel may not be gone yet.
	for runtime.NumGoroutine() > goroutines {
		runtime.Gosched()
	}
	require.Equal(t, fds, countFDs(t))
}

func countFDs(t *testing.T) int {
	t.Helper()
	dir := "/dev/fd"
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	return len(entries)
}
