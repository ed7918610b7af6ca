package cable

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// ethernet is a frame of n bytes whose contents tell positions apart.
func ethernet(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func prefixed(frames ...[]byte) (out []byte) {
	for _, f := range frames {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(f))), f...)
	}
	return out
}

// split feeds a stream in pieces of a size and returns the frames.
func split(stream []byte, size int) (frames [][]byte, err error) {
	var s splitter
	for len(stream) > 0 {
		n := copy(s.space(), stream[:min(size, len(stream))])
		s.add(n)
		stream = stream[n:]
		for {
			f, err := s.next()
			if err != nil {
				return frames, err
			}
			if f == nil {
				break
			}
			frames = append(frames, bytes.Clone(f))
		}
	}
	return frames, nil
}

// However a stream is cut, its frames come out whole; those that are none are left out.
func TestSplit(t *testing.T) {
	t.Parallel()
	want := [][]byte{ethernet(14), ethernet(60), ethernet(link.MaxFrame), ethernet(1514)}
	stream := prefixed(want[0], nil, want[1], ethernet(13), want[2], want[3])
	for _, size := range []int{1, 2, 3, 5, 1000, 65536, 1 << 20} {
		got, err := split(stream, size)
		require.NoError(t, err)
		require.Equal(t, want, got, size)
	}
}

// The bytes of the framing, as QEMU has it.
func TestSplitGolden(t *testing.T) {
	t.Parallel()
	stream, err := hex.DecodeString("0000000f" + "ffffffffffff02000000000108060a" + "0000000e" + "020000000001020000000002" + "0800")
	require.NoError(t, err)
	got, err := split(stream, len(stream))
	require.NoError(t, err)
	require.Equal(t, [][]byte{stream[4:19], stream[23:37]}, got)
}

func TestSplitRefuses(t *testing.T) {
	t.Parallel()
	for _, n := range []uint32{link.MaxFrame + 1, 1 << 31, 1<<32 - 1} {
		good := prefixed(ethernet(60))
		got, err := split(binary.BigEndian.AppendUint32(good, n), 7)
		require.ErrorIs(t, err, errFraming)
		require.Len(t, got, 1)
	}
}

// FuzzStream: whatever comes, frames are as long as they say, in order, and an error is
// that of a length that is not possible.
func FuzzStream(f *testing.F) {
	f.Add(prefixed(ethernet(60), ethernet(14)), uint16(7))
	f.Add([]byte{0, 1, 0, 14}, uint16(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 9}, uint16(2))
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		got, err := split(stream, int(size)+1)
		var want [][]byte
		rest, bad := stream, false
		for len(rest) >= prefixSize {
			n := binary.BigEndian.Uint32(rest)
			if bad = n > link.MaxFrame; bad || len(rest) < prefixSize+int(n) {
				break
			}
			if n >= etherSize {
				want = append(want, rest[prefixSize:prefixSize+n])
			}
			rest = rest[prefixSize+n:]
		}
		require.Equal(t, bad, err != nil)
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i], got[i])
		}
	})
}

// The bytes of a header, from the specification; the number of buffers is left out.
func TestHeaderGolden(t *testing.T) {
	t.Parallel()
	raw := []byte{1, 0x81, 0x36, 0x00, 0xb4, 0x05, 0x22, 0x00, 0x10, 0x00, 0x00, 0x00}
	h := link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4 | link.GSOECN, HdrLen: 54, GSOSize: 1460, CSumStart: 34, CSumOffset: 16}
	var b [headerSize]byte
	encodeHeader(b[:], &h)
	require.Equal(t, raw, b[:])
	got, ok := decodeHeader(raw, 2000)
	require.True(t, ok)
	require.Equal(t, h, got)
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0}, 1514)
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		if len(raw) < headerSize || n < etherSize || n > link.MaxFrame {
			return
		}
		h, ok := decodeHeader(raw, n)
		if !ok {
			return
		}
		require.True(t, h.Flags&link.NeedsChecksum == 0 || int(h.CSumStart)+int(h.CSumOffset)+2 <= n)
		require.True(t, h.GSOType == link.GSONone || h.GSOSize > 0 && h.Flags&link.NeedsChecksum != 0)
		var b [headerSize]byte
		encodeHeader(b[:], &h)
		again, ok := decodeHeader(b[:], n)
		require.True(t, ok)
		require.Equal(t, h, again)
	})
}
