//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"time"
)

// CachePolicy says how long the client may answer from its own memory.
type CachePolicy int

const (
	// CacheAuto: names and attributes, a file's size among them, for a second;
	// data until an open finds another size or modification time. Changes made
	// on the host are seen after a second at most.
	CacheAuto CachePolicy = iota
	// CacheNone: every access asks the host. About three times slower.
	CacheNone
	// CacheAlways: everything for a day. Right when nobody changes the
	// directory on the host meanwhile: root file systems, toolchains.
	CacheAlways
)

// XattrPolicy says which extended attributes the client sees.
type XattrPolicy int

const (
	// XattrUser: the namespace user., and ACLs with Options.ACL.
	XattrUser XattrPolicy = iota
	// XattrNone: none.
	XattrNone
	// XattrAll: trusted. and security. too, among them security.capability,
	// which grants privileges to who runs the file on the host. Needs
	// Passthrough and AllowSetID.
	XattrAll
)

// LockPolicy says who sees the locks that clients take on files.
type LockPolicy int

const (
	// LocksShared: POSIX locks and flock(2) are taken on the host's files, so
	// that they hold between the host and all clients of a directory. Each
	// lock, and each close of a file, asks the host.
	LocksShared LockPolicy = iota
	// LocksGuest: locks stay in the client's kernel.
	LocksGuest
)

// SubmountPolicy says what happens where another file system is mounted below
// the shared directory. File systems that show the kernel itself (proc, sysfs,
// cgroup and the like) are refused in any case.
type SubmountPolicy int

const (
	// SubmountsFollow: they are shared too, with a device number of their own
	// where the client can show that.
	SubmountsFollow SubmountPolicy = iota
	// SubmountsDeny: entering one is EXDEV.
	SubmountsDeny
)

// Options are what a share is like. The zero value is a writable share with
// close-to-open consistency whose files all belong to the client's root.
type Options struct {
	ReadOnly  bool
	Cache     CachePolicy
	Writeback bool // the client delays writes; right when only it writes. Not with CacheNone
	Owner     Ownership
	Xattr     XattrPolicy
	ACL       bool // POSIX ACLs; Passthrough or Ranges
	Locks     LockPolicy
	Submounts SubmountPolicy
	// AllowSetID keeps set-user-ID and set-group-ID bits of files that the
	// client makes. They hold on the host too; without this they are dropped.
	AllowSetID bool
	// AllowDevices makes device nodes that the client makes on the host too,
	// where they are the host's devices. Needs Passthrough, and CAP_MKNOD.
	AllowDevices bool
	// DirectIO passes O_DIRECT of the client on to the host, with its demands
	// on alignment. Without it, O_DIRECT bypasses the client's cache only.
	DirectIO bool

	// MaxFiles is how many descriptors the share may have open; above it the
	// client gets EMFILE. 0: half of RLIMIT_NOFILE, at most 65,536.
	MaxFiles int
	// MaxInodes is how many nodes are remembered; above it the least recently
	// used files are forgotten and looked up again. 0: 262,144, about 60 MB.
	MaxInodes int
	// Notify takes FUSE notifications (see notify.go) to the client. It must
	// not block; false says that it was not delivered. Nil: there is no way.
	Notify func(message []byte) bool
}

const (
	defaultMaxInodes = 1 << 18
	defaultMaxFiles  = 1 << 16
	minMaxFiles      = 16 // root, some that come and go, and a few open files
	minMaxInodes     = 16
)

// Why options are refused, for errors.Is.
var (
	// ErrConflict: two options exclude each other.
	ErrConflict = errors.New("options exclude each other")
	// ErrRange: a number is out of its range.
	ErrRange = errors.New("out of range")
	// ErrPrivilege: the process lacks the privilege for it.
	ErrPrivilege = errors.New("the process lacks the privilege")
	// ErrUnsupported: the kernel or the file system cannot do it.
	ErrUnsupported = errors.New("not supported here")
)

// OptionError is an option that cannot be had.
type OptionError struct {
	Field   string // of Options, "Owner.UIDs"
	Problem string // what is wrong with its value
	Hint    string // what to do instead
	Err     error  // one of the four above, or a system call's error
}

// Error names the option, what is wrong and what helps.
func (e *OptionError) Error() string {
	s := fmt.Sprintf("fuse: %s: %s", e.Field, e.Problem)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap is the reason.
func (e *OptionError) Unwrap() error { return e.Err }

// Validate checks everything that does not depend on the directory. The error
// joins one *OptionError for each problem.
func (o Options) Validate() error {
	var problems []error
	bad := func(field, problem, hint string, err error) {
		problems = append(problems, &OptionError{Field: field, Problem: problem, Hint: hint, Err: err})
	}
	enum := func(field string, v, last int) {
		if v < 0 || v > last {
			bad(field, fmt.Sprintf("there is no value %d", v), "", ErrRange)
		}
	}
	enum("Cache", int(o.Cache), int(CacheAlways))
	enum("Xattr", int(o.Xattr), int(XattrAll))
	enum("Locks", int(o.Locks), int(LocksGuest))
	enum("Submounts", int(o.Submounts), int(SubmountsDeny))
	if o.Writeback && o.Cache == CacheNone {
		bad("Writeback", "nothing is cached with CacheNone", "choose CacheAuto or CacheAlways", ErrConflict)
	}
	if o.ACL && o.Owner.Mode != Passthrough && o.Owner.Mode != Ranges {
		bad("ACL", "access control lists name ids, which are not kept in this ownership mode", "choose Passthrough or Ranges", ErrConflict)
	}
	if o.ACL && o.Xattr == XattrNone {
		bad("ACL", "access control lists are extended attributes", "do not set XattrNone", ErrConflict)
	}
	if o.Xattr == XattrAll && (o.Owner.Mode != Passthrough || !o.AllowSetID) {
		bad("Xattr", "file capabilities grant what set-user-ID grants", "XattrAll needs Passthrough and AllowSetID", ErrConflict)
	}
	if o.AllowDevices && o.Owner.Mode != Passthrough {
		bad("AllowDevices", "devices are for whom their owner and mode on the host say", "choose Passthrough", ErrConflict)
	}
	if o.MaxFiles != 0 && o.MaxFiles < minMaxFiles {
		bad("MaxFiles", fmt.Sprintf("%d is less than %d", o.MaxFiles, minMaxFiles), "", ErrRange)
	}
	if o.MaxInodes != 0 && (o.MaxInodes < minMaxInodes || o.MaxInodes > maxSlots) {
		bad("MaxInodes", fmt.Sprintf("%d is not from %d to %d", o.MaxInodes, minMaxInodes, maxSlots), "", ErrRange)
	}
	problems = append(problems, o.Owner.validate()...)
	return errors.Join(problems...)
}

// timeouts of the client's caches.
type timeouts struct{ entry, attr, negative uint64 } // seconds

const (
	autoSeconds   = 1
	alwaysSeconds = uint64(24 * time.Hour / time.Second)
)

// timeouts are how long the client may keep names, attributes and the absence
// of a name.
func (o Options) timeouts() timeouts {
	var t timeouts
	switch o.Cache {
	case CacheAuto:
		t = timeouts{entry: autoSeconds, attr: autoSeconds}
	case CacheAlways:
		t = timeouts{entry: alwaysSeconds, attr: alwaysSeconds}
		if o.ReadOnly {
			t.negative = alwaysSeconds
		}
	case CacheNone:
	}
	if o.Owner.Mode == DynamicCaller {
		// The client keeps attributes by file and not by caller: what one
		// user saw must not answer another.
		t.attr = 0
	}
	return t
}

// noOpen says whether files are read without being opened.
func (o Options) noOpen() bool { return o.ReadOnly && o.Cache == CacheAlways && !o.DirectIO }

// fileFlags are the reply to OPEN of a file.
func (o Options) fileFlags() uint32 {
	var f uint32
	switch o.Cache {
	case CacheNone:
		f |= openDirectIO
	case CacheAlways:
		f |= openKeepCache
	case CacheAuto:
	}
	if !o.sharedLocks() {
		f |= openNoFlush
	}
	return f
}

// dirFlags are the reply to OPENDIR.
func (o Options) dirFlags() uint32 {
	if o.Cache == CacheAlways {
		return openKeepCache | openCacheDir
	}
	return 0
}

// sharedLocks says whether locks reach the host. On a read-only share they do
// not: a lock on the host is a change that others notice.
func (o Options) sharedLocks() bool { return o.Locks == LocksShared && !o.ReadOnly }
