package virtq_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// popChain is a chain that reads "abc", "", "defgh" and has room for 2, 4 bytes.
func popChain(t *testing.T) (*virtiotest.Raw, *virtq.Queue, *virtq.Chain) {
	t.Helper()
	mem := virtiotest.NewMemory(t)
	raw := virtiotest.NewRaw(t, mem, ringBase, 8)
	q, err := virtq.New(mem, config(raw))
	require.NoError(t, err)
	require.NoError(t, mem.WriteAt([]byte("abcdefgh"), bufferBase))
	descs := []virtiotest.Desc{
		{Addr: bufferBase, Len: 3}, {Addr: 0xDEAD, Len: 0}, {Addr: bufferBase + 3, Len: 5},
		{Addr: bufferBase + 0x100, Len: 2, Flags: virtiotest.DescWrite}, {Addr: bufferBase + 0x200, Len: 4, Flags: virtiotest.DescWrite},
	}
	for i, d := range descs {
		if i+1 < len(descs) {
			d.Flags |= virtiotest.DescNext
		}
		d.Next = uint16(i + 1)
		raw.SetDesc(uint16(i), d)
	}
	raw.Expose(0)
	c, err := q.Pop()
	require.NoError(t, err)
	require.Equal(t, []int{8, 6}, []int{c.ReadLen(), c.WriteLen()})
	return raw, q, c
}

func TestCopyIn(t *testing.T) {
	_, _, c := popChain(t)
	for _, tt := range []struct {
		size, off int
		want      string
	}{{8, 0, "abcdefgh"}, {100, 0, "abcdefgh"}, {2, 2, "cd"}, {3, 3, "def"}, {9, 7, "h"}, {4, 8, ""}, {4, 99, ""}, {0, 0, ""}, {4, -1, ""}} {
		p := make([]byte, tt.size)
		n := c.CopyIn(p, tt.off)
		require.Equal(t, tt.want, string(p[:n]), "%+v", tt)
	}
}

func TestCopyOut(t *testing.T) {
	for _, tt := range []struct {
		data string
		off  int
		want string
		n    int
	}{{"123456789", 0, "123456", 6}, {"xy", 1, ".xy...", 2}, {"xy", 2, "..xy..", 2}, {"xy", 5, ".....x", 1}, {"xy", 6, "......", 0}, {"", 0, "......", 0}, {"x", -1, "......", 0}} {
		_, _, c := popChain(t)
		require.Equal(t, 6, c.CopyOut([]byte("......"), 0))
		require.Equal(t, tt.n, c.CopyOut([]byte(tt.data), tt.off))
		require.Equal(t, tt.want, string(c.Write[0])+string(c.Write[1]))
	}
}

func TestReaderAndWriter(t *testing.T) {
	_, _, c := popChain(t)
	for range 2 { // the second reader starts anew
		r := c.Reader()
		var got strings.Builder
		p := make([]byte, 3)
		for {
			n, err := r.Read(p)
			got.Write(p[:n])
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
		}
		require.Equal(t, "abcdefgh", got.String())
		require.Equal(t, 8, r.Count())
		n, err := r.Read(nil)
		require.Zero(t, n)
		require.NoError(t, err)
	}
	w := c.Writer()
	n, err := w.Write([]byte("123"))
	require.Equal(t, 3, n)
	require.NoError(t, err)
	n, err = w.Write([]byte("4567"))
	require.Equal(t, 3, n)
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.Equal(t, 6, w.Count())
	require.Equal(t, "123456", string(c.Write[0])+string(c.Write[1]))
}

func TestChainStorageIsReusedClean(t *testing.T) {
	raw, q, c := popChain(t)
	q.Push(c, 0)
	raw.SetDesc(7, virtiotest.Desc{Addr: bufferBase, Len: 1})
	raw.Expose(7)
	again, err := q.Pop()
	require.NoError(t, err)
	require.Same(t, c, again)
	require.Equal(t, uint16(7), again.Head)
	require.Len(t, again.Read, 1)
	require.Empty(t, again.Write)
	require.Equal(t, []int{1, 0}, []int{again.ReadLen(), again.WriteLen()})
}
