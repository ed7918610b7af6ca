package vsock

import (
	"sync"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// MaxCIDs is how many machines of this process can have an address at once.
const MaxCIDs = 1 << 16

// cids are the addresses in use in this process. They are no names in the
// host's kernel, so other processes cannot clash with them.
var cids = struct {
	mu   sync.Mutex
	used map[uint64]struct{}
	next uint64 // where the search starts: an address is not used again at once
}{used: map[uint64]struct{}{}, next: packet.FirstCID}

// TakeCID returns an address for a guest that no other machine of this process
// has, from 3 on. ReturnCID gives it back. Errors: vm.KindLimit.
func TakeCID() (uint64, error) {
	cids.mu.Lock()
	defer cids.mu.Unlock()
	if len(cids.used) >= MaxCIDs {
		return 0, vm.Errorf(vm.KindLimit, "vsock.cid", "all %d addresses are in use", MaxCIDs).WithComponent("vsock")
	}
	for {
		cid := cids.next
		if cids.next++; cids.next > packet.LastCID {
			cids.next = packet.FirstCID
		}
		if _, used := cids.used[cid]; !used {
			cids.used[cid] = struct{}{}
			return cid, nil
		}
	}
}

// ReserveCID takes a particular address. Errors: vm.KindInvalidArg for one that
// no guest can have, vm.KindExists for one in use.
func ReserveCID(cid uint64) error {
	if !packet.ValidCID(cid) {
		return vm.Errorf(vm.KindInvalidArg, "vsock.cid", "%d is no address of a guest", cid).
			WithComponent("vsock").WithHint("use 3 to 4294967294, or let the library choose")
	}
	cids.mu.Lock()
	defer cids.mu.Unlock()
	if _, used := cids.used[cid]; used {
		return vm.Errorf(vm.KindExists, "vsock.cid", "address %d belongs to another machine", cid).
			WithComponent("vsock").WithHint("choose another, or let the library choose")
	}
	cids.used[cid] = struct{}{}
	return nil
}

// ReturnCID gives an address back. One that is not in use is ignored.
func ReturnCID(cid uint64) {
	cids.mu.Lock()
	defer cids.mu.Unlock()
	delete(cids.used, cid)
}
