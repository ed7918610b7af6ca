package main

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
)

func TestTable(t *testing.T) {
	t.Parallel()
	tab := newTable(7)
	a, err := tab.put(kindVM, "a")
	require.NoError(t, err)
	require.Equal(t, token(kindVM)<<56|7<<24|1, a)

	got, err := tab.get(kindVM, a)
	require.NoError(t, err)
	require.Equal(t, "a", got)
	require.Nil(t, tab.take(kindBuilder, a), "another type frees nothing")
	require.Equal(t, "a", tab.take(kindVM, a))
	require.Nil(t, tab.take(kindVM, a), "freed twice")

	b, err := tab.put(kindBuilder, "b")
	require.NoError(t, err)
	require.Equal(t, a&0xffffff, b&0xffffff, "the slot is used again")
	for _, stale := range []token{a, token(kindBuilder)<<56 | a&(1<<56-1)} {
		_, err = tab.get(kindBuilder, stale)
		require.ErrorIs(t, err, capsa.KindHandle)
	}
}

func TestBadHandles(t *testing.T) {
	t.Parallel()
	tab := newTable(1)
	h, err := tab.put(kindConsole, "c")
	require.NoError(t, err)
	for _, c := range []struct {
		name    string
		handle  token
		message string
	}{
		{"null", 0, "the capsa_vm is NULL"},
		{"another type", h, "is a capsa_console; a capsa_vm is needed"},
		{"error object", token(kindError)<<56 | 1, "is a capsa_error; a capsa_vm is needed"},
		{"freed", token(kindVM)<<56 | 9<<24 | 1, "was freed or never existed"},
		{"index 0", token(kindVM)<<56 | 1<<24, "was freed or never existed"},
		{"address", 0x7fff_1234_5678, "is no handle of libcapsa"},
		{"all ones", math.MaxUint64, "is no handle of libcapsa"},
	} {
		_, err := tab.get(kindVM, c.handle)
		require.ErrorIs(t, err, capsa.KindHandle, c.name)
		require.ErrorContains(t, err, c.message, c.name)
	}
}

func TestTableIsFull(t *testing.T) {
	t.Parallel()
	tab := newTable(1)
	tab.limit = 2
	a, err := tab.put(kindVM, 1)
	require.NoError(t, err)
	_, err = tab.put(kindVM, 2)
	require.NoError(t, err)
	_, err = tab.put(kindVM, 3)
	require.ErrorIs(t, err, capsa.KindLimit)
	tab.take(kindVM, a)
	_, err = tab.put(kindVM, 3)
	require.NoError(t, err)
}

// A slot whose generations are used up is not used again: no handle ever comes back.
func TestGenerationsUsedUp(t *testing.T) {
	t.Parallel()
	tab := newTable(math.MaxUint32)
	first, err := tab.put(kindVM, "first")
	require.NoError(t, err)
	tab.take(kindVM, first)
	second, err := tab.put(kindVM, "second")
	require.NoError(t, err)
	require.Equal(t, uint32(0), uint32(second>>24), "generations wrap")

	tab.slots[0].generation = math.MaxUint32 - 1 // as after 2^32 - 1 handles
	last := token(kindVM)<<56 | token(math.MaxUint32-1)<<24 | 1
	require.Equal(t, "second", tab.take(kindVM, last))
	next, err := tab.put(kindVM, "next")
	require.NoError(t, err)
	require.Equal(t, token(2), next&0xffffff, "another slot")
}

func TestTableHammer(t *testing.T) {
	t.Parallel()
	tab := newTable(3)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				h, err := tab.put(kindVM, i)
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
				if got, err := tab.get(kindVM, h); err != nil || got != i {
					t.Errorf("got %v, %v; want %d", got, err, i)
				}
				if got := tab.take(kindVM, h); got != i {
					t.Errorf("took %v, want %d", got, i)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, len(tab.slots), 8)
}
