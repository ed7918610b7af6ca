//go:build linux

package fuse

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// key tells inodes of the host apart while they exist. The mount is part of
// it, since the same directory can be bound into itself.
type key struct{ dev, ino, mnt uint64 }

func keyOf(stx *unix.Statx_t) key {
	k := key{dev: uint64(stx.Dev_major)<<32 | uint64(stx.Dev_minor), ino: stx.Ino}
	if stx.Mask&unix.STATX_MNT_ID != 0 {
		k.mnt = stx.Mnt_id
	}
	return k
}

// born is when an inode was made: inode numbers are used again.
type born struct {
	sec  int64
	nsec uint32
	ok   bool
}

func bornOf(stx *unix.Statx_t) born {
	return born{sec: stx.Btime.Sec, nsec: stx.Btime.Nsec, ok: stx.Mask&unix.STATX_BTIME != 0}
}

// inode is a node that the client knows.
type inode struct {
	refs             // the table's one, children, handles, requests
	id   uint64      // what the client calls it
	sess *session    // that it belongs to
	key  key         // identity on the host, with born and typ
	born born        //
	typ  uint16      // S_IFMT of its mode
	look uint64      // how often the client learned the number; guarded by table.mu
	hot  atomic.Bool // used since somebody looked for victims

	// path is an O_PATH descriptor, nil while there is none.
	path atomic.Pointer[file]
	// data is a descriptor for READ without OPEN, nil while there is none.
	data atomic.Pointer[file]

	mu      sync.Mutex
	parent  *inode     // guarded by mu; holds a reference. nil: root, or found by descriptor alone
	name    cstr       // guarded by mu; replaced, never changed
	moves   uint32     // guarded by mu; counts changes of parent and name
	handles *handle    // guarded by mu; open ones
	locks   lockOwners // has its own lock

	listed       bool   // guarded by budget.mu
	older, newer *inode // guarded by budget.mu
}

// same says whether stx is of this inode.
func (n *inode) same(stx *unix.Statx_t) bool {
	if keyOf(stx) != n.key || stx.Mode&unix.S_IFMT != n.typ {
		return false
	}
	b := bornOf(stx)
	return !b.ok || !n.born.ok || b == n.born
}

func (n *inode) isDir() bool { return n.typ == unix.S_IFDIR }

// touch notes that the node was used.
func (n *inode) touch() {
	if !n.hot.Load() { // reading does not take the cache line away from others
		n.hot.Store(true)
	}
}

// put gives a reference back. The last one ends the node, and gives back the
// reference to its parent.
func (n *inode) put() {
	for n != nil && n.drop() {
		n = n.end()
	}
}

// end releases what a node has whose last reference is gone. It returns the
// parent, whose reference is the caller's now.
func (n *inode) end() (parent *inode) {
	n.sess.srv.budget.disown(n)
	n.path.Swap(nil).put()
	n.data.Swap(nil).put()
	n.locks.dropAll()
	n.sess.table.live.Add(-1)
	n.mu.Lock()
	defer n.mu.Unlock()
	parent, n.parent = n.parent, nil
	return parent
}

// place returns where the node was last seen. The parent is held for the
// caller; nil: it cannot be found by name.
func (n *inode) place() (p *inode, name cstr, moves uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.parent == nil || !n.parent.tryGet() {
		return nil, nil, n.moves
	}
	return n.parent, n.name, n.moves
}

// bind notes where the node is: p is held by the caller. fresh says that the
// node was just made, so that it is nobody's parent.
func (n *inode) bind(p *inode, name cstr, fresh bool) {
	if n == p || n.id == rootID {
		return
	}
	n.mu.Lock()
	if n.parent == p && string(n.name) == string(name) {
		n.mu.Unlock()
		return
	}
	n.mu.Unlock()
	if n.isDir() && !fresh {
		n.sess.binds.Lock()
		defer n.sess.binds.Unlock()
		breakCycle(n, p)
	}
	if !p.tryGet() {
		return
	}
	n.setPlace(p, slices.Clone(name))
	if n.isDir() {
		if n.path.Load() != nil {
			n.sess.srv.budget.adopt(n)
		}
	} else if f := n.path.Swap(nil); f != nil {
		f.put() // it was kept because the name was gone
	}
}

// unbind notes that the node cannot be found by name any more.
func (n *inode) unbind() { n.setPlace(nil, nil) }

func (n *inode) setPlace(p *inode, name cstr) {
	n.mu.Lock()
	old := n.parent
	n.parent, n.name = p, name
	n.moves++
	n.mu.Unlock()
	if old != nil {
		old.put()
	}
}

// breakCycle makes sure that n is not above p: if it seems to be, one of the
// places in between is out of date, for the host's directories have no cycle.
// Preconditions: session.binds is held, so that places of directories stand.
func breakCycle(n, p *inode) {
	for c, depth := p, 0; c != nil && depth < maxSlots; depth++ {
		c.mu.Lock()
		up := c.parent
		c.mu.Unlock()
		if up == n {
			// c was entered through its descriptor; it is found by that alone.
			n.sess.srv.budget.disown(c)
			c.unbind()
			return
		}
		c = up // stays alive: it has a child
	}
}

// table is all nodes of a session.
type table struct {
	max  int64
	live atomic.Int64 // nodes that exist, forgotten ones with children too

	mu    sync.Mutex
	slots slots[inode]   // guarded by mu, but get
	byKey map[key]*inode // guarded by mu
	hand  uint32         // guarded by mu; where sweep goes on

	evictions atomic.Uint64
}

// get returns the node with this number, held for the caller, or nil.
func (t *table) get(id uint64) *inode {
	n := t.slots.get(id)
	if n == nil || n.id != id || !n.tryGet() {
		return nil
	}
	n.touch()
	return n
}

// known returns the node of an inode, held for the caller, or nil.
func (t *table) known(stx *unix.Statx_t) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.find(stx)
}

// find is known. Preconditions: mu is held.
func (t *table) find(stx *unix.Statx_t) *inode {
	k := keyOf(stx)
	n := t.byKey[k]
	if n == nil {
		return nil
	}
	if !n.same(stx) {
		// The number was used again on the host. Who knows the old node gets
		// ESTALE; it stays until it is forgotten.
		delete(t.byKey, k)
		return nil
	}
	if !n.tryGet() {
		return nil
	}
	n.touch()
	return n
}

// add finds the node of an inode, or makes it, and counts that the client
// learns of it. The node is held for the caller.
func (t *table) add(s *session, stx *unix.Statx_t) (n *inode, fresh bool, e syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.find(stx); n != nil {
		n.look++
		return n, false, 0
	}
	if t.live.Load() >= t.max && !t.sweep() {
		return nil, false, syscall.ENFILE
	}
	id, ok := t.slots.alloc()
	if !ok {
		return nil, false, syscall.ENFILE
	}
	k := keyOf(stx)
	n = &inode{id: id, sess: s, key: k, born: bornOf(stx), typ: stx.Mode & unix.S_IFMT, look: 1}
	n.n.Store(2) // the table and the caller
	n.hot.Store(true)
	t.live.Add(1)
	t.slots.set(id, n)
	t.byKey[k] = n
	return n, true, 0
}

// forget takes back count of what the client learned.
func (t *table) forget(id, count uint64) {
	if id == rootID {
		return
	}
	t.mu.Lock()
	n := t.slots.get(id)
	if n == nil || n.id != id {
		t.mu.Unlock()
		return
	}
	n.look -= min(count, n.look)
	gone := n.look == 0
	if gone {
		t.detach(n)
	}
	t.mu.Unlock()
	if gone {
		n.put()
	}
}

// detach takes a node off the table. Preconditions: mu is held.
func (t *table) detach(n *inode) {
	if t.byKey[n.key] == n {
		delete(t.byKey, n.key)
	}
	t.slots.release(n.id)
}

// sweep forgets files that nothing uses and that were not used of late: an
// eighth of the table or what there is. Directories stay, since a process may
// stand in one, which Linux does not look up again. Preconditions: mu is held.
func (t *table) sweep() bool {
	want, total := max(t.max/8, 1), int64(t.slots.next)
	for range 2 * total {
		t.hand++
		if t.hand >= t.slots.next {
			t.hand = 1
		}
		n := t.slots.get(uint64(t.hand))
		if n == nil || n.id == rootID || n.isDir() || n.hot.Swap(false) {
			continue
		}
		if n.path.Load() != nil || !n.n.CompareAndSwap(1, 0) {
			continue // found by its descriptor alone, or in use
		}
		t.detach(n)
		n.end().put()
		t.evictions.Add(1)
		if want--; want == 0 {
			return true
		}
	}
	return t.live.Load() < t.max
}
