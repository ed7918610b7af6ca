package guestmem_test

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

func TestDiscardFile(t *testing.T) {
	m, err := guestmem.Alloc("guestmem-discard", discardSpans()...)
	require.NoError(t, err)
	testDiscard(t, m)
}

// The host's memory falls by what is given back, and grows when it is touched.
func TestResident(t *testing.T) {
	m, err := guestmem.Alloc("guestmem-resident", guestmem.Span{Base: 0, Size: 64 * mib}, guestmem.Span{Base: 4 << 30, Size: 32 * mib})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	require.Zero(t, m.Resident(), "memory is taken when it is touched")
	m.AdviseHuge(false) // so that touching takes what is touched
	fill(t, m)
	require.EqualValues(t, 96*mib, m.Resident())
	require.NoError(t, m.Discard(16*mib, 32*mib))
	require.EqualValues(t, 64*mib, m.Resident())
	require.NoError(t, m.Discard(16*mib, 32*mib), "again")
	require.NoError(t, m.Discard(4<<30, 32*mib))
	require.EqualValues(t, 32*mib, m.Resident())
	require.NoError(t, m.Store64(20*mib, 1))
	require.EqualValues(t, 32*mib+os.Getpagesize(), m.Resident())
	m.AdviseHuge(true)
	require.EqualValues(t, 32*mib+os.Getpagesize(), m.Resident())
}

// Memory that the embedding program has locked can be given back too.
func TestDiscardLocked(t *testing.T) {
	m, err := guestmem.Alloc("guestmem-locked", guestmem.Span{Base: 0, Size: 64 << 10})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	if err := unix.Mlock(m.Regions()[0].Bytes); err != nil {
		t.Skip("this user may not lock 64 KiB: ", err)
	}
	require.NoError(t, m.Discard(0, 32<<10))
	require.EqualValues(t, 32<<10, m.Resident())
}

// Discard while the memory is closed punches no hole into a file that gets its number.
func TestDiscardRacesClose(t *testing.T) {
	for range 50 {
		m, err := guestmem.Alloc("guestmem-race", guestmem.Span{Base: 0, Size: mib})
		require.NoError(t, err)
		require.True(t, m.Acquire())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for m.Discard(0, mib) == nil {
					m.AdviseHuge(true)
					m.Resident()
				}
			})
		}
		require.NoError(t, m.Close())
		wg.Wait()
		require.ErrorIs(t, m.Discard(0, mib), guestmem.ErrClosed)
		m.Release()
	}
}
