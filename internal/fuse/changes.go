//go:build linux

package fuse

import (
	"errors"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/fuse/watch"
)

// Change is something that the host did in a watched directory.
type Change struct {
	Path   string // of the name, relative to the share's root; "" with Overflow
	Op     watch.Op
	Dir    bool   // it is a directory
	Cookie uint32 // pairs MovedAway and MovedHere
}

const (
	// maxWatches bounds the directories that a client has watched.
	maxWatches = 4096
	// maxOwn bounds what is remembered of the client's own changes.
	maxOwn = 4096
	// ownFor is how long a change of the client's own is remembered: the event
	// about it comes within microseconds, unless the machine is very busy.
	ownFor = time.Second
)

// ErrPath: a path leads out of the share, or over a symbolic link.
var ErrPath = errors.New("fuse: not a path of directories inside the share")

// changes watches directories of the share for the client. What the client
// does itself is no news to it, and is left out.
type changes struct {
	srv  *Server
	tell func(Change)

	mu      sync.Mutex
	watcher *watch.Watcher // guarded by mu; nil until the first watch
	next    uint64         // guarded by mu; keys
	byKey   map[uint64]*watched
	byPath  map[string]*watched
	byNode  map[key]*watched
	own     map[ownName]time.Time
	closed  bool
}

// watched is one directory.
type watched struct {
	key  uint64
	path string
	node key // on the host
}

// ownName is a name in a directory that the client changed.
type ownName struct {
	dir  key
	name string
}

// Watch tells of changes that the host makes to names in a directory of the
// share, named by its path from the root ("." or "" is the root). The client
// learns by notifications, where it takes them; tell learns in any case. Watches outlast
// the client's sessions.
//
// Changes within a second of one that the client made to the same name may be
// left out. Errors: ErrPath, those of [watch.Watcher.Add], and those of opening
// the directory.
func (s *Server) Watch(dir string) error { return s.changes.add(dir) }

// Unwatch ends a Watch.
func (s *Server) Unwatch(dir string) { s.changes.remove(path.Clean(dir)) }

// OnChange sets what is told of changes in watched directories, in order, on a
// goroutine of the server. It must not block, nor call Close.
func (s *Server) OnChange(tell func(Change)) {
	s.changes.mu.Lock()
	s.changes.tell = tell
	s.changes.mu.Unlock()
}

// openDir opens a directory of the share by its path. The kernel makes sure
// that it does not lead out.
func (s *Server) openDir(dir string) (held, error) {
	if len(dir) >= unix.PathMax {
		return held{}, ErrPath
	}
	h, e := s.openPath(s.rootFD.fd, append(cstr(dir), 0))
	switch e {
	case 0:
		return h, nil
	case unix.EXDEV, unix.ELOOP:
		return held{}, &os.PathError{Op: "watch", Path: dir, Err: ErrPath}
	}
	return held{}, &os.PathError{Op: "watch", Path: dir, Err: e}
}

func (c *changes) add(dir string) error {
	dir = path.Clean(dir)
	h, err := c.srv.openDir(dir)
	if err != nil {
		return err
	}
	defer h.release()
	var stx unix.Statx_t
	if e := statFD(h.fd, &stx); e != 0 {
		return &os.PathError{Op: "statx", Path: dir, Err: e}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return watch.ErrClosed
	}
	if c.watcher == nil {
		if c.watcher, err = watch.New(maxWatches, c.events); err != nil {
			return err
		}
		c.byKey, c.byPath, c.byNode = map[uint64]*watched{}, map[string]*watched{}, map[key]*watched{}
		c.own = map[ownName]time.Time{}
	}
	if c.byPath[dir] != nil {
		return nil
	}
	c.next++
	w := &watched{key: c.next, path: dir, node: keyOf(&stx)}
	if old := c.byNode[w.node]; old != nil {
		c.drop(old) // it has another path now
	}
	if err := c.watcher.Add(w.key, h.fd); err != nil {
		return err
	}
	c.byKey[w.key], c.byPath[dir], c.byNode[w.node] = w, w, w
	c.srv.watching.Store(true)
	return nil
}

func (c *changes) remove(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.byPath[dir]; w != nil {
		c.watcher.Remove(w.key)
		c.drop(w)
	}
}

// drop forgets a directory. Preconditions: mu is held.
func (c *changes) drop(w *watched) {
	delete(c.byKey, w.key)
	delete(c.byPath, w.path)
	delete(c.byNode, w.node)
	c.srv.watching.Store(len(c.byKey) > 0)
}

// mine notes that the client is about to change a name.
func (c *changes) mine(dir key, name cstr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byNode[dir] == nil {
		return
	}
	if len(c.own) >= maxOwn {
		c.forget(time.Now())
	}
	if len(c.own) < maxOwn {
		c.own[ownName{dir, name.String()}] = time.Now()
	}
}

// ownChange notes that the client changes a name in a directory.
func (s *Server) ownChange(dir *inode, name cstr) {
	if s.watching.Load() {
		s.changes.mine(dir.key, name)
	}
}

// ownUse notes that the client changes a file.
func (s *Server) ownUse(n *inode) {
	if !s.watching.Load() {
		return
	}
	if p, name, _ := n.place(); p != nil {
		s.changes.mine(p.key, name)
		p.put()
	}
}

// forget drops what is too old. Preconditions: mu is held.
func (c *changes) forget(now time.Time) {
	for k, at := range c.own {
		if now.Sub(at) > ownFor {
			delete(c.own, k)
		}
	}
}

// events takes what the watcher saw.
func (c *changes) events(events []watch.Event) {
	for _, e := range events {
		c.mu.Lock()
		w, tell := c.byKey[e.Key], c.tell
		own := false
		if w != nil {
			at, ok := c.own[ownName{w.node, e.Name}]
			own = ok && time.Since(at) <= ownFor
			if e.Op == watch.Gone {
				c.drop(w)
			}
		}
		c.mu.Unlock()
		if w == nil && e.Op != watch.Overflow || own {
			continue
		}
		change := Change{Op: e.Op, Dir: e.Dir, Cookie: e.Cookie}
		if w != nil {
			change.Path = path.Join(w.path, e.Name)
			c.srv.invalidate(w.node, e)
		}
		if tell != nil {
			tell(change)
		}
	}
}

// close ends all watches.
func (c *changes) close() {
	c.mu.Lock()
	c.closed = true
	w := c.watcher
	c.mu.Unlock()
	if w != nil {
		w.Close()
	}
}

// invalidate tells the client that what it remembers is out of date.
func (s *Server) invalidate(dir key, e watch.Event) {
	if s.opt.Notify == nil {
		return
	}
	ss := s.session()
	if ss == nil {
		return
	}
	defer ss.put()
	d := ss.table.byHostKey(dir)
	if d == nil {
		return // the client has not been there
	}
	defer d.put()
	switch e.Op {
	case watch.Written, watch.Changed:
		h, ok := d.direct()
		if !ok {
			return
		}
		defer h.release()
		var stx unix.Statx_t
		if statAt(h.fd, append(cstr(e.Name), 0), &stx) != 0 {
			return
		}
		n := ss.table.known(&stx)
		if n == nil {
			return
		}
		off := int64(0)
		if e.Op == watch.Changed {
			off = notifyAttrOnly
		}
		s.notify(invalInode(n.id, off))
		n.put()
	case watch.Created, watch.Removed, watch.MovedAway, watch.MovedHere:
		s.notify(invalEntry(d.id, e.Name))
		s.notify(invalInode(d.id, notifyAttrOnly))
	case watch.Gone, watch.Overflow:
	}
}

// byHostKey returns the node of an inode by its key alone, held for the
// caller, or nil.
func (t *table) byHostKey(k key) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byKey[k]; n != nil && n.tryGet() {
		return n
	}
	return nil
}
