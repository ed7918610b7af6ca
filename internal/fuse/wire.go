//go:build linux

package fuse

// Opcodes, enum fuse_opcode of include/uapi/linux/fuse.h.
const (
	opLookup        = 1
	opForget        = 2
	opGetattr       = 3
	opSetattr       = 4
	opReadlink      = 5
	opSymlink       = 6
	opMknod         = 8
	opMkdir         = 9
	opUnlink        = 10
	opRmdir         = 11
	opRename        = 12
	opLink          = 13
	opOpen          = 14
	opRead          = 15
	opWrite         = 16
	opStatfs        = 17
	opRelease       = 18
	opFsync         = 20
	opSetxattr      = 21
	opGetxattr      = 22
	opListxattr     = 23
	opRemovexattr   = 24
	opFlush         = 25
	opInit          = 26
	opOpendir       = 27
	opReaddir       = 28
	opReleasedir    = 29
	opFsyncdir      = 30
	opGetlk         = 31
	opSetlk         = 32
	opSetlkw        = 33
	opAccess        = 34
	opCreate        = 35
	opInterrupt     = 36
	opBmap          = 37
	opDestroy       = 38
	opIoctl         = 39
	opPoll          = 40
	opNotifyReply   = 41
	opBatchForget   = 42
	opFallocate     = 43
	opReaddirplus   = 44
	opRename2       = 45
	opLseek         = 46
	opCopyFileRange = 47
	opSetupmapping  = 48
	opRemovemapping = 49
	opSyncfs        = 50
	opTmpfile       = 51
	opStatx         = 52

	numOps = 64 // opcodes from here on are not known
)

// INIT flags, FUSE_* of fuse.h. Bits from 32 on travel in flags2.
const (
	capAsyncRead         uint64 = 1 << 0
	capPosixLocks        uint64 = 1 << 1
	capAtomicTrunc       uint64 = 1 << 3
	capBigWrites         uint64 = 1 << 5
	capDontMask          uint64 = 1 << 6
	capFlockLocks        uint64 = 1 << 10
	capAutoInvalData     uint64 = 1 << 12
	capReaddirplus       uint64 = 1 << 13
	capReaddirplusAuto   uint64 = 1 << 14
	capAsyncDIO          uint64 = 1 << 15
	capWritebackCache    uint64 = 1 << 16
	capNoOpenSupport     uint64 = 1 << 17
	capParallelDirops    uint64 = 1 << 18
	capPosixACL          uint64 = 1 << 20
	capMaxPages          uint64 = 1 << 22
	capCacheSymlinks     uint64 = 1 << 23
	capSubmounts         uint64 = 1 << 27
	capHandleKillprivV2  uint64 = 1 << 28
	capSetxattrExt       uint64 = 1 << 29
	capInitExt           uint64 = 1 << 30
	capCreateSuppGroup   uint64 = 1 << 34
	capDirectIOAllowMmap uint64 = 1 << 36
)

// Sizes of wire structures in bytes.
const (
	inHeaderSize  = 40 // struct fuse_in_header
	outHeaderSize = 16 // struct fuse_out_header
	attrSize      = 88 // struct fuse_attr
	entrySize     = 128
	attrOutSize   = 104
	openOutSize   = 16
	writeInSize   = 40
	readInSize    = 40
	direntSize    = 24 // struct fuse_dirent without its name
	statfsOutSize = 80
	initOutSize   = 64
	statxOutSize  = 288
	lockSize      = 24 // struct fuse_file_lock
)

// Replies to OPEN, FOPEN_*.
const (
	openDirectIO  = 1 << 0
	openKeepCache = 1 << 1
	openCacheDir  = 1 << 3
	openNoFlush   = 1 << 5
)

// Bits of setattr_in.valid, FATTR_*.
const (
	setMode       = 1 << 0
	setUID        = 1 << 1
	setGID        = 1 << 2
	setSize       = 1 << 3
	setAtime      = 1 << 4
	setMtime      = 1 << 5
	setHandle     = 1 << 6
	setAtimeNow   = 1 << 7
	setMtimeNow   = 1 << 8
	setKillSetID  = 1 << 11
	attrSubmount  = 1 << 0 // fuse_attr.flags: the root of another file system
	getattrHandle = 1 << 0 // getattr_in.getattr_flags: fh is valid
)

// Other request flags.
const (
	writeCache       = 1 << 0 // write_flags: from the page cache, the handle is a guess
	writeKillSetID   = 1 << 2
	openKillSetID    = 1 << 0 // open_flags of OPEN and CREATE
	lockIsFlock      = 1 << 0 // lk_flags
	fsyncDataOnly    = 1 << 0 // fsync_flags
	setxattrKillSGID = 1 << 0 // setxattr_flags
	extGroups        = 32     // type of the header extension with supplementary groups
)

// Protocol version that the server speaks. Of the minor versions only what the
// INIT flags above name is used.
const (
	protoMajor    = 7
	protoMinor    = 40
	protoMinorMin = 31 // Linux 5.4, the first with virtio-fs
)

// pageSize is the unit of max_pages, in bytes: the client's page, which is the
// host's, since a KVM guest runs on the same architecture. Larger client pages
// mean larger requests; they are bounded by MaxIO all the same.
const pageSize = 4096

// MaxIO is the largest payload of one READ or WRITE in bytes: 256 pages, the
// most that Linux asks for by default (FUSE_MAX_MAX_PAGES).
const MaxIO = 1 << 20

// maxName is the longest name of one component in bytes, NAME_MAX of Linux.
const maxName = 255

// maxTarget is the longest target of a symbolic link with its NUL, PATH_MAX.
const maxTarget = 4096

// maxXattr is the largest value and the longest list of extended attributes in
// bytes, XATTR_SIZE_MAX and XATTR_LIST_MAX of Linux.
const maxXattr = 64 << 10
