package vm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestPipe(t *testing.T) {
	t.Parallel()
	p := vm.NewPipe(4)
	n, err := p.Write(t.Context(), []byte("abc"))
	require.NoError(t, err)
	require.Equal(t, 3, n)
	buf := make([]byte, 2)
	require.Equal(t, 2, p.TryRead(buf))
	require.Equal(t, "ab", string(buf))
	_, err = p.Write(t.Context(), []byte("def")) // wraps around
	require.NoError(t, err)
	require.Equal(t, 4, p.Len())
	rest := make([]byte, 10)
	require.Equal(t, "cdef", string(rest[:p.TryRead(rest)]))
	require.Zero(t, p.TryRead(rest))
	n, err = p.Write(t.Context(), nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestPipeBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := vm.NewPipe(2)
		ctx, cancel := context.WithCancel(t.Context())
		var n int
		var err error
		go func() { n, err = p.Write(ctx, []byte("abcd")) }()
		synctest.Wait() // full
		require.Equal(t, 2, p.Len())
		buf := make([]byte, 1)
		require.Equal(t, 1, p.TryRead(buf))
		synctest.Wait() // one more went in
		require.Equal(t, 2, p.Len())
		cancel()
		synctest.Wait()
		require.Equal(t, 3, n, "counts what was accepted")
		require.ErrorIs(t, err, vm.KindCancelled)
	})
}

func TestPipeClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := vm.NewPipe(2)
		errs := make(chan error, 2)
		for range 2 { // one waits for room, one for its turn
			go func() {
				_, err := p.Write(t.Context(), []byte("abcd"))
				errs <- err
			}()
		}
		synctest.Wait()
		p.Close()
		p.Close()
		require.ErrorIs(t, <-errs, vm.KindClosed)
		require.ErrorIs(t, <-errs, vm.KindClosed)
		_, err := p.Write(t.Context(), []byte("x"))
		require.ErrorIs(t, err, vm.KindClosed)
		require.Equal(t, 2, p.TryRead(make([]byte, 4)), "what was accepted can be read")
	})
}

func TestPipeEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := vm.NewPipe(0).Write(ctx, []byte("x"))
	require.ErrorIs(t, err, vm.KindCancelled)
}

func TestPipeNotify(t *testing.T) {
	t.Parallel()
	p := vm.NewPipe(0)
	calls := 0
	write := func(s string) {
		_, err := p.Write(t.Context(), []byte(s))
		require.NoError(t, err)
	}
	p.SetNotify(func() { calls++; p.Len() /* no lock is held */ })
	require.Equal(t, 0, calls)
	write("a")
	require.Equal(t, 1, calls)
	write("b")
	require.Equal(t, 1, calls, "it was not empty")
	p.TryRead(make([]byte, 8))
	write("c")
	require.Equal(t, 2, calls)
	late := 0
	p.SetNotify(func() { late++ })
	require.Equal(t, 1, late, "bytes were waiting")
	p.SetNotify(nil)
	p.TryRead(make([]byte, 8))
	write("d")
	require.Equal(t, 1, late)
}

// TestPipeHammer: many writers, one reader that sleeps until notified. Every write
// arrives, whole and once.
func TestPipeHammer(t *testing.T) {
	t.Parallel()
	const writers, each, size = 8, 200, 37
	p := vm.NewPipe(64) // smaller than two writes: full most of the time
	wake := make(chan struct{}, 1)
	var notified atomic.Int64
	p.SetNotify(func() {
		notified.Add(1)
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				msg := bytes.Repeat([]byte{byte(w)}, size)
				binary.LittleEndian.PutUint16(msg[1:], uint16(i))
				n, err := p.Write(t.Context(), msg)
				assert.NoError(t, err)
				assert.Equal(t, size, n)
			}
		})
	}
	var got []byte
	buf := make([]byte, 29)
	for len(got) < writers*each*size {
		if n := p.TryRead(buf); n > 0 {
			got = append(got, buf[:n]...)
			continue
		}
		<-wake
	}
	all.Wait()
	next := make([]int, writers)
	for ; len(got) > 0; got = got[size:] {
		w := got[0]
		require.Equal(t, next[w], int(binary.LittleEndian.Uint16(got[1:])))
		require.Equal(t, bytes.Repeat([]byte{w}, size-3), got[3:size], "the bytes of a write stay together")
		next[w]++
	}
	require.Positive(t, notified.Load())
}

// The ring grows with what is in it, wherever that lies.
func TestPipeGrows(t *testing.T) {
	t.Parallel()
	p := vm.NewPipe(0)
	var in, out []byte
	next := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte((len(in) + i) % 251)
		}
		in = append(in, b...)
		return b
	}
	take := func(n int) {
		b := make([]byte, n)
		out = append(out, b[:p.TryRead(b)]...)
	}
	for _, n := range []int{1, 900, 700, 1400, 5000, vm.DefaultPipeSize - 8001} {
		_, err := p.Write(t.Context(), next(n))
		require.NoError(t, err)
		if n == 900 {
			take(500)
			_, err = p.Write(t.Context(), next(500)) // wraps around
			require.NoError(t, err)
		}
	}
	require.Equal(t, vm.DefaultPipeSize, p.Len())
	take(vm.DefaultPipeSize)
	require.Equal(t, in, out)
}
