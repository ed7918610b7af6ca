package qcow2

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// seedImages are small images with everything that the format has.
func seedImages(t testing.TB) [][]byte {
	make1 := func(o CreateOptions, back Backing, touch func(m *Image)) *memory {
		s := &memory{}
		require.NoError(t, Create(s, o))
		m, err := Open(s, back, true)
		require.NoError(t, err)
		if touch != nil {
			touch(m)
		}
		require.NoError(t, m.Close())
		return s
	}
	fill := func(m *Image) {
		require.NoError(t, m.WriteAt([][]byte{bytes.Repeat([]byte{7}, 3000)}, 700))
		require.NoError(t, m.WriteZeroes(1024, 1024, true))
		require.NoError(t, m.Flush())
	}
	var out [][]byte
	out = append(out, make1(CreateOptions{Size: 4096, ClusterBits: 9}, nil, nil).now)
	out = append(out, make1(CreateOptions{Size: 100 << 10, ClusterBits: 9}, nil, fill).now)
	out = append(out, make1(CreateOptions{Size: 16 << 10, ClusterBits: 12}, nil, fill).now)
	back := CreateOptions{Size: 64 << 10, ClusterBits: 9, BackingFile: "base.raw", BackingFormat: "raw"}
	out = append(out, make1(back, pattern{64 << 10}, fill).now)
	v2 := slices.Clone(out[1])
	v2[7] = 2
	out = append(out, v2)
	shared := slices.Clone(out[1]) // as after a snapshot: nothing is the image's own
	l1 := binary.BigEndian.Uint64(shared[40:])
	shared[l1] &^= 0x80
	out = append(out, shared, compressedImage(t, 0), compressedImage(t, 1))
	return out
}

// compressedImage is an image of 4 KiB clusters whose first is compressed.
func compressedImage(t testing.TB, kind byte) []byte {
	s := &memory{}
	require.NoError(t, Create(s, CreateOptions{Size: 64 << 10, ClusterBits: 12}))
	m, err := Open(s, nil, true)
	require.NoError(t, err)
	require.NoError(t, m.WriteAt([][]byte{make([]byte, 8192)}, 0))
	require.NoError(t, m.Close())
	var packed bytes.Buffer
	plain := bytes.Repeat([]byte("compressed "), 400)[:4096]
	if kind == compressionZstd {
		w, err := zstd.NewWriter(&packed)
		require.NoError(t, err)
		_, err = w.Write(plain)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		s.now[79] |= incompatCompression
		s.now[typeOffset] = kind
	} else {
		w, err := flate.NewWriter(&packed, 9)
		require.NoError(t, err)
		_, err = w.Write(plain)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	be := binary.BigEndian
	l2 := be.Uint64(s.now[be.Uint64(s.now[40:]):]) & offsetMask
	host := be.Uint64(s.now[l2:]) & offsetMask
	copy(s.now[host:], packed.Bytes())
	sectors := uint64(packed.Len()-1) / 512
	be.PutUint64(s.now[l2:], compressedFlag|sectors<<(62-(12-8))|host)
	return s.now
}

func TestCompressedClusters(t *testing.T) {
	want := bytes.Repeat([]byte("compressed "), 400)[:4096]
	for _, kind := range []byte{compressionZlib, compressionZstd} {
		m, err := Open(&memory{now: compressedImage(t, kind)}, nil, true)
		require.NoError(t, err)
		got := make([]byte, 4096)
		require.NoError(t, m.ReadAt([][]byte{got}, 0))
		require.Equal(t, want, got)
		require.NoError(t, m.WriteAt([][]byte{[]byte("xyz")}, 5))
		copy(want[5:], "xyz")
		require.NoError(t, m.Flush())
		require.NoError(t, m.ReadAt([][]byte{got}, 0))
		require.Equal(t, want, got)
		copy(want[5:], "ess")
	}
}

// FuzzImage opens anything and uses it. There is no panic, no endless loop and no
// request for memory beyond the image's size, and whatever the guest writes, the
// image's header stays what it was.
func FuzzImage(f *testing.F) {
	ops := []byte{0, 1, 3, 2, 40, 9, 4, 3, 1, 0, 90, 200, 1, 0, 255, 4, 2, 3, 1, 1, 4, 5, 1, 80, 3, 0, 0}
	for _, image := range seedImages(f) {
		f.Add(image, ops)
		f.Add(image, bytes.Repeat([]byte{1, 7, 31}, 30))
	}
	f.Fuzz(func(t *testing.T, image, ops []byte) {
		const room = 1 << 22
		if len(image) > room/2 {
			return
		}
		s := &flat{now: slices.Clone(image), limit: room}
		if m, err := Open(s, pattern{50_000}, false); err == nil {
			_ = use(m, ops)
		}
		m, err := Open(s, pattern{50_000}, true)
		if err != nil {
			return
		}
		head := slices.Clone(s.now[:headerV2Size])
		_ = use(m, ops)
		_ = m.Close()
		clear(head[48:60]) // where the refcount table is
		clear(s.now[48:60])
		require.Equal(t, head, s.now[:headerV2Size])
	})
}

// use does what ops say, three bytes for each, and returns the last error.
func use(m *Image, ops []byte) (last error) {
	for ; len(ops) >= 3; ops = ops[3:] {
		off := uint64(ops[1]) * 300
		if ops[1] >= 250 {
			off = m.Size() - min(m.Size(), uint64(255-ops[1])*700)
		}
		off = min(off, m.Size())
		n := min(uint64(ops[2])*37, m.Size()-off)
		b := bytes.Repeat([]byte{ops[2]}, int(n))
		var err error
		switch ops[0] % 6 {
		case 0:
			err = m.ReadAt([][]byte{b}, off)
		case 1:
			err = m.WriteAt([][]byte{b[:n/2], b[n/2:]}, off)
		case 2:
			err = m.Discard(off, n)
		case 3:
			err = m.WriteZeroes(off, n, ops[2]&1 == 0)
		case 4:
			err = m.Flush()
		case 5:
			err = m.WriteZeroes(off, m.Size()-off, true)
		}
		if err != nil {
			last = err
		}
	}
	return last
}
