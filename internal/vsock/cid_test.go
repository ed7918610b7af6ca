package vsock

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

func TestCIDs(t *testing.T) {
	a, err := TakeCID()
	require.NoError(t, err)
	require.GreaterOrEqual(t, a, packet.FirstCID)
	b, err := TakeCID()
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	require.ErrorIs(t, ReserveCID(a), vm.KindExists)
	ReturnCID(a)
	require.NoError(t, ReserveCID(a))
	ReturnCID(a)
	ReturnCID(a) // ignored
	ReturnCID(b)
	for _, cid := range []uint64{0, 1, 2, 1<<32 - 1, 1 << 32} {
		require.ErrorIs(t, ReserveCID(cid), vm.KindInvalidArg)
	}
	require.NoError(t, ReserveCID(packet.LastCID))
	ReturnCID(packet.LastCID)
}

func TestCIDsDoNotClash(t *testing.T) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[uint64]bool{}
	for range 16 {
		wg.Go(func() {
			for range 100 {
				cid, err := TakeCID()
				mu.Lock()
				require.NoError(t, err)
				require.False(t, seen[cid])
				seen[cid] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for cid := range seen {
		ReturnCID(cid)
	}
}

func TestCIDsRunOut(t *testing.T) {
	var taken []uint64
	defer func() {
		for _, cid := range taken {
			ReturnCID(cid)
		}
	}()
	for {
		cid, err := TakeCID()
		if err != nil {
			require.ErrorIs(t, err, vm.KindLimit)
			break
		}
		taken = append(taken, cid)
	}
	require.Len(t, taken, MaxCIDs)
}
