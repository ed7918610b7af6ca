package iovec

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// parts cuts data into pieces of the given sizes, cyclically.
func parts(data []byte, sizes ...int) [][]byte {
	var out [][]byte
	for i := 0; len(data) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(data))
		out = append(out, data[:n:n])
		data = data[n:]
	}
	return out
}

func TestSliceIsTheRunOfBytes(t *testing.T) {
	data := []byte("abcdefghijklmnopqrstuvwxyz")
	bufs := parts(data, 1, 5, 2, 9)
	for off := 0; off <= len(data); off++ {
		for n := 0; off+n <= len(data); n++ {
			got := bytes.Join(Slice(nil, bufs, off, n), nil)
			require.Equal(t, string(data[off:off+n]), string(got))
		}
	}
	require.Equal(t, 2, Len(Slice(nil, bufs, 24, 100)), "a shorter list gives what there is")
}

func TestCopiesAreEachOthersInverse(t *testing.T) {
	data := []byte("abcdefghijklmnopqrstuvwxyz")
	for off := range data {
		bufs := parts(make([]byte, len(data)), 3, 1, 7)
		require.Equal(t, len(data)-off, CopyTo(bufs, off, data))
		back := make([]byte, len(data)-off)
		require.Equal(t, len(back), CopyFrom(back, bufs, off))
		require.Equal(t, data[:len(back)], back)
	}
}

func TestAdvance(t *testing.T) {
	data := []byte("abcdefghij")
	for n := 0; n <= len(data); n++ {
		got := bytes.Join(Advance(parts(data, 1, 4, 2), n), nil)
		require.Equal(t, string(data[n:]), string(got))
	}
	require.Empty(t, Advance(parts(data, 5), 10))
}

func TestZero(t *testing.T) {
	data := []byte("abcdefghij")
	Zero(parts(data, 3)[1:])
	require.Equal(t, []byte("abc\x00\x00\x00\x00\x00\x00\x00"), data)
}
