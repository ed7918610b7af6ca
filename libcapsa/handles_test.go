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
	tab := &table{seed: 7, limit: maxSlots}
	a, err := tab.put(kindVM, "a")
	require.NoError(t, err)
	require.Equal(t, token(kindVM)<<56|7<<24|1, a)

	got, err := find[any](tab, kindVM, a)
	require.NoError(t, err)
	require.Equal(t, "a", got)
	require.Nil(t, tab.take(kindBuilder, a), "another type frees nothing")
	require.Equal(t, "a", tab.take(kindVM, a))
	require.Nil(t, tab.take(kindVM, a), "freed twice")

	b, err := tab.put(kindBuilder, "b")
	require.NoError(t, err)
	require.Equal(t, a&0xffffff, b&0xffffff, "the slot is used again")
	for _, stale := range []token{a, token(kindBuilder)<<56 | a&(1<<56-1)} {
		_, err = find[any](tab, kindBuilder, stale)
		require.ErrorIs(t, err, capsa.KindHandle)
	}
}

func TestBadHandles(t *testing.T) {
	t.Parallel()
	tab := &table{seed: 1, limit: maxSlots}
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
		_, err := find[any](tab, kindVM, c.handle)
		require.ErrorIs(t, err, capsa.KindHandle, c.name)
		require.ErrorContains(t, err, c.message, c.name)
	}
}

func TestTableIsFull(t *testing.T) {
	t.Parallel()
	tab := &table{seed: 1, limit: maxSlots}
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
	tab := &table{seed: math.MaxUint32, limit: maxSlots}
	first, err := tab.put(kindVM, "first")
	require.NoError(t, err)
	tab.take(kindVM, first)
	second, err := tab.put(kindVM, "second")
	require.NoError(t, err)
	require.Equal(t, uint32(0), uint32(second>>24), "generations wrap")

	last := token(kindVM)<<56 | token(math.MaxUint32-1)<<24 | 1
	tab.generations[0] = math.MaxUint32 - 1 // as after 2^32 - 1 handles
	tab.blocks[0].Load()[1].Store(&entry{token: last, object: "second"})
	require.Equal(t, "second", tab.take(kindVM, last))
	next, err := tab.put(kindVM, "next")
	require.NoError(t, err)
	require.Equal(t, token(2), next&0xffffff, "another slot")
}

func TestTableHammer(t *testing.T) {
	t.Parallel()
	tab := &table{seed: 3, limit: maxSlots}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				h, err := tab.put(kindVM, i)
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
				if got, err := find[any](tab, kindVM, h); err != nil || got != i {
					t.Errorf("got %v, %v; want %d", got, err, i)
				}
				if got := tab.take(kindVM, h); got != i {
					t.Errorf("took %v, want %d", got, i)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, len(tab.generations), 8)
}
