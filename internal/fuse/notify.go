//go:build linux

package fuse

// Notification codes, enum fuse_notify_code. They stand where a reply has its
// error; unique is 0.
const (
	notifyInvalInode = 2
	notifyInvalEntry = 3
)

// notifyAttrOnly as offset of an inode's invalidation leaves its data alone.
const notifyAttrOnly = -1

// invalInode says that a node's attributes changed, and with offset 0 its data.
func invalInode(node uint64, off int64) []byte {
	b := notification(notifyInvalInode, 24)
	le.PutUint64(b[16:], node)
	le.PutUint64(b[24:], uint64(off))
	return b
}

// invalEntry says that a name in a directory changed.
func invalEntry(parent uint64, name string) []byte {
	b := notification(notifyInvalEntry, 16+len(name)+1)
	le.PutUint64(b[16:], parent)
	le.PutUint32(b[24:], uint32(len(name)))
	copy(b[32:], name)
	return b
}

func notification(code int32, size int) []byte {
	b := make([]byte, outHeaderSize+size)
	le.PutUint32(b, uint32(len(b)))
	le.PutUint32(b[4:], uint32(code))
	return b
}

// notify sends a notification, if there is a way to the client.
func (s *Server) notify(message []byte) {
	if s.opt.Notify == nil {
		return
	}
	if s.opt.Notify(message) {
		s.stats.notified.Add(1)
	} else {
		s.stats.lost.Add(1)
	}
}
