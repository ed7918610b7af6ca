package console

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReaders(t *testing.T) {
	t.Parallel()
	c := New(Config{RingSize: 8})
	ctx := context.Background()
	a := c.NewReader()
	_, _ = c.Write([]byte("abcd"))
	b, end := c.NewReader(), c.NewReaderAtEnd()
	p := make([]byte, 3)

	n, err := a.Read(endedContext(), p)
	require.NoError(t, err, "what is there is given even with no time left")
	require.Equal(t, "abc", string(p[:n]))
	_, _ = c.Write([]byte("efghij"))

	n, _ = a.Read(ctx, p)
	require.Equal(t, "def", string(p[:n]), "position 3 is still kept")
	require.Zero(t, a.Lost())
	n, _ = b.Read(ctx, p)
	require.Equal(t, "cde", string(p[:n]))
	require.EqualValues(t, 2, b.Lost())
	n, _ = end.Read(ctx, p)
	require.Equal(t, "efg", string(p[:n]))

	c.End()
	all, err := io.ReadAll(contextReader{ctx, a})
	require.NoError(t, err)
	require.Equal(t, "ghij", string(all))
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	_, err = a.Read(ctx, p)
	require.Equal(t, io.EOF, err)
	n, err = a.Read(ctx, nil)
	require.Zero(t, n)
	require.NoError(t, err)
}

type contextReader struct {
	ctx context.Context
	r   *Reader
}

func (r contextReader) Read(p []byte) (int, error) { return r.r.Read(r.ctx, p) }

// TestWaiting: each thing that can end a wait ends it, and with its own error.
func TestWaiting(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		end  func(c *Console, r *Reader, cancel func())
		want error
	}{
		{"data", func(c *Console, _ *Reader, _ func()) { _, _ = c.Write([]byte("x")) }, nil},
		{"end", func(c *Console, _ *Reader, _ func()) { c.End() }, io.EOF},
		{"console closed", func(c *Console, _ *Reader, _ func()) { _ = c.Close() }, io.EOF},
		{"reader closed", func(_ *Console, r *Reader, _ func()) { _ = r.Close() }, ErrClosed},
		{"cancelled", func(_ *Console, _ *Reader, cancel func()) { cancel() }, context.Canceled},
		{"deadline", func(*Console, *Reader, func()) {}, context.DeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := New(Config{})
				r := c.NewReader()
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				errs := make(chan error, 2)
				for range 2 {
					go func() {
						_, err := r.Read(ctx, make([]byte, 4))
						errs <- err
					}()
				}
				synctest.Wait() // both wait: one for output, one for its turn
				tc.end(c, r, cancel)
				require.ErrorIs(t, <-errs, tc.want)
				if tc.want == nil {
					c.End()
				} else {
					require.ErrorIs(t, <-errs, tc.want)
				}
			})
		})
	}
}

// TestHammer: many readers of different kinds and writers at once; every
// reader that lost nothing has seen every record once and in order.
func TestHammer(t *testing.T) {
	t.Parallel()
	const records, readers = 20000, 8
	c := New(Config{RingSize: 1 << 12})
	var wg sync.WaitGroup
	for i := range readers {
		r := c.NewReader()
		wg.Go(func() { followRecords(t, r, 8*(1+i*13)) })
	}
	for range 4 {
		wg.Go(func() {
			r := c.NewReader()
			for {
				_, err := r.Expect(context.Background(), []Pattern{Literal("\xff"), MustRegexp(`\x00\x01`)})
				if err != nil {
					return
				}
				_ = c.Tail(100)
				_ = r.Lost()
			}
		})
	}
	var p [8]byte
	for i := range uint64(records) {
		binary.BigEndian.PutUint64(p[:], i)
		_, err := c.Write(p[:])
		require.NoError(t, err)
	}
	c.End()
	wg.Wait()
}

// followRecords reads 8-byte counters and checks them against the position,
// which after a gap is still aligned since every write has 8 bytes.
func followRecords(t *testing.T, r *Reader, size int) {
	buf := make([]byte, size)
	var pending []byte
	next := uint64(0)
	for {
		lost := r.Lost()
		n, err := r.Read(context.Background(), buf)
		if err == io.EOF {
			break
		}
		if gap := r.Lost() - lost; gap > 0 {
			if gap%8 != 0 && len(pending) == 0 {
				t.Errorf("gap of %d bytes", gap)
			}
			next += (gap + uint64(len(pending))) / 8
			pending = pending[:0]
		}
		pending = append(pending, buf[:n]...)
		for len(pending) >= 8 {
			if got := binary.BigEndian.Uint64(pending); got != next {
				t.Errorf("record %d, want %d", got, next)
				return
			}
			next++
			pending = bytes.Clone(pending[8:])
		}
	}
	if next != 20000 {
		t.Errorf("ended at record %d", next)
	}
}
