package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/capsa"
)

// kind is the type of a handle; the values are those of priv.h.
type kind uint8

const (
	kindBuilder kind = 1
	kindVM      kind = 2
	kindConsole kind = 3
	kindCancel  kind = 4
	kindOp      kind = 5
	kindExec    kind = 6
	kindNetwork kind = 7
	kindError   kind = 0x61 // in C's table
	kindOutput  kind = 0x62 // in C's table
)

func (k kind) String() string {
	switch k {
	case kindBuilder:
		return "capsa_builder"
	case kindVM:
		return "capsa_vm"
	case kindConsole:
		return "capsa_console"
	case kindCancel:
		return "capsa_cancel"
	case kindOp:
		return "operation"
	case kindExec:
		return "capsa_exec"
	case kindNetwork:
		return "capsa_network"
	case kindError:
		return "capsa_error"
	case kindOutput:
		return "capsa_output"
	}
	return "unknown type"
}

// A token is what C holds as a handle:
//
//	kind (8 bits) | generation (32 bits) | index of the slot (24 bits)
//
// It is never an address: the top byte is not zero, and such addresses do not
// exist in user space.
type token = uintptr

// maxSlots is the number of handles that a table can hold; indices have 24 bits,
// and no token has index 0.
const maxSlots = 1<<24 - 1

// blockSize is the number of slots that come at once, and of blocks that there can
// be.
const blockSize = 1 << 12

// table maps tokens to Go objects. A slot's generation changes when its handle
// is freed, so that stale handles are recognised; a slot whose generations are
// used up is never used again. The garbage collector keeps an object alive that
// one thread uses while another one frees its handle.
type table struct {
	// Every call reads blocks, without a lock; they are written with mu held.
	// A block stays for ever once it is there.
	blocks [blockSize]atomic.Pointer[block]

	mu          sync.Mutex
	generations []uint32 // of the slots that were ever used, from index 1; guarded by mu
	free        []uint32 // indices of empty slots; guarded by mu
	seed        uint32   // first generation of every slot; differs between copies of the library in one process
	limit       int
}

// block has the live handles of some slots, nil where there is none.
type block [blockSize]atomic.Pointer[entry]

// entry is a live handle; it does not change.
type entry struct {
	token  token
	object any
}

// handles is the table of all handles but those of objects.c.
var handles = table{seed: newSeed(), limit: maxSlots}

// newSeed asks the kernel. The Go runtime's own numbers would not do: it starts
// from the bytes that the process got (AT_RANDOM of getauxval(3)), and two copies
// of the library that are loaded at once may both start from the same ones.
func newSeed() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return binary.NativeEndian.Uint32(b[:])
}

// put gives the object a token. The error is KindLimit.
func (t *table) put(k kind, object any) (token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var i uint32
	switch n := len(t.free); {
	case n > 0:
		i = t.free[n-1]
		t.free = t.free[:n-1]
	case len(t.generations) < t.limit:
		t.generations = append(t.generations, t.seed)
		i = uint32(len(t.generations))
		if b := &t.blocks[i/blockSize]; b.Load() == nil {
			b.Store(new(block))
		}
	default:
		return 0, errorf(capsa.KindLimit, "", "there are %d handles, which is all there can be", t.limit).
			WithHint("free handles that are no longer needed")
	}
	h := token(k)<<56 | token(t.generations[i-1])<<24 | token(i)
	t.blocks[i/blockSize].Load()[i%blockSize].Store(&entry{token: h, object: object})
	return h, nil
}

// at returns the slot of a token that is live and its entry, or nil.
func (t *table) at(k kind, h token) (*atomic.Pointer[entry], *entry) {
	b := t.blocks[h/blockSize%blockSize].Load()
	if b == nil {
		return nil, nil
	}
	slot := &b[h%blockSize]
	if e := slot.Load(); e != nil && e.token == h && kind(h>>56) == k {
		return slot, e
	}
	return nil, nil
}

// take removes a token and returns its object, or nil when it is not there.
func (t *table) take(k kind, h token) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot, e := t.at(k, h)
	if e == nil {
		return nil
	}
	slot.Store(nil)
	i := uint32(h & 0xffffff)
	if g := &t.generations[i-1]; *g+1 != t.seed {
		t.free = append(t.free, i)
		*g++
	}
	return e.object
}

func badHandle(want kind, h token) error {
	var what string
	switch got := kind(h >> 56); {
	case h == 0:
		what = fmt.Sprintf("the %s is NULL", want)
	case got == want:
		what = fmt.Sprintf("the %s %#x was freed or never existed", want, h)
	case got.String() == "unknown type":
		what = fmt.Sprintf("%#x is no handle of libcapsa; a %s is needed", h, want)
	default:
		what = fmt.Sprintf("%#x is a %s; a %s is needed", h, got, want)
	}
	return errorf(capsa.KindHandle, "", "%s", what)
}

// find returns the object of a token, which is a T. The error is KindHandle and
// says what is wrong with the token.
func find[T any](t *table, k kind, h token) (object T, err error) {
	if _, e := t.at(k, h); e != nil {
		return e.object.(T), nil
	}
	return object, badHandle(k, h)
}

// lookup is find in the table of the library.
func lookup[T any](k kind, h token) (T, error) { return find[T](&handles, k, h) }
