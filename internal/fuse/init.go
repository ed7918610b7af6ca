//go:build linux

package fuse

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	// maxBackground is how many requests Linux has under way in the background
	// (readahead, write-back) before it holds back; three quarters of it is
	// when it calls the share congested. Its own default is 12.
	maxBackground = 128
	// timeGran is the resolution of times in nanoseconds.
	timeGran = 1
)

// caps are the INIT flags that the share wants.
func (s *Server) caps() uint64 {
	o := &s.opt
	c := capAsyncRead | capBigWrites | capAtomicTrunc | capReaddirplus | capReaddirplusAuto | capParallelDirops |
		capMaxPages | capAsyncDIO | capInitExt | capSubmounts | capHandleKillprivV2
	if o.noOpen() {
		c = c&^capAtomicTrunc | capNoOpenSupport
	}
	switch o.Cache {
	case CacheNone:
		c |= capAutoInvalData | capDirectIOAllowMmap
	case CacheAuto:
		c |= capAutoInvalData
	case CacheAlways:
		c |= capCacheSymlinks
	}
	if o.Writeback {
		c |= capWritebackCache
	}
	if o.sharedLocks() {
		c |= capPosixLocks | capFlockLocks
	}
	if o.ACL {
		c |= capPosixACL | capDontMask | capSetxattrExt
	}
	if s.ids.keeps() {
		c |= capCreateSuppGroup
	}
	return c
}

// initialize is INIT: what both sides can, and a new session.
func initialize(r *request) syscall.Errno {
	srv := r.w.srv
	major, minor := r.u32(0), r.u32(4)
	b := r.reply(initOutSize)
	le.PutUint32(b, protoMajor)
	le.PutUint32(b[4:], protoMinor)
	if major > protoMajor {
		return 0 // the client asks again with our version
	}
	if major < protoMajor || minor < protoMinorMin {
		return syscall.EPROTO
	}
	flags := uint64(r.u32(12))
	if flags&capInitExt != 0 && len(r.arg) >= 20 {
		flags |= uint64(r.u32(16)) << 32
	}
	flags &= srv.caps()
	minor = min(minor, protoMinor)
	le.PutUint32(b[4:], minor)
	le.PutUint32(b[8:], r.u32(8)) // max_readahead: the client's own wish
	le.PutUint32(b[12:], uint32(flags))
	le.PutUint16(b[16:], maxBackground)
	le.PutUint16(b[18:], maxBackground*3/4)
	le.PutUint32(b[20:], MaxIO)
	le.PutUint32(b[24:], timeGran)
	if flags&capMaxPages != 0 {
		le.PutUint16(b[28:], MaxIO/pageSize)
	}
	le.PutUint32(b[32:], uint32(flags>>32))
	srv.umask.Store(processUmask())
	srv.replace(srv.newSession(true, flags, minor))
	return 0
}

// destroy is DESTROY: the client unmounts.
func destroy(r *request) syscall.Errno {
	r.w.srv.Reset()
	return 0
}

// processUmask is the umask of the process as proc shows it: there is no
// system call that reads it without changing it. It serves to undo its effect
// on files that clients make, so when it is not known it is taken as none.
func processUmask() uint32 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "Umask:"); ok {
			if m, err := strconv.ParseUint(strings.TrimSpace(v), 8, 32); err == nil {
				return uint32(m) & 0o777
			}
		}
	}
	return 0
}
