package main

import (
	"fmt"
	"hash/maphash"
	"sync"

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
	case kindError:
		return "capsa_error"
	case kindOutput:
		return "capsa_output"
	}
	return "unknown type"
}

// A token is what C holds as a handle:
//
//	kind (8 bits) | generation (32 bits) | index + 1 (24 bits)
//
// It is never an address: the top byte is not zero, and such addresses do not
// exist in user space.
type token = uintptr

// maxSlots is the number of handles that a table can hold; indices have 24 bits.
const maxSlots = 1<<24 - 2

// table maps tokens to Go objects. A slot's generation changes when its handle
// is freed, so that stale handles are recognised; a slot whose generations are
// used up is never used again. The garbage collector keeps an object alive that
// one thread uses while another one frees its handle.
type table struct {
	mu    sync.RWMutex
	slots []slot   // guarded by mu
	free  []uint32 // guarded by mu; indices of empty slots
	seed  uint32   // first generation of every slot; differs between copies of the library in one process
	limit int
}

type slot struct {
	generation uint32
	kind       kind
	object     any // nil: empty
}

func newTable(seed uint32) *table { return &table{seed: seed, limit: maxSlots} }

// handles is the table of all handles but those of objects.c.
var handles = newTable(uint32(maphash.Bytes(maphash.MakeSeed(), nil)))

// put gives the object a token. The error is KindLimit.
func (t *table) put(k kind, object any) (token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var i uint32
	switch n := len(t.free); {
	case n > 0:
		i = t.free[n-1]
		t.free = t.free[:n-1]
	case len(t.slots) < t.limit:
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{generation: t.seed})
	default:
		return 0, errorf(capsa.KindLimit, "", "there are %d handles, which is all there can be", t.limit).
			WithHint("free handles that are no longer needed")
	}
	s := &t.slots[i]
	s.kind, s.object = k, object
	return token(k)<<56 | token(s.generation)<<24 | token(i+1), nil
}

// at returns the live slot of a token, or nil. Preconditions: mu is held.
func (t *table) at(k kind, h token) *slot {
	i := uint32(h&0xffffff) - 1
	if kind(h>>56) != k || int(i) >= len(t.slots) {
		return nil
	}
	s := &t.slots[i]
	if s.object == nil || s.kind != k || s.generation != uint32(h>>24) {
		return nil
	}
	return s
}

// get returns the object of a token. The error is KindHandle and says what is
// wrong with the token.
func (t *table) get(k kind, h token) (any, error) {
	t.mu.RLock()
	s := t.at(k, h)
	if s == nil {
		t.mu.RUnlock()
		return nil, badHandle(k, h)
	}
	object := s.object
	t.mu.RUnlock()
	return object, nil
}

// take removes a token and returns its object, or nil when it is not there.
func (t *table) take(k kind, h token) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.at(k, h)
	if s == nil {
		return nil
	}
	object := s.object
	s.object = nil
	if s.generation++; s.generation != t.seed {
		t.free = append(t.free, uint32(h&0xffffff)-1)
	}
	return object
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

// lookup is get with the object's type.
func lookup[T any](k kind, h token) (T, error) {
	object, err := handles.get(k, h)
	if err != nil {
		var none T
		return none, err
	}
	return object.(T), nil
}
