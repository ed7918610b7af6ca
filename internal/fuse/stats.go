//go:build linux

package fuse

import (
	"fmt"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxErrno bounds the errors that are counted one by one; Linux's largest is
// EHWPOISON, 133.
const maxErrno = 134

// counters of one share.
type counters struct {
	requests   [numOps]atomic.Uint64
	errors     [maxErrno]atomic.Uint64
	readBytes  atomic.Uint64
	writeBytes atomic.Uint64
	malformed  atomic.Uint64
	unknown    atomic.Uint64
	badNames   atomic.Uint64
	panics     atomic.Uint64
	notified   atomic.Uint64
	lost       atomic.Uint64
}

func (c *counters) fail(e syscall.Errno) {
	if e < maxErrno {
		c.errors[e].Add(1)
	}
}

// Stats is a snapshot of what a share has done and has. Values are read one by
// one.
type Stats struct {
	Requests   map[string]uint64 // by name of the operation
	Errors     map[string]uint64 // replies with an error, by its name, such as ENOENT
	BytesRead  uint64
	BytesWrite uint64
	Malformed  uint64 // requests that contradict themselves
	Unknown    uint64 // opcodes that are not served
	BadNames   uint64 // names with "/" or "..", or empty ones: an honest kernel sends none
	Panics     uint64 // requests that ended in a bug of the server
	Notified   uint64 // notifications that reached the client
	Lost       uint64 // notifications that did not

	Files, MaxFiles   int64  // descriptors open and allowed
	FileEvictions     uint64 // descriptors closed to make room
	FileRefusals      uint64 // requests that got EMFILE
	Inodes, MaxInodes int64  // nodes remembered and allowed
	InodeEvictions    uint64 // nodes forgotten to make room
	Handles           int64  // open files and directories of the client
}

// Stats returns the values of this moment.
func (s *Server) Stats() Stats {
	st := Stats{
		Requests: map[string]uint64{}, Errors: map[string]uint64{},
		BytesRead: s.stats.readBytes.Load(), BytesWrite: s.stats.writeBytes.Load(),
		Malformed: s.stats.malformed.Load(), Unknown: s.stats.unknown.Load(),
		BadNames: s.stats.badNames.Load(), Panics: s.stats.panics.Load(),
		Notified: s.stats.notified.Load(), Lost: s.stats.lost.Load(),
		Files: s.budget.used.Load(), MaxFiles: s.budget.limit,
		FileEvictions: s.budget.evictions.Load(), FileRefusals: s.budget.refusals.Load(),
		MaxInodes: int64(s.opt.MaxInodes),
	}
	for op := range s.stats.requests {
		if n := s.stats.requests[op].Load(); n > 0 {
			st.Requests[operationNames[op]] = n
		}
	}
	for e := range s.stats.errors {
		if n := s.stats.errors[e].Load(); n > 0 {
			st.Errors[errorName(syscall.Errno(e))] = n
		}
	}
	if ss := s.session(); ss != nil {
		st.Inodes = ss.table.live.Load()
		st.InodeEvictions = ss.table.evictions.Load()
		st.Handles = ss.handles.live.Load()
		ss.put()
	}
	return st
}

// errorName is the constant's name, such as ENOENT.
func errorName(e syscall.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(e))
}

var operationNames = [numOps]string{
	opLookup: "LOOKUP", opForget: "FORGET", opGetattr: "GETATTR", opSetattr: "SETATTR", opReadlink: "READLINK",
	opSymlink: "SYMLINK", opMknod: "MKNOD", opMkdir: "MKDIR", opUnlink: "UNLINK", opRmdir: "RMDIR", opRename: "RENAME",
	opLink: "LINK", opOpen: "OPEN", opRead: "READ", opWrite: "WRITE", opStatfs: "STATFS", opRelease: "RELEASE",
	opFsync: "FSYNC", opSetxattr: "SETXATTR", opGetxattr: "GETXATTR", opListxattr: "LISTXATTR",
	opRemovexattr: "REMOVEXATTR", opFlush: "FLUSH", opInit: "INIT", opOpendir: "OPENDIR", opReaddir: "READDIR",
	opReleasedir: "RELEASEDIR", opFsyncdir: "FSYNCDIR", opGetlk: "GETLK", opSetlk: "SETLK", opSetlkw: "SETLKW",
	opAccess: "ACCESS", opCreate: "CREATE", opInterrupt: "INTERRUPT", opBmap: "BMAP", opDestroy: "DESTROY",
	opIoctl: "IOCTL", opPoll: "POLL", opNotifyReply: "NOTIFY_REPLY", opBatchForget: "BATCH_FORGET",
	opFallocate: "FALLOCATE", opReaddirplus: "READDIRPLUS", opRename2: "RENAME2", opLseek: "LSEEK",
	opCopyFileRange: "COPY_FILE_RANGE", opSetupmapping: "SETUPMAPPING", opRemovemapping: "REMOVEMAPPING",
	opSyncfs: "SYNCFS", opTmpfile: "TMPFILE", opStatx: "STATX",
}
