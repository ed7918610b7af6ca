//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// rootID is the number of the share's root (FUSE_ROOT_ID).
const rootID = 1

// Server serves one directory. It keeps its descriptors and options; what a
// client builds up is in a session, of which there is a new one after each
// INIT, DESTROY and Reset.
type Server struct {
	refs    // its own until Close, sessions
	opt     Options
	ids     ids
	root    bool   // the process may change owners
	resolve uint64 // of every openat2
	procFD  int    // O_PATH of /proc/self/fd
	rootFD  *file  // O_PATH of the shared directory
	rootStx unix.Statx_t
	rootMnt uint64        // the mount of the root
	byName  bool          // see session.openByName
	umask   atomic.Uint32 // of the process, as last seen
	budget  budget
	stats   counters
	buffers sync.Pool // *[bigSize]byte

	changes  changes
	watching atomic.Bool   // some directory is watched
	released chan struct{} // closed when no descriptor is open any more

	mu     sync.Mutex // guards replacing cur
	cur    atomic.Pointer[session]
	closed atomic.Bool
}

// session is what one client knows, from INIT to the next INIT, DESTROY or
// Reset. Requests hold it; the last one closes everything.
type session struct {
	refs            // the server's one, requests
	srv     *Server //
	caps    uint64  // negotiated INIT flags; constant
	minor   uint32  // negotiated protocol version; constant
	ready   bool    // INIT was answered; constant
	table   table
	handles handleTable
	waits   waiters

	renames  sync.Mutex    // held while a rename changes names and places
	replaced atomic.Uint64 // counts beginnings and ends of renames that replace a file
	binds    sync.Mutex    // held while a directory gets another place
}

// New opens a directory. The path is the caller's, and may contain links. An
// *OptionError says which option cannot be had, an *os.PathError or
// *os.SyscallError what the system refused.
func New(path string, opt Options) (*Server, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	s := &Server{opt: opt, ids: newIDs(opt.Owner), root: privileged(), resolve: beneath, procFD: -1}
	if err := opt.Owner.possible(s.root); err != nil {
		return nil, err
	}
	if opt.Submounts == SubmountsDeny {
		s.resolve |= unix.RESOLVE_NO_XDEV
	}
	s.budget.setLimit(opt.MaxFiles)
	if opt.MaxFiles == 0 {
		s.budget.setLimit(defaultMaxFilesNow())
	}
	if s.opt.MaxInodes == 0 {
		s.opt.MaxInodes = defaultMaxInodes
	}
	s.n.Store(1)
	s.changes.srv = s
	s.released = make(chan struct{})
	s.buffers.New = func() any { return new([bigSize]byte) }
	if err := s.open(path); err != nil {
		s.release()
		return nil, err
	}
	s.umask.Store(processUmask())
	s.replace(s.newSession(false, 0, 0))
	return s, nil
}

// open gets the descriptors that stay open.
func (s *Server) open(path string) error {
	var err error
	// The link "self" is resolved here, once: whatever is mounted over /proc
	// later does not matter.
	if s.procFD, err = unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return &os.PathError{Op: "open", Path: "/proc/self/fd", Err: err}
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	s.budget.used.Add(1)
	s.rootFD = newFile(fd, &s.budget)
	if e := statFD(fd, &s.rootStx); e != 0 {
		return &os.PathError{Op: "statx", Path: path, Err: e}
	}
	if s.rootStx.Mask&unix.STATX_BASIC_STATS != unix.STATX_BASIC_STATS {
		return &OptionError{Field: "path", Problem: path + " has no inode numbers", Err: ErrUnsupported}
	}
	st, e := statfsFD(fd)
	if e != 0 {
		return &os.PathError{Op: "fstatfs", Path: path, Err: e}
	}
	s.rootMnt = keyOf(&s.rootStx).mnt
	s.byName = s.rootMnt != 0 && (st.Flags&unix.ST_NODEV != 0 || !s.root)
	if magic := magicOf(st); kernelMagics[magic] {
		return &OptionError{
			Field: "path", Problem: fmt.Sprintf("%s shows the kernel itself (file system %#x)", path, magic),
			Hint: "share a directory of ordinary files", Err: ErrUnsupported,
		}
	}
	h, e := s.openPath(fd, cstr(".\x00")) // openat2 works, and the directory can be entered
	h.release()
	switch e {
	case 0:
	case syscall.ENOSYS:
		return &OptionError{Field: "path", Problem: "openat2 is missing", Hint: "Linux 5.6 or later is needed", Err: ErrUnsupported}
	default:
		return &os.PathError{Op: "openat2", Path: path, Err: e}
	}
	if s.opt.ACL {
		return s.probeACL(path, fd)
	}
	return nil
}

// probeACL makes sure that the file system has access control lists.
func (s *Server) probeACL(path string, fd int) error {
	var buf [40]byte
	_, e := xattrCall(unix.SYS_GETXATTR, procPath(fd, &buf), aclDefault, nil, 0)
	if e == 0 || e == syscall.ENODATA {
		return nil
	}
	return &OptionError{Field: "ACL", Problem: "the file system of " + path + " has no access control lists", Hint: "leave ACL off", Err: errors.Join(ErrUnsupported, e)}
}

// newSession makes a session whose only node is the root.
func (s *Server) newSession(ready bool, caps uint64, minor uint32) *session {
	ss := &session{srv: s, caps: caps, minor: minor, ready: ready}
	ss.n.Store(1)
	s.n.Add(1)
	ss.table.max = int64(s.opt.MaxInodes)
	ss.table.byKey = map[key]*inode{}
	ss.waits.init()
	root := &inode{id: rootID, sess: ss, key: keyOf(&s.rootStx), born: bornOf(&s.rootStx), typ: unix.S_IFDIR, look: 1}
	root.n.Store(1)
	s.rootFD.tryGet()
	root.path.Store(s.rootFD)
	t := &ss.table
	t.live.Store(1)
	_, _ = t.slots.alloc() // 0 is no node
	_, _ = t.slots.alloc()
	t.slots.set(rootID, root)
	t.byKey[root.key] = root
	_, _ = ss.handles.slots.alloc() // 0 is no handle: reads without OPEN
	return ss
}

// replace makes ss the session of new requests. The old one ends with its last
// request; those that wait for locks give up.
func (s *Server) replace(ss *session) {
	s.mu.Lock()
	old := s.cur.Load()
	if s.closed.Load() && ss != nil {
		ss.put()
		ss = nil
	}
	s.cur.Store(ss)
	s.mu.Unlock()
	if old == nil {
		return
	}
	old.waits.close()
	if old.drop() {
		// On a goroutine of its own: closing a file may take the host as long
		// as any other request, and this may be a vCPU that resets the device.
		safe.Go("fuse session end", nil, old.end)
	}
}

// session returns the current one, held for the caller, or nil after Close.
func (s *Server) session() *session {
	for {
		ss := s.cur.Load()
		if ss == nil || ss.tryGet() {
			return ss
		}
	}
}

// put gives a request's use back. Nil is allowed.
func (s *session) put() {
	if s != nil && s.drop() {
		s.end()
	}
}

// end closes handles and nodes after the last use.
func (s *session) end() {
	defer s.srv.put()
	s.handles.slots.each((*handle).put) // the table's references
	var all []*inode
	s.table.slots.each(func(n *inode) { all = append(all, n) })
	for _, n := range all {
		n.put()
	}
}

// Reset forgets everything that the client built up, as if it had just
// connected. Requests in flight end with what they have.
func (s *Server) Reset() {
	if s.closed.Load() {
		return
	}
	if ss := s.cur.Load(); ss != nil && !ss.ready {
		return // no client has connected since the last time
	}
	s.replace(s.newSession(false, 0, 0))
}

// closeWait is how long Close waits for descriptors to be closed. Only files
// that hang take longer; those are closed when the host lets go of them.
const closeWait = 200 * time.Millisecond

// Close ends the service: requests get no reply from now on. Descriptors are
// closed when it returns, but for those that hang. Idempotent.
func (s *Server) Close() {
	if s.closed.Swap(true) {
		return
	}
	s.changes.close()
	s.replace(nil)
	s.put()
	limit := time.NewTimer(closeWait)
	defer limit.Stop()
	select {
	case <-s.released:
	case <-limit.C:
	}
}

// put gives a use back. The last one closes what open got.
func (s *Server) put() {
	if s.drop() {
		s.release()
		close(s.released)
	}
}

// release closes what open got.
func (s *Server) release() {
	s.rootFD.put()
	if s.procFD >= 0 {
		closeFD(s.procFD)
	}
}
