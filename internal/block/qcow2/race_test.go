package qcow2

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// lazy is a Storage that now and then takes long between being asked and doing it.
type lazy struct{ *memory }

func (s lazy) pause() {
	for range max(rand.IntN(300)-200, 0) {
		runtime.Gosched()
	}
}

func (s lazy) ReadAt(bufs [][]byte, off uint64) error {
	s.pause()
	return s.memory.ReadAt(bufs, off)
}

func (s lazy) WriteAt(bufs [][]byte, off uint64) error {
	s.pause()
	return s.memory.WriteAt(bufs, off)
}

// A cluster that was given up is used for something else only when nobody reads or
// writes it any more: whatever is discarded and written at the same time, a block
// holds its own bytes or zeroes, and the image stays in order.
func TestFreedClustersAreLeftAlone(t *testing.T) {
	const (
		blocks = 24
		size   = 4096
	)
	s := lazy{&memory{}}
	require.NoError(t, Create(s, CreateOptions{Size: blocks * size, ClusterBits: 12}))
	m, err := Open(s, nil, true)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range uint64(6) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 6))
			b := make([]byte, size)
			for range 400 {
				i := r.Uint64N(blocks)
				var err error
				switch r.IntN(6) {
				case 0:
					err = m.Discard(i*size, size)
				case 1:
					err = m.Flush()
				case 2, 3:
					for k := 0; k < size; k += 8 {
						binary.LittleEndian.PutUint64(b[k:], i+1)
					}
					err = m.WriteAt([][]byte{b}, i*size)
				default:
					if err = m.ReadAt([][]byte{b}, i*size); err == nil {
						checkBlock(t, b, i)
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b := make([]byte, size)
	for i := range uint64(blocks) {
		require.NoError(t, m.ReadAt([][]byte{b}, i*size))
		checkBlock(t, b, i)
	}
	require.NoError(t, m.Flush())
	require.NoError(t, m.Flush())
	audit(t, s.memory, false)
}

func checkBlock(t *testing.T, b []byte, i uint64) {
	for k := 0; k < len(b); k += 8 {
		if v := binary.LittleEndian.Uint64(b[k:]); v != 0 && v != i+1 {
			t.Errorf("block %d holds bytes of block %d", i, v-1)
			return
		}
	}
}

// A Flush that had to wait is done when another began and ended well meanwhile.
func TestFlushesAreShared(t *testing.T) {
	s := &memory{}
	require.NoError(t, Create(s, CreateOptions{Size: 1 << 20}))
	m, err := Open(s, nil, true)
	require.NoError(t, err)
	before := m.flushes.Load()
	require.NoError(t, m.Flush())
	syncs := s.syncs
	require.NoError(t, m.flushSince(before))
	require.Equal(t, syncs, s.syncs)
	require.NoError(t, m.flushSince(m.flushes.Load()))
	require.Greater(t, s.syncs, syncs, "none began since")

	before = m.flushes.Load()
	s.fail = errNoSpace
	require.ErrorIs(t, m.Flush(), errNoSpace)
	require.ErrorIs(t, m.flushSince(before), errNoSpace, "the other did not end well")
}
